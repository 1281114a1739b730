//! Settlement: what an attempt leaves behind. The [recorder](super::recorder) writes it down and
//! tells of it.

use super::{
    CallError, LogMode, Shared,
    recorder::{Left, Unrecorded},
};
use crate::{
    event::{Event, EventKind},
    gate::{CircuitOutcome, GateReturn},
    id::{IntegrationId, LogId, RequestId},
    idempotency::Completion,
    integration::{AuthorizationStatus, HealthVerdict, Integration},
    request::{CallOutcome, FailureClass, NewRequest, Related},
    value::IdempotencyKey,
};

/// Everything an attempt leaves behind.
pub(super) struct Settlement {
    pub(super) row: Attempted,
    pub(super) circuit: Option<CircuitOutcome>,
    pub(super) completion: Option<Completion>,
    /// When the call goes on.
    pub(super) mode: LogMode,
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
    pub(super) headers: Option<String>,
    pub(super) error: Option<String>,
    pub(super) class: Option<FailureClass>,
    pub(super) provider_request_id: Option<String>,
    pub(super) duration_ms: i32,
    pub(super) related: Option<Related>,
    pub(super) sync_log_id: Option<LogId>,
    pub(super) attempt: i16,
    pub(super) retry_of: Option<RequestId>,
    pub(super) key: Option<IdempotencyKey>,
    /// Something will point at the row.
    pub(super) row_needed: bool,
}

/// What to do when a call was made and its row cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnrecordedPolicy {
    /// The caller gets the answer; [`EventKind::RequestUnrecorded`] tells of it. The row is kept,
    /// within a bound, and written once the store is back.
    #[default]
    AnswerAndReport,
    /// The caller gets an error of kind [`CallErrorKind::Unrecorded`](super::CallErrorKind::Unrecorded) that carries the answer.
    FailCall,
}

impl Shared {
    /// Has an attempt written down; the row, where the caller waits for it and it was written.
    ///
    /// The error is one of kind [`CallErrorKind::Unrecorded`]. Nothing here changes what the
    /// other side did, so nothing here may look like a reason to call again.
    pub(super) async fn settle(
        &self,
        integration: &Integration,
        settlement: Settlement,
    ) -> Result<Option<RequestId>, CallError> {
        let mode = settlement.mode;
        let outcome = self.outcome(integration, settlement);
        // A key says what became of its call before the caller hears of it, and a probe's place is
        // not to be lost with a row.
        let is_probe = outcome.circuit.is_some_and(|found| found.probe.is_some());
        let mode = match outcome.completion {
            None if !is_probe => mode,
            _ => LogMode::Durable,
        };
        let circuit = outcome.circuit;
        let left = Left {
            provider: integration.provider.clone(),
            outcome: Box::new(outcome),
        };
        match self.recorder.record(left, mode).await {
            Ok(recorded) => Ok(recorded.and_then(|recorded| recorded.id)),
            Err(Unrecorded { reason }) => {
                self.return_probe(integration.id, circuit).await;
                match self.unrecorded {
                    UnrecordedPolicy::AnswerAndReport => Ok(None),
                    UnrecordedPolicy::FailCall => Err(CallError::unrecorded(&reason)),
                }
            }
        }
    }

    /// Frees the slot of a probe whose outcome was not recorded (INV-02).
    async fn return_probe(&self, integration_id: IntegrationId, circuit: Option<CircuitOutcome>) {
        let Some(circuit) = circuit.filter(|circuit| circuit.probe.is_some()) else {
            return;
        };
        let returned = GateReturn {
            integration_id,
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
        let logged = self.is_logged(&attempted);
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
            headers: attempted.headers,
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
            logged,
            health,
            health_policy: self.health_policy,
            authorization,
            circuit: settlement.circuit,
            completion: settlement.completion,
        }
    }

    /// Whether an attempt leaves a row. A success does not where sampling leaves it out; whatever a
    /// row may be looked for by, a key, a chain of retries or a cached answer, keeps its row.
    fn is_logged(&self, attempted: &Attempted) -> bool {
        attempted.class.is_some()
            || attempted.key.is_some()
            || attempted.retry_of.is_some()
            || attempted.row_needed
            || self.log.successes.draw(&*self.keys.entropy)
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
