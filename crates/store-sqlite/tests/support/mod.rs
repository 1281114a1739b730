//! A file of its own for each test.

use integrations_store_sqlite::{
    SqliteStore, SqliteStoreOptions,
    sqlx::{Connection as _, SqliteConnection},
};
use tempfile::TempDir;

/// A directory for a database, removed with it.
pub(crate) struct Scratch {
    pub(crate) directory: TempDir,
    pub(crate) url: String,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/test.db", directory.path().display());
        Self { directory, url }
    }

    pub(crate) fn options(&self) -> SqliteStoreOptions {
        SqliteStore::connect(&self.url)
            .unwrap()
            .prefix("acme")
            .unwrap()
    }

    /// A store with an up-to-date schema under the prefix `acme`.
    pub(crate) async fn store(&self) -> SqliteStore {
        self.options().migrate().await.unwrap();
        self.options().open().await.unwrap()
    }

    pub(crate) async fn connection(&self) -> SqliteConnection {
        SqliteConnection::connect(&self.url).await.unwrap()
    }
}
