//! The budgets of one integration, for its operator.

use chrono::{DateTime, Utc};

use super::{ControlError, IntegrationHandle};
use crate::gate::{Budget, GateView, RateOverride};

/// Looks at the budgets of one integration, and puts another in their place (RL-11).
#[derive(Clone, Debug)]
pub struct RateLimitControl(IntegrationHandle);

impl RateLimitControl {
    pub(super) const fn new(handle: IntegrationHandle) -> Self {
        Self(handle)
    }

    /// What is used of the budgets, pauses the other side asked for, and the override, expired
    /// ones included.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`] where there is no such integration, or the store failed.
    pub async fn show(&self) -> Result<GateView, ControlError> {
        let row = self.0.row().await?;
        let view = self.0.shared.ports.gate.view(row.id, &self.0.scope).await?;
        view.ok_or(ControlError::NotFound)
    }

    /// Puts a budget in place of the provider's, for all workers, until the instant or
    /// [`clear`](Self::clear). What was used of the others stays used.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`]; nothing is changed then.
    pub async fn set(
        &self,
        budget: Budget,
        until: Option<DateTime<Utc>>,
    ) -> Result<(), ControlError> {
        self.0.check_until(until)?;
        self.change(Some(RateOverride { budget, until })).await
    }

    /// Goes back to the provider's budgets.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`]; nothing is changed then.
    pub async fn clear(&self) -> Result<(), ControlError> {
        self.change(None).await
    }

    async fn change(&self, to: Option<RateOverride>) -> Result<(), ControlError> {
        let row = self.0.row().await?;
        let ports = &self.0.shared.ports;
        let now = ports.clock.now();
        let changed = ports.gate.override_rate(row.id, &self.0.scope, to, now);
        let changed = changed.await;
        self.0.shared.locals.forget(row.id);
        if changed? {
            Ok(())
        } else {
            Err(ControlError::NotFound)
        }
    }
}
