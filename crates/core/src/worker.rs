//! Which workers are alive and what they handle.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    store::StoreError,
    value::{HolderName, ItemKind},
};

/// A row of `{prefix}_workers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerBeat {
    /// Its name, which its leases carry.
    pub id: HolderName,
    /// The version it runs.
    pub version: String,
    /// The kinds it handles; `None`: every kind.
    pub kinds: Option<Vec<ItemKind>>,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it last was heard of.
    pub heartbeat_at: DateTime<Utc>,
}

/// The roll of workers.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Workers: Send + Sync {
    /// Enters a worker, or moves its heartbeat.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn beat(&self, beat: &WorkerBeat) -> Result<(), StoreError>;

    /// Those heard of since `since`, by name.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn alive(&self, since: DateTime<Utc>) -> Result<Vec<WorkerBeat>, StoreError>;

    /// Strikes a worker off, and those not heard of since `stale_before`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn leave(&self, id: &HolderName, stale_before: DateTime<Utc>) -> Result<(), StoreError>;
}
