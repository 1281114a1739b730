//! INV-10: no secret is in any column of any table, or in what was said.

mod support;

use integrations_store_postgres::sqlx::{AssertSqlSafe, query_scalar};
use integrations_testkit::canary::{self, CANARY};
use support::Scratch;

#[tokio::test]
async fn no_secret_is_stored_or_said() {
    let scratch = Scratch::new();
    let said = canary::release(scratch.store().await).await;
    for text in said.all() {
        assert!(!text.contains(CANARY), "{text}");
    }
    let mut connection = scratch.connection().await;
    let tables: Vec<String> =
        query_scalar("SELECT tablename::text FROM pg_tables WHERE starts_with(tablename, $1)")
            .bind(&scratch.prefix)
            .fetch_all(&mut connection)
            .await
            .unwrap();
    let mut rows_seen = false;
    for table in tables {
        let dump = format!("SELECT row_to_json(t)::text FROM \"{table}\" AS t");
        let rows: Vec<String> = query_scalar(AssertSqlSafe(dump))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        for row in rows {
            rows_seen |= row.contains("/nests/[REDACTED]");
            assert!(!row.contains(CANARY), "{table}: {row}");
        }
    }
    assert!(rows_seen, "there is something to look through");
}
