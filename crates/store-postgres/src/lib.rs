//! [`PgStore`]: the storage ports of the `integrations` layer on PostgreSQL 13 and later.
//!
//! ```no_run
//! use integrations_store_postgres::{OpenError, PgStore, sqlx::PgPool};
//!
//! # async fn example(pool: PgPool) -> Result<(), OpenError> {
//! PgStore::from_pool(pool.clone()).prefix("billing")?.migrate().await?;
//! let store = PgStore::from_pool(pool).prefix("billing")?.open().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Opening a store checks the schema and never changes it. Tables begin with the prefix, so
//! several stores share a database.
//!
//! # In the application's transaction
//!
//! [`within`](PgStore::within) gives mappings, the operation log and the settlements of items and
//! webhooks inside a transaction of the application's own. What must outlive a rollback is not
//! among them:
//!
//! ```no_run
//! use integrations_core::mapping::MappingStore;
//! # use integrations_store_postgres::{PgStore, sqlx::{PgPool, Error}};
//!
//! # async fn example(store: PgStore, pool: PgPool) -> Result<(), Error> {
//! let mut tx = pool.begin().await?;
//! let within = store.within(&mut tx);
//! let mappings: &dyn MappingStore = &within;
//! # Ok(())
//! # }
//! ```
//!
//! ```compile_fail,E0277
//! use integrations_core::idempotency::IdempotencyLedger;
//! # use integrations_store_postgres::{PgStore, sqlx::{PgPool, Error}};
//!
//! # async fn example(store: PgStore, pool: PgPool) -> Result<(), Error> {
//! let mut tx = pool.begin().await?;
//! let within = store.within(&mut tx);
//! let ledger: &dyn IdempotencyLedger = &within;
//! # Ok(())
//! # }
//! ```
//!
//! # Behind a proxy
//!
//! A proxy that pools by transaction loses prepared statements between two round trips; open the
//! store with [`prepared_statements(false)`](PgStoreOptions::prepared_statements) then. Nor can
//! wake-ups be heard through it: name the server itself by
//! [`listen_url`](PgStoreOptions::listen_url), or workers find new work when they next look.
//!
//! # A pool of the application's own
//!
//! Connections that [`connect`](PgStore::connect) opens run with `jit = off`: compiling a claim
//! takes far longer than running it. Set it on a pool that is passed in, too. sqlx leaves Nagle's
//! algorithm on, which together with TLS delays statements of many kilobytes by about 40 ms each
//! on a loopback connection; a Unix socket, or `sslmode=disable` where the network is trusted,
//! does not.

mod arguments;
mod backend;
mod cells;
mod error;
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

pub use self::{backend::PgBackend, lent::PgLent, options::PgStoreOptions};

/// The store. [`connect`](Self::connect) and [`from_pool`](Self::from_pool) begin it.
pub type PgStore = SqlStore<PgBackend>;

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
        integrations_store_sql::Dialect::Postgres,
        prefix,
        since,
    )
}
