//! What an adapter crate adds to a [`SqlStore`]: how it is opened, and how it joins a caller's
//! transaction.

use integrations_core::{
    store::StoreError,
    value::{InvalidValue, TablePrefix},
};

use crate::{
    backend::{Backend, OwnCommit},
    error::SqlError,
    ids::IdBlocks,
    migration::{Migration, SchemaState},
    migrator,
    statement::Statements,
    store::SqlStore,
};

/// A store could not be opened or migrated.
///
/// Nothing it prints holds a URL or a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL cannot be read.
    #[error("the database URL cannot be read: it should look like {0}")]
    InvalidUrl(&'static str),
    /// The prefix is not one.
    #[error(transparent)]
    InvalidPrefix(#[from] InvalidValue),
    /// The database is of a kind, or set up in a way, that the store cannot work on.
    #[error("{0}")]
    Unsupported(&'static str),
    /// There is no connection to be had.
    #[error("cannot connect to the database")]
    Connect(#[source] StoreError),
    /// The schema is missing, older, newer or someone else's.
    #[error("{0}")]
    Schema(SchemaState),
    /// A migration failed. It left nothing behind.
    #[error("migration {file} failed")]
    Migration {
        /// Its file.
        file: String,
        /// Why.
        source: StoreError,
    },
    /// A statement failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<SqlError> for OpenError {
    fn from(error: SqlError) -> Self {
        Self::Store(error.into())
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// An adapter's backend.
///
/// The types behind it are the driver's; [`SqlStore`]'s constructors name them through this.
pub trait Adapter: OwnCommit + Sized {
    /// The migrations of its dialect.
    const MIGRATIONS: &'static [Migration];
    /// How to open a store.
    type Options;
    /// The driver's connection.
    type Connection;
    /// The backend over a caller's connection.
    type Lent<'t>: Backend;

    /// Options for the database at `url`.
    ///
    /// # Errors
    ///
    /// Returns [`OpenError::InvalidUrl`] or [`OpenError::Unsupported`].
    fn options(url: &str) -> Result<Self::Options, OpenError>;

    /// Works on a caller's connection from now on.
    fn lend<'t>(&self, connection: &'t mut Self::Connection) -> Self::Lent<'t>;
}

/// An [`Adapter`] over pools that the application made: one, or a pair for writing and reading.
pub trait Pooled<P>: Adapter {
    /// Options for the database behind `pools`.
    fn options_over(pools: P) -> Self::Options;
}

impl<B: Adapter> SqlStore<B> {
    /// Connects to the database at `url` once the options are opened.
    ///
    /// # Errors
    ///
    /// Returns an [`OpenError`] when the URL is none of this database's.
    pub fn connect(url: &str) -> Result<B::Options, OpenError> {
        B::options(url)
    }

    /// Uses the application's own pool.
    pub fn from_pool<P>(pool: P) -> B::Options
    where
        B: Pooled<P>,
    {
        B::options_over(pool)
    }

    /// Uses the application's own pools, one for writing and one for reading.
    pub fn from_pools<P>(write: P, read: P) -> B::Options
    where
        B: Pooled<(P, P)>,
    {
        B::options_over((write, read))
    }

    /// The same store inside a caller's transaction: what it writes is committed or rolled back
    /// with it.
    ///
    /// It has mappings, the operation log and the settlements of items and webhooks. The ledger
    /// is not among them, nor are leases: a reservation that is rolled back with its caller's
    /// transaction is a second charge.
    pub fn within<'t>(&self, transaction: &'t mut B::Connection) -> SqlStore<B::Lent<'t>> {
        self.rebound(self.backend.lend(transaction), IdBlocks::exact())
    }

    /// A store over a backend whose schema is one that this build works with.
    ///
    /// # Errors
    ///
    /// Returns [`OpenError::Schema`] when it is not.
    pub async fn checked(backend: B, prefix: TablePrefix) -> Result<Self, OpenError> {
        let store = Self::over(backend, prefix);
        migrator::check(&store.backend, &store.statements, B::MIGRATIONS).await?;
        Ok(store)
    }
}

/// Brings the schema behind a backend up, and says which migrations that took.
///
/// # Errors
///
/// As [`migrator::migrate`].
pub async fn migrate<B: Adapter>(
    backend: &B,
    prefix: TablePrefix,
) -> Result<Vec<Migration>, OpenError> {
    let statements = Statements::new(B::DIALECT, prefix);
    migrator::migrate(backend, &statements, B::MIGRATIONS).await
}

/// What [`migrate`] would apply.
///
/// # Errors
///
/// As [`migrator::migrate`].
pub async fn pending<B: Adapter>(
    backend: &B,
    prefix: TablePrefix,
) -> Result<Vec<Migration>, OpenError> {
    let statements = Statements::new(B::DIALECT, prefix);
    migrator::pending(backend, &statements, B::MIGRATIONS).await
}
