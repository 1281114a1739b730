//! A store that fails halfway through a batch answers for what it has stored.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use integrations_store_postgres::sqlx::{AssertSqlSafe, query};
use integrations_testkit::conformance::{self, Subject};
use support::Scratch;

/// A store that fails over rows for which `condition` holds.
async fn failing(condition: &str) -> Subject {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    // No data error, which would be the row's own fault.
    let check = format!(
        "ALTER TABLE {}_webhooks ADD CHECK ((NOT {condition}) IS NOT FALSE \
         OR current_setting('no.such_setting') = '')",
        scratch.prefix
    );
    let mut connection = scratch.connection().await;
    query(AssertSqlSafe(check))
        .execute(&mut connection)
        .await
        .unwrap();
    Subject::new(store).keeping(scratch)
}

#[tokio::test]
async fn what_is_new_stays_when_duplicates_fail() {
    let subject = failing("duplicate_of IS NOT NULL").await;
    conformance::what_is_new_stays_when_duplicates_fail(&subject).await;
}

#[tokio::test]
async fn what_is_stored_stays_when_the_rest_fails() {
    let subject = failing("event_type = 'down'").await;
    conformance::what_is_stored_stays_when_the_rest_fails(&subject).await;
}
