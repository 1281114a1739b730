//! Working inside a caller's transaction.

use async_trait::async_trait;
use integrations_core::store::{StoreError, StoreErrorKind};
use integrations_store_sql::{
    Backend, Dialect, Session, SqlError,
    backend::{NumberLock, Plans},
};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::session::{BEGIN, InTransaction, Prepared, Single, lock_text};

/// A caller's transaction, with a savepoint for each of ours.
#[derive(Debug)]
pub struct PgLent<'t> {
    connection: Mutex<&'t mut PgConnection>,
    prepared: Prepared,
}

impl<'t> PgLent<'t> {
    pub(crate) fn new(connection: &'t mut PgConnection, prepared: Prepared) -> Self {
        Self {
            connection: Mutex::new(connection),
            prepared,
        }
    }

    /// The connection, once no other call of this store uses it.
    async fn lock(&self) -> Result<MappedMutexGuard<'_, PgConnection>, SqlError> {
        let guard = self.connection.lock().await;
        let connection = MutexGuard::map(guard, |connection| &mut **connection);
        if connection.is_in_transaction() {
            return Ok(connection);
        }
        let why =
            "`within` was given a connection that is in no transaction: begin one on it first";
        Err(StoreError::new(StoreErrorKind::Unsupported, why).into())
    }

    async fn single(&self, wrapped: bool) -> Result<Box<dyn Session + '_>, SqlError> {
        Ok(Box::new(Single {
            connection: self.lock().await?,
            prepared: self.prepared,
            wrapped,
        }))
    }
}

#[async_trait]
impl Backend for PgLent<'_> {
    const DIALECT: Dialect = Dialect::Postgres;

    async fn read(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        self.single(false).await
    }

    async fn write(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        self.single(true).await
    }

    async fn begin(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        let connection = self.lock().await?;
        Ok(Box::new(
            InTransaction::begin(connection, self.prepared, BEGIN).await?,
        ))
    }

    /// The settings of the transaction are its owner's.
    async fn begin_batch(
        &self,
        _plans: Plans,
        locks: &[NumberLock],
    ) -> Result<Box<dyn Session + '_>, SqlError> {
        let mut session = self.begin().await?;
        for lock in locks {
            session.script(&lock_text(*lock)).await?;
        }
        Ok(session)
    }
}
