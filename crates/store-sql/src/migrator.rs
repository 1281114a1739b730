//! Applying migrations, and checking what was applied.
//!
//! A runner of our own instead of the driver's: the driver locks the session, which a
//! transaction-pooling proxy does not keep, and on SQLite it does not lock at all.

use crate::{
    adapter::{Adapter, OpenError},
    backend::Session,
    dialect::Dialect,
    error::SqlError,
    migration::{Applied, Migration, SchemaState, judge},
    statement::{Statements, Template, table_name},
};

/// Applies what is missing, one transaction each, and says what that was.
///
/// Safe to be run by several processes at once: they take turns, and all succeed.
///
/// # Errors
///
/// Returns an [`OpenError`] when the schema is not ours or its newer version does not work with
/// this build, or when a statement fails; that migration then left nothing behind.
pub async fn migrate<B: Adapter>(
    backend: &B,
    statements: &Statements,
    known: &[Migration],
) -> Result<Vec<Migration>, OpenError> {
    let mut done = Vec::new();
    loop {
        let mut session = backend.begin().await?;
        take_turn(&mut *session, statements).await?;
        let applied = applied(&mut *session, statements).await?;
        let next = match judge(&applied, known) {
            SchemaState::Empty | SchemaState::Behind { .. } => known.get(applied.len()),
            state if state.is_usable() => None,
            state => return Err(OpenError::Schema(state)),
        };
        let Some(next) = next else {
            session.commit().await?;
            return Ok(done);
        };
        let script = next.render(statements.dialect(), statements.prefix());
        let ran = async {
            session.script(&script).await?;
            session.commit().await
        };
        ran.await.map_err(|error| OpenError::Migration {
            file: next.file_name(),
            source: error.into(),
        })?;
        done.push(*next);
    }
}

/// What [`migrate`] would apply.
///
/// # Errors
///
/// As [`migrate`].
pub async fn pending<B: Adapter>(
    backend: &B,
    statements: &Statements,
    known: &[Migration],
) -> Result<Vec<Migration>, OpenError> {
    let applied = applied(&mut *backend.read().await?, statements).await?;
    match judge(&applied, known) {
        SchemaState::Empty | SchemaState::Behind { .. } => {
            Ok(known.get(applied.len()..).unwrap_or_default().to_vec())
        }
        state if state.is_usable() => Ok(Vec::new()),
        state => Err(OpenError::Schema(state)),
    }
}

/// Refuses a schema that `known` does not work with.
///
/// # Errors
///
/// Returns [`OpenError::Schema`] for such a schema.
pub async fn check<B: Adapter>(
    backend: &B,
    statements: &Statements,
    known: &[Migration],
) -> Result<(), OpenError> {
    let applied = applied(&mut *backend.read().await?, statements).await?;
    let state = judge(&applied, known);
    if !state.is_usable() {
        return Err(OpenError::Schema(state));
    }
    if state != SchemaState::Current {
        tracing::warn!(prefix = %statements.prefix(), "{state}");
    }
    Ok(())
}

/// Waits until no one else migrates under this prefix, to the end of the transaction. On SQLite
/// the transaction already holds the only write lock.
async fn take_turn(session: &mut dyn Session, statements: &Statements) -> Result<(), SqlError> {
    const LOCK: Template =
        Template::both("SELECT pg_advisory_xact_lock(hashtextextended('integrations ' || $1, 0))");
    if statements.dialect() == Dialect::Postgres {
        let table = table_name(statements.prefix(), "migrations");
        session
            .query(statements.of(&LOCK).bind(table.as_str()))
            .await?;
    }
    Ok(())
}

async fn applied(
    session: &mut dyn Session,
    statements: &Statements,
) -> Result<Vec<Applied>, SqlError> {
    const EXISTS: Template = Template::each(
        "SELECT 1 AS found WHERE to_regclass($1) IS NOT NULL",
        "SELECT 1 AS found FROM sqlite_schema WHERE type = 'table' AND name = $1",
    );
    const APPLIED: Template =
        Template::both("SELECT version, checksum, minimum FROM {migrations} ORDER BY version");
    let table = table_name(statements.prefix(), "migrations");
    let exists = statements.of(&EXISTS).bind(table.as_str());
    if session.query(exists).await?.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session.query(statements.of(&APPLIED)).await?;
    let mut applied = Vec::with_capacity(rows.len());
    for row in rows {
        applied.push(Applied {
            version: row.get("version")?,
            checksum: row.get("checksum")?,
            minimum: row.get("minimum")?,
        });
    }
    Ok(applied)
}
