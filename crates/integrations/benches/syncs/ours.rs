//! The same through the store's ports.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use integrations::{
    id::{IntegrationId, SyncRunId, Uid},
    integration::{NewIntegration, SyncClaim, SyncSelection},
    operation_log::{Direction, NewOperation, OperationStatus},
    store::Store,
    sync::{
        Checkpoint, ItemClaim, ItemOutcome, ItemSettled, ItemSettlement, KindSelection, NewItem,
        OpenRun, PageAdded, PageEnd, Payload, RunOpened, RunPage,
    },
    value::{ExternalId, HolderName, IntegrationName, ItemKind, ProviderKey, StreamName},
};

use tokio::sync::Notify;

use crate::{Size, database::Database};

/// Items of a page.
pub(crate) const PAGE: usize = 500;

/// A run of one stream.
pub(crate) struct Bench {
    store: Arc<dyn Store>,
    size: Size,
    pub(crate) id: IntegrationId,
    run: SyncRunId,
    fence: i64,
    next: AtomicUsize,
    /// Rings as a page is added.
    bell: Arc<Notify>,
}

fn uid() -> Uid {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let n = u128::from(NEXT.fetch_add(1, Ordering::Relaxed));
    Uid::from_bits((u128::from(std::process::id()) << 64) ^ n ^ (0x5b_u128 << 120))
}

fn now() -> DateTime<Utc> {
    integrations::time::to_micros(Utc::now())
}

fn integration(next_sync_at: Option<DateTime<Utc>>) -> NewIntegration {
    NewIntegration {
        uid: uid(),
        provider: ProviderKey::new("github").unwrap(),
        name: IntegrationName::new("bench").unwrap(),
        owner: None,
        credentials: None,
        metadata: None,
        sync_interval_minutes: None,
        next_sync_at,
        now: now(),
    }
}

fn item(n: usize) -> NewItem {
    NewItem {
        kind: ItemKind::new("issue").unwrap(),
        external_id: Some(ExternalId::new(format!("issue-{n}")).unwrap()),
        checkpoint: Some(Checkpoint::Number(i64::try_from(n).unwrap())),
        payload: Payload::Text("x".repeat(200)),
        digest: None,
        other_digests: Vec::new(),
        batch_id: None,
    }
}

impl Bench {
    pub(crate) async fn new(database: &Database, size: Size) -> Self {
        let store = Arc::clone(&database.store);
        let id = store.create(&integration(None)).await.expect("one").id;
        let claim = SyncClaim {
            selection: SyncSelection::Named(id),
            holder: HolderName::new("bench").unwrap(),
            lease_until: now() + chrono::Duration::hours(1),
            now: now(),
        };
        let fence = store.claim_sync(&claim).await.expect("a lease")[0].fence;
        let open = OpenRun {
            integration_id: id,
            stream: StreamName::new("issues").unwrap(),
            fence,
            log: NewOperation {
                integration_id: id,
                operation: "sync".to_owned(),
                direction: Direction::Inbound,
                status: OperationStatus::Processing,
                summary: None,
                external_id: None,
                metadata: None,
                result_data: None,
                error: None,
                duration_ms: None,
                parent_id: None,
                now: now(),
            },
            full_resync: false,
            sorted: false,
            now: now(),
        };
        let RunOpened::New(run) = store.open_run(&open).await.expect("a run") else {
            panic!("the run should be new");
        };
        Self {
            store,
            size,
            id,
            run: run.id,
            fence,
            next: AtomicUsize::new(0),
            bell: Arc::default(),
        }
    }

    async fn add(&self, items: usize) {
        let first = self.next.fetch_add(items, Ordering::Relaxed);
        let page = RunPage {
            run_id: self.run,
            fence: self.fence,
            items: (first..first + items).map(item).collect(),
            next: PageEnd::Continue(1.into()),
            cursor: None,
            now: now(),
        };
        let added = self.store.add_items(&page).await.expect("a page");
        assert!(matches!(added, PageAdded::Done { .. }));
        self.bell.notify_waiters();
    }

    /// Stores so many items, page by page.
    pub(crate) async fn list(&self, items: usize) {
        let mut left = items;
        while left > 0 {
            let page = left.min(PAGE);
            self.add(page).await;
            left -= page;
        }
    }

    /// Lists while the workers settle; from the first page until the last item is settled.
    pub(crate) async fn list_and_settle(&self) -> Duration {
        let started = Instant::now();
        let settled = Arc::new(AtomicUsize::new(0));
        let workers = self.spawn(self.size.items, &settled);
        self.list(self.size.items).await;
        for worker in workers {
            worker.await.expect("a worker");
        }
        started.elapsed()
    }

    /// Settles everything; how long each tenth took.
    pub(crate) async fn settle_all(&self) -> Vec<Duration> {
        self.settle_all_of(self.size.items).await
    }

    pub(crate) async fn settle_all_of(&self, items: usize) -> Vec<Duration> {
        let settled = Arc::new(AtomicUsize::new(0));
        let started = Instant::now();
        let workers = self.spawn(items, &settled);
        let mut marks = Vec::new();
        for tenth in 1..=10 {
            while settled.load(Ordering::Relaxed) < items * tenth / 10 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            marks.push(started.elapsed());
        }
        for worker in workers {
            worker.await.expect("a worker");
        }
        let mut before = Duration::ZERO;
        marks
            .into_iter()
            .map(|mark| mark.saturating_sub(std::mem::replace(&mut before, mark)))
            .collect()
    }

    fn spawn(&self, items: usize, settled: &Arc<AtomicUsize>) -> Vec<tokio::task::JoinHandle<()>> {
        (0..self.size.workers)
            .map(|_| {
                let (store, settled) = (Arc::clone(&self.store), Arc::clone(settled));
                let bell = Arc::clone(&self.bell);
                let batch = u32::try_from(self.size.batch).unwrap();
                tokio::spawn(async move {
                    while settled.load(Ordering::Relaxed) < items {
                        let done = work(&*store, batch).await;
                        settled.fetch_add(done, Ordering::Relaxed);
                        if done == 0 {
                            // As workers wait: until it rings, or for a while.
                            let rung = bell.notified();
                            let _ = tokio::time::timeout(Duration::from_millis(20), rung).await;
                        }
                    }
                })
            })
            .collect()
    }

    /// From before an item is added until a claim has it, while nothing else is about.
    pub(crate) async fn lone_item(&self) -> Duration {
        let started = Instant::now();
        self.add(1).await;
        while work(&*self.store, 10).await == 0 {}
        started.elapsed()
    }
}

/// Claims a batch and settles it; how many items.
async fn work(store: &dyn Store, batch: u32) -> usize {
    let token = uid();
    let claim = ItemClaim {
        kinds: KindSelection::All,
        limit: batch,
        token,
        lease_until: now() + chrono::Duration::minutes(1),
        integration_id: None,
        now: now(),
    };
    let claimed = store.claim_items(&claim).await.expect("a claim");
    let settlements: Vec<_> = claimed
        .iter()
        .map(|item| ItemSettlement {
            id: item.id,
            token,
            outcome: ItemOutcome::Succeeded,
            now: now(),
        })
        .collect();
    let settled = store.settle_items(&settlements).await.expect("settled");
    let done = |one: &&ItemSettled| matches!(one, ItemSettled::Done { .. });
    assert_eq!(settled.iter().filter(done).count(), claimed.len());
    claimed.len()
}

/// Milliseconds of twenty claims of 100 due integrations among so many.
pub(crate) async fn claim_due(database: &Database, many: usize) -> Vec<f64> {
    let fill = format!(
        "INSERT INTO \"{{integrations}}\" (uid, provider, name, next_sync_at, created_at, \
         updated_at) SELECT 'm' || n, 'github', 'many', now() + interval '1 day' \
         - (n <= 2000)::int * interval '2 days', now(), now() FROM generate_series(1, {many}) AS n"
    );
    database.run(&fill).await;
    let mut took = Vec::new();
    for _ in 0..20 {
        let claim = SyncClaim {
            selection: SyncSelection::Due {
                limit: 100,
                providers: vec![ProviderKey::new("github").unwrap()],
            },
            holder: HolderName::new("bench").unwrap(),
            lease_until: now() + chrono::Duration::hours(1),
            now: now(),
        };
        let started = Instant::now();
        let claimed = database.store.claim_sync(&claim).await.expect("claims");
        took.push(started.elapsed().as_secs_f64() * 1000.0);
        assert_eq!(claimed.len(), 100);
    }
    took
}
