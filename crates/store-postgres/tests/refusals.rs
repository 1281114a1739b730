//! What is refused leaves no lock behind: a claim passes over what is locked, and would find less
//! than there is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use integrations_core::{
    id::{IntegrationId, SyncRunId, Uid},
    integration::{IntegrationStore as _, NewIntegration, Scope, SyncClaim, SyncSelection},
    operation_log::{Direction, NewOperation, OperationStatus},
    sync::{
        Checkpoint, Finalise, Finalised, ItemClaim, ItemOutcome, ItemSettled, ItemSettlement,
        KindSelection, NewItem, OpenRun, PageAdded, PageEnd, Payload, RunOpened, RunPage,
        SyncSchedule, SyncSettlement as _, SyncStore as _,
    },
    value::{ExternalId, HolderName, IntegrationName, ItemKind, ProviderKey, StreamName},
};
use integrations_store_postgres::{
    PgStore,
    sqlx::{AssertSqlSafe, PgConnection, query},
};
use serde_json::json;
use support::Scratch;

/// A lock that is let go a moment later is not always seen.
const TRIES: u128 = 40;

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

struct World {
    scratch: Scratch,
    store: Arc<PgStore>,
    other: PgConnection,
    integration_id: IntegrationId,
    run_id: SyncRunId,
    fence: i64,
}

fn opening(integration_id: IntegrationId, fence: i64) -> OpenRun {
    OpenRun {
        integration_id,
        stream: StreamName::default(),
        fence,
        log: NewOperation {
            integration_id,
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
        sorted: true,
        now: now(),
    }
}

impl World {
    /// One integration that is being synced, with one item.
    async fn new() -> Self {
        let scratch = Scratch::new();
        let store = Arc::new(scratch.store().await);
        let new = NewIntegration {
            uid: Uid::from_bits(1),
            provider: ProviderKey::new("feed").unwrap(),
            name: IntegrationName::new("feed").unwrap(),
            owner: None,
            credentials: None,
            metadata: None,
            sync_interval_minutes: None,
            next_sync_at: None,
            now: now(),
        };
        let integration_id = store.create(&new).await.unwrap().id;
        let claim = SyncClaim {
            selection: SyncSelection::Named(integration_id),
            holder: HolderName::new("scheduler").unwrap(),
            lease_until: now() + Duration::hours(1),
            now: now(),
        };
        let fence = store.claim_sync(&claim).await.unwrap()[0].fence;
        let opened = store.open_run(&opening(integration_id, fence)).await;
        let RunOpened::New(run) = opened.unwrap() else {
            panic!("a new run should have been opened");
        };
        let world = Self {
            other: scratch.connection().await,
            scratch,
            store,
            integration_id,
            run_id: run.id,
            fence,
        };
        let added = world.store.add_items(&world.page(fence)).await.unwrap();
        assert!(matches!(added, PageAdded::Done { .. }), "{added:?}");
        world
    }

    fn page(&self, fence: i64) -> RunPage {
        RunPage {
            run_id: self.run_id,
            fence,
            items: vec![NewItem {
                kind: ItemKind::new("issue").unwrap(),
                external_id: Some(ExternalId::new("7").unwrap()),
                checkpoint: Some(Checkpoint::Number(1)),
                payload: Payload::Text("{}".to_owned()),
                digest: None,
                other_digests: Vec::new(),
                batch_id: None,
            }],
            next: PageEnd::Continue(json!(2)),
            cursor: None,
            now: now(),
        }
    }

    /// Whether a row may be had at once.
    async fn assert_free(&mut self, table: &str, after: &str) {
        let prefix = &self.scratch.prefix;
        let look = format!("SELECT id FROM \"{prefix}{table}\" FOR UPDATE NOWAIT");
        let found = query(AssertSqlSafe(look)).execute(&mut self.other).await;
        assert!(found.is_ok(), "after {after}: {found:?}");
    }
}

#[tokio::test]
async fn a_sync_that_is_refused_leaves_no_lock_behind() {
    let mut world = World::new().await;
    let (store, fence) = (Arc::clone(&world.store), world.fence);
    for _ in 0..TRIES {
        let late = store.add_items(&world.page(fence + 1)).await.unwrap();
        assert_eq!(late, PageAdded::FenceLost);
        world.assert_free("s", "a page under a lost fence").await;

        let opened = store
            .open_run(&opening(world.integration_id, fence + 1))
            .await;
        assert_eq!(opened.unwrap(), RunOpened::FenceLost);
        world
            .assert_free("s", "opening a run under a lost fence")
            .await;

        let finalise = Finalise {
            run_id: world.run_id,
            schedule: SyncSchedule::default(),
            stuck_after_runs: 5,
            now: now(),
        };
        let finalised = store.finalise(&finalise).await.unwrap();
        assert_eq!(finalised, Finalised::NotReady { open: 1 });
        world.assert_free("s", "the end of an open run").await;

        let moved = store.advance_cursor(world.run_id, fence + 1, now()).await;
        assert_eq!(moved.unwrap(), None);
        world.assert_free("s", "a cursor under a lost fence").await;

        let (stream, cursor) = (StreamName::default(), json!(1));
        let put = store.set_cursor(IntegrationId(0), &Scope::Operator, &stream, &cursor, now());
        assert!(!put.await.unwrap());
        world.assert_free("s", "a cursor of nobody").await;
    }
}

#[tokio::test]
async fn a_settlement_that_is_refused_leaves_no_lock_behind() {
    let mut world = World::new().await;
    let store = Arc::clone(&world.store);
    let claim = ItemClaim {
        kinds: KindSelection::All,
        limit: 1,
        token: Uid::from_bits(2),
        lease_until: now() + Duration::hours(1),
        integration_id: None,
        now: now(),
    };
    let id = store.claim_items(&claim).await.unwrap()[0].id;
    for n in 0..TRIES {
        let settlement = ItemSettlement {
            id,
            token: Uid::from_bits(3 + n),
            outcome: ItemOutcome::Succeeded,
            now: now(),
        };
        let settled = store.settle_items(&[settlement]).await.unwrap();
        assert_eq!(settled, [ItemSettled::LeaseLost]);
        world.assert_free("_sync_items", "a late settlement").await;
    }
}
