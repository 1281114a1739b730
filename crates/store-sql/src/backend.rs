//! What an adapter brings: connections and transactions.

use async_trait::async_trait;

use crate::{dialect::Dialect, error::SqlError, row::Row, statement::Statement};

/// A connection, or a transaction on one.
#[async_trait]
pub trait Session: Send {
    /// Runs a statement and reads all its rows.
    ///
    /// # Errors
    ///
    /// Returns a [`SqlError`]; a transaction is then good for nothing but being dropped.
    async fn query(&mut self, statement: Statement) -> Result<Vec<Row>, SqlError>;

    /// Runs a statement; how many rows it changed.
    ///
    /// # Errors
    ///
    /// Returns a [`SqlError`]; a transaction is then good for nothing but being dropped.
    async fn execute(&mut self, statement: Statement) -> Result<u64, SqlError>;

    /// Runs statements without values, one after the other, in a transaction.
    ///
    /// # Errors
    ///
    /// Returns a [`SqlError`]; the transaction is then good for nothing but being dropped.
    async fn script(&mut self, sql: &str) -> Result<(), SqlError>;

    /// Commits a transaction; does nothing for a plain connection. Dropping rolls back.
    ///
    /// # Errors
    ///
    /// Returns a [`SqlError`] when it is not certain that the transaction was committed.
    async fn commit(self: Box<Self>) -> Result<(), SqlError>;

    /// Rolls a transaction back and waits for it; does nothing for a plain connection. One that
    /// cannot be rolled back ends with its connection.
    async fn rollback(self: Box<Self>);
}

/// A lock by a number, which all who use it know, until a transaction ends. The one writer of
/// SQLite needs none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumberLock {
    /// The number.
    pub number: i64,
    /// Whether it keeps out only those who do not share it.
    pub shared: bool,
}

/// How the statements of a transaction over lists of rows are planned, where the database would
/// else keep a plan it made while a table was small, and read all of it ever after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plans {
    /// Anew each time, for the values they run with.
    Fresh,
    /// Once: rows are looked up one by one, or read in order, in an index, however large or small
    /// its table. For statements whose conditions, or order, only one index serves.
    ByKey,
}

/// Where sessions come from.
///
/// A backend over a pool commits on its own. One over a caller's connection works inside the
/// caller's transaction, with a savepoint for each of ours.
#[async_trait]
pub trait Backend: Send + Sync {
    /// The dialect it speaks.
    const DIALECT: Dialect;

    /// A connection for reading. Statements see what is committed.
    ///
    /// # Errors
    ///
    /// Returns a [`SqlError`] when there is none to be had.
    async fn read(&self) -> Result<Box<dyn Session + '_>, SqlError>;

    /// A connection for single statements that commit as they run.
    ///
    /// # Errors
    ///
    /// Returns a [`SqlError`] when there is none to be had.
    async fn write(&self) -> Result<Box<dyn Session + '_>, SqlError>;

    /// A transaction that may write. On SQLite it holds the write lock from the beginning.
    ///
    /// # Errors
    ///
    /// Returns a [`SqlError`] when there is none to be had.
    async fn begin(&self) -> Result<Box<dyn Session + '_>, SqlError>;

    /// A transaction as of [`begin`](Self::begin) for statements over lists of rows. It has
    /// `locks` before its first statement sees anything: what was done under them is then visible.
    ///
    /// # Errors
    ///
    /// Returns a [`SqlError`] when there is none to be had.
    async fn begin_batch(
        &self,
        plans: Plans,
        locks: &[NumberLock],
    ) -> Result<Box<dyn Session + '_>, SqlError>;
}

/// A [`Backend`] whose transactions are its own: what it commits stays, whatever a caller's
/// transaction comes to. Only such a store has a ledger, a journal and leases.
///
/// Their statements run on connections kept apart for them, so that a caller who holds the last
/// pooled connection cannot wait for itself.
#[async_trait]
pub trait OwnCommit: Backend + 'static {
    /// [`Backend::write`] on a connection kept apart.
    ///
    /// # Errors
    ///
    /// Returns a [`SqlError`] when there is none to be had.
    async fn write_apart(&self) -> Result<Box<dyn Session + '_>, SqlError>;

    /// [`Backend::begin`] on a connection kept apart.
    ///
    /// # Errors
    ///
    /// Returns a [`SqlError`] when there is none to be had.
    async fn begin_apart(&self) -> Result<Box<dyn Session + '_>, SqlError>;

    /// The clock of everyone who shares the database.
    fn clock(&self) -> std::sync::Arc<dyn integrations_core::time::Clock>;

    /// Rings for everyone who shares the database.
    fn wake(&self) -> &dyn integrations_core::wake::Wake;
}
