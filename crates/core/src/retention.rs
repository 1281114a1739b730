//! Deleting what is past its age, a bounded batch at a time.

mod daily;
mod policy;
mod pruner;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::store::StoreError;

pub use self::{
    daily::Pass,
    policy::RetentionPolicy,
    pruner::{PruneReport, Pruner},
};

/// What can be pruned, each with its own rule (CONTRACT, retention defaults).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Prunable {
    /// Request rows by `created_at`.
    Requests,
    /// What requests and answers of request rows held, by `created_at`; the rows stay.
    RequestBodies,
    /// Operations by `created_at`, but none that an unresolved item or a run that has not ended
    /// refers to.
    Operations,
    /// Keys by `created_at`, but none reserved or unknown.
    IdempotencyKeys,
    /// Items by `created_at`, only `success` and `skipped`.
    SyncItems,
    /// Payloads of items by `created_at`, only of `success` and `skipped`; the rows stay.
    ItemPayloads,
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
    pub const ALL: [Self; 11] = [
        Self::Requests,
        Self::RequestBodies,
        Self::SyncItems,
        Self::ItemPayloads,
        Self::SyncRuns,
        Self::Operations,
        Self::IdempotencyKeys,
        Self::ProcessedWebhooks,
        Self::FailedWebhooks,
        Self::CachedResponses,
        Self::Tokens,
    ];

    /// Its name, as configurations and reports give it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::RequestBodies => "request_bodies",
            Self::Operations => "logs",
            Self::IdempotencyKeys => "idempotency_keys",
            Self::SyncItems => "sync_items",
            Self::ItemPayloads => "sync_item_payloads",
            Self::SyncRuns => "sync_runs",
            Self::ProcessedWebhooks => "webhooks",
            Self::FailedWebhooks => "failed_webhooks",
            Self::CachedResponses => "response_cache",
            Self::Tokens => "tokens",
        }
    }
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
    /// Rows deleted or emptied, or that would be.
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
