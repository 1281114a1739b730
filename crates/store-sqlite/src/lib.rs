//! [`SqliteStore`]: the storage ports of the `integrations` layer in a SQLite file.
//!
//! ```no_run
//! use integrations_store_sqlite::{OpenError, SqliteStore};
//!
//! # async fn example() -> Result<(), OpenError> {
//! SqliteStore::connect("sqlite://integrations.db")?.migrate().await?;
//! let store = SqliteStore::connect("sqlite://integrations.db")?.open().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Opening a store checks the schema and never changes it. Tables begin with a prefix, so several
//! stores share a file. The file is in WAL mode, with one connection that writes and some that
//! read; several processes on one machine may share it.
//!
//! # In the application's transaction
//!
//! [`within`](SqliteStore::within) gives mappings, the operation log and the settlements of items
//! and webhooks inside a transaction of the application's own. Begin it with `BEGIN IMMEDIATE`: one
//! that reads before it writes cannot become a writer once another has written.
//!
//! ```no_run
//! use integrations_core::mapping::MappingStore;
//! # use integrations_store_sqlite::{SqliteStore, sqlx::{SqlitePool, Error}};
//!
//! # async fn example(store: SqliteStore, pool: SqlitePool) -> Result<(), Error> {
//! let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
//! let within = store.within(&mut tx);
//! let mappings: &dyn MappingStore = &within;
//! # Ok(())
//! # }
//! ```
//!
//! What must outlive a rollback is not among them:
//!
//! ```compile_fail,E0277
//! use integrations_core::idempotency::IdempotencyLedger;
//! # use integrations_store_sqlite::{SqliteStore, sqlx::{SqlitePool, Error}};
//!
//! # async fn example(store: SqliteStore, pool: SqlitePool) -> Result<(), Error> {
//! let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
//! let within = store.within(&mut tx);
//! let ledger: &dyn IdempotencyLedger = &within;
//! # Ok(())
//! # }
//! ```
//!
//! SQLite has one writer, so while that transaction is lent, the ledger, the journal and leases
//! could only wait for it, and it perhaps for them. They fail at once instead, and say so.

mod backend;
mod cells;
mod error;
mod file;
mod lent;
mod options;
mod session;
mod wake;

use integrations_core::value::TablePrefix;
use integrations_store_sql::SqlStore;
pub use integrations_store_sql::{
    Migration, OpenError, PublishedFile, SchemaState, clock::SystemClock,
};
pub use sqlx;

pub use self::{
    backend::SqliteBackend,
    lent::SqliteLent,
    options::{SqliteStoreOptions, Synchronous},
};

/// The store. [`connect`](Self::connect) and [`from_pools`](Self::from_pools) begin it.
pub type SqliteStore = SqlStore<SqliteBackend>;

/// The migrations, oldest first.
pub const MIGRATIONS: &[Migration] = &[Migration::new(
    1,
    "init",
    include_str!("../migrations/0001_init.sql"),
)];

/// The files of the migrations newer than version `since`, which is 0 for all, under a prefix.
#[must_use]
pub fn published(prefix: &TablePrefix, since: i64) -> Vec<PublishedFile> {
    integrations_store_sql::migration::published(
        MIGRATIONS,
        integrations_store_sql::Dialect::Sqlite,
        prefix,
        since,
    )
}
