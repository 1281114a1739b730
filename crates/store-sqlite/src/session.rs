//! Statements on a connection, and transactions.

use std::{ops::DerefMut, sync::Arc};

use async_trait::async_trait;
use integrations_store_sql::{
    SqlError, at_hand::Held, backend::Session, row::Row, statement::Statement,
};
use sea_query::Values;
use sea_query_sqlx::SqlxValues;
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, SqlSafeStr as _, Sqlite, SqliteConnection,
    query::Query,
};
// Savepoints of a borrowed connection have to outlive a borrow; `sqlx::Transaction` cannot.
use sqlx_core::transaction::TransactionManager as _;

use crate::{cells::SqliteCells, error::sorted};

type Transactions = <Sqlite as sqlx::Database>::TransactionManager;

/// Single statements, each on its own.
pub(crate) struct Single<C>(pub(crate) C);

#[async_trait]
impl<C: Held + DerefMut<Target = SqliteConnection> + Send> Session for Single<C> {
    async fn query(&mut self, statement: Statement) -> Result<Vec<Row>, SqlError> {
        self.0.begins();
        let rows = query(&mut self.0, statement).await?;
        self.0.ended();
        Ok(rows)
    }

    async fn execute(&mut self, statement: Statement) -> Result<u64, SqlError> {
        self.0.begins();
        let changed = execute(&mut self.0, statement).await?;
        self.0.ended();
        Ok(changed)
    }

    async fn script(&mut self, sql: &str) -> Result<(), SqlError> {
        self.0.begins();
        script(&mut self.0, sql).await?;
        self.0.ended();
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), SqlError> {
        Ok(())
    }

    async fn rollback(self: Box<Self>) {}
}

/// A transaction, or a savepoint within a caller's. Dropping it rolls it back.
pub(crate) struct InTransaction<C: Held + DerefMut<Target = SqliteConnection>> {
    connection: C,
    open: bool,
}

impl<C: Held + DerefMut<Target = SqliteConnection>> InTransaction<C> {
    pub(crate) async fn begin(mut connection: C) -> Result<Self, SqlError> {
        // A transaction that became a writer later on would fail where another has written.
        let begin = (!connection.is_in_transaction()).then(|| "BEGIN IMMEDIATE".into_sql_str());
        connection.begins();
        Transactions::begin(&mut connection, begin)
            .await
            .map_err(sorted)?;
        connection.ended();
        Ok(Self {
            connection,
            open: true,
        })
    }
}

#[async_trait]
impl<C: Held + DerefMut<Target = SqliteConnection> + Send> Session for InTransaction<C> {
    async fn query(&mut self, statement: Statement) -> Result<Vec<Row>, SqlError> {
        self.connection.begins();
        let rows = query(&mut self.connection, statement).await?;
        self.connection.ended();
        Ok(rows)
    }

    async fn execute(&mut self, statement: Statement) -> Result<u64, SqlError> {
        self.connection.begins();
        let changed = execute(&mut self.connection, statement).await?;
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

impl<C: Held + DerefMut<Target = SqliteConnection>> Drop for InTransaction<C> {
    fn drop(&mut self) {
        if self.open {
            // Runs before the connection's next statement, or as it goes back to its pool.
            self.connection.begins();
            Transactions::start_rollback(&mut self.connection);
        }
    }
}

async fn query(
    connection: &mut SqliteConnection,
    statement: Statement,
) -> Result<Vec<Row>, SqlError> {
    let rows = runnable(statement).fetch_all(connection).await;
    let rows = rows.map_err(sorted)?;
    Ok(rows
        .into_iter()
        .map(|row| Row::new(SqliteCells(row)))
        .collect())
}

async fn execute(connection: &mut SqliteConnection, statement: Statement) -> Result<u64, SqlError> {
    let done = runnable(statement).execute(connection).await;
    Ok(done.map_err(sorted)?.rows_affected())
}

async fn script(connection: &mut SqliteConnection, sql: &str) -> Result<(), SqlError> {
    let sql = sqlx::raw_sql(trusted(sql.into()));
    connection.execute(sql).await.map_err(sorted)?;
    Ok(())
}

fn runnable(statement: Statement) -> Query<'static, Sqlite, SqlxValues> {
    let values = SqlxValues(Values(statement.values));
    sqlx::query_with(trusted(statement.sql), values).persistent(statement.persistent)
}

/// The one place that vouches for the text of statements: it comes from templates and sea-query,
/// and values are bound.
fn trusted(sql: Arc<str>) -> AssertSqlSafe<Arc<str>> {
    AssertSqlSafe(sql)
}
