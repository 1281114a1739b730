//! The [`CallGate`] port.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Budget, CircuitOverride, CircuitPhase, CircuitPolicy, CircuitTransition, GateState, Lane,
};
use crate::{
    id::{IntegrationId, Uid},
    integration::{AuthorizationStatus, HealthStatus, Scope},
    store::StoreError,
};

/// A budget an operator set in place of the provider's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateOverride {
    /// The budget.
    pub budget: Budget,
    /// Until when; `None`: until it is cleared.
    pub until: Option<DateTime<Utc>>,
}

impl RateOverride {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// A call that asks to be let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmitRequest {
    /// Whose call.
    pub integration_id: IntegrationId,
    /// On whose behalf.
    pub scope: Scope,
    /// The circuit's policy.
    pub circuit: CircuitPolicy,
    /// Every budget it counts against.
    pub budgets: Vec<Budget>,
    /// How many calls wait to be admitted, at least one.
    pub permits: u32,
    /// How many more are expected soon. They are admitted with the others only where that takes a
    /// small part of what remains.
    pub ahead: u32,
    /// How urgent it is.
    pub lane: Lane,
    /// Minted for this call; names it should it be the probe.
    pub token: Uid,
    /// Now.
    pub now: DateTime<Utc>,
}

/// What the gate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Go on.
    Admitted {
        /// So many calls, at least one. They die with `window_end`.
        permits: u32,
        /// When the earliest window of the budgets ends; `None` without budgets.
        window_end: Option<DateTime<Utc>>,
        /// The budgets they were taken from, which an override may have put in place of those of
        /// the request; what is not used goes back to them.
        budgets: Vec<Budget>,
        /// The circuit's epoch, for the outcome.
        epoch: u64,
        /// The token, when this call is the probe.
        probe: Option<Uid>,
    },
    /// A budget is spent.
    Limited {
        /// When its window ends.
        retry_at: DateTime<Utc>,
        /// Which.
        budget: String,
    },
    /// The other side asked for a pause.
    Suppressed {
        /// Until when.
        until: DateTime<Utc>,
    },
    /// The circuit is open.
    CircuitOpen {
        /// Since when.
        opened_at: DateTime<Utc>,
        /// When a probe may go, as far as is known.
        retry_at: Option<DateTime<Utc>>,
        /// An operator opened it.
        forced: bool,
    },
}

/// How the integration stands, read by the same statement, so that a caller's copy of the row
/// need not be read again for each call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The operator's switch.
    pub is_active: bool,
    /// Health.
    pub health_status: HealthStatus,
    /// Whether the provider accepts the credentials.
    pub authorization_status: AuthorizationStatus,
    /// Another generation than the copy's: read the row again.
    pub credentials_generation: i64,
    /// Another instant than the copy's: read the row again.
    pub updated_at: DateTime<Utc>,
}

/// What a gate answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The decision.
    pub admission: Admission,
    /// The transition that sending this call as the probe caused.
    pub transition: Option<CircuitTransition>,
    /// How the integration stands.
    pub standing: Standing,
}

/// What was admitted and not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateReturn {
    /// Whose.
    pub integration_id: IntegrationId,
    /// The budgets it was taken from, as the admission named them.
    pub budgets: Vec<Budget>,
    /// So many calls were not made.
    pub permits: u32,
    /// The probe's token, where the probe was not sent.
    pub probe: Option<Uid>,
    /// When it was admitted.
    pub admitted_at: DateTime<Utc>,
}

/// A pause the other side asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// Whose calls.
    pub integration_id: IntegrationId,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// A gate for readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateView {
    /// The shared state.
    pub state: GateState,
    /// The operator's circuit override, expired ones included.
    pub circuit_override: Option<CircuitOverride>,
    /// The operator's rate override, expired ones included.
    pub rate_override: Option<RateOverride>,
}

impl GateView {
    /// The phase of the circuit, an override at `now` included.
    #[must_use]
    pub fn phase(&self, now: DateTime<Utc>) -> CircuitPhase {
        use super::CircuitMode;
        match self
            .circuit_override
            .as_ref()
            .filter(|o| o.holds(now))
            .map(|o| &o.mode)
        {
            Some(CircuitMode::ForcedOpen) => CircuitPhase::Open,
            Some(CircuitMode::ForcedClosed) => CircuitPhase::Closed,
            Some(CircuitMode::Unrecognised(_)) | None => self.state.circuit.phase,
        }
    }
}

/// Lets calls through, for all workers together.
///
/// Stores decide by [`GateState`] alone, under a lock on the integration's gate, so that workers
/// together never exceed a budget by one (INV-05) and send one probe at a time. The state may be
/// lost in a crash of the database; it then begins anew, closed and unspent.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait CallGate: Send + Sync {
    /// Decides on a call and takes what it needs; `None` when the integration is not within the
    /// scope, or was removed.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; what was taken is then lost to its window or probe time-out.
    async fn admit(&self, request: &AdmitRequest) -> Result<Option<Admitted>, StoreError>;

    /// Gives back what was not used. Integrations that are gone are passed over.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn give_back(&self, returned: &[GateReturn]) -> Result<(), StoreError>;

    /// Keeps calls of an integration back. MUST never shorten a pause.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn suppress(&self, suppression: &Suppression) -> Result<(), StoreError>;

    /// The gate as it stands; `None` when the integration is not within the scope.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn view(
        &self,
        integration_id: IntegrationId,
        scope: &Scope,
    ) -> Result<Option<GateView>, StoreError>;

    /// Sets or clears the operator's circuit override; `false` when the integration is not within
    /// the scope. Clearing MUST reset the circuit to closed (CB-10).
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is changed then.
    async fn override_circuit(
        &self,
        integration_id: IntegrationId,
        scope: &Scope,
        to: Option<CircuitOverride>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError>;

    /// Sets or clears the operator's rate override; `false` when the integration is not within the
    /// scope. MUST NOT touch what is used of other budgets (RL-11).
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is changed then.
    async fn override_rate(
        &self,
        integration_id: IntegrationId,
        scope: &Scope,
        to: Option<RateOverride>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError>;
}
