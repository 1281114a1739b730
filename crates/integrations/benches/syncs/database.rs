//! The databases measured on.

use std::{sync::Arc, time::Duration};

use integrations::{
    PgStore, SqliteStore,
    postgres::sqlx::{self, PgPool, postgres::PgPoolOptions},
    sqlite::sqlx::{
        SqlitePool,
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
    },
    store::Store,
};

/// A store with a schema, and connections for plain SQL to the same tables.
pub(crate) struct Database {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) plain: Plain,
    pub(crate) prefix: String,
    _folder: Option<tempfile::TempDir>,
}

pub(crate) enum Plain {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

impl Database {
    pub(crate) async fn postgres(workers: usize) -> Self {
        let url = std::env::var("INTEGRATIONS_TEST_POSTGRES_URL")
            .expect("INTEGRATIONS_TEST_POSTGRES_URL names a PostgreSQL server to measure on");
        let prefix = format!("syncbench_{}", std::process::id());
        let options = || {
            let options = PgStore::connect(&url).unwrap().prefix(prefix.clone());
            options.unwrap().max_connections(8)
        };
        options().migrate().await.expect("a schema");
        let pool = PgPoolOptions::new()
            .max_connections(u32::try_from(workers).unwrap().max(2))
            .test_before_acquire(false)
            .connect(&url);
        Self {
            store: Arc::new(options().open().await.expect("a store")),
            plain: Plain::Postgres(pool.await.expect("a pool")),
            prefix,
            _folder: None,
        }
    }

    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("bench.db").display());
        let options = || SqliteStore::connect(&url).unwrap();
        options().migrate().await.expect("a schema");
        let connect: SqliteConnectOptions = url.parse().expect("a URL");
        let connect = connect
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(30));
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .connect_with(connect);
        Self {
            store: Arc::new(options().open().await.expect("a store")),
            plain: Plain::Sqlite(pool.await.expect("a pool")),
            prefix: "integration".to_owned(),
            _folder: Some(folder),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match &self.plain {
            Plain::Postgres(_) => "postgres",
            Plain::Sqlite(_) => "sqlite",
        }
    }

    /// Runs a statement that has `{items}` for the table of items.
    pub(crate) async fn run(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(self.named(sql));
        match &self.plain {
            Plain::Postgres(pool) => drop(sqlx::query(sql).execute(pool).await.expect("ran")),
            Plain::Sqlite(pool) => drop(sqlx::query(sql).execute(pool).await.expect("ran")),
        }
    }

    pub(crate) fn named(&self, sql: &str) -> String {
        sql.replace("{items}", &format!("{}_sync_items", self.prefix))
            .replace("{bare}", &format!("{}_bare", self.prefix))
            .replace("{integrations}", &format!("{}s", self.prefix))
    }

    /// A transaction that goes on seeing what there is now.
    pub(crate) async fn old_snapshot(&self) -> sqlx::Transaction<'_, sqlx::Postgres> {
        let Plain::Postgres(pool) = &self.plain else {
            panic!("snapshots are PostgreSQL's");
        };
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ";
        let mut snapshot = pool.begin_with(begin).await.expect("a transaction");
        let look = "SELECT count(*) FROM pg_class";
        sqlx::query(look)
            .execute(&mut *snapshot)
            .await
            .expect("a look");
        snapshot
    }

    pub(crate) async fn drop_tables(&self) {
        let Plain::Postgres(pool) = &self.plain else {
            return;
        };
        let tables: Vec<(String,)> = sqlx::query_as(
            "SELECT tablename::text FROM pg_tables WHERE starts_with(tablename, $1)",
        )
        .bind(&self.prefix)
        .fetch_all(pool)
        .await
        .expect("the tables");
        for (table,) in tables {
            let sql = format!("DROP TABLE IF EXISTS \"{table}\" CASCADE");
            let dropped = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(pool).await;
            dropped.expect("a dropped table");
        }
    }
}
