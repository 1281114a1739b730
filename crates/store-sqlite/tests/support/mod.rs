//! A file of its own for each test.

use integrations_store_sqlite::{
    SqliteStore, SqliteStoreOptions,
    sqlx::{Connection as _, SqliteConnection},
};
use tempfile::TempDir;

/// A directory for a database, removed with it.
pub struct Scratch {
    pub directory: TempDir,
    pub url: String,
}

impl Scratch {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/test.db", directory.path().display());
        Self { directory, url }
    }

    pub fn options(&self) -> SqliteStoreOptions {
        SqliteStore::connect(&self.url).unwrap()
    }

    /// A store with an up-to-date schema under the prefix `integration`.
    pub async fn store(&self) -> SqliteStore {
        self.options().migrate().await.unwrap();
        self.options().open().await.unwrap()
    }

    pub async fn connection(&self) -> SqliteConnection {
        SqliteConnection::connect(&self.url).await.unwrap()
    }
}
