//! What a proxy that pools by transaction needs.

mod support;

use integrations_core::integration::IntegrationStore;
use integrations_core::mapping::{Claimed, MappingStore};
use integrations_store_postgres::{
    PgStore,
    sqlx::{postgres::PgPoolOptions, query_scalar},
};
use integrations_testkit::conformance::fixtures::{mapping, new_integration, ticket, whole};
use support::Scratch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_prepared_statements_the_server_keeps_none() {
    let scratch = Scratch::new();
    scratch.store().await;
    let one = PgPoolOptions::new().max_connections(1);
    let pool = one.connect(&scratch.url).await.unwrap();
    let options = PgStore::from_pool(pool.clone())
        .prefix(&scratch.prefix)
        .unwrap()
        .apart_connections(1)
        .prepared_statements(false);
    let store = options.open().await.unwrap();

    let integration = store.create(&new_integration()).await.unwrap().id;
    let claimed = store.claim(&[mapping(integration, "r1", "e1")]).await;
    assert!(matches!(claimed.unwrap()[..], [Ok(Claimed::New(_))]));
    let listed = MappingStore::list(&store, integration, &ticket(), &whole()).await;
    assert_eq!(listed.unwrap().items.len(), 1);

    let kept: i64 = query_scalar("SELECT count(*) FROM pg_prepared_statements")
        .persistent(false)
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(kept, 0);
}
