//! Working inside a caller's transaction.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use integrations_core::store::{StoreError, StoreErrorKind};
use integrations_store_sql::{
    Backend, Dialect, Session, SqlError,
    backend::{NumberLock, Plans},
};
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::session::{InTransaction, Single};

/// How many transactions of callers a store works in at present.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lending(Arc<AtomicUsize>);

impl Lending {
    /// Refuses what could only wait for a transaction that is lent.
    pub(crate) fn refuse_if_lent(&self) -> Result<(), SqlError> {
        if self.0.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let why = "SQLite has one writer, and a transaction that was lent to `within` is it: drop \
            the store it gave, or commit, before a call with an idempotency key, a request or a \
            lease";
        Err(StoreError::new(StoreErrorKind::Unsupported, why).into())
    }

    fn lend(&self) -> Lease {
        self.0.fetch_add(1, Ordering::AcqRel);
        Lease(self.clone())
    }
}

/// Counts as one transaction until it is dropped.
#[derive(Debug)]
struct Lease(Lending);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A caller's transaction, with a savepoint for each of ours.
#[derive(Debug)]
pub struct SqliteLent<'t> {
    connection: Mutex<&'t mut SqliteConnection>,
    _lease: Lease,
}

impl<'t> SqliteLent<'t> {
    pub(crate) fn new(connection: &'t mut SqliteConnection, lending: &Lending) -> Self {
        Self {
            connection: Mutex::new(connection),
            _lease: lending.lend(),
        }
    }

    /// The connection, once no other call of this store uses it.
    async fn lock(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, SqlError> {
        let guard = self.connection.lock().await;
        let connection = MutexGuard::map(guard, |connection| &mut **connection);
        if connection.is_in_transaction() {
            return Ok(connection);
        }
        let why =
            "`within` was given a connection that is in no transaction: begin one on it first";
        Err(StoreError::new(StoreErrorKind::Unsupported, why).into())
    }
}

#[async_trait]
impl Backend for SqliteLent<'_> {
    const DIALECT: Dialect = Dialect::Sqlite;

    async fn read(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        Ok(Box::new(Single(self.lock().await?)))
    }

    /// A statement that fails takes back its own changes only, so it needs no savepoint.
    async fn write(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        Ok(Box::new(Single(self.lock().await?)))
    }

    async fn begin(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        Ok(Box::new(InTransaction::begin(self.lock().await?).await?))
    }

    async fn begin_batch(
        &self,
        _plans: Plans,
        _locks: &[NumberLock],
    ) -> Result<Box<dyn Session + '_>, SqlError> {
        self.begin().await
    }
}
