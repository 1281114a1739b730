//! [`PgBackend`]: two pools and a clock.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    time::{Clock, later},
    wake::Wake,
};
use integrations_store_sql::{
    Backend, Dialect, OwnCommit, Session, SqlError,
    adapter::{Adapter, OpenError, Pooled},
    at_hand::{AtHand, Held as _},
    backend::{NumberLock, Plans},
    clock::DatabaseClock,
    migration::Migration,
};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, SqlSafeStr};
use tokio::task::JoinSet;

use crate::{
    error::sorted,
    lent::PgLent,
    options::PgStoreOptions,
    session::{BEGIN, InTransaction, Prepared, Single, batch},
    wake::PgWake,
};

/// How often the database's clock is looked at.
const CLOCK_EVERY: Duration = Duration::from_mins(1);

/// The connections of a store: a pool, and a small one kept apart for the ledger, the journal and
/// leases.
#[derive(Debug)]
pub struct PgBackend {
    pool: AtHand<Postgres>,
    apart: AtHand<Postgres>,
    prepared: Prepared,
    clock: Arc<DatabaseClock>,
    wake: PgWake,
    /// Ends with the backend.
    tasks: JoinSet<()>,
}

impl PgBackend {
    pub(crate) fn new(
        pool: AtHand<Postgres>,
        apart: AtHand<Postgres>,
        prepared: Prepared,
        wake: PgWake,
    ) -> Self {
        Self {
            pool,
            apart,
            prepared,
            clock: Arc::new(DatabaseClock::new()),
            wake,
            tasks: JoinSet::new(),
        }
    }

    /// How far this machine's clock is from the database's, either way.
    #[must_use]
    pub fn clock_skew(&self) -> Duration {
        self.clock.skew()
    }

    /// Sets the clock by the database's, now and every minute until the backend is dropped.
    pub(crate) async fn follow_clock(&mut self) -> Result<(), SqlError> {
        set_clock(&self.clock, &self.apart).await?;
        let (clock, pool) = (Arc::clone(&self.clock), self.apart.clone());
        self.tasks.spawn(async move {
            let system = *clock.system();
            loop {
                system.sleep_until(later(system.now(), CLOCK_EVERY)).await;
                if let Err(error) = set_clock(&clock, &pool).await {
                    tracing::debug!(?error, "the database's clock could not be read");
                }
            }
        });
        Ok(())
    }

    /// Tells other processes of what is rung, until the backend is dropped.
    pub(crate) fn send_rings(&mut self) {
        self.tasks.spawn(self.wake.sending());
    }

    async fn single(&self, pool: &AtHand<Postgres>) -> Result<Box<dyn Session + '_>, SqlError> {
        Ok(Box::new(Single {
            connection: pool.take().await.map_err(sorted)?,
            prepared: self.prepared,
            wrapped: matches!(self.prepared, Prepared::Never),
        }))
    }

    async fn transaction(
        &self,
        pool: &AtHand<Postgres>,
        begin: impl SqlSafeStr,
    ) -> Result<Box<dyn Session + '_>, SqlError> {
        let connection = pool.take().await.map_err(sorted)?;
        Ok(Box::new(
            InTransaction::begin(connection, self.prepared, begin).await?,
        ))
    }
}

/// Asks the database what time it is. The first answer also opens the connection's caches, so the
/// second, which took a single round trip, counts.
async fn set_clock(clock: &DatabaseClock, pool: &AtHand<Postgres>) -> Result<(), SqlError> {
    let mut connection = pool.take().await.map_err(sorted)?;
    connection.begins();
    read_clock(&mut connection).await?;
    let (asked, started) = (clock.system().now(), clock.monotonic());
    let answer = read_clock(&mut connection).await?;
    clock.observe(asked, answer, clock.monotonic().saturating_sub(started));
    connection.ended();
    Ok(())
}

async fn read_clock(connection: &mut PgConnection) -> Result<DateTime<Utc>, SqlError> {
    sqlx::query_scalar("SELECT clock_timestamp()")
        .persistent(false)
        .fetch_one(connection)
        .await
        .map_err(sorted)
}

#[async_trait]
impl Backend for PgBackend {
    const DIALECT: Dialect = Dialect::Postgres;

    async fn read(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        self.single(&self.pool).await
    }

    async fn write(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        self.single(&self.pool).await
    }

    async fn begin(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        self.transaction(&self.pool, BEGIN).await
    }

    async fn begin_batch(
        &self,
        plans: Plans,
        locks: &[NumberLock],
    ) -> Result<Box<dyn Session + '_>, SqlError> {
        // Nothing in it but numbers and text of our own.
        self.transaction(&self.pool, AssertSqlSafe(batch(plans, locks)))
            .await
    }
}

#[async_trait]
impl OwnCommit for PgBackend {
    async fn write_apart(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        self.single(&self.apart).await
    }

    async fn begin_apart(&self) -> Result<Box<dyn Session + '_>, SqlError> {
        self.transaction(&self.apart, BEGIN).await
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::<DatabaseClock>::clone(&self.clock)
    }

    fn wake(&self) -> &dyn Wake {
        &self.wake
    }
}

impl Adapter for PgBackend {
    const MIGRATIONS: &'static [Migration] = crate::MIGRATIONS;
    type Options = PgStoreOptions;
    type Connection = PgConnection;
    type Lent<'t> = PgLent<'t>;

    fn options(url: &str) -> Result<PgStoreOptions, OpenError> {
        PgStoreOptions::for_url(url)
    }

    fn lend<'t>(&self, connection: &'t mut PgConnection) -> PgLent<'t> {
        PgLent::new(connection, self.prepared)
    }
}

impl Pooled<PgPool> for PgBackend {
    fn options_over(pool: PgPool) -> PgStoreOptions {
        PgStoreOptions::over(pool)
    }
}
