//! Migrating, and what opening a store says of a schema.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{fs::DirEntry, path::Path};

use integrations_core::value::TablePrefix;
use integrations_store_sql::{Dialect, migrator, statement::Statements};
use integrations_store_sqlite::{
    MIGRATIONS, Migration, OpenError, SchemaState, SqliteStore, published,
    sqlx::{
        AssertSqlSafe, Connection as _, Executor as _, SqliteConnection, query, query_scalar,
        raw_sql,
    },
};
use support::Scratch;

/// A migration that older binaries can live with.
const NEXT: Migration = Migration::new(
    2,
    "next",
    "-- minimum: 1\n\ncreate table {{prefix}}_next (id integer primary key) strict;\n",
);

/// The text of every table and index under a prefix, with `P` for it.
async fn schema(scratch: &Scratch, prefix: &str) -> String {
    const SCHEMA: &str = "SELECT sql FROM sqlite_schema \
        WHERE sql IS NOT NULL AND substr(tbl_name, 1, length($1)) = $1 ORDER BY name";
    let texts: Vec<String> = query_scalar(SCHEMA)
        .bind(prefix)
        .fetch_all(&mut connection(scratch).await)
        .await
        .unwrap();
    texts.join(";\n\n").replace(prefix, "P")
}

async fn connection(scratch: &Scratch) -> SqliteConnection {
    SqliteConnection::connect(&scratch.url).await.unwrap()
}

/// The files next to the database, and itself.
fn files(scratch: &Scratch) -> Vec<DirEntry> {
    let path = Path::new(scratch.url.strip_prefix("sqlite://").unwrap());
    let files = path.parent().unwrap().read_dir().unwrap();
    files.map(Result::unwrap).collect()
}

async fn record(scratch: &Scratch, version: i64, minimum: i64) {
    query(
        "INSERT INTO acme_migrations (version, name, checksum, minimum, applied_at, \
         created_at, updated_at) VALUES ($1, 'later', 'unknown', $2, '', '', '')",
    )
    .bind(version)
    .bind(minimum)
    .execute(&mut connection(scratch).await)
    .await
    .unwrap();
}

// SCHEMA
#[tokio::test]
async fn the_schema_is_exactly_this() {
    let scratch = Scratch::new();
    scratch.store().await;
    insta::assert_snapshot!(schema(&scratch, "acme").await);
}

#[tokio::test]
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

#[tokio::test]
async fn two_prefixes_live_side_by_side() {
    let scratch = Scratch::new();
    scratch.store().await;
    let other = || scratch.options().prefix("zebra").unwrap();
    assert!(matches!(
        other().open().await,
        Err(OpenError::Schema(SchemaState::Empty))
    ));
    other().migrate().await.unwrap();
    other().open().await.unwrap();
    assert_eq!(
        schema(&scratch, "acme").await,
        schema(&scratch, "zebra").await
    );
}

#[tokio::test]
async fn the_longest_prefix_works() {
    let scratch = Scratch::new();
    let longest = "p".repeat(TablePrefix::MAX_LEN);
    let options = || scratch.options().prefix(&longest).unwrap();
    options().migrate().await.unwrap();
    options().open().await.unwrap();
}

// DESIGN: only `migrate` and `demo` change the schema
#[tokio::test]
async fn opening_and_a_dry_run_make_no_file() {
    let scratch = Scratch::new();
    let error = scratch.options().open().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the database has no schema yet: run `integrations migrate`"
    );
    assert_eq!(scratch.options().pending().await.unwrap(), MIGRATIONS);
    assert!(files(&scratch).is_empty());
}

// CONTRACT: the SQLite file and its side files have mode 0600
#[cfg(unix)]
#[tokio::test]
async fn the_file_and_its_side_files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let scratch = Scratch::new();
    let _open = scratch.store().await;
    let modes: Vec<_> = files(&scratch)
        .iter()
        .map(|file| file.metadata().unwrap().permissions().mode() & 0o777)
        .collect();
    assert_eq!(modes, [0o600; 3]);
}

#[tokio::test]
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

#[tokio::test]
async fn an_older_schema_is_refused_until_it_is_migrated() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let statements = Statements::new(Dialect::Sqlite, TablePrefix::new("acme").unwrap());
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

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let before = schema(&scratch, "acme").await;
    let statements = Statements::new(Dialect::Sqlite, TablePrefix::new("acme").unwrap());
    let broken = Migration::new(
        2,
        "broken",
        "create table {{prefix}}_next (id integer);\ncreate table {{prefix}}_next (id integer);\n",
    );
    let error = migrator::migrate(store.backend(), &statements, &[MIGRATIONS[0], broken])
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "migration 0002_broken.sql failed");
    assert_eq!(schema(&scratch, "acme").await, before);
    scratch.options().open().await.unwrap();
}

#[tokio::test]
async fn a_changed_file_is_told() {
    let scratch = Scratch::new();
    scratch.store().await;
    query("UPDATE acme_migrations SET checksum = 'x'")
        .execute(&mut connection(&scratch).await)
        .await
        .unwrap();
    assert!(matches!(
        scratch.options().open().await,
        Err(OpenError::Schema(SchemaState::ChecksumMismatch {
            version: 1
        }))
    ));
}

#[tokio::test]
async fn published_files_leave_the_same_schema_and_run_once() {
    let scratch = Scratch::new();
    scratch.store().await;
    let prefix = TablePrefix::new("by_hand").unwrap();
    let mut connection = connection(&scratch).await;
    for file in published(&prefix, 0) {
        let mut tx = connection.begin().await.unwrap();
        tx.execute(raw_sql(AssertSqlSafe(file.sql.clone())))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let again = connection.execute(raw_sql(AssertSqlSafe(file.sql))).await;
        assert!(again.unwrap_err().to_string().contains("already exists"));
    }
    let options = || scratch.options().prefix("by_hand").unwrap();
    options().open().await.unwrap();
    assert_eq!(options().migrate().await.unwrap(), []);
    assert_eq!(
        schema(&scratch, "acme").await,
        schema(&scratch, "by_hand").await
    );
}

#[test]
fn a_database_in_memory_is_refused() {
    for url in [
        "sqlite::memory:",
        "sqlite://:memory:",
        "sqlite://x?mode=memory",
    ] {
        let error = SqliteStore::connect(url).unwrap_err();
        assert!(matches!(error, OpenError::Unsupported(_)), "{error}");
    }
    for url in ["postgres://localhost/test", "integrations.db", "sqlite://"] {
        let error = SqliteStore::connect(url).unwrap_err();
        assert!(matches!(error, OpenError::InvalidUrl(_)), "{error}");
    }
}
