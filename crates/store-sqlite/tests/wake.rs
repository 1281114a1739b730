//! Wake-ups between stores over one file, as processes have them.

mod support;

use std::time::Duration;

use integrations_core::{
    integration::IntegrationStore,
    wake::{Wake, WakeChannel},
};
use integrations_testkit::conformance::fixtures::new_integration;
use support::Scratch;
use tokio::time::timeout;

/// A test that passes does not wait for it.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_another_store_is_heard() {
    let scratch = Scratch::new();
    let waiting = scratch.store().await;
    let working = scratch.options().open().await.unwrap();
    let mut listener = waiting.listen(WakeChannel::Items);
    // It listens to others from here on.
    timeout(PATIENCE, listener.rung()).await.unwrap();

    for _ in 0..3 {
        working.create(&new_integration()).await.unwrap();
        timeout(PATIENCE, listener.rung()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_the_applications_pools_hears_others() {
    let scratch = Scratch::new();
    let working = scratch.store().await;
    let pool = integrations_store_sqlite::sqlx::SqlitePool::connect(&scratch.url)
        .await
        .unwrap();
    let waiting = integrations_store_sqlite::SqliteStore::from_pools(pool.clone(), pool)
        .prefix("acme")
        .unwrap()
        .open()
        .await
        .unwrap();
    let mut listener = waiting.listen(WakeChannel::Items);
    timeout(PATIENCE, listener.rung()).await.unwrap();

    working.create(&new_integration()).await.unwrap();

    timeout(PATIENCE, listener.rung()).await.unwrap();
}
