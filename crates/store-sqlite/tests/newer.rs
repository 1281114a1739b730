//! What a newer version wrote.

mod support;

use integrations_core::id::SyncItemId;
use integrations_store_sqlite::sqlx::{Connection as _, SqliteConnection, query};
use integrations_testkit::conformance::leaves_newer_states_alone;
use support::Scratch;

// DESIGN: a state it does not know is kept as it is.
#[tokio::test]
async fn items_in_a_state_of_a_newer_version_are_left_alone() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let put = async |id: SyncItemId, state: &str| {
        let mut connection = SqliteConnection::connect(&scratch.url).await.unwrap();
        let update = query("UPDATE acme_sync_items SET status = $2 WHERE id = $1");
        let update = update.bind(id.0).bind(state).execute(&mut connection);
        assert_eq!(update.await.unwrap().rows_affected(), 1);
        connection.close().await.unwrap();
    };
    leaves_newer_states_alone(&store.into(), put).await;
}
