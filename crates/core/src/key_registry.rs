//! What the database knows of keys: which are in use, and by what.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    encryptor::{KeyCheck, SealContext, Sealed, SealedColumn},
    state::define_state,
    store::StoreError,
    value::KeyId,
};

define_state! {
    /// What a key may do.
    KeyState {
        /// Seals new values.
        Primary = "primary",
        /// Opens values.
        Accepted = "accepted",
        /// Is not in use; kept so that its id is not given to another key.
        Retired = "retired",
    }
}

/// A row of `{prefix}_keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredKey {
    /// The key.
    pub key_id: KeyId,
    /// What a key of that id must compute.
    pub check_value: Vec<u8>,
    /// What it may do.
    pub state: KeyState,
    /// When it was first seen.
    pub created_at: DateTime<Utc>,
}

/// How many values of a column a key has sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub key_id: KeyId,
    /// The column.
    pub column: SealedColumn,
    /// Values.
    pub values: u64,
}

/// A sealed value in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedCell {
    /// The row's number.
    pub row: i64,
    /// Where it is, for opening it.
    pub context: SealContext,
    /// The value.
    pub sealed: Sealed,
}

/// A sealed value to put in place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reseal {
    /// The value as it was read.
    pub cell: SealedCell,
    /// The same plaintext under another key.
    pub to: Sealed,
}

/// What came of retiring a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRetired {
    /// Nothing uses it; it is retired.
    Done,
    /// So many values need it.
    InUse(u64),
    /// It is the primary key; promote another first.
    Primary,
    /// No such key.
    NotFound,
}

/// The keys a database is sealed with.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait KeyRegistry: Send + Sync {
    /// Every key that was ever registered, the oldest first.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn list(&self) -> Result<Vec<RegisteredKey>, StoreError>;

    /// Registers the keys of a ring that are not known, and answers all that are, as
    /// [`list`](Self::list) does. Of two processes with different keys of one id, the first MUST
    /// win; a known key MUST stay as it is. A ring's primary becomes `primary` only where there
    /// is none.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is registered then.
    async fn register(
        &self,
        keys: &[KeyCheck],
        now: DateTime<Utc>,
    ) -> Result<Vec<RegisteredKey>, StoreError>;

    /// Makes a key the primary one and the former primary an accepted one; `false` when it is not
    /// known, or retired.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is changed then.
    async fn promote(&self, key_id: &KeyId, now: DateTime<Utc>) -> Result<bool, StoreError>;

    /// Which keys sealed how many values of which column; columns without any are left out.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn usage(&self) -> Result<Vec<KeyUse>, StoreError>;

    /// Values of a column in rows behind `after`, by ascending row, sealed under another key than
    /// `not_under`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn sealed_cells(
        &self,
        column: SealedColumn,
        not_under: &KeyId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<SealedCell>, StoreError>;

    /// Puts values in place of others that are still there as they were read; how many were.
    /// MUST NOT count a generation up or touch anything else of the row.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is changed then.
    async fn reseal(&self, reseals: &[Reseal]) -> Result<u64, StoreError>;

    /// Retires a key, looking for values that need it in the same transaction.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is changed then.
    async fn retire(&self, key_id: &KeyId, now: DateTime<Utc>) -> Result<KeyRetired, StoreError>;
}
