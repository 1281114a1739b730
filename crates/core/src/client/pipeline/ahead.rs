//! Permits taken before anybody asked for them.
//!
//! While one caller follows the other, each admission takes about twice as many permits as the one
//! before, as far as the gate gives them, and the next callers need no round trip. They are good
//! for as long as a closed circuit is believed, and no longer than the window they were taken from.
//! What is left then goes back with the integration's next admission, or as the client shuts down.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{admission::Line, local::BELIEVED};
use crate::{
    gate::{Budget, GateReturn},
    id::IntegrationId,
};

/// The most that is asked for in advance.
const MOST: u32 = 512;

/// What the last admissions gave, one of each line of callers.
#[derive(Default)]
pub(super) struct Ahead {
    blocks: Vec<Block>,
    /// How often this process learned better.
    distrusted: u64,
}

/// What an admission gave.
pub(super) struct Block {
    /// To whom.
    pub(super) line: Line,
    pub(super) budgets: Arc<[Budget]>,
    pub(super) epoch: u64,
    pub(super) admitted_at: DateTime<Utc>,
    pub(super) window_end: Option<DateTime<Utc>>,
    /// When it was read; `None` once this process learned better.
    pub(super) read_at: Option<Duration>,
    /// How many it gave at first.
    pub(super) given: u32,
    /// How many of them nobody has taken.
    pub(super) left: u32,
}

impl Block {
    fn is_good(&self, now: DateTime<Utc>, read_now: Duration) -> bool {
        let is_recent = |read_at| read_now.saturating_sub(read_at) < BELIEVED;
        self.read_at.is_some_and(is_recent) && self.window_end.is_none_or(|end| now < end)
    }

    fn rest(&self, integration_id: IntegrationId) -> Option<GateReturn> {
        (self.left > 0).then(|| GateReturn {
            integration_id,
            budgets: self.budgets.to_vec(),
            permits: self.left,
            probe: None,
            admitted_at: self.admitted_at,
        })
    }
}

impl Ahead {
    /// Takes one permit, where there is one for such a caller; of which block.
    pub(super) fn take(
        &mut self,
        line: &Line,
        now: DateTime<Utc>,
        read_now: Duration,
    ) -> Option<&Block> {
        let block = self.blocks.iter_mut().find(|block| block.line == *line)?;
        if block.left == 0 || !block.is_good(now, read_now) {
            return None;
        }
        block.left -= 1;
        Some(block)
    }

    /// How many to ask for in advance, which is more where all of the last block was used at once;
    /// and what is left of blocks that are good for nothing.
    pub(super) fn ask(
        &mut self,
        id: IntegrationId,
        line: &Line,
        now: DateTime<Utc>,
        read_now: Duration,
    ) -> (u32, Vec<GateReturn>) {
        let mut ahead = 0;
        let mut rests = Vec::new();
        self.blocks.retain(|block| {
            let is_good = block.is_good(now, read_now);
            let is_own = block.line == *line;
            if is_good && is_own && block.left == 0 {
                ahead = block.given.saturating_mul(2).min(MOST);
            }
            let stays = is_good && !is_own;
            if !stays {
                rests.extend(block.rest(id));
            }
            stays
        });
        (ahead, rests)
    }

    /// How often this process learned better so far, for [`keep`](Self::keep).
    pub(super) const fn distrusted(&self) -> u64 {
        self.distrusted
    }

    /// Keeps what an admission gave; for nobody, where this process learned better since it was
    /// asked for.
    pub(super) fn keep(&mut self, mut block: Block, distrusted: u64) {
        if distrusted != self.distrusted {
            block.read_at = None;
        }
        if !block.budgets.is_empty() {
            self.blocks.push(block);
        }
    }

    /// Gives nobody any more of them.
    pub(super) fn distrust(&mut self) {
        self.distrusted += 1;
        for block in &mut self.blocks {
            block.read_at = None;
        }
    }

    /// Takes all that is left.
    pub(super) fn take_rests(&mut self, id: IntegrationId) -> Vec<GateReturn> {
        self.blocks
            .drain(..)
            .filter_map(|block| block.rest(id))
            .collect()
    }
}
