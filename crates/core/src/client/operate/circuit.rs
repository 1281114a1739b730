//! The circuit of one integration, for its operator.

use chrono::{DateTime, Utc};

use super::{ControlError, IntegrationHandle};
use crate::{
    event::EventKind,
    gate::{CircuitMode, CircuitOverride, CircuitReason, GateView},
    integration::Integration,
};

/// Looks at the circuit of one integration, and holds it open or closed (CB-10).
///
/// An override is kept on the integration and holds for all workers. A call that was admitted
/// before it goes on.
#[derive(Clone, Debug)]
pub struct CircuitControl(IntegrationHandle);

impl CircuitControl {
    pub(super) const fn new(handle: IntegrationHandle) -> Self {
        Self(handle)
    }

    /// The circuit as it stands, with the override, expired ones included.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`] where there is no such integration, or the store failed.
    pub async fn status(&self) -> Result<GateView, ControlError> {
        let row = self.0.row().await?;
        let view = self.0.shared.ports.gate.view(row.id, &self.0.scope).await?;
        view.ok_or(ControlError::NotFound)
    }

    /// Rejects every call, until the instant or [`auto`](Self::auto).
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`]; nothing is changed then.
    pub async fn open(&self, until: Option<DateTime<Utc>>) -> Result<(), ControlError> {
        let opened = EventKind::CircuitOpened {
            reason: CircuitReason::ForcedOpen,
        };
        self.force(CircuitMode::ForcedOpen, until, opened).await
    }

    /// Lets every call pass, until the instant or [`auto`](Self::auto).
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`]; nothing is changed then.
    pub async fn close(&self, until: Option<DateTime<Utc>>) -> Result<(), ControlError> {
        let closed = EventKind::CircuitClosed {
            reason: CircuitReason::ForcedClosed,
        };
        self.force(CircuitMode::ForcedClosed, until, closed).await
    }

    /// Leaves the circuit to itself again: closed, with nothing counted.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`]; nothing is changed then.
    pub async fn auto(&self) -> Result<(), ControlError> {
        let row = self.0.row().await?;
        let closed = EventKind::CircuitClosed {
            reason: CircuitReason::OverrideCleared,
        };
        self.set(&row, None, closed).await
    }

    async fn force(
        &self,
        mode: CircuitMode,
        until: Option<DateTime<Utc>>,
        event: EventKind,
    ) -> Result<(), ControlError> {
        self.0.check_until(until)?;
        let row = self.0.row().await?;
        self.set(&row, Some(CircuitOverride { mode, until }), event)
            .await
    }

    async fn set(
        &self,
        row: &Integration,
        to: Option<CircuitOverride>,
        event: EventKind,
    ) -> Result<(), ControlError> {
        let shared = &self.0.shared;
        let now = shared.ports.clock.now();
        let gate = &shared.ports.gate;
        let changed = gate.override_circuit(row.id, &self.0.scope, to, now).await;
        shared.locals.forget(row.id);
        if !changed? {
            return Err(ControlError::NotFound);
        }
        shared.emit(row, event);
        Ok(())
    }
}
