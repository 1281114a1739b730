//! What the tests have in common: a harness, a feed, a handler, and an engine over them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use integrations_core::{
    event::EventKind,
    integration::{Integration, Scope},
    operation_log::{Operation, OperationFilter},
    store::{PageRequest, Ports, StoreError, StoreErrorKind},
    sync::{
        ItemFilter, ItemSettled, ItemSettlement, SyncItem, SyncRun, SyncSettlement,
        engine::{
            Handled, HandledCounts, HandlerError, ItemAttempt, ItemHandler, RoundReport,
            SyncEngine, SyncEngineBuilder, SyncPolicy, SyncRequest, WorkScope,
        },
    },
    work::Stop,
};
use integrations_testkit::harness::Harness;
use serde_json::Value as Json;

use crate::feed::Feed;

/// What the handler does with a record at its next attempt.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Fails,
    Panics,
    Later(Duration),
    Hopeless,
    Skips,
    /// Never ends.
    Hangs,
}

/// A handler that remembers, and does what a test says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script(Arc<Mutex<Acts>>);

#[derive(Debug, Default)]
struct Acts {
    to_come: HashMap<String, VecDeque<Act>>,
    handled: Vec<(String, i64)>,
    attempts: Vec<(String, i16, bool)>,
}

impl Script {
    /// What happens at the attempts to come at a record, in order; then all goes well.
    pub(crate) fn on(&self, id: &str, acts: impl IntoIterator<Item = Act>) {
        let mut script = self.0.lock().unwrap();
        let queue = script.to_come.entry(id.to_owned()).or_default();
        queue.extend(acts);
    }

    pub(crate) fn forget(&self, id: &str) {
        self.0.lock().unwrap().to_come.remove(id);
    }

    /// Record and version of what was handled, in order.
    pub(crate) fn handled(&self) -> Vec<(String, i64)> {
        self.0.lock().unwrap().handled.clone()
    }

    /// The same, sorted.
    pub(crate) fn handled_sorted(&self) -> Vec<(String, i64)> {
        let mut handled = self.handled();
        handled.sort();
        handled
    }

    /// Record, attempt and whether it was said to be the last.
    pub(crate) fn attempts(&self) -> Vec<(String, i16, bool)> {
        self.0.lock().unwrap().attempts.clone()
    }
}

#[derive(serde::Deserialize)]
struct Record {
    id: String,
    version: i64,
}

#[async_trait]
impl ItemHandler for Script {
    async fn handle(&self, attempt: ItemAttempt) -> Result<Handled, HandlerError> {
        let record: Record = attempt.json()?;
        let act = {
            let mut script = self.0.lock().unwrap();
            let last = attempt.is_probably_last();
            let note = (record.id.clone(), attempt.attempt(), last);
            script.attempts.push(note);
            script
                .to_come
                .get_mut(&record.id)
                .and_then(VecDeque::pop_front)
        };
        match act {
            Some(Act::Fails) => return Err(HandlerError::failed("no room")),
            Some(Act::Panics) => panic!("a mistake of the handler"),
            Some(Act::Hopeless) => return Err(HandlerError::hopeless("not a record")),
            Some(Act::Later(wait)) => {
                let now = attempt.item().updated_at;
                return Err(HandlerError::later(Some(now + wait)));
            }
            Some(Act::Skips) => {
                let reason = "not ours".to_owned();
                return Ok(Handled::Skipped { reason });
            }
            Some(Act::Hangs) => std::future::pending().await,
            None => {}
        }
        let handled = (record.id, record.version);
        self.0.lock().unwrap().handled.push(handled);
        Ok(Handled::Done)
    }
}

/// A store that settles items unless it is away.
#[derive(Clone)]
pub(crate) struct Settling {
    store: Arc<dyn SyncSettlement>,
    away: Arc<AtomicBool>,
    /// How many settlements each call had.
    calls: Arc<Mutex<Vec<usize>>>,
}

impl Settling {
    pub(crate) fn go_away(&self) {
        self.away.store(true, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self) -> Vec<usize> {
        self.calls.lock().unwrap().clone()
    }
}

#[async_trait]
impl SyncSettlement for Settling {
    async fn settle_items(
        &self,
        settlements: &[ItemSettlement],
    ) -> Result<Vec<ItemSettled>, StoreError> {
        self.calls.lock().unwrap().push(settlements.len());
        if self.away.load(Ordering::Relaxed) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "away"));
        }
        self.store.settle_items(settlements).await
    }
}

pub(crate) struct World {
    pub(crate) harness: Harness,
    pub(crate) settling: Settling,
    pub(crate) feed: Feed,
    pub(crate) script: Script,
    pub(crate) engine: SyncEngine,
    pub(crate) integration: Integration,
    pub(crate) stop: Stop,
}

impl World {
    /// One integration with these streams, whose items one handler takes.
    pub(crate) async fn new(streams: &[&str]) -> Self {
        Self::with(streams, |builder| builder).await
    }

    pub(crate) async fn with(
        streams: &[&str],
        change: impl FnOnce(SyncEngineBuilder) -> SyncEngineBuilder,
    ) -> Self {
        let feed = Feed::new(streams);
        let mut settling = None;
        let ports = |ports: Ports| {
            let settling = settling.insert(Settling {
                store: Arc::clone(&ports.sync_settlement),
                away: Arc::default(),
                calls: Arc::default(),
            });
            Ports {
                sync_settlement: Arc::new(settling.clone()),
                ..ports
            }
        };
        let harness = Harness::with(ports, |builder| builder.provider(feed.clone()));
        let script = Script::default();
        let builder = SyncEngine::builder(&harness.client).policy(policy());
        let builder = change(builder.any_handler(script.clone()));
        let integration = harness.install("feed", None, &[], &[]).await;
        Self {
            engine: builder.build().unwrap(),
            harness,
            settling: settling.unwrap(),
            feed,
            script,
            integration,
            stop: Stop::new(),
        }
    }

    pub(crate) async fn sync(&self) -> RoundReport {
        self.sync_by(|request| request).await
    }

    pub(crate) async fn sync_by(
        &self,
        change: impl FnOnce(SyncRequest) -> SyncRequest,
    ) -> RoundReport {
        let request = change(SyncRequest::of(self.integration.id));
        self.engine.sync_now(&request, &self.stop).await.unwrap()
    }

    pub(crate) async fn drain(&self) -> HandledCounts {
        self.engine.drain(&WorkScope::default(), &self.stop).await
    }

    /// Handles items until none is left, letting time pass for their attempts.
    pub(crate) async fn drain_all(&self) -> HandledCounts {
        let mut sum = HandledCounts::default();
        for _ in 0..8 {
            let counts = self.drain().await;
            sum.succeeded += counts.succeeded;
            sum.failed += counts.failed;
            sum.retried += counts.retried;
            sum.skipped += counts.skipped;
            sum.put_back += counts.put_back;
            self.pass(900);
        }
        sum
    }

    /// A whole sync.
    pub(crate) async fn whole_sync(&self) {
        self.sync().await;
        self.drain_all().await;
    }

    /// Lets seconds pass.
    pub(crate) fn pass(&self, seconds: u64) {
        self.harness.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) async fn row(&self) -> Integration {
        let handle = self.harness.handle(&self.integration);
        handle.find().await.unwrap().unwrap()
    }

    pub(crate) async fn cursor(&self, stream: &str) -> Option<Json> {
        let row = self.row().await;
        row.cursor(&stream.parse().unwrap()).cloned()
    }

    /// Every run, oldest first.
    pub(crate) async fn runs(&self) -> Vec<SyncRun> {
        let page = PageRequest::oldest(PageRequest::MAX_LIMIT);
        let syncs = &self.harness.client.ports().syncs;
        let runs = syncs.list_runs(self.integration.id, &page).await;
        runs.unwrap().items
    }

    pub(crate) async fn last_run(&self) -> SyncRun {
        self.runs().await.pop().unwrap()
    }

    /// Every item, oldest first.
    pub(crate) async fn items(&self) -> Vec<SyncItem> {
        let page = PageRequest::oldest(PageRequest::MAX_LIMIT);
        let items = self.engine.items();
        items
            .list(&ItemFilter::default(), &page)
            .await
            .unwrap()
            .items
    }

    /// The item of a record's last version.
    pub(crate) async fn item(&self, id: &str) -> SyncItem {
        let items = self.items().await.into_iter();
        let mut of_record = items.filter(|item| {
            item.external_id
                .as_ref()
                .is_some_and(|other| other.as_str() == id)
        });
        of_record.next_back().unwrap()
    }

    pub(crate) async fn operations(&self) -> Vec<Operation> {
        let filter = OperationFilter::default();
        let page = PageRequest::oldest(PageRequest::MAX_LIMIT);
        let log = &self.harness.client.ports().operations;
        let found = log.query(&filter, &Scope::Operator, &page).await;
        found.unwrap().items
    }

    /// What was told. Nothing is told any more afterwards.
    pub(crate) async fn events(&self) -> Vec<EventKind> {
        self.harness.client.shutdown().await;
        self.harness.events.kinds()
    }
}

/// Without jitter, so that instants can be compared.
pub(crate) fn policy() -> SyncPolicy {
    let mut policy = SyncPolicy::default();
    policy.max_jitter = Duration::ZERO;
    policy
}

/// Lets tasks run until `done` says so; fails when it never does.
pub(crate) async fn eventually(mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..10_000 {
        if done().await {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("what was waited for did not happen");
}
