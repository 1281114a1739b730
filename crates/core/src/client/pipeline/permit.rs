//! The right to make one attempt. What is not used goes back by itself.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{
    client::Shared,
    gate::{Budget, CircuitOutcome, CircuitVerdict, GateReturn},
    id::{IntegrationId, Uid},
};

/// The right to make one attempt: taken from budgets, and in an epoch of the circuit.
pub(super) struct Permit {
    shared: Arc<Shared>,
    integration_id: IntegrationId,
    budgets: Arc<[Budget]>,
    epoch: u64,
    probe: Option<Uid>,
    admitted_at: DateTime<Utc>,
    unused: bool,
}

/// What an attempt owes the circuit, and what it took.
#[derive(Clone, Debug)]
pub(super) struct Debt {
    epoch: u64,
    probe: Option<Uid>,
    budgets: Arc<[Budget]>,
    admitted_at: DateTime<Utc>,
}

impl Permit {
    pub(super) fn new(
        shared: &Arc<Shared>,
        integration_id: IntegrationId,
        budgets: Arc<[Budget]>,
        epoch: u64,
        probe: Option<Uid>,
        admitted_at: DateTime<Utc>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            integration_id,
            budgets,
            epoch,
            probe,
            admitted_at,
            unused: true,
        }
    }

    /// The attempt begins.
    pub(super) fn spend(mut self) -> Debt {
        self.unused = false;
        Debt {
            epoch: self.epoch,
            probe: self.probe,
            budgets: Arc::clone(&self.budgets),
            admitted_at: self.admitted_at,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.unused || (self.budgets.is_empty() && self.probe.is_none()) {
            return;
        }
        let returned = GateReturn {
            integration_id: self.integration_id,
            budgets: self.budgets.to_vec(),
            permits: 1,
            probe: self.probe,
            admitted_at: self.admitted_at,
        };
        let shared = Arc::clone(&self.shared);
        self.shared
            .background
            .spawn_from_drop("giving back an admission", async move {
                if let Err(error) = shared.ports.gate.give_back(&[returned]).await {
                    tracing::warn!(%error, "an admission that was not used could not be given back");
                }
            });
    }
}

impl Debt {
    /// Whether the attempt is the probe of a half-open circuit.
    pub(super) const fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// What goes back to the budgets where the other side does not count the call.
    pub(super) fn refund(&self, integration_id: IntegrationId) -> Option<GateReturn> {
        (!self.budgets.is_empty()).then(|| GateReturn {
            integration_id,
            budgets: self.budgets.to_vec(),
            permits: 1,
            probe: None,
            admitted_at: self.admitted_at,
        })
    }

    /// What an attempt that ended at `now` says about the circuit.
    pub(super) fn outcome(
        &self,
        shared: &Shared,
        verdict: CircuitVerdict,
        now: DateTime<Utc>,
    ) -> CircuitOutcome {
        CircuitOutcome {
            policy: shared.circuit,
            epoch: self.epoch,
            probe: self.probe,
            verdict,
            answered_before: 0,
            now,
        }
    }
}
