//! The `CallJournal` port.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    gate::{CircuitOutcome, CircuitTransition},
    id::{IntegrationId, RequestId},
    idempotency::{Completion, CompletionResult},
    integration::{
        AuthorizationStatus, HealthDelta, HealthPolicy, HealthTransition, HealthVerdict, Scope,
    },
    request::{CallJournal, CallOutcome, FailureClass, NewRequest, Recorded, RelatedId, Request},
    store::{Batch, Rejected, StoreError},
};

use super::{MemoryStore, columns::Columns, integration::authorize, ledger, state::State};

#[async_trait]
impl CallJournal for MemoryStore {
    async fn record(&self, outcomes: &[CallOutcome]) -> Batch<Recorded> {
        let mut state = self.lock();
        let mut recorded: Vec<_> = outcomes.iter().map(|o| record_one(&mut state, o)).collect();
        for (id, fold) in folded(outcomes, &recorded) {
            let health = apply_health(&mut state, id, &fold);
            if let Ok(last) = &mut recorded[fold.last] {
                last.health = health;
            }
        }
        Ok(recorded)
    }

    async fn complete(
        &self,
        completions: &[Completion],
    ) -> Result<Vec<CompletionResult>, StoreError> {
        for completion in completions {
            ledger::columns(completion).of_row()?;
        }
        let mut state = self.lock();
        Ok(completions
            .iter()
            .map(|completion| ledger::complete(&mut state, completion, None))
            .collect())
    }
}

/// Everything an entry changes but health.
fn record_one(state: &mut State, outcome: &CallOutcome) -> Result<Recorded, Rejected> {
    columns(&outcome.attempt).of_entry()?;
    if let Some((_, status)) = &outcome.authorization {
        Columns::check().varchar(status.as_str(), 32).of_entry()?;
    }
    if let Some(completion) = &outcome.completion {
        ledger::columns(completion).of_entry()?;
    }
    let integration_id = outcome.attempt.integration_id;
    state.references(integration_id)?;

    let id = outcome.logged.then(|| {
        RequestId(state.requests.insert(|id| Request {
            id: RequestId(id),
            attempt: outcome.attempt.clone(),
            cache_hits: 0,
            stale_hits: 0,
        }))
    });
    let now = outcome.attempt.created_at;
    Ok(Recorded {
        id,
        health: None,
        circuit: (outcome.circuit.as_ref())
            .and_then(|found| settle_circuit(state, integration_id, found)),
        authorization_changed: (outcome.authorization.as_ref())
            .is_some_and(|found| settle_authorization(state, integration_id, found, now)),
        completion: (outcome.completion.as_ref())
            .map(|completion| ledger::complete(state, completion, id)),
    })
}

fn columns(attempt: &NewRequest) -> Columns {
    let related_key = attempt.related.as_ref().and_then(|r| match &r.id {
        RelatedId::Number(_) => None,
        RelatedId::Text(key) => Some(key.as_str()),
    });
    Columns::check()
        .varchar(attempt.endpoint.as_str(), NewRequest::MAX_ENDPOINT)
        .varchar(attempt.method.as_str(), NewRequest::MAX_METHOD)
        .text(attempt.path.as_deref())
        .smallint(attempt.status_code)
        .text(attempt.request_data.as_deref())
        .text(attempt.response_data.as_deref())
        .text(attempt.headers.as_deref())
        .text(attempt.error.as_deref())
        .varchar(attempt.failure_class.as_ref().map(FailureClass::as_str), 16)
        .varchar(
            attempt.provider_request_id.as_deref(),
            NewRequest::MAX_PROVIDER_REQUEST_ID,
        )
        .varchar(
            attempt.related.as_ref().map(|r| r.related_type.as_str()),
            255,
        )
        .varchar(related_key, 191)
}

fn settle_circuit(
    state: &mut State,
    id: IntegrationId,
    found: &CircuitOutcome,
) -> Option<CircuitTransition> {
    let circuit_override = state
        .integration(id, &Scope::Operator)?
        .circuit_override
        .clone();
    let gate = state.gates.entry(id).or_default();
    gate.settle(found, circuit_override.as_ref())
}

fn settle_authorization(
    state: &mut State,
    id: IntegrationId,
    (generation, status): &(i64, AuthorizationStatus),
    now: DateTime<Utc>,
) -> bool {
    let Some(row) = state.integration_mut(id, &Scope::Operator) else {
        return false;
    };
    let changed = authorize(row, *generation, status);
    if changed {
        row.updated_at = now;
    }
    changed
}

/// What the entries about one integration come to.
struct HealthFold {
    delta: HealthDelta,
    policy: HealthPolicy,
    latest_outage: Option<DateTime<Utc>>,
    /// When the last entry ended.
    now: DateTime<Utc>,
    /// Where the last entry stands in the batch.
    last: usize,
}

/// The entries that were recorded, folded per integration in their order.
fn folded(
    outcomes: &[CallOutcome],
    recorded: &[Result<Recorded, Rejected>],
) -> BTreeMap<IntegrationId, HealthFold> {
    let mut folds = BTreeMap::<_, HealthFold>::new();
    for (index, outcome) in outcomes.iter().enumerate() {
        if recorded[index].is_err() {
            continue;
        }
        let ended = outcome.attempt.created_at;
        let fold = folds
            .entry(outcome.attempt.integration_id)
            .or_insert(HealthFold {
                delta: HealthDelta::default(),
                policy: outcome.health_policy,
                latest_outage: None,
                now: ended,
                last: index,
            });
        fold.delta = fold.delta.then(outcome.health);
        fold.policy = outcome.health_policy;
        fold.now = ended;
        fold.last = index;
        if outcome.health == HealthVerdict::Outage {
            fold.latest_outage = fold.latest_outage.max(Some(ended));
        }
    }
    folds
}

fn apply_health(
    state: &mut State,
    id: IntegrationId,
    fold: &HealthFold,
) -> Option<HealthTransition> {
    let row = state.integration_mut(id, &Scope::Operator)?;
    let health = fold.delta.apply(&row.health, &fold.policy);
    let last_error_at = row.last_error_at.max(fold.latest_outage);
    if health == row.health && last_error_at == row.last_error_at {
        return None;
    }
    let before = std::mem::replace(&mut row.health, health);
    row.last_error_at = last_error_at;
    row.updated_at = fold.now;
    (before.status != row.health.status).then(|| HealthTransition {
        from: before.status,
        to: row.health.status.clone(),
        consecutive_failures: row.health.consecutive_failures,
    })
}
