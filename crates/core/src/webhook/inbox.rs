//! The [`WebhookInbox`] port and [`WebhookSettlements`], which a caller's transaction has too.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    NewWebhook, Received, Webhook, WebhookClaim, WebhookSettled, WebhookSettlement, WebhookStatus,
    WebhookSummary,
};
use crate::{
    id::{IntegrationId, Uid, WebhookId},
    integration::Scope,
    store::{Batch, Page, PageRequest, StoreError},
    value::ProviderKey,
};

/// Which deliveries to read. Empty fields restrict nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookFilter {
    /// Of this integration.
    pub integration_id: Option<IntegrationId>,
    /// Of this provider.
    pub provider: Option<ProviderKey>,
    /// In this state.
    pub status: Option<WebhookStatus>,
    /// Of this type.
    pub event_type: Option<String>,
    /// With this id of the sender.
    pub delivery_id: Option<String>,
    /// Not before this instant.
    pub since: Option<DateTime<Utc>>,
    /// Before this instant.
    pub until: Option<DateTime<Utc>>,
    /// Leave duplicates out.
    pub originals_only: bool,
}

/// How many deliveries have one sender and one type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WebhookGroup {
    /// Who sent them.
    pub provider: ProviderKey,
    /// To which integration.
    pub integration_id: Option<IntegrationId>,
    /// What happened.
    pub event_type: Option<String>,
    /// How many there are.
    pub count: u64,
}

/// Deliveries: stored before they are answered, processed by claim.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait WebhookInbox: Send + Sync {
    /// Stores deliveries; durable before it returns.
    ///
    /// - Of those with one provider, integration and dedup key, the first MUST win by the unique
    ///   index; later ones, within the batch too, MUST be stored as processed duplicates of it.
    /// - Where `digest_duplicate_since` is given, one with the same provider, integration and body
    ///   digest received since then MUST count as the first too.
    /// - Digests under other keys of the ring MUST count as a delivery's own when the first of its
    ///   kind is looked for, also while receipts meet whose rings are in another order. A ring
    ///   without a key sees nothing of what is digested under it, so every ring is to hold a key
    ///   before one of them makes it the primary.
    /// - A duplicate of one that failed MUST queue that one again, with all attempts.
    /// - A refused entry MUST fail alone.
    /// - Where the store fails when a part is stored, that part MUST be answered as stored, and the
    ///   rest as [`Rejected::Unavailable`](crate::store::Rejected::Unavailable).
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] when nothing of the batch is stored.
    async fn receive(&self, deliveries: &[NewWebhook]) -> Batch<Received>;

    /// Claims deliveries that are due: of each integration the oldest, where ordering keys do not
    /// say otherwise.
    ///
    /// MUST take no more than its share of one integration, however much of it is due, so that the
    /// others have their turn. MUST never hand one to two claims whose leases overlap, and MUST
    /// count an attempt on each claim. One whose lease ran out is due again. Duplicates MUST never
    /// be claimed.
    ///
    /// Of those of one provider, integration and ordering key, MUST hand out none but the first that
    /// is unfinished, by when it was received and then by id, and not while another of them is under
    /// a live lease: one that came late, or was queued again, waits for whatever is being handled.
    /// What waits behind the first MUST NOT make a claim slower.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; what was claimed comes back when the lease runs out.
    async fn claim(&self, claim: &WebhookClaim) -> Result<Vec<Webhook>, StoreError>;

    /// Moves the end of leases; those this token no longer holds.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn renew(
        &self,
        token: Uid,
        deliveries: &[WebhookId],
        until: DateTime<Utc>,
    ) -> Result<Vec<WebhookId>, StoreError>;

    /// Queues deliveries again as replayed, with all attempts, whatever became of them, but not duplicates and
    /// not those under a live lease; those that were queued.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is changed then.
    async fn replay(
        &self,
        deliveries: &[WebhookId],
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<Vec<WebhookId>, StoreError>;

    /// Ends expired leases so that deliveries are seen waiting, and queues the parked ones of
    /// integrations that are active and not disabled by health; how many, at most `limit`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn recover(&self, now: DateTime<Utc>, limit: u32) -> Result<u64, StoreError>;

    /// One delivery, if its integration is within `scope`; one without an integration is the
    /// operator's.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn find(
        &self,
        id: WebhookId,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<Option<Webhook>, StoreError>;

    /// A page of the deliveries `filter` selects within `scope`, one under a live lease counting
    /// as `processing`. MUST NOT read bodies: a page of them may not fit into memory.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn query(
        &self,
        filter: &WebhookFilter,
        scope: &Scope,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<WebhookSummary>, StoreError>;

    /// The numbers of a page of what [`query`](Self::query) reads.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn ids(
        &self,
        filter: &WebhookFilter,
        scope: &Scope,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<WebhookId>, StoreError>;

    /// How many deliveries `filter` selects within `scope`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn count(
        &self,
        filter: &WebhookFilter,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError>;

    /// The same by sender and type: the largest groups first, at most `limit`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn count_by_type(
        &self,
        filter: &WebhookFilter,
        scope: &Scope,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<WebhookGroup>, StoreError>;
}

/// Settling deliveries: within a transaction of its own, or the caller's.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait WebhookSettlements: Send + Sync {
    /// Ends attempts at deliveries, one result each, in their order.
    ///
    /// MUST change nothing unless the token holds a claim on the delivery, and MUST write in the
    /// order of the ids.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is settled then.
    async fn settle(
        &self,
        settlements: &[WebhookSettlement],
    ) -> Result<Vec<WebhookSettled>, StoreError>;
}
