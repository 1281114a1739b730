//! Workers: claim items, hand them to handlers, settle them.
//!
//! ```text
//! claimer ─► one task per item: handling ─► settler ─► (store) ─► finaliser
//!                       held: what is claimed and not settled; renewed all the while
//! ```

mod claimer;
mod handling;
mod settler;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    sync::{Notify, Semaphore, mpsc},
    task::{JoinHandle, JoinSet},
};

use super::Inner;
use crate::{
    id::{IntegrationId, SyncItemId},
    time::later,
    work::{Held, Pace, Stop},
};

use self::{
    claimer::Claimer,
    settler::{Ended, Settler},
};

/// Which items to work on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkScope {
    /// Only those of this integration.
    pub integration_id: Option<IntegrationId>,
}

impl WorkScope {
    /// The items of one integration.
    #[must_use]
    pub fn of(integration_id: IntegrationId) -> Self {
        Self {
            integration_id: Some(integration_id),
        }
    }
}

/// When a worker ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Never.
    Stopped,
    /// Once no item is due and none is under way.
    NothingDue,
}

/// What became of the items that were worked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandledCounts {
    /// Handled.
    pub succeeded: u64,
    /// Let go by their handler, or ignored.
    pub skipped: u64,
    /// To be tried again.
    pub retried: u64,
    /// Out of attempts.
    pub failed: u64,
    /// Put off without counting the attempt, those given back by a stop included.
    pub put_back: u64,
    /// Settled by their handler.
    pub settled_by_handler: u64,
    /// Not settled, because the claim had gone to somebody else.
    pub lost: u64,
}

/// [`HandledCounts`] while they are counted.
#[derive(Debug, Default)]
struct Tally {
    succeeded: AtomicU64,
    skipped: AtomicU64,
    retried: AtomicU64,
    failed: AtomicU64,
    put_back: AtomicU64,
    settled_by_handler: AtomicU64,
    lost: AtomicU64,
}

impl Tally {
    fn counts(&self) -> HandledCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        HandledCounts {
            succeeded: read(&self.succeeded),
            skipped: read(&self.skipped),
            retried: read(&self.retried),
            failed: read(&self.failed),
            put_back: read(&self.put_back),
            settled_by_handler: read(&self.settled_by_handler),
            lost: read(&self.lost),
        }
    }
}

/// What the parts of one worker share.
struct Worker {
    engine: Arc<Inner>,
    scope: WorkScope,
    until: Until,
    stop: Stop,
    /// Items handled at once, by all workers of the engine together.
    hands: Arc<Semaphore>,
    held: Held<SyncItemId>,
    pace: Pace,
    /// Something was settled; items that waited for it may be due.
    settled: Notify,
    tally: Arc<Tally>,
}

/// Works on items with all of an engine's workers.
pub(super) async fn work(
    engine: &Arc<Inner>,
    scope: &WorkScope,
    until: Until,
    stop: &Stop,
) -> HandledCounts {
    let policy = &engine.policy;
    let hands = Arc::new(Semaphore::new(policy.concurrency));
    let tally = Arc::new(Tally::default());
    let each = policy.concurrency.div_ceil(policy.workers);
    let mut workers = JoinSet::new();
    for _ in 0..policy.workers {
        let worker = Arc::new(Worker {
            engine: Arc::clone(engine),
            scope: scope.clone(),
            until,
            stop: stop.clone(),
            hands: Arc::clone(&hands),
            held: Held::new(),
            pace: Pace::new(each, policy.max_held),
            settled: Notify::new(),
            tally: Arc::clone(&tally),
        });
        workers.spawn(worker.run());
    }
    while let Some(ended) = workers.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a worker ended early; its claims run out");
        }
    }
    tally.counts()
}

impl Worker {
    async fn run(self: Arc<Self>) {
        // Bounded by what is held, which is at most what may be held.
        let (outcomes, ended) = mpsc::channel(self.engine.policy.max_held);
        let settler = tokio::spawn(Settler::new(Arc::clone(&self)).run(ended));
        let body = async {
            let mut tasks = Claimer::new(&self, &outcomes).run().await;
            self.drain(&mut tasks, &outcomes).await;
            drop(outcomes);
            self.see_settled(settler).await;
        };
        tokio::select! {
            () = body => {}
            () = self.renew() => {}
        }
    }

    /// Waits for work under way, within the limit; gives back what did not end.
    async fn drain(&self, tasks: &mut JoinSet<()>, outcomes: &mpsc::Sender<Ended>) {
        let clock = &self.engine.client.ports().clock;
        let limit = later(clock.now(), self.engine.policy.drain_limit);
        let all = async { while tasks.join_next().await.is_some() {} };
        tokio::select! {
            () = all => return,
            () = clock.sleep_until(limit) => {}
        }
        tasks.abort_all();
        let unfinished = self.held.unfinished();
        tracing::warn!(
            items = unfinished.len(),
            "items are given back after the drain limit"
        );
        for (id, token) in unfinished {
            let given_back = Ended::given_back(id, token, clock.now());
            // The settler takes until the channel is closed.
            let _ = outcomes.send(given_back).await;
        }
    }

    /// Waits for what has ended to be settled, within the limit once more: while the store is away
    /// its claims run out instead.
    async fn see_settled(&self, mut settler: JoinHandle<()>) {
        let clock = &self.engine.client.ports().clock;
        let limit = later(clock.now(), self.engine.policy.drain_limit);
        tokio::select! {
            ended = &mut settler => if let Err(error) = ended {
                tracing::error!(%error, "the settler of a worker ended early");
            },
            () = clock.sleep_until(limit) => {
                tracing::error!("items could not be settled before the end; they are handled again");
                settler.abort();
            }
        }
    }

    /// Renews the claims on everything held. Work on what was lost is aborted.
    async fn renew(&self) {
        let ports = self.engine.client.ports();
        let lease = self.engine.policy.item_lease;
        loop {
            ports
                .clock
                .sleep_until(later(ports.clock.now(), lease / 3))
                .await;
            for (token, ids) in self.held.by_token() {
                let until = later(ports.clock.now(), lease);
                match ports.syncs.renew_items(token, &ids, until).await {
                    // What was settled meanwhile is not held any more, and not lost.
                    Ok(lost) => self.held.lose(token, lost),
                    Err(error) => {
                        tracing::warn!(%error, "claims on items could not be renewed yet");
                    }
                }
            }
        }
    }
}
