//! What a database said, sorted by what can be done about it.

use std::error::Error;

use integrations_core::store::{Rejected, StoreError, StoreErrorKind};

/// What kind of failure a database reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlErrorKind {
    /// A unique index or primary key.
    Unique,
    /// A foreign key.
    ForeignKey,
    /// A value that does not fit its column: length check, overflow, malformed text.
    Data,
    /// Another constraint.
    Constraint,
    /// A deadlock, a serialisation failure, or a snapshot that went stale: run it again.
    Transient,
    /// The database was locked for longer than the busy time-out, or the pool gave out.
    Busy,
    /// No connection.
    Unavailable,
    /// A statement or lock time-out.
    Timeout,
    /// A table or column is missing.
    Schema,
    /// Anything else.
    Other,
}

/// A failed statement. The driver's error is kept behind it.
#[derive(Debug)]
pub struct SqlError {
    /// What kind of failure.
    pub kind: SqlErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
    stored: Option<StoreError>,
}

impl SqlError {
    /// Sorts a driver's error.
    #[must_use]
    pub fn new(kind: SqlErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: Some(source.into()),
            stored: None,
        }
    }

    /// The entry of a batch is to blame, and this is why.
    #[must_use]
    pub const fn rejection(&self) -> Option<Rejected> {
        match self.kind {
            SqlErrorKind::ForeignKey => Some(Rejected::MissingReference),
            SqlErrorKind::Data => Some(Rejected::DoesNotFit),
            SqlErrorKind::Constraint | SqlErrorKind::Unique => Some(Rejected::Constraint),
            _ => None,
        }
    }

    /// Whether the transaction should simply be run again.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.kind, SqlErrorKind::Transient)
    }
}

impl From<StoreError> for SqlError {
    fn from(error: StoreError) -> Self {
        Self {
            kind: SqlErrorKind::Other,
            source: None,
            stored: Some(error),
        }
    }
}

impl From<SqlError> for StoreError {
    fn from(error: SqlError) -> Self {
        if let Some(stored) = error.stored {
            return stored;
        }
        let (kind, message) = match error.kind {
            SqlErrorKind::Unique => (StoreErrorKind::Constraint, "there is such a row already"),
            SqlErrorKind::ForeignKey => (
                StoreErrorKind::Constraint,
                "a row that is referred to does not exist",
            ),
            SqlErrorKind::Data => (
                StoreErrorKind::Constraint,
                "a value does not fit its column",
            ),
            SqlErrorKind::Constraint => {
                (StoreErrorKind::Constraint, "a rule of the schema is broken")
            }
            SqlErrorKind::Transient => (
                StoreErrorKind::Conflict,
                "other writers were in the way for too long; try again",
            ),
            SqlErrorKind::Busy => (
                StoreErrorKind::Unavailable,
                "the database is busy; try again later",
            ),
            SqlErrorKind::Unavailable => (
                StoreErrorKind::Unavailable,
                "the database cannot be reached",
            ),
            SqlErrorKind::Timeout => (StoreErrorKind::Timeout, "the database took too long"),
            SqlErrorKind::Schema => (
                StoreErrorKind::SchemaMismatch,
                "a table or column is missing; run `integrations migrate`",
            ),
            SqlErrorKind::Other => (StoreErrorKind::Other, "the database refused a statement"),
        };
        let stored = Self::new(kind, message);
        match error.source {
            Some(source) => stored.with_source(source),
            None => stored,
        }
    }
}
