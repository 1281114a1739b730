//! Claiming: as much as the handlers can take, and no more.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinSet};

use super::{Until, Worker, settler::Ended};
use crate::{
    entropy::EntropyExt as _,
    id::Uid,
    store::{StoreError, StoreErrorKind},
    sync::{ItemClaim, SyncItem},
    time::later,
    wake::{WakeChannel, WakeListener},
};

/// The claiming side of a worker.
pub(super) struct Claimer<'a> {
    worker: &'a Arc<Worker>,
    outcomes: &'a mpsc::Sender<Ended>,
    bell: Box<dyn WakeListener>,
    tasks: JoinSet<()>,
}

impl<'a> Claimer<'a> {
    pub(super) fn new(worker: &'a Arc<Worker>, outcomes: &'a mpsc::Sender<Ended>) -> Self {
        let wake = &worker.engine.client.ports().wake;
        Self {
            worker,
            outcomes,
            bell: wake.listen(WakeChannel::Items),
            tasks: JoinSet::new(),
        }
    }

    /// Claims until it is time to end; the tasks still at work.
    pub(super) async fn run(mut self) -> JoinSet<()> {
        let worker = self.worker;
        loop {
            tokio::select! {
                biased;
                () = worker.stop.stopped() => break,
                () = worker.held.at_most(worker.pace.low_water()) => {}
            }
            while self.tasks.try_join_next().is_some() {}
            let held = worker.held.count();
            let room = worker.pace.limit().saturating_sub(held);
            match worker.claim(room).await {
                Ok((_, items)) if items.is_empty() => {
                    if held == 0 && worker.until == Until::NothingDue {
                        break;
                    }
                    self.wait().await;
                }
                Ok((token, items)) => self.begin(token, items),
                Err(error) => {
                    tracing::warn!(%error, "items could not be claimed yet");
                    if worker.until == Until::NothingDue && !error.is_retryable() {
                        break;
                    }
                    self.wait().await;
                }
            }
        }
        self.tasks
    }

    /// Begins to work on what was claimed.
    fn begin(&mut self, token: Uid, items: Vec<SyncItem>) {
        let worker = self.worker;
        worker.held.take(token, items.iter().map(|item| item.id));
        for item in items {
            let id = item.id;
            let (on, outcomes) = (Arc::clone(worker), self.outcomes.clone());
            let task = self.tasks.spawn(async move {
                let ended = on.attend(item, token).await;
                on.held.ended(id, token);
                // The settler takes until every sender is gone.
                let _ = outcomes.send(ended).await;
            });
            worker.held.begun(id, token, task);
        }
    }

    /// Waits until there may be something to claim.
    async fn wait(&mut self) {
        let worker = self.worker;
        let clock = &worker.engine.client.ports().clock;
        let poll = later(clock.now(), worker.engine.policy.poll);
        tokio::select! {
            () = worker.stop.stopped() => {}
            () = self.bell.rung() => {}
            () = worker.settled.notified() => {}
            () = clock.sleep_until(poll) => {}
        }
    }
}

impl Worker {
    async fn claim(&self, limit: usize) -> Result<(Uid, Vec<SyncItem>), StoreError> {
        let engine = &self.engine;
        let ports = engine.client.ports();
        let token = engine
            .client
            .keys()
            .entropy
            .uid()
            .map_err(|error| StoreError::new(StoreErrorKind::Unavailable, error.to_string()))?;
        let now = ports.clock.now();
        let claim = ItemClaim {
            kinds: engine.handlers.selection(),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            token,
            lease_until: later(now, engine.policy.item_lease),
            integration_id: self.scope.integration_id,
            now,
        };
        Ok((token, ports.syncs.claim_items(&claim).await?))
    }
}
