//! Migrating, and what opening a store says of a schema.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use integrations_core::value::TablePrefix;
use integrations_store_postgres::{
    MIGRATIONS, Migration, OpenError, PgStore, SchemaState, published,
    sqlx::{AssertSqlSafe, Connection as _, Executor as _, query, query_scalar, raw_sql},
};
use integrations_store_sql::{Dialect, migrator, statement::Statements};
use support::Scratch;

/// A migration that older binaries can live with.
const NEXT: Migration = Migration::new(
    2,
    "next",
    "-- minimum: 1\n\ncreate table {{prefix}}_next (id bigint primary key);\n",
);

/// What the catalogue says of the tables under a prefix, with `P` for it.
async fn schema(scratch: &Scratch) -> String {
    const SCHEMA: &str = "
        SELECT format('%s.%s %s%s%s%s', table_name, column_name, data_type,
            '(' || character_maximum_length || ')',
            CASE is_nullable WHEN 'NO' THEN ' not null' END,
            CASE WHEN column_default IS NOT NULL THEN ' default ' || column_default END)
        FROM information_schema.columns WHERE starts_with(table_name, $1)
        UNION ALL
        SELECT indexdef FROM pg_indexes WHERE starts_with(tablename, $1)
        UNION ALL
        SELECT format('%s: %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
        WHERE contype = 'f' AND starts_with(conname, $1)
        UNION ALL
        SELECT format('%s with (%s)', relname, array_to_string(reloptions, ', ')) FROM pg_class
        WHERE reloptions IS NOT NULL AND starts_with(relname, $1)
        UNION ALL
        SELECT format('%s unlogged', relname) FROM pg_class
        WHERE relpersistence = 'u' AND relkind = 'r' AND starts_with(relname, $1)";
    let mut lines: Vec<String> = query_scalar(SCHEMA)
        .bind(&scratch.prefix)
        .fetch_all(&mut scratch.connection().await)
        .await
        .unwrap();
    for line in &mut lines {
        *line = line.replace(&scratch.prefix, "P");
    }
    lines.sort_unstable();
    lines.join("\n")
}

async fn record(scratch: &Scratch, version: i64, minimum: i64) {
    let insert = format!(
        "INSERT INTO {}_migrations (version, name, checksum, minimum, applied_at, created_at, \
         updated_at) VALUES ($1, 'later', 'unknown', $2, now(), now(), now())",
        scratch.prefix
    );
    query(AssertSqlSafe(insert))
        .bind(version)
        .bind(minimum)
        .execute(&mut scratch.connection().await)
        .await
        .unwrap();
}

// SCHEMA
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_is_exactly_this() {
    let scratch = Scratch::new();
    scratch.store().await;
    insta::assert_snapshot!(schema(&scratch).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrating_twice_applies_nothing_more() {
    let scratch = Scratch::new();
    assert_eq!(scratch.options().pending().await.unwrap(), MIGRATIONS);
    assert_eq!(scratch.options().migrate().await.unwrap(), MIGRATIONS);
    assert_eq!(scratch.options().pending().await.unwrap(), []);
    assert_eq!(scratch.options().migrate().await.unwrap(), []);
    scratch.store().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_at_once_all_succeed() {
    for _ in 0..10 {
        let scratch = Scratch::new();
        let mut runs = tokio::task::JoinSet::new();
        for _ in 0..6 {
            runs.spawn(scratch.options().migrate());
        }
        let runs = runs.join_all().await;
        let applied: usize = runs.into_iter().map(|run| run.unwrap().len()).sum();
        assert_eq!(applied, MIGRATIONS.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_prefixes_live_side_by_side() {
    let (one, other) = (Scratch::new(), Scratch::new());
    one.store().await;
    assert!(matches!(
        other.options().open().await,
        Err(OpenError::Schema(SchemaState::Empty))
    ));
    other.store().await;
    assert_eq!(schema(&one).await, schema(&other).await);
}

// 63 bytes is what PostgreSQL keeps of a name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_prefix_makes_the_same_names() {
    let (short, long) = (Scratch::new(), Scratch::new());
    let filled = format!("{:x<1$}", long.prefix, TablePrefix::MAX_LEN);
    let long = Scratch::named(filled);
    short.store().await;
    long.store().await;
    assert_eq!(schema(&short).await, schema(&long).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_an_empty_database_names_the_command_and_changes_nothing() {
    let scratch = Scratch::new();
    let error = scratch.options().open().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the database has no schema yet: run `integrations migrate`"
    );
    assert_eq!(schema(&scratch).await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_used_where_it_says_so() {
    let scratch = Scratch::new();
    scratch.store().await;
    record(&scratch, 2, 1).await;
    scratch.options().open().await.unwrap();
    assert_eq!(scratch.options().migrate().await.unwrap(), []);
    record(&scratch, 3, 2).await;
    let error = scratch.options().open().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the schema is at version 0003, 2 newer than this program knows; \
         it needs at least version 0002: upgrade this program"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_schema_is_refused_until_it_is_migrated() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let prefix = TablePrefix::new(&scratch.prefix).unwrap();
    let statements = Statements::new(Dialect::Postgres, prefix);
    let known = [MIGRATIONS[0], NEXT];
    let error = migrator::check(store.backend(), &statements, &known)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the schema is behind by 1: run `integrations migrate`"
    );
    let applied = migrator::migrate(store.backend(), &statements, &known).await;
    assert_eq!(applied.unwrap(), [NEXT]);
    migrator::check(store.backend(), &statements, &known)
        .await
        .unwrap();
    // The binary from before the migration goes on.
    scratch.options().open().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_fails_leaves_nothing() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let before = schema(&scratch).await;
    let prefix = TablePrefix::new(&scratch.prefix).unwrap();
    let statements = Statements::new(Dialect::Postgres, prefix);
    let broken = Migration::new(
        2,
        "broken",
        "create table {{prefix}}_next (id bigint);\ncreate table {{prefix}}_next (id bigint);\n",
    );
    let error = migrator::migrate(store.backend(), &statements, &[MIGRATIONS[0], broken])
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "migration 0002_broken.sql failed");
    assert_eq!(schema(&scratch).await, before);
    scratch.options().open().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_told() {
    let scratch = Scratch::new();
    scratch.store().await;
    let update = format!("UPDATE {}_migrations SET checksum = 'x'", scratch.prefix);
    query(AssertSqlSafe(update))
        .execute(&mut scratch.connection().await)
        .await
        .unwrap();
    assert!(matches!(
        scratch.options().open().await,
        Err(OpenError::Schema(SchemaState::ChecksumMismatch {
            version: 1
        }))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_files_leave_the_same_schema_and_run_once() {
    let (migrated, by_hand) = (Scratch::new(), Scratch::new());
    migrated.store().await;
    let prefix = TablePrefix::new(&by_hand.prefix).unwrap();
    let mut connection = by_hand.connection().await;
    for file in published(&prefix, 0) {
        let mut tx = connection.begin().await.unwrap();
        tx.execute(raw_sql(AssertSqlSafe(file.sql.clone())))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let again = connection.execute(raw_sql(AssertSqlSafe(file.sql))).await;
        assert!(again.unwrap_err().to_string().contains("already exists"));
    }
    assert_eq!(schema(&migrated).await, schema(&by_hand).await);
    by_hand.options().open().await.unwrap();
    assert_eq!(by_hand.options().migrate().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_hide_url_and_password() {
    for url in [
        "postgres://me:hunter2@127.0.0.1:1/test",
        "postgres://me:hunter2@localhost:port/test",
        "mysql://me:hunter2@localhost/test",
    ] {
        let error = match PgStore::connect(url) {
            Err(error) => error,
            Ok(options) => {
                let shown = format!("{options:?}");
                assert!(!shown.contains("hunter2"), "{shown}");
                options.open().await.unwrap_err()
            }
        };
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains("me:"), "{shown}");
    }
}
