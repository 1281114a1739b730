//! One connected account of one provider.

mod health;
mod owner;
mod store;

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use crate::{
    encryptor::{SealContext, Sealed, SealedColumn},
    gate::{CircuitOverride, RateOverride},
    id::{IntegrationId, Uid},
    state::define_state,
    value::{IntegrationName, ProviderKey, StreamName},
};

pub use health::{
    HealthDelta, HealthPolicy, HealthState, HealthStatus, HealthTransition, HealthVerdict,
};
pub use owner::{Owner, OwnerId, Scope};
pub use store::*;

define_state! {
    /// Whether the provider still accepts the credentials.
    AuthorizationStatus {
        /// As far as is known.
        Ok = "ok",
        /// The provider refused them (401, 403, `invalid_grant`): a person has to act.
        NeedsReauthorization = "needs_reauthorization",
    }
}

/// A row of `{prefix}s`.
#[derive(Clone, Debug, PartialEq)]
pub struct Integration {
    /// Its number.
    pub id: IntegrationId,
    /// Its random name, safe to show.
    pub uid: Uid,
    /// What it talks to.
    pub provider: ProviderKey,
    /// What people call it.
    pub name: IntegrationName,
    /// Whose it is; `None` for one of the application itself.
    pub owner: Option<Owner>,
    /// Sealed credentials; `None` once wiped.
    pub credentials: Option<Sealed>,
    /// Counts replacements of the credentials.
    pub credentials_generation: i64,
    /// Plain settings the provider describes.
    pub metadata: Option<Json>,
    /// The operator's switch, which nothing else moves.
    pub is_active: bool,
    /// Whether webhooks are stored and parked while it is switched off, in place of being refused.
    pub parks_webhooks: bool,
    /// Status and counter of outages.
    pub health: HealthState,
    /// When an upstream failure was last seen.
    pub last_error_at: Option<DateTime<Utc>>,
    /// Whether the provider accepts the credentials.
    pub authorization_status: AuthorizationStatus,
    /// When a sync last came to a clean end.
    pub last_synced_at: Option<DateTime<Utc>>,
    /// When the next sync is due; `None`: never.
    pub next_sync_at: Option<DateTime<Utc>>,
    /// Minutes between syncs.
    pub sync_interval_minutes: Option<i32>,
    /// An object with a cursor for each stream.
    pub sync_cursor: Option<Json>,
    /// Syncs in a row that did not come to a clean end.
    pub consecutive_sync_failures: i32,
    /// Counts the claims of the sync lease; a smaller one has lost it.
    pub sync_fence: i64,
    /// Who holds the sync lease, and until when.
    pub sync_lease: Option<SyncLease>,
    /// Since when its syncs are overdue, once that was reported.
    pub sync_stale_at: Option<DateTime<Utc>>,
    /// What the operator made of the circuit.
    pub circuit_override: Option<CircuitOverride>,
    /// The budget the operator set.
    pub rate_override: Option<RateOverride>,
    /// When it was removed; its rows are then being deleted.
    pub removed_at: Option<DateTime<Utc>>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

impl Integration {
    /// Where its credentials are sealed to.
    #[must_use]
    pub fn credentials_context(&self) -> SealContext {
        SealContext {
            column: SealedColumn::Credentials,
            uid: self.uid,
            provider: self.provider.clone(),
        }
    }

    /// Why it takes no calls and syncs at the moment; `None` when it does.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        if self.removed_at.is_some() {
            Some(Refusal::Removed)
        } else if !self.is_active {
            Some(Refusal::Operator)
        } else if self.health.status == HealthStatus::Disabled {
            Some(Refusal::Health)
        } else {
            None
        }
    }

    /// The cursor of one stream.
    #[must_use]
    pub fn cursor(&self, stream: &StreamName) -> Option<&Json> {
        self.sync_cursor.as_ref()?.get(stream.as_str())
    }
}

/// Why an integration takes no calls and syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The operator switched it off.
    #[error("switched off by an operator; `enable` switches it on")]
    Operator,
    /// Too many outages in a row.
    #[error("disabled by its health; `enable` resets it")]
    Health,
    /// It was removed.
    #[error("removed")]
    Removed,
}

/// The lease of whoever syncs an integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncLease {
    /// The worker.
    pub holder: String,
    /// When others may take over.
    pub until: DateTime<Utc>,
}
