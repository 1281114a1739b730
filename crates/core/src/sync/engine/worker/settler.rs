//! Settling: whatever has ended, in one write.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::{sync::mpsc, task::JoinSet};

use super::Worker;
use crate::{
    event::EventKind,
    id::{IntegrationId, SyncItemId, Uid},
    store::StoreError,
    sync::{ItemOutcome, ItemSettled, ItemSettlement},
    time::later,
    value::ItemKind,
};

/// The most items settled in one write.
const BATCH: usize = 500;

/// The wait before a write that failed is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// An attempt that has ended.
pub(super) struct Ended {
    pub(super) id: SyncItemId,
    pub(super) token: Uid,
    pub(super) outcome: Outcome,
    /// What the events are about; `None` where none is told.
    pub(super) about: Option<(IntegrationId, ItemKind)>,
}

/// How an attempt has ended.
pub(super) enum Outcome {
    /// To be settled.
    Settle(ItemOutcome),
    /// The handler settled it.
    AlreadySettled,
}

impl Ended {
    /// An item that was not begun, or not ended, before a stop.
    pub(super) fn given_back(id: SyncItemId, token: Uid, now: DateTime<Utc>) -> Self {
        Self {
            id,
            token,
            outcome: Outcome::Settle(ItemOutcome::PutBack { at: now }),
            about: None,
        }
    }
}

/// The settling side of a worker.
pub(super) struct Settler {
    worker: Arc<Worker>,
    /// Ends of runs, beside settling and not before it (L-SYN-4).
    ends: JoinSet<()>,
}

impl Settler {
    pub(super) fn new(worker: Arc<Worker>) -> Self {
        Self {
            worker,
            ends: JoinSet::new(),
        }
    }

    /// Settles until every sender is gone.
    pub(super) async fn run(mut self, mut ended: mpsc::Receiver<Ended>) {
        let mut batch = Vec::with_capacity(BATCH);
        while ended.recv_many(&mut batch, BATCH).await > 0 {
            let keys: Vec<_> = batch.iter().map(|ended| (ended.id, ended.token)).collect();
            self.settle(std::mem::take(&mut batch)).await;
            self.worker.held.release(keys);
            self.worker.settled.notify_one();
            while self.ends.try_join_next().is_some() {}
        }
        while self.ends.join_next().await.is_some() {}
    }

    async fn settle(&mut self, batch: Vec<Ended>) {
        let now = self.worker.now();
        let mut settlements = Vec::with_capacity(batch.len());
        let mut abouts = Vec::with_capacity(batch.len());
        for ended in batch {
            match ended.outcome {
                Outcome::AlreadySettled => count(&self.worker.tally.settled_by_handler),
                Outcome::Settle(outcome) => {
                    settlements.push(ItemSettlement {
                        id: ended.id,
                        token: ended.token,
                        outcome,
                        now,
                    });
                    abouts.push(ended.about);
                }
            }
        }
        let (mut finalisable, mut perhaps_ended) = (BTreeSet::new(), BTreeSet::new());
        let settled = self.write(&settlements).await;
        for ((settlement, about), settled) in settlements.into_iter().zip(abouts).zip(settled) {
            match settled {
                Some(ItemSettled::Done {
                    run_id,
                    open,
                    finalisable: at_zero,
                }) => {
                    self.note(settlement, about);
                    if at_zero {
                        finalisable.insert(run_id);
                    } else if open == 0 {
                        perhaps_ended.insert(run_id);
                    }
                }
                Some(ItemSettled::LeaseLost) => {
                    tracing::debug!(item_id = %settlement.id, "the claim went to somebody else");
                    count(&self.worker.tally.lost);
                }
                None => count(&self.worker.tally.lost),
            }
        }
        for run_id in finalisable {
            let engine = Arc::clone(&self.worker.engine);
            self.ends.spawn(async move {
                engine.finalise_or_leave(run_id).await;
            });
        }
        for run_id in perhaps_ended {
            let engine = Arc::clone(&self.worker.engine);
            self.ends
                .spawn(async move { engine.look_again(run_id).await });
        }
    }

    /// Writes settlements; `None` for those that could not be written. They are handled again
    /// once their leases have run out.
    async fn write(&self, settlements: &[ItemSettlement]) -> Vec<Option<ItemSettled>> {
        match self.try_write(settlements).await {
            Ok(settled) => settled.into_iter().map(Some).collect(),
            // One of them is to blame, and shall not hold back the others.
            Err(error) if settlements.len() > 1 && !error.is_retryable() => {
                let mut settled = Vec::with_capacity(settlements.len());
                for one in settlements {
                    settled.extend(Box::pin(self.write(std::slice::from_ref(one))).await);
                }
                settled
            }
            Err(error) => {
                for one in settlements {
                    let item_id = one.id;
                    tracing::error!(%item_id, %error, "an item could not be settled; it is handled again");
                }
                vec![None; settlements.len()]
            }
        }
    }

    /// Writes settlements, waiting for a store that fails for a moment for as long as the leases
    /// last.
    async fn try_write(
        &self,
        settlements: &[ItemSettlement],
    ) -> Result<Vec<ItemSettled>, StoreError> {
        if settlements.is_empty() {
            return Ok(Vec::new());
        }
        let ports = self.worker.engine.client.ports();
        let give_up = later(ports.clock.now(), self.worker.engine.policy.item_lease);
        loop {
            match ports.sync_settlement.settle_items(settlements).await {
                Err(error) if error.is_retryable() && ports.clock.now() < give_up => {
                    tracing::warn!(%error, "items could not be settled yet");
                    let again = later(ports.clock.now(), AGAIN);
                    ports.clock.sleep_until(again).await;
                }
                settled => return settled,
            }
        }
    }

    /// Counts an attempt that was settled, and tells of it.
    fn note(&self, settlement: ItemSettlement, about: Option<(IntegrationId, ItemKind)>) {
        let tally = &self.worker.tally;
        match settlement.outcome {
            ItemOutcome::Succeeded => count(&tally.succeeded),
            ItemOutcome::Skipped { .. } => count(&tally.skipped),
            ItemOutcome::PutBack { .. } => count(&tally.put_back),
            ItemOutcome::Retry { error, .. } => {
                tracing::warn!(item_id = %settlement.id, error, "an item is tried again");
                count(&tally.retried);
            }
            ItemOutcome::Failed { error } => {
                tracing::error!(item_id = %settlement.id, error, "an item is out of attempts");
                count(&tally.failed);
                if let Some((integration_id, kind)) = about {
                    let item_id = settlement.id;
                    let failed = EventKind::SyncItemFailed { item_id, kind };
                    self.worker.engine.tell(integration_id, failed);
                }
            }
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
