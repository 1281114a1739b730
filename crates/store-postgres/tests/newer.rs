//! What a newer version wrote.

mod support;

use integrations_core::id::SyncItemId;
use integrations_store_postgres::sqlx::{AssertSqlSafe, query};
use integrations_testkit::conformance::leaves_newer_states_alone;
use support::Scratch;

// DESIGN: a state it does not know is kept as it is.
#[tokio::test]
async fn items_in_a_state_of_a_newer_version_are_left_alone() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let put = async |id: SyncItemId, state: &str| {
        let prefix = &scratch.prefix;
        let update = format!("UPDATE {prefix}_sync_items SET status = $2 WHERE id = $1");
        let update = query(AssertSqlSafe(update)).bind(id.0).bind(state);
        let mut connection = scratch.connection().await;
        let updated = update.execute(&mut connection).await.unwrap();
        assert_eq!(updated.rows_affected(), 1);
    };
    leaves_newer_states_alone(&store.into(), put).await;
}
