//! Statements on a connection, and transactions.

use std::ops::DerefMut;

use async_trait::async_trait;
use integrations_store_sql::{
    SqlError,
    at_hand::Held,
    backend::{NumberLock, Plans, Session},
    row::Row,
    statement::Statement,
};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, Postgres, SqlSafeStr,
    postgres::{PgArguments, PgQueryResult, PgRow},
    query::Query,
};
// Savepoints of a borrowed connection have to outlive a borrow; `sqlx::Transaction` cannot.
use sqlx_core::transaction::TransactionManager as _;

use crate::{
    arguments::arguments,
    cells::PgCells,
    error::{is_stale_plan, sorted},
};

/// Begins a transaction. The ports count on this level, whatever the server's default is; a
/// savepoint takes that of the transaction around it.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

type Transactions = <Postgres as sqlx::Database>::TransactionManager;

/// Whether statements are prepared once and kept by the server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Prepared {
    Kept,
    Never,
}

/// The text that begins a transaction for statements over lists of rows.
///
/// A plan the server keeps knows neither how long its lists are nor how large a table has become
/// since. So it is made each time, or without whatever pays only on a small table. The locks come
/// along, and save a round trip.
pub(crate) fn batch(plans: Plans, locks: &[NumberLock]) -> String {
    let settings = match plans {
        Plans::Fresh => "SET LOCAL plan_cache_mode = force_custom_plan",
        Plans::ByKey => {
            "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off; \
             SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off; \
             SET LOCAL enable_mergejoin = off; SET LOCAL enable_material = off; \
             SET LOCAL enable_sort = off"
        }
    };
    let mut sql = format!("{BEGIN}; {settings}");
    for lock in locks {
        sql.push_str("; ");
        sql.push_str(&lock_text(*lock));
    }
    sql
}

/// The text that takes a lock.
pub(crate) fn lock_text(lock: NumberLock) -> String {
    let kind = if lock.shared { "_shared" } else { "" };
    format!("SELECT pg_advisory_xact_lock{kind}({})", lock.number)
}

/// Single statements, each on its own.
pub(crate) struct Single<C> {
    pub(crate) connection: C,
    pub(crate) prepared: Prepared,
    /// Whether each statement runs in a transaction or savepoint of its own: so that a proxy
    /// keeps its round trips together, or so that its failure leaves a caller's transaction
    /// alive.
    pub(crate) wrapped: bool,
}

#[async_trait]
impl<C: Held + DerefMut<Target = PgConnection> + Send> Session for Single<C> {
    async fn query(&mut self, statement: Statement) -> Result<Vec<Row>, SqlError> {
        let rows = if self.wrapped {
            self.connection.begins_transaction();
            let mut transaction = self.connection.begin().await.map_err(sorted)?;
            let rows = query(&mut transaction, statement, self.prepared).await?;
            transaction.commit().await.map_err(sorted)?;
            rows
        } else {
            self.connection.begins();
            query(&mut self.connection, statement, self.prepared).await?
        };
        self.connection.ended();
        Ok(rows)
    }

    async fn execute(&mut self, statement: Statement) -> Result<u64, SqlError> {
        let changed = if self.wrapped {
            self.connection.begins_transaction();
            let mut transaction = self.connection.begin().await.map_err(sorted)?;
            let changed = execute(&mut transaction, statement, self.prepared).await?;
            transaction.commit().await.map_err(sorted)?;
            changed
        } else {
            self.connection.begins();
            execute(&mut self.connection, statement, self.prepared).await?
        };
        self.connection.ended();
        Ok(changed)
    }

    async fn script(&mut self, sql: &str) -> Result<(), SqlError> {
        self.connection.begins();
        script(&mut self.connection, sql).await?;
        self.connection.ended();
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), SqlError> {
        Ok(())
    }

    async fn rollback(self: Box<Self>) {}
}

/// A transaction, or a savepoint within a caller's. Dropping it rolls it back.
pub(crate) struct InTransaction<C: Held + DerefMut<Target = PgConnection>> {
    connection: C,
    prepared: Prepared,
    open: bool,
}

impl<C: Held + DerefMut<Target = PgConnection>> InTransaction<C> {
    /// Begins one by `begin`; a savepoint where the caller's has begun.
    pub(crate) async fn begin(
        mut connection: C,
        prepared: Prepared,
        begin: impl SqlSafeStr,
    ) -> Result<Self, SqlError> {
        let begin = (!connection.is_in_transaction()).then(|| begin.into_sql_str());
        connection.begins_transaction();
        Transactions::begin(&mut connection, begin)
            .await
            .map_err(sorted)?;
        connection.ended();
        Ok(Self {
            connection,
            prepared,
            open: true,
        })
    }
}

#[async_trait]
impl<C: Held + DerefMut<Target = PgConnection> + Send> Session for InTransaction<C> {
    async fn query(&mut self, statement: Statement) -> Result<Vec<Row>, SqlError> {
        self.connection.begins();
        let rows = query(&mut self.connection, statement, self.prepared).await?;
        self.connection.ended();
        Ok(rows)
    }

    async fn execute(&mut self, statement: Statement) -> Result<u64, SqlError> {
        self.connection.begins();
        let changed = execute(&mut self.connection, statement, self.prepared).await?;
        self.connection.ended();
        Ok(changed)
    }

    async fn script(&mut self, sql: &str) -> Result<(), SqlError> {
        self.connection.begins();
        script(&mut self.connection, sql).await?;
        self.connection.ended();
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), SqlError> {
        self.connection.begins();
        Transactions::commit(&mut self.connection)
            .await
            .map_err(sorted)?;
        self.open = false;
        self.connection.ended();
        Ok(())
    }

    async fn rollback(mut self: Box<Self>) {
        let rolled_back = Transactions::rollback(&mut self.connection).await;
        self.open = rolled_back.is_err();
    }
}

impl<C: Held + DerefMut<Target = PgConnection>> Drop for InTransaction<C> {
    fn drop(&mut self) {
        if self.open {
            // Runs before the connection's next statement, or as it goes back to its pool.
            self.connection.begins();
            Transactions::start_rollback(&mut self.connection);
        }
    }
}

async fn query(
    connection: &mut PgConnection,
    statement: Statement,
    prepared: Prepared,
) -> Result<Vec<Row>, SqlError> {
    let rows: Result<Vec<PgRow>, _> = runnable(statement, prepared)?
        .fetch_all(&mut *connection)
        .await;
    let rows = judged(connection, rows).await?;
    Ok(rows.into_iter().map(|row| Row::new(PgCells(row))).collect())
}

async fn execute(
    connection: &mut PgConnection,
    statement: Statement,
    prepared: Prepared,
) -> Result<u64, SqlError> {
    let done: Result<PgQueryResult, _> = runnable(statement, prepared)?
        .execute(&mut *connection)
        .await;
    Ok(judged(connection, done).await?.rows_affected())
}

async fn script(connection: &mut PgConnection, sql: &str) -> Result<(), SqlError> {
    let sql = sqlx::raw_sql(trusted(sql.into()));
    connection.execute(sql).await.map_err(sorted)?;
    Ok(())
}

fn runnable(
    statement: Statement,
    prepared: Prepared,
) -> Result<Query<'static, Postgres, PgArguments>, SqlError> {
    let keep = statement.persistent && matches!(prepared, Prepared::Kept);
    let values = arguments(statement.values);
    let values = values.map_err(|error| sorted(sqlx::Error::Encode(error)))?;
    Ok(sqlx::query_with(trusted(statement.sql), values).persistent(keep))
}

/// The one place that vouches for the text of statements: it comes from templates and sea-query,
/// and values are bound.
fn trusted(sql: std::sync::Arc<str>) -> AssertSqlSafe<std::sync::Arc<str>> {
    AssertSqlSafe(sql)
}

/// Sorts an error. After one about a stale plan, statements are prepared anew.
async fn judged<T>(
    connection: &mut PgConnection,
    result: Result<T, sqlx::Error>,
) -> Result<T, SqlError> {
    let error = match result {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if is_stale_plan(&error) {
        connection.clear_cached_statements().await.map_err(sorted)?;
    }
    Err(sorted(error))
}
