//! The ledger of at-most-once calls.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    encryptor::Sealed,
    id::{IntegrationId, RequestId, ReservationId, Uid},
    integration::Scope,
    state::define_state,
    store::{Page, PageRequest, StoreError},
    value::IdempotencyKey,
};

define_state! {
    /// What is known of a keyed call.
    ReservationState {
        /// Under way, until its time is up; after that it counts as unknown.
        Reserved = "reserved",
        /// It happened.
        Succeeded = "succeeded",
        /// It may have happened.
        Unknown = "unknown",
    }
}

/// Which reservation: integration and key, and the token of whoever holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationRef {
    /// The integration.
    pub integration_id: IntegrationId,
    /// The key.
    pub key: IdempotencyKey,
    /// Minted by the service for this reservation; another token changes nothing.
    pub token: Uid,
}

/// A claim on a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReservation {
    /// What the answer will be sealed for.
    pub uid: Uid,
    /// Integration, key, and the token this claim will be completed with.
    pub reservation: ReservationRef,
    /// Keyed digests of the request, one per key of the ring, the one to store first. Empty: the
    /// request is not compared.
    pub fingerprints: Vec<Vec<u8>>,
    /// When the holder counts as lost.
    pub reserved_until: DateTime<Utc>,
    /// Take over a key whose outcome is unknown, because the provider deduplicates by it.
    pub retry_unknown: bool,
    /// Now.
    pub now: DateTime<Utc>,
}

/// What came of a claim on a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// The key is the caller's until `reserved_until`.
    Acquired(ReservationId),
    /// Another call is under way.
    Held {
        /// When it counts as lost.
        until: DateTime<Utc>,
    },
    /// It happened before; the answer is on file.
    Succeeded(Box<ReservationRecord>),
    /// It may have happened before.
    Unknown(Box<ReservationRecord>),
    /// The key stands for a different request.
    Mismatch(Box<ReservationRecord>),
}

/// How a keyed call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Which reservation.
    pub reservation: ReservationRef,
    /// The end.
    pub outcome: KeyedOutcome,
    /// Now.
    pub now: DateTime<Utc>,
}

/// The end of a keyed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyedOutcome {
    /// It happened.
    Succeeded {
        /// The answer's status, where there was one.
        status_code: Option<u16>,
        /// The whole answer, sealed for the reservation's uid.
        answer: Option<Sealed>,
    },
    /// It certainly did not happen: the key is free again.
    DidNotHappen,
    /// It may have happened.
    Unknown {
        /// The answer's status, where there was one.
        status_code: Option<u16>,
        /// The whole answer, sealed for the reservation's uid.
        answer: Option<Sealed>,
    },
}

/// What became of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionResult {
    /// As the completion said.
    Done,
    /// The token is not the reservation's (any more); nothing changed.
    NotHolder,
}

/// A row of `{prefix}_idempotency_keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationRecord {
    /// Its number.
    pub id: ReservationId,
    /// What the answer is sealed for.
    pub uid: Uid,
    /// The integration.
    pub integration_id: IntegrationId,
    /// The key.
    pub key: IdempotencyKey,
    /// What is known, a reservation past its time reading as [`ReservationState::Unknown`].
    pub state: ReservationState,
    /// When the holder counts as lost.
    pub reserved_until: DateTime<Utc>,
    /// The digest that was stored.
    pub fingerprint: Option<Vec<u8>>,
    /// The row of the attempt that ended it.
    pub request_id: Option<RequestId>,
    /// The answer's status.
    pub status_code: Option<u16>,
    /// The whole answer, sealed.
    pub sealed_answer: Option<Sealed>,
    /// When it ended.
    pub settled_at: Option<DateTime<Utc>>,
    /// What an operator made of it, and why.
    pub resolution: Option<String>,
    /// When the key was first reserved.
    pub created_at: DateTime<Utc>,
}

/// An operator's word on a key whose outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyResolution {
    /// The integration.
    pub integration_id: IntegrationId,
    /// The key.
    pub key: IdempotencyKey,
    /// On whose behalf.
    pub scope: Scope,
    /// `true`: it happened. `false`: it did not, and the key is free again.
    pub happened: bool,
    /// Why.
    pub reason: String,
    /// Now.
    pub now: DateTime<Utc>,
}

/// What came of an operator's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyResolved {
    /// It stands.
    Done,
    /// There is nothing to resolve in this state.
    NotUnknown(ReservationState),
    /// No such key within the scope.
    NotFound,
}

/// What came of freeing a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyReleased {
    /// The key can be used again.
    Done,
    /// A call is under way, and `force` was not given.
    Live {
        /// When it counts as lost.
        until: DateTime<Utc>,
    },
    /// No such key within the scope.
    NotFound,
}

/// Which keys to list. Empty fields restrict nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReservationFilter {
    /// Of this integration.
    pub integration_id: Option<IntegrationId>,
    /// In this state, a reservation past its time counting as unknown.
    pub state: Option<ReservationState>,
}

/// Remembers which keys have been used.
///
/// Implementations MUST commit [`reserve`](Self::reserve) on their own, whatever transaction the
/// caller is in: a reservation that rolled back with its caller would be a second charge. Stores
/// bound to a caller's transaction therefore do not have this port.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait IdempotencyLedger: Send + Sync {
    /// Claims a key, or reports what is on file for it.
    ///
    /// MUST be durable before it returns. Of any number of claims at once, exactly one MUST be
    /// told [`Reservation::Acquired`]. A reservation past its time MUST read as unknown. Where the
    /// row and the claim have fingerprints and none of them is the same, MUST answer
    /// [`Reservation::Mismatch`], whatever the state. `retry_unknown` MUST take over an unknown
    /// key (with the new token and time, keeping uid and fingerprint) and nothing else.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; the key may then be reserved, and runs into its expiry.
    async fn reserve(&self, claim: &NewReservation) -> Result<Reservation, StoreError>;

    /// Moves the end of a live reservation; `false` when the token does not hold it.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn renew(
        &self,
        reservation: &ReservationRef,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError>;

    /// What is on file for a key.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn find(
        &self,
        integration_id: IntegrationId,
        key: &IdempotencyKey,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<Option<ReservationRecord>, StoreError>;

    /// A page of the keys `filter` selects within `scope`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn list(
        &self,
        filter: &ReservationFilter,
        scope: &Scope,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<ReservationRecord>, StoreError>;

    /// Settles a key whose outcome is unknown at an operator's word.
    ///
    /// MUST keep the reason on the row when it happened, and MUST invalidate the token of whoever
    /// held it.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is changed then.
    async fn resolve(&self, resolution: &KeyResolution) -> Result<KeyResolved, StoreError>;

    /// Frees a key in whatever state, a live one only with `force`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is changed then.
    async fn release(
        &self,
        integration_id: IntegrationId,
        key: &IdempotencyKey,
        scope: &Scope,
        force: bool,
        now: DateTime<Utc>,
    ) -> Result<KeyReleased, StoreError>;
}
