//! Plans the server keeps were made while tables were small, and nobody counted those since: they
//! must not read more than the rows they are after once tables are large.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use integrations_core::{
    id::IntegrationId,
    integration::{IntegrationStore as _, SyncClaim, SyncSelection},
    operation_log::NewOperation,
    sync::{
        ItemClaim, ItemOutcome, ItemSettled, ItemSettlement, KindSelection, OpenRun, PageAdded,
        PageEnd, RunOpened, RunPage, SyncRun, SyncSettlement as _, SyncStore as _,
    },
    value::StreamName,
};
use integrations_store_postgres::{
    PgStore,
    sqlx::{AssertSqlSafe, query, query_scalar},
};
use integrations_testkit::conformance::fixtures::{
    at, holder, new_integration, operation, uid, version,
};
use support::Scratch;

/// Rows that come between, which nobody is after.
const OTHERS: i64 = 20_000;

/// Items that are listed, claimed and settled, before and after.
const FEW: i64 = 20;

#[tokio::test]
async fn items_are_read_one_by_one_however_many_there_are() {
    let mut scratch = Scratch::new();
    let mut other = scratch.connection().await;
    let name = scratch.prefix.clone();
    let joint = if scratch.url.contains('?') { '&' } else { '?' };
    scratch.url = format!("{}{joint}application_name={name}", scratch.url);
    scratch.store().await;
    let options = scratch.options().max_connections(1).apart_connections(1);
    let store = options.open().await.unwrap();
    let id = store.create(&new_integration()).await.unwrap().id;
    let run = open_run(&store, id).await;

    list_and_settle(&store, &run, 0).await;
    let fill = format!(
        "INSERT INTO {name}_sync_items (integration_id, event_class, external_id, run_id, stream, \
         payload, checkpoint_order, available_at, created_at, updated_at) \
         SELECT $1, 'issue', 'other-' || n, $2, 'issues', '{{}}', 'n' || lpad(n::text, 20, '0'), \
         $4, $4, $4 FROM generate_series(1, $3) AS n"
    );
    let filled = query(AssertSqlSafe(fill))
        .bind(id.0)
        .bind(run.id.0)
        .bind(OTHERS)
        .bind(at(0))
        .execute(&mut other);
    filled.await.unwrap();
    list_and_settle(&store, &run, FEW).await;

    // A server tells what a session has read once that has ended.
    drop(store);
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    while query_scalar::<_, i64>(sessions)
        .bind(&name)
        .fetch_one(&mut other)
        .await
        .unwrap()
        > 0
    {}
    let read: i64 = query_scalar(
        "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = $1)::bigint + \
         (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = $1)",
    )
    .bind(format!("{name}_sync_items"))
    .fetch_one(&mut other)
    .await
    .unwrap();
    assert!(read > 0, "nothing was told");
    assert!(read < OTHERS, "{read} rows were read for {FEW} items");
}

async fn open_run(store: &PgStore, integration_id: IntegrationId) -> SyncRun {
    let claim = SyncClaim {
        selection: SyncSelection::Named(integration_id),
        holder: holder("planner"),
        lease_until: at(600),
        now: at(0),
    };
    let fence = store.claim_sync(&claim).await.unwrap()[0].fence;
    let open = OpenRun {
        integration_id,
        stream: StreamName::new("issues").unwrap(),
        fence,
        log: NewOperation {
            now: at(0),
            ..operation(integration_id)
        },
        full_resync: false,
        sorted: false,
        now: at(0),
    };
    let RunOpened::New(run) = store.open_run(&open).await.unwrap() else {
        panic!("there was no run before");
    };
    run
}

/// Lists a few records, claims as many and settles them.
async fn list_and_settle(store: &PgStore, run: &SyncRun, first: i64) {
    let page = RunPage {
        run_id: run.id,
        fence: run.fence,
        items: (first..first + FEW)
            .map(|n| version(&format!("issue-{n}"), n))
            .collect(),
        next: PageEnd::Continue(first.into()),
        cursor: None,
        now: at(0),
    };
    let added = store.add_items(&page).await.unwrap();
    assert!(matches!(added, PageAdded::Done { .. }), "{added:?}");
    let token = uid();
    let claim = ItemClaim {
        kinds: KindSelection::All,
        limit: u32::try_from(FEW).unwrap(),
        token,
        lease_until: at(60),
        integration_id: None,
        now: at(0),
    };
    let claimed = store.claim_items(&claim).await.unwrap();
    assert_eq!(i64::try_from(claimed.len()).unwrap(), FEW);
    let settle = |id| ItemSettlement {
        id,
        token,
        outcome: ItemOutcome::Succeeded,
        now: at(1),
    };
    let settlements: Vec<_> = claimed.iter().map(|item| settle(item.id)).collect();
    let settled = store.settle_items(&settlements).await.unwrap();
    assert!(
        settled
            .iter()
            .all(|one| matches!(one, ItemSettled::Done { .. }))
    );
}
