//! Deliveries, from receipt to settlement.

use chrono::{DateTime, Utc};

use crate::{
    encryptor::Sealed,
    id::{IntegrationId, Uid, WebhookId},
    state::define_state,
    sync::Payload,
    value::ProviderKey,
};

define_state! {
    /// How a delivery stands.
    WebhookStatus {
        /// Waits for a worker, or for its next attempt.
        Pending = "pending",
        /// A worker has it.
        Processing = "processing",
        /// Handled; or a duplicate, which never is.
        Processed = "processed",
        /// Out of attempts: the dead letters.
        Failed = "failed",
    }
}

/// A payload as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookPayload {
    /// The bytes as they came.
    Plain(Payload),
    /// Sealed for the row's uid.
    Sealed(Sealed),
}

/// Digests of a delivery under the keys of the ring that are not the primary one: what the same
/// delivery may be on file under. Rows do not keep them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherDigests {
    /// In place of `dedup_key`.
    pub dedup_keys: Vec<String>,
    /// In place of `body_digest`; without one, what others on file are compared with.
    pub body_digests: Vec<Vec<u8>>,
}

/// A verified delivery to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWebhook {
    /// What a payload is sealed for.
    pub uid: Uid,
    /// The integration whose secret verified it; `None` where the application's did.
    pub integration_id: Option<IntegrationId>,
    /// The provider.
    pub provider: ProviderKey,
    /// What happened, at most 255 characters.
    pub event_type: Option<String>,
    /// The sender's id of the delivery, at most 255 characters.
    pub delivery_id: Option<String>,
    /// What duplicates share: the delivery id, or a digest; at most 255 characters.
    pub dedup_key: Option<String>,
    /// A keyed digest of the signed bytes, for others to be compared with.
    pub body_digest: Option<Vec<u8>>,
    /// Where no id is signed: one with the same digest since this instant is a duplicate too.
    pub digest_duplicate_since: Option<DateTime<Utc>>,
    /// The same digests under other keys of the ring.
    pub other_digests: OtherDigests,
    /// The body.
    pub payload: WebhookPayload,
    /// The headers that may be kept, in their order.
    pub headers: Vec<(String, String)>,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query.
    pub query: Option<String>,
    /// Who sent it.
    pub remote_addr: Option<String>,
    /// What must be processed one after the other, at most 191 characters.
    pub ordering_key: Option<String>,
    /// When it may be processed; `None`: parked until somebody re-queues it.
    pub available_at: Option<DateTime<Utc>>,
    /// Now.
    pub now: DateTime<Utc>,
}

impl NewWebhook {
    /// The dedup keys that the first of its kind may have.
    pub fn dedup_keys(&self) -> impl Iterator<Item = &str> {
        let own = self.dedup_key.as_ref();
        own.into_iter()
            .chain(&self.other_digests.dedup_keys)
            .map(String::as_str)
    }

    /// The body digests that the first of its kind may have.
    pub fn body_digests(&self) -> impl Iterator<Item = &[u8]> {
        let own = self.body_digest.as_ref();
        own.into_iter()
            .chain(&self.other_digests.body_digests)
            .map(Vec::as_slice)
    }
}

/// What became of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Stored, and queued or parked.
    New(WebhookId),
    /// Stored as a duplicate of an earlier one.
    Duplicate {
        /// The row of this receipt.
        id: WebhookId,
        /// The first of its kind.
        of: WebhookId,
        /// That one had failed and is queued again.
        requeued: bool,
    },
}

/// Why a row is a duplicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicateReason {
    /// The same dedup key.
    DedupKey,
    /// The same signed bytes.
    BodyDigest,
}

impl DuplicateReason {
    /// The text of the column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DedupKey => "dedup_key",
            Self::BodyDigest => "body_digest",
        }
    }
}

/// A row of `{prefix}_webhooks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its number.
    pub id: WebhookId,
    /// What was received; `now` is when.
    pub delivery: NewWebhook,
    /// How it stands. One under a live lease reads as `processing`.
    pub status: WebhookStatus,
    /// The first of its kind, when it is a duplicate.
    pub duplicate_of: Option<WebhookId>,
    /// Why it is one.
    pub duplicate_reason: Option<String>,
    /// Attempts.
    pub attempts: i16,
    /// Somebody had it processed again.
    pub replayed: bool,
    /// When it was last queued with all attempts: received, received again after it had failed,
    /// replayed, or no longer parked.
    pub queued_at: DateTime<Utc>,
    /// What went wrong last.
    pub error: Option<String>,
    /// The end of the present lease.
    pub lease_until: Option<DateTime<Utc>>,
    /// When it was processed or given up.
    pub processed_at: Option<DateTime<Utc>>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// A row as lists show it: without query, headers and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSummary {
    /// Its number.
    pub id: WebhookId,
    /// What a payload is sealed for.
    pub uid: Uid,
    /// The integration.
    pub integration_id: Option<IntegrationId>,
    /// The provider.
    pub provider: ProviderKey,
    /// What happened.
    pub event_type: Option<String>,
    /// The sender's id of the delivery.
    pub delivery_id: Option<String>,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// Who sent it.
    pub remote_addr: Option<String>,
    /// How it stands. One under a live lease reads as `processing`.
    pub status: WebhookStatus,
    /// The first of its kind, when it is a duplicate.
    pub duplicate_of: Option<WebhookId>,
    /// Why it is one.
    pub duplicate_reason: Option<String>,
    /// Attempts.
    pub attempts: i16,
    /// What went wrong last.
    pub error: Option<String>,
    /// When it may be processed; `None`: parked.
    pub available_at: Option<DateTime<Utc>>,
    /// When it was received.
    pub received_at: DateTime<Utc>,
    /// When it was processed or given up.
    pub processed_at: Option<DateTime<Utc>>,
}

impl Webhook {
    /// What lists show of it.
    #[must_use]
    pub fn summary(&self) -> WebhookSummary {
        let delivery = &self.delivery;
        WebhookSummary {
            id: self.id,
            uid: delivery.uid,
            integration_id: delivery.integration_id,
            provider: delivery.provider.clone(),
            event_type: delivery.event_type.clone(),
            delivery_id: delivery.delivery_id.clone(),
            method: delivery.method.clone(),
            path: delivery.path.clone(),
            remote_addr: delivery.remote_addr.clone(),
            status: self.status.clone(),
            duplicate_of: self.duplicate_of,
            duplicate_reason: self.duplicate_reason.clone(),
            attempts: self.attempts,
            error: self.error.clone(),
            available_at: delivery.available_at,
            received_at: delivery.now,
            processed_at: self.processed_at,
        }
    }
}

/// A claim on deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookClaim {
    /// The providers this worker processes. Empty claims nothing.
    pub providers: Vec<ProviderKey>,
    /// None of these integrations, which have enough of the worker already; `None` stands for
    /// deliveries without one.
    pub except: Vec<Option<IntegrationId>>,
    /// At most so many.
    pub limit: u32,
    /// At most so many of one integration; those without one count as one.
    pub per_integration: u32,
    /// Minted for this claim; settling needs it.
    pub token: Uid,
    /// When others may take over.
    pub lease_until: DateTime<Utc>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// How an attempt at a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettlement {
    /// The delivery.
    pub id: WebhookId,
    /// The claim's token.
    pub token: Uid,
    /// The end.
    pub outcome: WebhookOutcome,
    /// Now.
    pub now: DateTime<Utc>,
}

/// The end of an attempt at a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// Handled.
    Processed,
    /// Try again later.
    Retry {
        /// When.
        at: DateTime<Utc>,
        /// What went wrong.
        error: String,
        /// Whether the attempt counts.
        counts: bool,
    },
    /// Out of attempts.
    Failed {
        /// What went wrong.
        error: String,
    },
}

/// What settling a delivery changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookSettled {
    /// It stands.
    Done,
    /// The lease went to somebody else, or it was settled; nothing changed.
    LeaseLost,
}
