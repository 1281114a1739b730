//! The operation log: what was done on whose behalf, as a tree.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use crate::{
    id::{IntegrationId, LogId},
    integration::Scope,
    state::define_state,
    store::{Batch, Page, PageRequest, StoreError},
};

define_state! {
    /// Which way an operation goes.
    Direction {
        /// From the other system to us.
        Inbound = "inbound",
        /// From us to the other system.
        Outbound = "outbound",
    }
}

define_state! {
    /// How an operation stands. Free-form: an application may use texts of its own.
    OperationStatus {
        /// Not begun.
        Pending = "pending",
        /// Under way.
        Processing = "processing",
        /// Done.
        Success = "success",
        /// Done in part.
        Partial = "partial",
        /// Not done.
        Failed = "failed",
        /// Put off.
        Deferred = "deferred",
    }
}

/// An operation to log.
#[derive(Clone, Debug, PartialEq)]
pub struct NewOperation {
    /// On whose behalf.
    pub integration_id: IntegrationId,
    /// What, at most 255 characters.
    pub operation: String,
    /// Which way.
    pub direction: Direction,
    /// How it stands.
    pub status: OperationStatus,
    /// One line for a person.
    pub summary: Option<String>,
    /// What it is about, at most 500 characters.
    pub external_id: Option<String>,
    /// Anything the application wants to find again.
    pub metadata: Option<Json>,
    /// What came of it.
    pub result_data: Option<Json>,
    /// What went wrong.
    pub error: Option<String>,
    /// Milliseconds it took.
    pub duration_ms: Option<i64>,
    /// The operation it is part of.
    pub parent_id: Option<LogId>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationEnd {
    /// The status it ends in.
    pub status: OperationStatus,
    /// In place of the summary, where given.
    pub summary: Option<String>,
    /// In place of the result, where given.
    pub result_data: Option<Json>,
    /// What went wrong.
    pub error: Option<String>,
    /// Milliseconds it took.
    pub duration_ms: Option<i64>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// A row of `{prefix}_logs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its number.
    pub id: LogId,
    /// What was logged, with the latest of each field; `now` is when it began.
    pub entry: NewOperation,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// Which operations to read. Empty fields restrict nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationFilter {
    /// Of this integration.
    pub integration_id: Option<IntegrationId>,
    /// With this name.
    pub operation: Option<String>,
    /// In this state.
    pub status: Option<OperationStatus>,
    /// Not before this instant.
    pub since: Option<DateTime<Utc>>,
    /// About this external id.
    pub external_id: Option<String>,
    /// Only those that are part of no other.
    pub roots_only: bool,
}

/// The operation log.
///
/// Available within a caller's transaction too.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait OperationLog: Send + Sync {
    /// Appends operations, begun or already ended; their ids in the order of `entries`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] when nothing of the batch is stored.
    async fn append(&self, entries: &[NewOperation]) -> Batch<LogId>;

    /// Ends an operation that has not ended; `false` when it is gone, or ended already as
    /// `success`, `partial` or `failed`, which MUST stay as it was.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn finish(&self, id: LogId, end: &OperationEnd) -> Result<bool, StoreError>;

    /// The operation and everything below it, parents before children and siblings by id; empty
    /// when it is not within `scope`. At most 10,000 rows.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn tree(&self, id: LogId, scope: &Scope) -> Result<Vec<Operation>, StoreError>;

    /// A page of the operations `filter` selects within `scope`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn query(
        &self,
        filter: &OperationFilter,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<Operation>, StoreError>;
}
