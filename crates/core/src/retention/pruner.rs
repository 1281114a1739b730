//! [`Pruner`]: batch after batch, leaving room for others.

use std::{fmt, sync::Arc, time::Duration};

use super::{Prunable, PruneBatch, Retention, RetentionPolicy};
use crate::{
    lease::Leases,
    store::{Ports, StoreError},
    time::{Clock, earlier, later},
};

/// Rows one batch looks at.
pub(super) const BATCH: u32 = 1_000;

/// The longest pause between two batches.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Prunes by a policy, in batches that each commit, so that it may be stopped and gone on with at
/// any time.
#[derive(Clone)]
pub struct Pruner {
    pub(super) retention: Arc<dyn Retention>,
    pub(super) leases: Arc<dyn Leases>,
    pub(super) clock: Arc<dyn Clock>,
    policy: RetentionPolicy,
}

impl fmt::Debug for Pruner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pruner")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// What a pass came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Rows deleted or emptied of each kind that has an age.
    pub rows: Vec<(Prunable, u64)>,
    /// Rows of removed integrations; not counted by a dry run.
    pub removed: u64,
}

impl PruneReport {
    /// Everything together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.rows.iter().map(|(_, rows)| rows).sum::<u64>() + self.removed
    }
}

/// Whether a pass may go on after a batch.
pub(super) trait MayGoOn: Send {
    fn may_go_on(&mut self) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// A pass that nobody else takes over.
struct Always;

impl MayGoOn for Always {
    async fn may_go_on(&mut self) -> Result<bool, StoreError> {
        Ok(true)
    }
}

impl Pruner {
    /// Prunes what is behind these ports.
    #[must_use]
    pub fn new(ports: &Ports, policy: RetentionPolicy) -> Self {
        Self {
            retention: Arc::clone(&ports.retention),
            leases: Arc::clone(&ports.leases),
            clock: Arc::clone(&ports.clock),
            policy,
        }
    }

    /// How long things are kept.
    #[must_use]
    pub const fn policy(&self) -> &RetentionPolicy {
        &self.policy
    }

    /// One pass over everything.
    ///
    /// Cancel safe: what was deleted stays deleted, and the next pass goes on.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed; batches before it stay done.
    pub async fn prune(&self) -> Result<PruneReport, StoreError> {
        Ok(self.pass(false, &mut Always).await?.0)
    }

    /// What [`prune`](Self::prune) would delete; deletes nothing.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    pub async fn dry_run(&self) -> Result<PruneReport, StoreError> {
        Ok(self.pass(true, &mut Always).await?.0)
    }

    /// One pass for as long as it may go on; whether it came to its end.
    pub(super) async fn pass(
        &self,
        dry_run: bool,
        going_on: &mut impl MayGoOn,
    ) -> Result<(PruneReport, bool), StoreError> {
        let mut report = PruneReport::default();
        let now = self.clock.now();
        let aged = |what: Prunable| self.policy.age(what).map(|age| (what, age));
        for (what, age) in Prunable::ALL.into_iter().filter_map(aged) {
            let mut batch = PruneBatch {
                what,
                before: earlier(now, age),
                after: 0,
                limit: BATCH,
                dry_run,
            };
            let mut rows = 0;
            let finished = loop {
                let began = self.clock.monotonic();
                let pruned = self.retention.prune(&batch).await?;
                rows += pruned.deleted;
                let Some(after) = pruned.resume_after else {
                    break true;
                };
                batch.after = after;
                if !going_on.may_go_on().await? {
                    break false;
                }
                self.make_room(began).await;
            };
            report.rows.push((what, rows));
            if !finished {
                return Ok((report, false));
            }
        }
        let finished = dry_run || self.purge(&mut report.removed, going_on).await?;
        Ok((report, finished))
    }

    /// Deletes what is left of removed integrations; whether it came to its end.
    async fn purge(&self, rows: &mut u64, going_on: &mut impl MayGoOn) -> Result<bool, StoreError> {
        loop {
            let began = self.clock.monotonic();
            let purged = self.retention.purge_removed(BATCH).await?;
            *rows += purged;
            if purged == 0 {
                return Ok(true);
            }
            if !going_on.may_go_on().await? {
                return Ok(false);
            }
            self.make_room(began).await;
        }
    }

    /// Leaves the store to others for as long as the batch took.
    async fn make_room(&self, began: Duration) {
        let took = self.clock.monotonic().saturating_sub(began);
        let pause = took.min(LONGEST_PAUSE);
        if !pause.is_zero() {
            self.clock.sleep_until(later(self.clock.now(), pause)).await;
        }
    }
}
