//! The [`RequestLog`] port: reading what the journal wrote.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{FailureClass, Request};
use crate::{
    id::{IntegrationId, RequestId},
    integration::Scope,
    store::{Page, PageRequest, StoreError},
    value::IdempotencyKey,
};

/// Which requests to read. Empty fields restrict nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// Of this integration.
    pub integration_id: Option<IntegrationId>,
    /// Not before this instant.
    pub since: Option<DateTime<Utc>>,
    /// Before this instant.
    pub until: Option<DateTime<Utc>>,
    /// With an outcome of this kind.
    pub outcome: Option<OutcomeFilter>,
    /// To this endpoint.
    pub endpoint: Option<String>,
    /// With this method.
    pub method: Option<String>,
    /// Under this key.
    pub idempotency_key: Option<IdempotencyKey>,
    /// With this id of the provider.
    pub provider_request_id: Option<String>,
    /// This first attempt and its retries.
    pub chain: Option<RequestId>,
    /// About this type of entity.
    pub related_type: Option<String>,
    /// About the entity with this number.
    pub related_id: Option<i64>,
    /// About the entity with this text id.
    pub related_key: Option<String>,
}

/// An outcome to select by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcomeFilter {
    /// Attempts without a failure class.
    Succeeded,
    /// Attempts with any failure class.
    Failed,
    /// Attempts of this class.
    Class(FailureClass),
    /// Attempts with this status.
    Status(u16),
    /// Attempts with a status of this hundred, 1 to 5.
    StatusGroup(u8),
}

/// What to summarise.
#[derive(Clone, Debug)]
pub struct SummaryQuery {
    /// These integrations; each gets a summary, in this order.
    pub integrations: Vec<IntegrationId>,
    /// Not before this instant.
    pub since: DateTime<Utc>,
}

/// How the calls of one integration went (HLT-10).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestSummary {
    /// Attempts.
    pub total: u64,
    /// Attempts with a failure class.
    pub failed: u64,
    /// Different endpoints.
    pub endpoints: u64,
    /// Mean duration of the successes, in milliseconds.
    pub mean_duration_ms: Option<f64>,
    /// Half of the attempts took at most this many milliseconds.
    pub p50_ms: Option<i32>,
    /// 95 % of them did.
    pub p95_ms: Option<i32>,
    /// 99 % of them did.
    pub p99_ms: Option<i32>,
    /// Failures by the text of their class.
    pub by_class: BTreeMap<String, u64>,
    /// Failures by `5xx`, `4xx`, `429` and `other` (no status, or one below 400).
    pub by_status: BTreeMap<String, u64>,
    /// The three most frequent error texts and how often they occurred, most frequent first, then
    /// by text.
    pub top_errors: Vec<(String, u64)>,
    /// The newest error text and when it occurred.
    pub last_error: Option<(String, DateTime<Utc>)>,
    /// Calls answered from the response cache.
    pub cache_hits: u64,
    /// Calls answered from an expired entry of it.
    pub stale_hits: u64,
}

/// Hits on what one request brought, counted since the last flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HitCount {
    /// The request that filled the cache.
    pub request_id: RequestId,
    /// Hits on a fresh entry.
    pub fresh: u32,
    /// Hits on an expired one.
    pub stale: u32,
}

/// The request log for readers.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait RequestLog: Send + Sync {
    /// One attempt, if its integration is within `scope`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn find(&self, id: RequestId, scope: &Scope) -> Result<Option<Request>, StoreError>;

    /// A page of the attempts `filter` selects within `scope`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn query(
        &self,
        filter: &RequestFilter,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<Request>, StoreError>;

    /// How many attempts `filter` selects within `scope`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn count(&self, filter: &RequestFilter, scope: &Scope) -> Result<u64, StoreError>;

    /// Summaries, one per integration asked for, in that order; zeroes where nothing was called.
    ///
    /// MUST count a failure without a status, or with one below 400, as `other`, and MUST take a
    /// percentile as the smallest duration that at least that share of the attempts with a
    /// duration do not exceed.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn summarise(&self, query: &SummaryQuery) -> Result<Vec<RequestSummary>, StoreError>;

    /// Adds hits to the rows that filled the cache. Rows that are gone are passed over.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is added then.
    async fn add_hits(&self, hits: &[HitCount]) -> Result<(), StoreError>;
}
