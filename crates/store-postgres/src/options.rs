//! How to open a [`PgStore`].

use std::{str::FromStr as _, time::Duration};

use integrations_core::{
    store::{StoreError, StoreErrorKind},
    value::TablePrefix,
};
use integrations_store_sql::{
    adapter::{self, OpenError},
    at_hand::AtHand,
    migration::Migration,
};
use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{PgStore, backend::PgBackend, error::sorted, session::Prepared, wake::PgWake};

const URL_FORM: &str = "postgres://user@host:5432/database";

/// Where the pool comes from.
#[derive(Clone)]
enum Source {
    Url(Box<PgConnectOptions>),
    Pool(PgPool),
}

/// How to open a [`PgStore`]; [`PgStore::connect`] and [`PgStore::from_pool`] begin with the
/// defaults.
#[derive(Clone)]
#[must_use = "options do nothing until they are opened"]
pub struct PgStoreOptions {
    source: Source,
    prefix: TablePrefix,
    connections: u32,
    apart: u32,
    prepared: Prepared,
    listen: Option<Box<PgConnectOptions>>,
    acquire_timeout: Duration,
}

impl std::fmt::Debug for PgStoreOptions {
    /// Without the source, which knows the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgStoreOptions")
            .field("prefix", &self.prefix)
            .field("connections", &self.connections)
            .field("apart", &self.apart)
            .field("prepared", &self.prepared)
            .field("acquire_timeout", &self.acquire_timeout)
            .finish_non_exhaustive()
    }
}

impl PgStoreOptions {
    pub(crate) fn for_url(url: &str) -> Result<Self, OpenError> {
        Ok(Self::from_source(Source::Url(Box::new(parse(url)?))))
    }

    pub(crate) fn over(pool: PgPool) -> Self {
        Self::from_source(Source::Pool(pool))
    }

    fn from_source(source: Source) -> Self {
        Self {
            source,
            prefix: TablePrefix::default(),
            connections: 10,
            apart: 4,
            prepared: Prepared::Kept,
            listen: None,
            acquire_timeout: Duration::from_secs(10),
        }
    }

    /// What the tables begin with; `integration` by default.
    ///
    /// # Errors
    ///
    /// Returns [`OpenError::InvalidPrefix`] when `prefix` could not begin a table's name.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Result<Self, OpenError> {
        self.prefix = TablePrefix::new(prefix)?;
        Ok(self)
    }

    /// The most connections of the pool, 10 by default. An application's own pool keeps its own
    /// number.
    pub const fn max_connections(mut self, connections: u32) -> Self {
        self.connections = connections;
        self
    }

    /// The most connections kept apart for the ledger, the journal and leases; 4 by default.
    pub const fn apart_connections(mut self, connections: u32) -> Self {
        self.apart = connections;
        self
    }

    /// Whether the server keeps prepared statements, as it does by default.
    ///
    /// `false` is for proxies that pool by transaction. Every statement then runs in a transaction
    /// and is prepared each time, which takes four round trips instead of one.
    pub const fn prepared_statements(mut self, kept: bool) -> Self {
        self.prepared = if kept {
            Prepared::Kept
        } else {
            Prepared::Never
        };
        self
    }

    /// Where wake-ups of other processes are heard: a URL that leads to the server itself, without
    /// a proxy that pools by transaction.
    ///
    /// Without one it is that of the store, unless
    /// [`prepared_statements(false)`](Self::prepared_statements) says that there is such a proxy.
    /// One connection is opened, and only while somebody listens.
    ///
    /// # Errors
    ///
    /// Returns [`OpenError::InvalidUrl`] when `url` is none of this database's.
    pub fn listen_url(mut self, url: &str) -> Result<Self, OpenError> {
        self.listen = Some(Box::new(parse(url)?));
        Ok(self)
    }

    /// How long to wait for a connection, 10 s by default. An application's own pool keeps its
    /// own time.
    pub const fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout;
        self
    }

    /// Opens the store: connects, checks the schema without changing it, and sets the clock by
    /// the database's.
    ///
    /// # Errors
    ///
    /// Returns an [`OpenError`] when there is no connection, or the schema is not one that this
    /// build works with.
    pub async fn open(self) -> Result<PgStore, OpenError> {
        let mut backend = self.backend().await?;
        backend.follow_clock().await?;
        backend.send_rings();
        PgStore::checked(backend, self.prefix).await
    }

    /// Brings the schema up, and says which migrations that took; none when it is up to date.
    ///
    /// Any number of processes may do so at once.
    ///
    /// # Errors
    ///
    /// Returns an [`OpenError`] when there is no connection, the schema is not ours, or a
    /// migration fails.
    pub async fn migrate(self) -> Result<Vec<Migration>, OpenError> {
        adapter::migrate(&self.backend().await?, self.prefix).await
    }

    /// What [`migrate`](Self::migrate) would apply. Changes nothing.
    ///
    /// # Errors
    ///
    /// As [`migrate`](Self::migrate).
    pub async fn pending(self) -> Result<Vec<Migration>, OpenError> {
        adapter::pending(&self.backend().await?, self.prefix).await
    }

    async fn backend(&self) -> Result<PgBackend, OpenError> {
        let (pool, options) = match &self.source {
            Source::Pool(pool) => (
                AtHand::sharing(pool.clone()),
                self.adjusted((*pool.connect_options()).clone()),
            ),
            Source::Url(options) => {
                let options = self.adjusted((**options).clone());
                self.try_once(&options).await?;
                let pool = self
                    .pool(self.connections)
                    .connect_lazy_with(options.clone());
                (AtHand::keeping(pool), options)
            }
        };
        let direct = match (&self.listen, self.prepared) {
            (Some(direct), _) => Some((**direct).clone()),
            (None, Prepared::Kept) => Some(options.clone()),
            (None, Prepared::Never) => None,
        };
        let apart = AtHand::keeping(self.pool(self.apart).connect_lazy_with(options));
        let wake = PgWake::new(&self.prefix, apart.clone(), direct);
        Ok(PgBackend::new(pool, apart, self.prepared, wake))
    }

    fn adjusted(&self, options: PgConnectOptions) -> PgConnectOptions {
        match self.prepared {
            // Compiling a statement takes longer than any of ours runs; the planner, which cannot know
            // how early a limit ends one, would have claims on a long queue compiled each time.
            Prepared::Kept => options.options([("jit", "off")]),
            // Proxies refuse start-up parameters that they do not know, such as this one.
            Prepared::Never => options.statement_cache_capacity(0).extra_float_digits(None),
        }
    }

    fn pool(&self, connections: u32) -> PgPoolOptions {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(self.acquire_timeout)
            // Saves a round trip each time. A connection that broke fails its first statement.
            .test_before_acquire(false)
    }

    /// Connects without the pool, which would try again and again until its time-out, and then
    /// not say why.
    async fn try_once(&self, options: &PgConnectOptions) -> Result<(), OpenError> {
        let connect = PgConnection::connect_with(options);
        let connection = tokio::time::timeout(self.acquire_timeout, connect)
            .await
            .map_err(|_| {
                OpenError::Connect(StoreError::new(
                    StoreErrorKind::Timeout,
                    "the server did not answer in time",
                ))
            })?
            .map_err(|error| OpenError::Connect(sorted(error).into()))?;
        // Whether it says good-bye makes no difference.
        let _ = connection.close().await;
        Ok(())
    }
}

/// The driver's own error is left out: it may quote what it could not read.
fn parse(url: &str) -> Result<PgConnectOptions, OpenError> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(OpenError::InvalidUrl(URL_FORM));
    }
    PgConnectOptions::from_str(url).map_err(|_| OpenError::InvalidUrl(URL_FORM))
}
