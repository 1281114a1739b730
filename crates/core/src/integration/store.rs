//! The [`IntegrationStore`] port.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::{AuthorizationStatus, HealthStatus, HealthTransition, Integration, Owner, Scope};
use crate::{
    encryptor::Sealed,
    id::{IntegrationId, Uid},
    store::{Page, PageRequest, StoreError},
    value::{HolderName, IntegrationName, ProviderKey},
};

/// How an integration is named from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntegrationRef {
    /// By its number.
    Id(IntegrationId),
    /// By its uid.
    Uid(Uid),
}

impl From<IntegrationId> for IntegrationRef {
    fn from(id: IntegrationId) -> Self {
        Self::Id(id)
    }
}

impl From<Uid> for IntegrationRef {
    fn from(uid: Uid) -> Self {
        Self::Uid(uid)
    }
}

impl std::str::FromStr for IntegrationRef {
    type Err = crate::value::InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A uid of digits only would still have 26 of them, more than any number has.
        let is_number = text.len() < Uid::LEN && text.bytes().all(|b| b.is_ascii_digit());
        if is_number && let Ok(id) = text.parse::<i64>() {
            return Ok(Self::Id(IntegrationId(id)));
        }
        text.parse().map(Self::Uid).map_err(|_| {
            crate::value::InvalidValue::new(
                "integration",
                "must be a number or a uid of 26 characters",
            )
        })
    }
}

impl std::fmt::Display for IntegrationRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Uid(uid) => uid.fmt(f),
        }
    }
}

/// A new integration, its credentials already sealed for its uid.
#[derive(Clone, Debug)]
pub struct NewIntegration {
    /// Minted before anything was sealed for the row.
    pub uid: Uid,
    /// What it talks to.
    pub provider: ProviderKey,
    /// What people call it.
    pub name: IntegrationName,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// Sealed credentials.
    pub credentials: Option<Sealed>,
    /// Plain settings.
    pub metadata: Option<Json>,
    /// Minutes between syncs; `None`: not scheduled.
    pub sync_interval_minutes: Option<i32>,
    /// When the first sync is due.
    pub next_sync_at: Option<DateTime<Utc>>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// Which integrations to list. Empty fields restrict nothing; removed ones are left out.
#[derive(Clone, Debug, Default)]
pub struct IntegrationFilter {
    /// Of this provider.
    pub provider: Option<ProviderKey>,
    /// Of this owner.
    pub owner: Option<Owner>,
    /// With this name.
    pub name: Option<IntegrationName>,
    /// In this state.
    pub health: Option<HealthStatus>,
    /// Switched on, or off, by the operator.
    pub is_active: Option<bool>,
    /// Removed ones too.
    pub include_removed: bool,
}

/// What to change. `None` leaves a field as it is; `Some(None)` empties it.
#[derive(Clone, Debug, Default)]
pub struct IntegrationChange {
    /// A new name.
    pub name: Option<IntegrationName>,
    /// New settings, in place of the old.
    pub metadata: Option<Option<Json>>,
    /// Another owner.
    pub owner: Option<Option<Owner>>,
    /// The operator's switch.
    pub is_active: Option<bool>,
    /// Whether webhooks are parked while it is switched off.
    pub parks_webhooks: Option<bool>,
    /// Another interval, in minutes.
    pub sync_interval_minutes: Option<Option<i32>>,
    /// Another next sync.
    pub next_sync_at: Option<Option<DateTime<Utc>>>,
    /// Back to healthy with no outage counted, which lifts a disabling by health.
    pub reset_health: bool,
}

/// New sealed credentials in place of those of one generation.
#[derive(Clone, Debug)]
pub struct CredentialReplacement {
    /// Whose.
    pub id: IntegrationId,
    /// On whose behalf.
    pub scope: Scope,
    /// The generation they are derived from.
    pub expected_generation: i64,
    /// Sealed for the row's uid; `None` wipes them.
    pub credentials: Option<Sealed>,
    /// What is known of them now.
    pub authorization_status: AuthorizationStatus,
    /// Now.
    pub now: DateTime<Utc>,
}

/// What came of a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// They stand, under this generation.
    Done {
        /// The generation now.
        generation: i64,
    },
    /// Somebody else replaced them first; read again.
    Stale {
        /// The generation now.
        generation: i64,
    },
    /// No such integration within the scope.
    NotFound,
}

/// A claim on the sync of integrations.
#[derive(Clone, Debug)]
pub struct SyncClaim {
    /// Which.
    pub selection: SyncSelection,
    /// Who claims.
    pub holder: HolderName,
    /// When others may take over.
    pub lease_until: DateTime<Utc>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// Which integrations a claim is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncSelection {
    /// At most so many of those that are due, the longest due first, of these providers.
    Due {
        /// At most so many.
        limit: u32,
        /// The providers the worker can sync. Empty claims nothing.
        providers: Vec<ProviderKey>,
    },
    /// This one, due or not.
    Named(IntegrationId),
}

/// An integration whose sync lease was won.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedIntegration {
    /// The row after the claim.
    pub integration: Integration,
    /// What every write of the run must carry.
    pub fence: i64,
}

/// A change to an authorization status.
#[derive(Clone, Debug)]
pub struct AuthorizationChange {
    /// Whose.
    pub id: IntegrationId,
    /// The credentials the finding is about; another generation changes nothing.
    pub generation: i64,
    /// The finding.
    pub status: AuthorizationStatus,
    /// Now.
    pub now: DateTime<Utc>,
}

/// What came of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Secrets are wiped and all work is stopped; rows go later.
    Removed,
    /// It still has this many idempotency keys whose outcome nobody knows.
    UnknownKeys(u64),
    /// No such integration within the scope.
    NotFound,
}

/// Integrations: who they belong to, what they are sealed with, when they sync, how they fare.
///
/// Every method that takes a [`Scope`] MUST put it into the statement that reads or writes, so
/// that a row of another owner is as absent as one that does not exist. Removed integrations MUST
/// be absent from every method but [`list`](Self::list) with `include_removed`.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait IntegrationStore: Send + Sync {
    /// Stores a new integration: active, healthy, generation 0.
    ///
    /// MUST take several of one provider, owner and name (INT-03).
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is stored then.
    async fn create(&self, new: &NewIntegration) -> Result<Integration, StoreError>;

    /// The integration, if it is within `scope`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn find(
        &self,
        integration: IntegrationRef,
        scope: &Scope,
    ) -> Result<Option<Integration>, StoreError>;

    /// A page of those `filter` selects within `scope`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn list(
        &self,
        filter: &IntegrationFilter,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<Integration>, StoreError>;

    /// Changes the fields `change` names and no others; the row afterwards, or `None`.
    ///
    /// MUST NOT touch credentials, cursor, counters (but for `reset_health`), leases or overrides.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is changed then.
    async fn update(
        &self,
        id: IntegrationId,
        scope: &Scope,
        change: &IntegrationChange,
        now: DateTime<Utc>,
    ) -> Result<Option<Integration>, StoreError>;

    /// Replaces the credentials if their generation is still the expected one.
    ///
    /// MUST compare and write in one step, and count the generation up.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; the old credentials stand then.
    async fn replace_credentials(
        &self,
        replacement: &CredentialReplacement,
    ) -> Result<Replaced, StoreError>;

    /// Claims the sync lease of those that are active, not removed, not disabled by health, whose
    /// lease is free or has run out, and (for [`SyncSelection::Due`]) whose `next_sync_at` is not
    /// after `now`.
    ///
    /// MUST never hand one integration to two claims whose leases overlap, and MUST count the
    /// fence up on each claim.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; leases that were won are lost to their expiry then.
    async fn claim_sync(&self, claim: &SyncClaim) -> Result<Vec<ClaimedIntegration>, StoreError>;

    /// Moves the end of a sync lease; `false` when the fence is no longer the present one or the
    /// integration was removed.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn renew_sync_lease(
        &self,
        id: IntegrationId,
        fence: i64,
        until: DateTime<Utc>,
    ) -> Result<bool, StoreError>;

    /// Gives a sync lease back, setting `next_sync_at` where given. MUST keep the fence, so that
    /// late writes stay refused, and MUST change nothing (`false`) when the fence is no longer the
    /// present one or the lease was given back already: the end of the sync set the next one then.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn release_sync_lease(
        &self,
        id: IntegrationId,
        fence: i64,
        next_sync_at: Option<DateTime<Utc>>,
    ) -> Result<bool, StoreError>;

    /// Records what is known of the credentials; `true` when that is news.
    ///
    /// MUST change nothing when the generation is no longer the one given.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn set_authorization(&self, change: &AuthorizationChange) -> Result<bool, StoreError>;

    /// Moves the status at an operator's or a probe's word, keeping the counter at zero when
    /// healthy; the transition, or `None` when nothing changed.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn move_health(
        &self,
        id: IntegrationId,
        scope: &Scope,
        to: &HealthStatus,
        now: DateTime<Utc>,
    ) -> Result<Option<HealthTransition>, StoreError>;

    /// Wipes credentials, ledger answers and cached answers, marks the row removed, and clears its
    /// schedule and lease, in one step. The fence MUST move on, so that running syncs are refused.
    ///
    /// Unless `force`, MUST refuse while keys are unknown (reserved past their time included).
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is changed then.
    async fn remove(
        &self,
        id: IntegrationId,
        scope: &Scope,
        force: bool,
        now: DateTime<Utc>,
    ) -> Result<Removal, StoreError>;
}
