//! Ids, allocated before the insert.
//!
//! `RETURNING` promises no order, so rows are given their ids beforehand, and a batch can answer
//! in the order it was given. Sequences are asked for blocks, so that most inserts ask for none.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use integrations_core::value::TablePrefix;
use tokio::time::Instant;

use crate::{
    backend::{Backend, OwnCommit, Session},
    dialect::Dialect,
    error::SqlError,
    statement::{Statement, Statements, Template, table_name},
};

/// How many ids are taken at least.
const BLOCK: usize = 64;

/// How many batches like the present one a block is for, so that batches do not ask each time.
const BATCHES: usize = 8;

/// How many ids are kept at most.
const MAX_BLOCK: usize = 1024;

/// How long a block may wait. Retention walks ids in the belief that their order is that of
/// time, so one that waited would hide younger rows.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Blocks of ids that were allocated and not used yet.
#[derive(Debug)]
pub struct IdBlocks {
    blocks: Mutex<HashMap<&'static str, (Instant, Vec<i64>)>>,
    size: usize,
}

impl Default for IdBlocks {
    fn default() -> Self {
        Self::new()
    }
}

impl IdBlocks {
    /// Takes ids in blocks.
    #[must_use]
    pub fn new() -> Self {
        Self {
            blocks: Mutex::default(),
            size: BLOCK,
        }
    }

    /// Takes just the ids that are needed: inside a caller's transaction, whose rollback could
    /// take a block back.
    #[must_use]
    pub fn exact() -> Self {
        Self {
            blocks: Mutex::default(),
            size: 0,
        }
    }

    /// `count` ids of a logical table, ascending, on a session of the backend's own.
    ///
    /// # Errors
    ///
    /// Returns a [`SqlError`] when the sequence cannot be reached.
    pub async fn take<B: Backend>(
        &self,
        backend: &B,
        statements: &Statements,
        table: &'static str,
        count: usize,
    ) -> Result<Vec<i64>, SqlError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        if let Some(ids) = self.kept(table, count) {
            return Ok(ids);
        }
        // A sequence moves without a transaction; SQLite's is a row.
        let session = match B::DIALECT {
            Dialect::Postgres => backend.write().await?,
            Dialect::Sqlite => backend.begin().await?,
        };
        self.refill(session, statements, table, count).await
    }

    /// The same on a connection kept apart, for what must not wait for the pool its caller uses.
    ///
    /// # Errors
    ///
    /// Returns a [`SqlError`] when the sequence cannot be reached.
    pub async fn take_apart<B: OwnCommit>(
        &self,
        backend: &B,
        statements: &Statements,
        table: &'static str,
        count: usize,
    ) -> Result<Vec<i64>, SqlError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        if let Some(ids) = self.kept(table, count) {
            return Ok(ids);
        }
        let session = match B::DIALECT {
            Dialect::Postgres => backend.write_apart().await?,
            Dialect::Sqlite => backend.begin_apart().await?,
        };
        self.refill(session, statements, table, count).await
    }

    /// Takes `count` ids, and keeps some more for later.
    async fn refill(
        &self,
        mut session: Box<dyn Session + '_>,
        statements: &Statements,
        table: &'static str,
        count: usize,
    ) -> Result<Vec<i64>, SqlError> {
        let wanted = match self.size {
            // A process that inserts once takes what it needs; one that goes on, blocks.
            size if size == 0 || !self.is_busy(table) => count,
            size => (count * BATCHES).clamp(size, MAX_BLOCK).max(count),
        };
        let mut ids = allocate(&mut *session, statements, table, wanted).await?;
        session.commit().await?;
        let rest = ids.split_off(count);
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.insert(table, (Instant::now(), rest));
        Ok(ids)
    }

    /// Whether the last block of a table was taken a moment ago.
    fn is_busy(&self, table: &'static str) -> bool {
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        (blocks.get(table)).is_some_and(|(taken_at, _)| taken_at.elapsed() <= MAX_AGE)
    }

    fn kept(&self, table: &'static str, count: usize) -> Option<Vec<i64>> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken_at, ids) = blocks.get_mut(table)?;
        if ids.len() < count || taken_at.elapsed() > MAX_AGE {
            return None;
        }
        let rest = ids.split_off(count);
        Some(std::mem::replace(ids, rest))
    }
}

/// Allocates `count` ids on a session.
async fn allocate(
    session: &mut dyn Session,
    statements: &Statements,
    table: &'static str,
    count: usize,
) -> Result<Vec<i64>, SqlError> {
    const NEXT: Template = Template::each(
        // `OFFSET 0` keeps the sequence from being looked up again for each id.
        "SELECT jsonb_agg(nextval(s.name)) AS ids FROM (SELECT \
         pg_get_serial_sequence($1, 'id')::regclass AS name OFFSET 0) AS s, \
         generate_series(1, $2)",
        "UPDATE sqlite_sequence SET seq = seq + $2 WHERE name = $1 RETURNING seq AS id",
    );
    const FIRST: Template = Template::both(
        "INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2) RETURNING seq AS id",
    );
    let name = table_name(statements.prefix(), table);
    let count_bound = i64::try_from(count).unwrap_or(i64::MAX);
    let next = |template: &Template| -> Statement {
        statements
            .of(template)
            .bind(name.as_str())
            .bind(count_bound)
    };
    let mut rows = session.query(next(&NEXT)).await?;
    if statements.dialect() == Dialect::Postgres {
        let Some(row) = rows.first() else {
            return Ok(Vec::new());
        };
        let ids: serde_json::Value = row.get("ids")?;
        let mut ids: Vec<i64> = serde_json::from_value(ids).map_err(|_| row.corrupt("ids"))?;
        ids.sort_unstable();
        return Ok(ids);
    }
    if rows.is_empty() {
        // The table has never had a row: AUTOINCREMENT has not made its entry yet.
        rows = session.query(next(&FIRST)).await?;
    }
    let last: i64 = match rows.first() {
        Some(row) => row.get("id")?,
        None => 0,
    };
    Ok((last - count_bound + 1..=last).collect())
}

/// The name of a table under a prefix, for messages and tools.
#[must_use]
pub fn qualified(prefix: &TablePrefix, table: &str) -> String {
    table_name(prefix, table)
}
