//! A schema of its own for each test, in the database the tests were given.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{
    env,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    thread,
};

use integrations_store_postgres::{
    PgStore, PgStoreOptions,
    sqlx::{AssertSqlSafe, Connection as _, PgConnection, query, query_scalar},
};

/// A prefix nobody else has. Its tables are dropped with it.
pub(crate) struct Scratch {
    pub(crate) url: String,
    pub(crate) prefix: String,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        // Every state is seeded anew.
        let random = RandomState::new().build_hasher().finish();
        Self::named(format!("t{random:016x}"))
    }

    pub(crate) fn named(prefix: String) -> Self {
        let url = env::var("INTEGRATIONS_TEST_POSTGRES_URL").expect(
            "INTEGRATIONS_TEST_POSTGRES_URL is not set: `cargo xtask test` starts a PostgreSQL \
             and sets it",
        );
        Self { url, prefix }
    }

    /// Options for few connections: many tests share the server.
    pub(crate) fn options(&self) -> PgStoreOptions {
        PgStore::connect(&self.url)
            .unwrap()
            .prefix(&self.prefix)
            .unwrap()
            .max_connections(4)
            .apart_connections(2)
    }

    /// A store with an up-to-date schema.
    pub(crate) async fn store(&self) -> PgStore {
        self.options().migrate().await.unwrap();
        self.options().open().await.unwrap()
    }

    pub(crate) async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    async fn drop_tables(&self) {
        let mut connection = self.connection().await;
        let tables: Vec<String> =
            query_scalar("SELECT tablename::text FROM pg_tables WHERE starts_with(tablename, $1)")
                .bind(&self.prefix)
                .fetch_all(&mut connection)
                .await
                .unwrap();
        if !tables.is_empty() {
            query("SET lock_timeout = '10s'")
                .execute(&mut connection)
                .await
                .unwrap();
            let drop = format!("DROP TABLE \"{}\" CASCADE", tables.join("\", \""));
            query(AssertSqlSafe(drop))
                .execute(&mut connection)
                .await
                .unwrap();
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        thread::scope(|scope| {
            let dropping = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(self.drop_tables());
            });
            let dropped = dropping.join();
            // A test that fails already says more than what it left behind.
            assert!(dropped.is_ok() || thread::panicking(), "tables are left");
        });
    }
}
