//! How to open a [`SqliteStore`].

use std::{str::FromStr as _, time::Duration};

use integrations_core::{
    store::{StoreError, StoreErrorKind},
    time::{Clock as _, later},
    value::TablePrefix,
};
use integrations_store_sql::{
    SchemaState,
    adapter::{self, OpenError},
    at_hand::AtHand,
    clock::SystemClock,
    migration::Migration,
};
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    SqliteStore,
    backend::SqliteBackend,
    error::{is_busy, sorted},
    file::create_private,
};

const URL_FORM: &str = "sqlite://integrations.db or sqlite:///var/lib/app/integrations.db";

/// How long the change to WAL mode waits between two tries, and how often it tries. SQLite does
/// not wait for that lock by itself.
const WAL_WAIT: Duration = Duration::from_millis(20);
const WAL_TRIES: u32 = 250;

/// How sure a commit is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// A commit outlives a loss of power.
    #[default]
    Full,
    /// A loss of power may take back the last commits, all of one or none. Calls made under an
    /// idempotency key could then be made twice.
    Normal,
}

/// Where the pools come from.
#[derive(Clone)]
enum Source {
    File(Box<SqliteConnectOptions>),
    Pools(SqlitePool, SqlitePool),
}

/// How to open a [`SqliteStore`]; [`SqliteStore::connect`] and [`SqliteStore::from_pools`] begin
/// with the defaults.
#[derive(Clone)]
#[must_use = "options do nothing until they are opened"]
pub struct SqliteStoreOptions {
    source: Source,
    prefix: TablePrefix,
    readers: u32,
    synchronous: Synchronous,
    busy_timeout: Duration,
}

impl std::fmt::Debug for SqliteStoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStoreOptions")
            .field("prefix", &self.prefix)
            .field("readers", &self.readers)
            .field("synchronous", &self.synchronous)
            .field("busy_timeout", &self.busy_timeout)
            .finish_non_exhaustive()
    }
}

impl SqliteStoreOptions {
    pub(crate) fn for_url(url: &str) -> Result<Self, OpenError> {
        if !url.starts_with("sqlite:") {
            return Err(OpenError::InvalidUrl(URL_FORM));
        }
        if url.contains(":memory:") || url.contains("mode=memory") {
            return Err(OpenError::Unsupported(
                "a database in memory is seen by one connection only: name a file, such as \
                 sqlite://integrations.db",
            ));
        }
        let options =
            SqliteConnectOptions::from_str(url).map_err(|_| OpenError::InvalidUrl(URL_FORM))?;
        if options.get_filename().as_os_str().is_empty() {
            return Err(OpenError::InvalidUrl(URL_FORM));
        }
        Ok(Self::from_source(Source::File(Box::new(options))))
    }

    pub(crate) fn over(write: SqlitePool, read: SqlitePool) -> Self {
        Self::from_source(Source::Pools(write, read))
    }

    fn from_source(source: Source) -> Self {
        Self {
            source,
            prefix: TablePrefix::default(),
            readers: 4,
            synchronous: Synchronous::default(),
            busy_timeout: Duration::from_secs(10),
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

    /// How many connections read, 4 by default. An application's own pool keeps its own number.
    pub const fn readers(mut self, readers: u32) -> Self {
        self.readers = readers;
        self
    }

    /// How sure a commit is. An application's own pools keep what they were made with.
    pub const fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// How long to wait for another writer, 10 s by default, and for a connection. An
    /// application's own pools keep what they were made with.
    pub const fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Opens the store and checks its schema without changing it.
    ///
    /// # Errors
    ///
    /// Returns an [`OpenError`] when the file cannot be opened, or its schema is not one that this
    /// build works with.
    pub async fn open(self) -> Result<SqliteStore, OpenError> {
        if self.is_missing() {
            return Err(OpenError::Schema(SchemaState::Empty));
        }
        SqliteStore::checked(self.backend().await?, self.prefix).await
    }

    /// Brings the schema up, and says which migrations that took; none when it is up to date.
    /// Makes the file where there is none, for its owner only.
    ///
    /// Any number of processes may do so at once.
    ///
    /// # Errors
    ///
    /// Returns an [`OpenError`] when the file cannot be opened, the schema is not ours, or a
    /// migration fails.
    pub async fn migrate(self) -> Result<Vec<Migration>, OpenError> {
        if let Source::File(options) = &self.source {
            create_private(options.get_filename()).map_err(|error| {
                let why = "the file cannot be made";
                let error = StoreError::new(StoreErrorKind::Unavailable, why).with_source(error);
                OpenError::Connect(error)
            })?;
        }
        adapter::migrate(&self.backend().await?, self.prefix).await
    }

    /// What [`migrate`](Self::migrate) would apply. Changes nothing, and makes no file.
    ///
    /// # Errors
    ///
    /// As [`migrate`](Self::migrate).
    pub async fn pending(self) -> Result<Vec<Migration>, OpenError> {
        if self.is_missing() {
            return Ok(crate::MIGRATIONS.to_vec());
        }
        adapter::pending(&self.backend().await?, self.prefix).await
    }

    fn is_missing(&self) -> bool {
        match &self.source {
            Source::File(options) => !options.get_filename().exists(),
            Source::Pools(..) => false,
        }
    }

    async fn backend(&self) -> Result<SqliteBackend, OpenError> {
        let options = match &self.source {
            Source::Pools(write, read) => {
                return Ok(SqliteBackend::new(
                    AtHand::sharing(write.clone()),
                    AtHand::sharing(read.clone()),
                ));
            }
            Source::File(options) => SqliteConnectOptions::clone(options)
                .create_if_missing(false)
                .foreign_keys(true)
                .busy_timeout(self.busy_timeout)
                .synchronous(match self.synchronous {
                    Synchronous::Full => SqliteSynchronous::Full,
                    Synchronous::Normal => SqliteSynchronous::Normal,
                }),
        };
        let write = self.pool(1).connect_lazy_with(options.clone());
        into_wal_mode(&write).await?;
        let read = self
            .pool(self.readers)
            .connect_lazy_with(options.read_only(true));
        Ok(SqliteBackend::new(
            AtHand::keeping(write),
            AtHand::keeping(read),
        ))
    }

    fn pool(&self, connections: u32) -> SqlitePoolOptions {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(self.busy_timeout)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
    }
}

/// Sees to it that readers and the writer do not wait for each other. The file remembers the mode.
async fn into_wal_mode(pool: &SqlitePool) -> Result<(), OpenError> {
    let clock = SystemClock::new();
    let mut tries = 0;
    loop {
        let changed = sqlx::query_scalar::<_, String>("PRAGMA journal_mode = WAL")
            .fetch_one(pool)
            .await;
        match changed {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => {
                return Err(OpenError::Unsupported(
                    "the file is on a file system without WAL mode: put it on a local disk",
                ));
            }
            Err(error) if is_busy(&error) && tries < WAL_TRIES => tries += 1,
            Err(error) => return Err(OpenError::Connect(sorted(error).into())),
        }
        clock.sleep_until(later(clock.now(), WAL_WAIT)).await;
    }
}
