//! [`SqliteBackend`]: a pool that writes and one that reads.

use std::sync::Arc;

use async_trait::async_trait;
use integrations_core::{time::Clock, wake::Wake};
use integrations_store_sql::{
    Backend, Dialect, OwnCommit, Session, SqlError,
    adapter::{Adapter, OpenError, Pooled},
    at_hand::AtHand,
    backend::{NumberLock, Plans},
    clock::SystemClock,
    migration::Migration,
};
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use crate::{
    error::sorted,
    lent::{Lending, SqliteLent},
    options::SqliteStoreOptions,
    session::{InTransaction, Single},
    wake::SqliteWake,
};

/// The connections of a store: one that writes, and some that read.
#[derive(Debug)]
pub struct SqliteBackend {
    write: AtHand<Sqlite>,
    read: AtHand<Sqlite>,
    lending: Lending,
    clock: Arc<SystemClock>,
    wake: SqliteWake,
}

impl SqliteBackend {
    pub(crate) fn new(write: AtHand<Sqlite>, read: AtHand<Sqlite>) -> Self {
        Self {
            wake: SqliteWake::new(read.pool().connect_options()),
            write,
            read,
            lending: Lending::default(),
            clock: Arc::new(SystemClock::new()),
        }
    }
}

#[async_trait]
impl Backend for SqliteBackend {
    const DIALECT: Dialect = Dialect::Sqlite;

    async fn read(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        Ok(Box::new(Single(self.read.take().await.map_err(sorted)?)))
    }

    async fn write(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        Ok(Box::new(Single(self.write.take().await.map_err(sorted)?)))
    }

    async fn begin(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        let connection = self.write.take().await.map_err(sorted)?;
        Ok(Box::new(InTransaction::begin(connection).await?))
    }

    async fn begin_batch(
        &self,
        _plans: Plans,
        _locks: &[NumberLock],
    ) -> Result<Box<dyn Session + '_>, SqlError> {
        self.begin().await
    }
}

/// There is one writer, so nothing is kept apart: what could only wait for a lent transaction
/// fails at once.
#[async_trait]
impl OwnCommit for SqliteBackend {
    async fn write_apart(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        self.lending.refuse_if_lent()?;
        self.write().await
    }

    async fn begin_apart(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        self.lending.refuse_if_lent()?;
        self.begin().await
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::<SystemClock>::clone(&self.clock)
    }

    fn wake(&self) -> &dyn Wake {
        &self.wake
    }
}

impl Adapter for SqliteBackend {
    const MIGRATIONS: &'static [Migration] = crate::MIGRATIONS;
    type Options = SqliteStoreOptions;
    type Connection = SqliteConnection;
    type Lent<'t> = SqliteLent<'t>;

    fn options(url: &str) -> Result<SqliteStoreOptions, OpenError> {
        SqliteStoreOptions::for_url(url)
    }

    fn lend<'t>(&self, connection: &'t mut SqliteConnection) -> SqliteLent<'t> {
        SqliteLent::new(connection, &self.lending)
    }
}

impl Pooled<(SqlitePool, SqlitePool)> for SqliteBackend {
    fn options_over((write, read): (SqlitePool, SqlitePool)) -> SqliteStoreOptions {
        SqliteStoreOptions::over(write, read)
    }
}
