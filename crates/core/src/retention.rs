//! Deleting what is past its age, a bounded batch at a time.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::store::StoreError;

/// What can be pruned, each with its own rule (CONTRACT, retention defaults).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Prunable {
    /// Request rows by `created_at`.
    Requests,
    /// Operations by `created_at`, but none that an unresolved item refers to.
    Operations,
    /// Keys by `created_at`, but none reserved or unknown.
    IdempotencyKeys,
    /// Items by `created_at`, only `success` and `skipped`.
    SyncItems,
    /// Runs by `created_at`, only ended ones without items.
    SyncRuns,
    /// Webhooks by `created_at`, only `processed`; duplicates go with their original.
    ProcessedWebhooks,
    /// Webhooks by `created_at`, only `failed`.
    FailedWebhooks,
    /// Cache entries by the later of `expires_at` and `stale_until`.
    CachedResponses,
    /// One-time tokens by `until`.
    Tokens,
}

impl Prunable {
    /// All of them, in an order that leaves no row waiting for another.
    pub const ALL: [Self; 9] = [
        Self::Requests,
        Self::SyncItems,
        Self::SyncRuns,
        Self::Operations,
        Self::IdempotencyKeys,
        Self::ProcessedWebhooks,
        Self::FailedWebhooks,
        Self::CachedResponses,
        Self::Tokens,
    ];
}

/// One batch to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneBatch {
    /// What.
    pub what: Prunable,
    /// Rows older than this.
    pub before: DateTime<Utc>,
    /// Go on behind this id, as [`Pruned::resume_after`] gave it; 0 begins.
    pub after: i64,
    /// Look at no more than so many rows.
    pub limit: u32,
    /// Count, but delete nothing.
    pub dry_run: bool,
}

/// What a batch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Rows deleted, or that would be.
    pub deleted: u64,
    /// Where the next batch begins; `None` when there is nothing more of that age.
    pub resume_after: Option<i64>,
}

/// Deleting in batches.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Retention: Send + Sync {
    /// Deletes one batch in a transaction of its own.
    ///
    /// MUST walk the primary key from `after`, MUST look at no more than `limit` rows, and MUST
    /// stop at the first row that is not old enough.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing of the batch is deleted then.
    async fn prune(&self, batch: &PruneBatch) -> Result<Pruned, StoreError>;

    /// Deletes at most `limit` rows of removed integrations, children before parents; how many.
    /// Zero means that no removed integration is left.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing of the batch is deleted then.
    async fn purge_removed(&self, limit: u32) -> Result<u64, StoreError>;
}
