//! The `CallGate` port.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    gate::{
        AdmitRequest, Admitted, CallGate, CircuitOverride, GateReturn, GateView, RateOverride,
        Standing, Suppression,
    },
    id::IntegrationId,
    integration::Scope,
    store::StoreError,
};

use super::{MemoryStore, columns::Columns};

#[async_trait]
impl CallGate for MemoryStore {
    async fn admit(&self, request: &AdmitRequest) -> Result<Option<Admitted>, StoreError> {
        let mut state = self.lock();
        let Some(row) = state.integration(request.integration_id, &request.scope) else {
            return Ok(None);
        };
        let standing = Standing {
            is_active: row.is_active,
            health_status: row.health.status.clone(),
            authorization_status: row.authorization_status.clone(),
            credentials_generation: row.credentials_generation,
            updated_at: row.updated_at,
        };
        let circuit_override = row.circuit_override.clone();
        let rate_override = row.rate_override.clone();
        let gate = state.gates.entry(request.integration_id).or_default();
        let (admission, transition) =
            gate.admit(request, circuit_override.as_ref(), rate_override.as_ref());
        Ok(Some(Admitted {
            admission,
            transition,
            standing,
        }))
    }

    async fn give_back(&self, returned: &[GateReturn]) -> Result<(), StoreError> {
        let mut state = self.lock();
        for one in returned {
            if let Some(gate) = state.gates.get_mut(&one.integration_id) {
                gate.give_back(one);
            }
        }
        Ok(())
    }

    async fn suppress(&self, suppression: &Suppression) -> Result<(), StoreError> {
        let mut state = self.lock();
        let id = suppression.integration_id;
        if state.integration(id, &Scope::Operator).is_some() {
            let gate = state.gates.entry(id).or_default();
            gate.suppress(suppression.until);
        }
        Ok(())
    }

    async fn view(
        &self,
        integration_id: IntegrationId,
        scope: &Scope,
    ) -> Result<Option<GateView>, StoreError> {
        let state = self.lock();
        let row = state.integration(integration_id, scope);
        Ok(row.map(|row| GateView {
            state: state
                .gates
                .get(&integration_id)
                .cloned()
                .unwrap_or_default(),
            circuit_override: row.circuit_override.clone(),
            rate_override: row.rate_override.clone(),
        }))
    }

    async fn override_circuit(
        &self,
        integration_id: IntegrationId,
        scope: &Scope,
        to: Option<CircuitOverride>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        Columns::check()
            .varchar(to.as_ref().map(|to| to.mode.as_str()), 16)
            .of_row()?;
        let mut state = self.lock();
        let Some(row) = state.integration_mut(integration_id, scope) else {
            return Ok(false);
        };
        let cleared = to.is_none();
        row.circuit_override = to;
        row.updated_at = now;
        if cleared && let Some(gate) = state.gates.get_mut(&integration_id) {
            gate.reset_circuit();
        }
        Ok(true)
    }

    async fn override_rate(
        &self,
        integration_id: IntegrationId,
        scope: &Scope,
        to: Option<RateOverride>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        Columns::check()
            .text(to.as_ref().map(|to| to.budget.name.as_str()))
            .of_row()?;
        let mut state = self.lock();
        let Some(row) = state.integration_mut(integration_id, scope) else {
            return Ok(false);
        };
        row.rate_override = to;
        row.updated_at = now;
        Ok(true)
    }
}
