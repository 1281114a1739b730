//! A transaction that did not begin well leaves nothing to whoever takes its connection next: the
//! driver knows of no transaction then, though the server may be in one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use integrations_core::{
    integration::IntegrationStore as _,
    webhook::{NewWebhook, Received, WebhookInbox as _},
};
use integrations_store_postgres::{
    PgStore,
    sqlx::{AssertSqlSafe, PgConnection, query, query_scalar},
};
use integrations_testkit::conformance::fixtures::{at, delivery, new_integration, uid};
use support::Scratch;

struct World {
    scratch: Scratch,
    store: Arc<PgStore>,
    /// Holds the lock.
    other: PgConnection,
    /// What receipts of the delivery lock, from the last bytes of its digest.
    number: i64,
    delivery: NewWebhook,
}

impl World {
    /// With a number that no other test on this server has.
    async fn new(test: u8) -> Self {
        let number = i64::from(std::process::id()) << 8 | i64::from(test);
        let scratch = Scratch::new();
        let integration = scratch
            .store()
            .await
            .create(&new_integration())
            .await
            .unwrap();
        let store = scratch.options().max_connections(1).open().await.unwrap();
        let mut other = scratch.connection().await;
        query("SELECT pg_advisory_lock($1)")
            .bind(number)
            .execute(&mut other)
            .await
            .unwrap();
        let delivery = NewWebhook {
            body_digest: Some(number.to_be_bytes().to_vec()),
            digest_duplicate_since: Some(at(0)),
            ..delivery(Some(integration.id), None)
        };
        Self {
            scratch,
            store: Arc::new(store),
            other,
            number,
            delivery,
        }
    }

    fn receive_under_the_lock(&self) -> tokio::task::JoinHandle<bool> {
        let (store, new) = (Arc::clone(&self.store), self.delivery.clone());
        tokio::spawn(async move { store.receive(&[new]).await.is_ok() })
    }

    /// The sessions that wait for the lock.
    async fn waiting(&mut self) -> Vec<i32> {
        query_scalar(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
             AND (classid::bigint << 32 | objid::bigint) = $1 AND database = \
             (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .bind(self.number)
        .fetch_all(&mut self.other)
        .await
        .unwrap()
    }

    /// Frees the lock; what is received then is there for everybody.
    async fn check(mut self) {
        query("SELECT pg_advisory_unlock($1)")
            .bind(self.number)
            .execute(&mut self.other)
            .await
            .unwrap();
        let plain = NewWebhook {
            uid: uid(),
            body_digest: None,
            digest_duplicate_since: None,
            ..self.delivery.clone()
        };
        let received = self.store.receive(&[plain]).await.unwrap();
        assert!(
            matches!(received[..], [Ok(Received::New(_))]),
            "{received:?}"
        );
        let count = format!("SELECT count(*) FROM {}_webhooks", self.scratch.prefix);
        let seen: i64 = query_scalar(AssertSqlSafe(count))
            .fetch_one(&mut self.other)
            .await
            .unwrap();
        assert_eq!(seen, 1, "an answer was given before the commit");
        // Nobody holds the lock any more either.
        let again = self.store.receive(&[self.delivery.clone()]).await.unwrap();
        assert!(matches!(again[..], [Ok(Received::New(_))]), "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_while_it_waits_for_a_lock() {
    let mut world = World::new(1).await;
    let gone = world.receive_under_the_lock();
    while world.waiting().await.is_empty() {}
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_cannot_be_had() {
    let mut world = World::new(2).await;
    let failing = world.receive_under_the_lock();
    while !failing.is_finished() {
        for pid in world.waiting().await {
            query("SELECT pg_cancel_backend($1)")
                .bind(pid)
                .execute(&mut world.other)
                .await
                .unwrap();
        }
    }
    assert!(!failing.await.unwrap(), "it was not to be had");
    world.check().await;
}
