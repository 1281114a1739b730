//! The ports inside a caller's transaction.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use integrations_core::{
    id::{IntegrationId, WebhookId},
    idempotency::{IdempotencyLedger, Reservation},
    integration::{IntegrationStore, Scope},
    mapping::{Claimed, MappingStore},
    operation_log::{OperationFilter, OperationLog},
    store::StoreErrorKind,
    sync::SyncSettlement,
    webhook::{
        Received, WebhookClaim, WebhookInbox, WebhookOutcome, WebhookSettled, WebhookSettlement,
        WebhookSettlements, WebhookStatus,
    },
};
use integrations_testkit::conformance::fixtures::{
    at, delivery, external, mapping, new_integration, operation, provider, reservation, ticket,
    uid, whole,
};

use integrations_store_postgres::{
    PgStore,
    sqlx::postgres::{PgPool, PgPoolOptions},
};
use support::Scratch;

/// The application's own pool of a single connection, and a store over it.
async fn store_and_pool(scratch: &Scratch) -> (PgStore, PgPool) {
    scratch.store().await;
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(10))
        .connect(&scratch.url)
        .await
        .unwrap();
    let options = PgStore::from_pool(pool.clone()).apart_connections(2);
    let store = options.prefix(&scratch.prefix).unwrap().open().await;
    (store.unwrap(), pool)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_keeps_it_all() {
    let scratch = Scratch::new();
    let (store, pool) = store_and_pool(&scratch).await;
    let (integration, delivery) = work_in_hand(&store).await;
    let id = delivery.id;
    let mut tx = pool.begin().await.unwrap();
    write_everything(&store.within(&mut tx), integration, delivery).await;
    tx.commit().await.unwrap();
    assert!(mapped(&store, integration).await);
    assert_eq!(seen(&store, id).await, (1, WebhookStatus::Processed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_leaves_nothing() {
    let scratch = Scratch::new();
    let (store, pool) = store_and_pool(&scratch).await;
    let (integration, delivery) = work_in_hand(&store).await;
    let id = delivery.id;
    let mut tx = pool.begin().await.unwrap();
    write_everything(&store.within(&mut tx), integration, delivery).await;
    tx.rollback().await.unwrap();
    assert!(!mapped(&store, integration).await);
    assert_eq!(seen(&store, id).await, (0, WebhookStatus::Processing));
}

// DESIGN: a bad entry fails alone
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_entry_leaves_the_transaction_alive() {
    let scratch = Scratch::new();
    let (store, pool) = store_and_pool(&scratch).await;
    let (integration, _) = work_in_hand(&store).await;
    let mut tx = pool.begin().await.unwrap();
    let within = store.within(&mut tx);
    let orphan = mapping(IntegrationId(i64::MAX), "r1", "e1");
    let claims = [orphan, mapping(integration, "r1", "e1")];
    let claimed = within.claim(&claims).await.unwrap();
    assert!(matches!(claimed[..], [Err(_), Ok(Claimed::New(_))]));
    drop(within);
    tx.commit().await.unwrap();
    assert!(mapped(&store, integration).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_transaction_is_refused() {
    let scratch = Scratch::new();
    let (store, pool) = store_and_pool(&scratch).await;
    let (integration, _) = work_in_hand(&store).await;
    let mut connection = pool.acquire().await.unwrap();
    let within = store.within(&mut connection);
    let refused = within.claim(&[mapping(integration, "r1", "e1")]).await;
    assert_eq!(refused.unwrap_err().kind, StoreErrorKind::Unsupported);
}

// DESIGN: a caller holding the last pooled connection cannot deadlock with us
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_reserved_while_the_caller_holds_the_last_connection() {
    let scratch = Scratch::new();
    let (store, pool) = store_and_pool(&scratch).await;
    let (integration, delivery) = work_in_hand(&store).await;
    let mut tx = pool.begin().await.unwrap();
    write_everything(&store.within(&mut tx), integration, delivery).await;
    let claim = reservation(integration, "charge");
    let reserved = store.reserve(&claim).await.unwrap();
    assert!(matches!(reserved, Reservation::Acquired(_)));
    tx.rollback().await.unwrap();
    // It outlives the caller's rollback.
    let mut second = reservation(integration, "charge");
    second.now = at(1);
    let held = store.reserve(&second).await.unwrap();
    assert!(matches!(held, Reservation::Held { .. }));
}

/// Mappings, the operation log and a settlement of the delivery in hand, all in `within`.
async fn write_everything<S>(within: &S, integration: IntegrationId, delivery: WebhookSettlement)
where
    S: MappingStore + OperationLog + SyncSettlement + WebhookSettlements,
{
    let claimed = within.claim(&[mapping(integration, "r1", "e1")]).await;
    assert!(matches!(claimed.unwrap()[..], [Ok(Claimed::New(_))]));
    let logged = within.append(&[operation(integration)]).await.unwrap();
    assert!(matches!(logged[..], [Ok(_)]));
    let settled = within.settle(&[delivery]).await.unwrap();
    assert_eq!(settled, [WebhookSettled::Done]);
    // No item is in hand; the call has to reach the tables all the same.
    assert_eq!(within.settle_items(&[]).await.unwrap(), []);
    assert!(mapped(within, integration).await, "it reads its own writes");
}

async fn mapped<S: MappingStore>(store: &S, integration: IntegrationId) -> bool {
    let found = store
        .resolve(integration, &ticket(), &[external("r1")])
        .await
        .unwrap();
    found[0].is_some()
}

/// How many operations there are, and how the delivery stands.
async fn seen<S: OperationLog + WebhookInbox>(
    store: &S,
    delivery: WebhookId,
) -> (usize, WebhookStatus) {
    let operations = OperationLog::query(
        store,
        &OperationFilter::default(),
        &Scope::Operator,
        &whole(),
    )
    .await;
    let delivery = WebhookInbox::find(store, delivery, &Scope::Operator, at(2)).await;
    (
        operations.unwrap().items.len(),
        delivery.unwrap().unwrap().status,
    )
}

/// An integration, and a claimed delivery for it with its settlement.
async fn work_in_hand<S: IntegrationStore + WebhookInbox>(
    store: &S,
) -> (IntegrationId, WebhookSettlement) {
    let integration = IntegrationStore::create(store, &new_integration())
        .await
        .unwrap()
        .id;
    let received = store
        .receive(&[delivery(Some(integration), None)])
        .await
        .unwrap();
    let [Ok(Received::New(id))] = received[..] else {
        panic!("the delivery is not new: {received:?}");
    };
    let claim = WebhookClaim {
        except: Vec::new(),
        per_integration: u32::MAX,
        providers: vec![provider("github")],
        limit: 1,
        token: uid(),
        lease_until: at(60),
        now: at(1),
    };
    assert_eq!(WebhookInbox::claim(store, &claim).await.unwrap().len(), 1);
    let settlement = WebhookSettlement {
        id,
        token: claim.token,
        outcome: WebhookOutcome::Processed,
        now: at(2),
    };
    (integration, settlement)
}
