//! What the conformance suite cannot see from outside, or wants shown on this store first.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, SyncItemId, Uid},
    integration::{
        ClaimedIntegration, IntegrationStore, NewIntegration, Scope, SyncClaim, SyncSelection,
    },
    operation_log::{Direction, NewOperation, OperationLog, OperationStatus},
    store::{Ports, Rejected, Store, StoreErrorKind},
    sync::{
        Checkpoint, Finalise, Finalised, ItemClaim, ItemOutcome, ItemSettlement, ItemStatus,
        KindSelection, NewItem, OpenRun, PageEnd, Payload, RunOpened, RunPage, RunState, SyncItem,
        SyncRun, SyncSchedule, SyncSettlement, SyncStore,
    },
    time::later,
    token::{NewToken, OneTimeTokens, TokenKind},
    value::{ExternalId, HolderName, IntegrationName, ItemKind, ProviderKey, StreamName},
};

use super::MemoryStore;
use crate::conformance::leaves_newer_states_alone;

fn now(store: &MemoryStore) -> DateTime<Utc> {
    store.clock.now()
}

fn soon(store: &MemoryStore) -> DateTime<Utc> {
    later(now(store), Duration::from_mins(1))
}

async fn install(store: &MemoryStore, uid: u128) -> IntegrationId {
    let new = NewIntegration {
        uid: Uid::from_bits(uid),
        provider: ProviderKey::new("github").unwrap(),
        name: IntegrationName::new("GitHub").unwrap(),
        owner: None,
        credentials: None,
        metadata: None,
        sync_interval_minutes: Some(5),
        next_sync_at: None,
        now: now(store),
    };
    store.create(&new).await.unwrap().id
}

fn operation(store: &MemoryStore, integration_id: IntegrationId) -> NewOperation {
    NewOperation {
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
        now: now(store),
    }
}

async fn open_run(store: &MemoryStore, id: IntegrationId) -> SyncRun {
    let claim = SyncClaim {
        selection: SyncSelection::Named(id),
        holder: HolderName::new("worker").unwrap(),
        lease_until: soon(store),
        now: now(store),
    };
    let claimed = store.claim_sync(&claim).await.unwrap();
    let [ClaimedIntegration { fence, .. }] = claimed[..] else {
        panic!("the sync lease of {id} was not free");
    };
    let open = OpenRun {
        integration_id: id,
        stream: StreamName::default(),
        fence,
        log: operation(store, id),
        full_resync: false,
        sorted: false,
        now: now(store),
    };
    match store.open_run(&open).await.unwrap() {
        RunOpened::New(run) => run,
        other => panic!("expected a new run: {other:?}"),
    }
}

async fn enumerate(store: &MemoryStore, run: &SyncRun, versions: &[(&str, i64)]) {
    let items = versions.iter().map(|(id, version)| NewItem {
        kind: ItemKind::new("issue").unwrap(),
        external_id: Some(ExternalId::new(*id).unwrap()),
        checkpoint: Some(Checkpoint::Number(*version)),
        payload: Payload::Text("{}".to_owned()),
        digest: None,
        other_digests: Vec::new(),
        batch_id: None,
    });
    let page = RunPage {
        run_id: run.id,
        fence: run.fence,
        items: items.collect(),
        next: PageEnd::Complete,
        cursor: None,
        now: now(store),
    };
    store.add_items(&page).await.unwrap();
}

async fn claim(store: &MemoryStore, limit: u32) -> Vec<SyncItem> {
    let claim = ItemClaim {
        kinds: KindSelection::All,
        limit,
        token: Uid::from_bits(1),
        lease_until: soon(store),
        integration_id: None,
        now: now(store),
    };
    store.claim_items(&claim).await.unwrap()
}

async fn settle(store: &MemoryStore, item: &SyncItem, outcome: ItemOutcome) {
    let settlement = ItemSettlement {
        id: item.id,
        token: Uid::from_bits(1),
        outcome,
        now: now(store),
    };
    store.settle_items(&[settlement]).await.unwrap();
}

async fn finalise(store: &MemoryStore, run: &SyncRun) -> Finalised {
    let finalise = Finalise {
        run_id: run.id,
        schedule: SyncSchedule::default(),
        stuck_after_runs: 5,
        now: now(store),
    };
    store.finalise(&finalise).await.unwrap()
}

#[tokio::test]
async fn clones_and_ports_share_the_rows() {
    let store = MemoryStore::new();
    let ports = Ports::from(store.clone());
    let id = install(&store, 1).await;
    let found = ports.integrations.find(id.into(), &Scope::Operator).await;
    assert_eq!(found.unwrap().map(|row| row.id), Some(id));
    let _: Arc<dyn Store> = Arc::new(store);
}

#[tokio::test]
async fn refuses_what_no_column_takes_and_nothing_else_of_the_batch() {
    let store = MemoryStore::new();
    let id = install(&store, 1).await;
    let good = operation(&store, id);
    let long = NewOperation {
        operation: "x".repeat(256),
        ..good.clone()
    };
    let nul = NewOperation {
        metadata: Some(serde_json::json!({ "a": ["\0"] })),
        ..good.clone()
    };
    let orphan = operation(&store, IntegrationId(99));
    let appended = store.append(&[long, nul, orphan, good]).await.unwrap();
    assert_eq!(appended[0], Err(Rejected::DoesNotFit));
    assert_eq!(appended[1], Err(Rejected::DoesNotFit));
    assert_eq!(appended[2], Err(Rejected::MissingReference));
    assert!(appended[3].is_ok());
}

#[tokio::test]
async fn a_single_row_that_refers_to_nothing_breaks_a_constraint() {
    let store = MemoryStore::new();
    let token = NewToken {
        uid: Uid::from_bits(1),
        digest: vec![1],
        kind: TokenKind::OAuthState,
        provider: ProviderKey::new("github").unwrap(),
        integration_id: Some(IntegrationId(99)),
        data: None,
        until: soon(&store),
        now: now(&store),
    };
    let error = store.issue(&token).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Constraint);
}

#[tokio::test]
async fn a_claim_serves_integrations_alike_and_the_next_begins_behind_it() {
    let store = MemoryStore::new();
    for uid in 1..=2 {
        let id = install(&store, uid).await;
        let run = open_run(&store, id).await;
        let names: Vec<_> = (0..10).map(|n| format!("r{n}")).collect();
        let versions: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        enumerate(&store, &run, &versions).await;
    }
    let mut served = BTreeMap::<_, u32>::new();
    for item in claim(&store, 6).await {
        *served.entry(item.integration_id.0).or_default() += 1;
    }
    assert_eq!(served, BTreeMap::from([(1, 3), (2, 3)]));

    let next = claim(&store, 1).await;
    assert_eq!(next[0].integration_id, IntegrationId(1));
    let next = claim(&store, 1).await;
    assert_eq!(next[0].integration_id, IntegrationId(2));
}

#[tokio::test]
async fn a_claim_that_runs_short_takes_whatever_is_left() {
    let store = MemoryStore::new();
    for (uid, versions) in [(1, 1), (2, 9)] {
        let id = install(&store, uid).await;
        let run = open_run(&store, id).await;
        let names: Vec<_> = (0..versions).map(|n| format!("r{n}")).collect();
        let versions: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        enumerate(&store, &run, &versions).await;
    }
    assert_eq!(claim(&store, 8).await.len(), 8);
}

// W-SYN-3, INV-06
#[tokio::test]
async fn the_cursor_stays_below_what_failed_until_it_is_resolved() {
    let store = MemoryStore::new();
    let id = install(&store, 1).await;
    let run = open_run(&store, id).await;
    enumerate(&store, &run, &[("a", 1), ("b", 2), ("c", 3)]).await;
    for item in claim(&store, 3).await {
        let broken = item.checkpoint_value == Some(2.into());
        let outcome = if broken {
            ItemOutcome::Failed {
                error: "no".to_owned(),
            }
        } else {
            ItemOutcome::Succeeded
        };
        settle(&store, &item, outcome).await;
    }
    let Finalised::Ended(end) = finalise(&store, &run).await else {
        panic!("nothing holds the run back");
    };
    assert_eq!(end.run.state, RunState::Partial);
    assert_eq!(end.cursor.unwrap().to, 1);

    // The record moves on, and lets the cursor past the version that failed.
    let run = open_run(&store, id).await;
    enumerate(&store, &run, &[("b", 4)]).await;
    let [item] = &claim(&store, 3).await[..] else {
        panic!("one item waits");
    };
    settle(&store, item, ItemOutcome::Succeeded).await;
    let Finalised::Ended(end) = finalise(&store, &run).await else {
        panic!("nothing holds the run back");
    };
    assert_eq!(end.run.state, RunState::Success);
    assert_eq!(end.cursor.unwrap().to, 4);
    let state = store.lock();
    let failed = state.items.values().filter(|row| row.is_unresolved());
    assert_eq!(failed.count(), 0);
}

#[tokio::test]
async fn versions_of_a_record_are_handed_out_one_at_a_time() {
    let store = MemoryStore::new();
    let id = install(&store, 1).await;
    let run = open_run(&store, id).await;
    enumerate(&store, &run, &[("a", 2), ("a", 1)]).await;
    let first = claim(&store, 5).await;
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].checkpoint_value, Some(1.into()));
    assert_eq!(first[0].status, ItemStatus::Processing);
    assert_eq!(claim(&store, 5).await, []);
    settle(&store, &first[0], ItemOutcome::Succeeded).await;
    assert_eq!(claim(&store, 5).await[0].checkpoint_value, Some(2.into()));
}

// DESIGN: a state it does not know is kept as it is.
#[tokio::test]
async fn states_of_a_newer_version_are_left_alone() {
    let store = MemoryStore::new();
    let put = async |id: SyncItemId, state: &str| {
        let mut state_of = store.lock();
        let row = state_of.items.get_mut(id.0).unwrap();
        row.item.status = ItemStatus::from(state.to_owned());
    };
    leaves_newer_states_alone(&store.clone().into(), put).await;
}
