//! A file of its own for each test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use integrations_store_sqlite::{SqliteStore, SqliteStoreOptions};
use tempfile::TempDir;

/// A directory for a database, removed with it.
pub(crate) struct Scratch {
    pub(crate) url: String,
    _directory: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/test.db", directory.path().display());
        Self {
            url,
            _directory: directory,
        }
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
}
