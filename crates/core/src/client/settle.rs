//! Settlement: what an attempt leaves behind, and what is told of it.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

use super::{CallError, Shared};
use crate::{
    event::{Event, EventKind},
    gate::{CircuitOutcome, CircuitPhase, GateReturn},
    id::{LogId, RequestId},
    idempotency::{Completion, CompletionResult},
    integration::{AuthorizationStatus, HealthStatus, HealthVerdict, Integration},
    request::{CallOutcome, FailureClass, NewRequest, Recorded, Related},
    value::IdempotencyKey,
};

/// Everything an attempt leaves behind.
pub(super) struct Settlement {
    pub(super) row: Attempted,
    pub(super) circuit: Option<CircuitOutcome>,
    pub(super) completion: Option<Completion>,
}

/// What there is to write down of an attempt; redacted already.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempted {
    pub(super) endpoint: String,
    pub(super) method: String,
    pub(super) path: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) request_data: Option<String>,
    pub(super) response_data: Option<String>,
    pub(super) error: Option<String>,
    pub(super) class: Option<FailureClass>,
    pub(super) provider_request_id: Option<String>,
    pub(super) duration_ms: i32,
    pub(super) related: Option<Related>,
    pub(super) sync_log_id: Option<LogId>,
    pub(super) attempt: i16,
    pub(super) retry_of: Option<RequestId>,
    pub(super) key: Option<IdempotencyKey>,
}

/// What to do when a call was made and its row cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnrecordedPolicy {
    /// The caller gets the answer; [`EventKind::RequestUnrecorded`] tells of it.
    #[default]
    AnswerAndReport,
    /// The caller gets an error of kind [`CallErrorKind::Unrecorded`] that carries the answer.
    FailCall,
}

impl Shared {
    /// Writes an attempt down and tells of what it changed; the row, if it could be written.
    ///
    /// The error is one of kind [`CallErrorKind::Unrecorded`]. Nothing here changes what the
    /// other side did, so nothing here may look like a reason to call again.
    pub(super) async fn settle(
        &self,
        integration: &Integration,
        settlement: Settlement,
    ) -> Result<Option<RequestId>, CallError> {
        let outcome = self.outcome(integration, settlement);
        let record = async {
            self.ports
                .journal
                .record(std::slice::from_ref(&outcome))
                .await
        };
        let recorded = match AssertUnwindSafe(record).catch_unwind().await {
            Ok(Ok(results)) => match results.into_iter().next() {
                Some(Ok(recorded)) => Ok(recorded),
                Some(Err(rejected)) => Err(rejected.to_string()),
                None => Err("the store did not answer for the row".to_owned()),
            },
            Ok(Err(error)) => Err(error.to_string()),
            Err(_panic) => Err("the store panicked".to_owned()),
        };
        match recorded {
            Ok(recorded) => {
                self.tell(integration, &outcome, &recorded);
                Ok(recorded.id)
            }
            Err(reason) => {
                self.tell_unrecorded(integration, &outcome, &reason);
                self.return_probe(&outcome).await;
                match self.unrecorded {
                    UnrecordedPolicy::AnswerAndReport => Ok(None),
                    UnrecordedPolicy::FailCall => Err(CallError::unrecorded(&reason)),
                }
            }
        }
    }

    /// Frees the slot of a probe whose outcome was not recorded (INV-02).
    async fn return_probe(&self, outcome: &CallOutcome) {
        let Some(circuit) = &outcome.circuit else {
            return;
        };
        if circuit.probe.is_none() {
            return;
        }
        let returned = GateReturn {
            integration_id: outcome.attempt.integration_id,
            budgets: Vec::new(),
            permits: 0,
            probe: circuit.probe,
            admitted_at: circuit.now,
        };
        if let Err(error) = self.ports.gate.give_back(&[returned]).await {
            tracing::warn!(%error, "a probe could not be given back, and counts as lost in time");
        }
    }

    fn outcome(&self, integration: &Integration, settlement: Settlement) -> CallOutcome {
        let attempted = settlement.row;
        let health = match &attempted.class {
            None => HealthVerdict::Success,
            Some(FailureClass::Upstream) => HealthVerdict::Outage,
            Some(_) => HealthVerdict::Neutral,
        };
        let authorization = authorization(integration, &attempted);
        let attempt = NewRequest {
            integration_id: integration.id,
            endpoint: attempted.endpoint,
            method: attempted.method,
            path: attempted.path,
            status_code: attempted.status,
            request_data: attempted.request_data,
            response_data: attempted.response_data,
            headers: None,
            error: attempted.error,
            failure_class: attempted.class,
            idempotency_key: attempted.key,
            provider_request_id: attempted.provider_request_id,
            duration_ms: Some(attempted.duration_ms),
            retry_of: attempted.retry_of,
            attempt: attempted.attempt,
            related: attempted.related,
            sync_log_id: attempted.sync_log_id,
            created_at: self.ports.clock.now(),
        };
        CallOutcome {
            attempt: attempt.fitted(),
            logged: true,
            health,
            health_policy: self.health_policy,
            authorization,
            circuit: settlement.circuit,
            completion: settlement.completion,
        }
    }

    fn tell(&self, integration: &Integration, outcome: &CallOutcome, recorded: &Recorded) {
        let attempt = &outcome.attempt;
        let duration_ms = attempt.duration_ms.unwrap_or_default();
        let (request_id, status_code) = (recorded.id, attempt.status_code);
        tracing::debug!(
            provider = %integration.provider,
            integration_id = %integration.id,
            request_id = request_id.map(|id| id.0),
            endpoint = attempt.endpoint,
            status_code,
            duration_ms,
            "recorded an attempt"
        );
        self.emit(
            integration,
            match &attempt.failure_class {
                None => EventKind::RequestCompleted {
                    request_id,
                    status_code,
                    duration_ms,
                },
                Some(class) => EventKind::RequestFailed {
                    request_id,
                    class: class.clone(),
                    status_code,
                    duration_ms,
                },
            },
        );
        if let Some(moved) = &recorded.health {
            let consecutive_failures = moved.consecutive_failures;
            if moved.to == HealthStatus::Disabled {
                self.emit(
                    integration,
                    EventKind::IntegrationDisabled {
                        consecutive_failures,
                    },
                );
            }
            self.emit(
                integration,
                EventKind::HealthChanged {
                    from: moved.from.clone(),
                    to: moved.to.clone(),
                    consecutive_failures,
                },
            );
        }
        if let Some(moved) = recorded.circuit {
            let reason = moved.reason;
            match moved.to {
                CircuitPhase::Open => self.emit(integration, EventKind::CircuitOpened { reason }),
                CircuitPhase::Closed => self.emit(integration, EventKind::CircuitClosed { reason }),
                CircuitPhase::HalfOpen => {}
            }
        }
        if recorded.completion == Some(CompletionResult::NotHolder) {
            tracing::warn!(
                integration_id = %integration.id,
                request_id = request_id.map(|id| id.0),
                "the key of a call was decided about by somebody else while it was under way"
            );
        }
        let changed = recorded.health.is_some()
            || recorded.circuit.is_some()
            || recorded.authorization_changed;
        if changed {
            self.locals.forget(integration.id);
        }
        let refused = matches!(
            outcome.authorization,
            Some((_, AuthorizationStatus::NeedsReauthorization))
        );
        if recorded.authorization_changed && refused {
            self.emit(integration, EventKind::AuthorizationNeeded);
        }
    }

    fn tell_unrecorded(&self, integration: &Integration, outcome: &CallOutcome, reason: &str) {
        tracing::error!(
            provider = %integration.provider,
            integration_id = %integration.id,
            endpoint = outcome.attempt.endpoint,
            status_code = outcome.attempt.status_code,
            reason,
            "an attempt was made and could not be recorded"
        );
        self.emit(
            integration,
            EventKind::RequestUnrecorded {
                endpoint: outcome.attempt.endpoint.clone(),
                reason: reason.to_owned(),
            },
        );
    }

    /// Queues an event about an integration.
    pub(super) fn emit(&self, integration: &Integration, kind: EventKind) {
        self.events.emit(Event {
            at: self.ports.clock.now(),
            integration_id: Some(integration.id),
            kind,
        });
    }
}

/// What an attempt says about the credentials: 401 and 403 that are no throttle refuse them, a
/// success accepts them again (W-HLT-3).
fn authorization(
    integration: &Integration,
    attempted: &Attempted,
) -> Option<(i64, AuthorizationStatus)> {
    let finding = match (&attempted.class, attempted.status) {
        (Some(FailureClass::Client), Some(401 | 403)) => AuthorizationStatus::NeedsReauthorization,
        (None, Some(200..300)) => AuthorizationStatus::Ok,
        _ => return None,
    };
    let is_news = finding != integration.authorization_status;
    is_news.then_some((integration.credentials_generation, finding))
}
