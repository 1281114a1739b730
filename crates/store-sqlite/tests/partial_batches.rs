//! A store that fails halfway through a batch answers for what it has stored.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use integrations_core::{
    id::IntegrationId,
    integration::IntegrationStore as _,
    store::Rejected,
    webhook::{NewWebhook, Received, WebhookInbox as _},
};
use integrations_store_sqlite::{
    SqliteStore,
    sqlx::{AssertSqlSafe, Connection as _, SqliteConnection, query},
};
use integrations_testkit::conformance::fixtures::{delivery, new_integration};
use support::Scratch;

/// A store that fails over rows for which `condition` holds.
async fn failing(condition: &str) -> (Scratch, SqliteStore, IntegrationId) {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let integration = store.create(&new_integration()).await.unwrap();
    // No data error, which would be the row's own fault.
    let trigger = format!(
        "CREATE TRIGGER fault BEFORE INSERT ON acme_webhooks WHEN new.{condition} \
         BEGIN SELECT json(new.path || '{{'); END"
    );
    let mut connection = SqliteConnection::connect(&scratch.url).await.unwrap();
    query(AssertSqlSafe(trigger))
        .execute(&mut connection)
        .await
        .unwrap();
    (scratch, store, integration.id)
}

#[tokio::test]
async fn what_is_new_stays_when_duplicates_fail() {
    let (_scratch, store, integration) = failing("duplicate_of IS NOT NULL").await;
    let one = |key: &str| delivery(Some(integration), Some(key));
    store.receive(&[one("known")]).await.unwrap();

    let mixed = store.receive(&[one("a"), one("known"), one("b")]).await;
    let alone = store.receive(&[one("known")]).await;

    let mixed = mixed.unwrap();
    assert!(matches!(mixed[0], Ok(Received::New(_))), "{mixed:?}");
    assert_eq!(mixed[1], Err(Rejected::Unavailable));
    assert!(matches!(mixed[2], Ok(Received::New(_))), "{mixed:?}");
    assert!(alone.is_err(), "nothing was stored: {alone:?}");
}

#[tokio::test]
async fn what_is_stored_stays_when_the_rest_fails() {
    let (_scratch, store, integration) = failing("event_type = 'down'").await;
    let typed = |event: &str| NewWebhook {
        event_type: Some(event.to_owned()),
        ..delivery(Some(integration), None)
    };
    let too_long = "e".repeat(256);
    let batch = ["a", too_long.as_str(), "b", "down"].map(typed);

    let received = store.receive(&batch).await.unwrap();

    assert!(matches!(received[0], Ok(Received::New(_))), "{received:?}");
    assert_eq!(received[1], Err(Rejected::DoesNotFit));
    assert_eq!(received[2], Err(Rejected::Unavailable));
    assert_eq!(received[3], Err(Rejected::Unavailable));
}
