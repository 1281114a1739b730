//! What can go wrong in a store, and what to do about it.

use std::{error::Error, fmt, sync::Arc};

/// What went wrong, by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Another writer was faster and the store's own retries are used up. Retry.
    Conflict,
    /// The value breaks a constraint of the schema. Never retry.
    Constraint,
    /// The database cannot be reached or refuses connections. Retry later.
    Unavailable,
    /// A time limit passed; the statement may or may not have taken effect. Retry later.
    Timeout,
    /// What is stored cannot be read back. Never retry; the message names the cell.
    Corrupt,
    /// The schema is not one this build works with. Never retry; migrate.
    SchemaMismatch,
    /// The call is not possible in this state or on this store. Never retry.
    Unsupported,
    /// Anything else. Never retry.
    Other,
}

impl StoreErrorKind {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Conflict | Self::Unavailable | Self::Timeout)
    }
}

/// A store could not do what it was asked. Expected outcomes are values, never this.
///
/// Cheap to clone, so that one failed batch can answer everyone who shared it.
#[derive(Clone)]
pub struct StoreError {
    /// What to do about it.
    pub kind: StoreErrorKind,
    message: Arc<str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error with a message for a person. The message MUST NOT hold a stored value.
    #[must_use]
    pub fn new(kind: StoreErrorKind, message: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The same with the error behind it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// What is stored in one cell cannot be read back.
    #[must_use]
    pub fn corrupt(table: &str, column: &str, row: Option<i64>) -> Self {
        let at = row.map_or_else(String::new, |id| format!(" of row {id}"));
        Self::new(
            StoreErrorKind::Corrupt,
            format!("`{table}.{column}`{at} holds a value this version cannot read"),
        )
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.kind.is_retryable()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

/// Why one entry of a batch was refused while others were taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// A row it refers to does not exist, or no longer does.
    #[error("a row this entry refers to does not exist")]
    MissingReference,
    /// A value is longer than its column, or of a form the column does not take.
    #[error("a value of this entry does not fit its column")]
    DoesNotFit,
    /// Another rule of the schema.
    #[error("this entry breaks a rule of the schema")]
    Constraint,
    /// The store failed when it had taken others already. Nothing is wrong with the entry: retry.
    #[error("the store failed before it took this entry; try again")]
    Unavailable,
}

/// What a batch comes to: one result per entry, in the order of the entries.
///
/// An entry that is refused fails alone. The outer error means that nothing of the batch was
/// stored; where something was, the entries that were not are [`Rejected::Unavailable`].
pub type Batch<T> = Result<Vec<Result<T, Rejected>>, StoreError>;
