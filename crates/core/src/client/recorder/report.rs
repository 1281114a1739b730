//! What is told of outcomes: events and traces, once it is known whether they are on record.

use std::sync::Arc;

use super::Left;
use crate::{
    client::{events::Events, pipeline::local::Locals},
    event::{Event, EventKind},
    gate::CircuitPhase,
    idempotency::CompletionResult,
    integration::{AuthorizationStatus, HealthStatus},
    request::Recorded,
    time::Clock,
};

pub(super) struct Reporter {
    events: Arc<Events>,
    locals: Arc<Locals>,
    clock: Arc<dyn Clock>,
}

impl Reporter {
    pub(super) fn new(events: Arc<Events>, locals: Arc<Locals>, clock: Arc<dyn Clock>) -> Self {
        Self {
            events,
            locals,
            clock,
        }
    }

    /// An outcome is on record.
    pub(super) fn recorded(&self, left: &Left, recorded: &Recorded) {
        let outcome = &left.outcome;
        let attempt = &outcome.attempt;
        let duration_ms = attempt.duration_ms.unwrap_or_default();
        let (request_id, status_code) = (recorded.id, attempt.status_code);
        tracing::debug!(
            provider = %left.provider,
            integration_id = %attempt.integration_id,
            request_id = request_id.map(|id| id.0),
            endpoint = attempt.endpoint,
            attempt = attempt.attempt,
            status_code,
            duration_ms,
            "recorded an attempt"
        );
        if recorded.completion == Some(CompletionResult::NotHolder) {
            tracing::warn!(
                integration_id = %attempt.integration_id,
                request_id = request_id.map(|id| id.0),
                "the key of a call was decided about by somebody else while it was under way"
            );
        }
        if recorded.health.is_some() {
            self.locals.changed(attempt.integration_id);
        } else if recorded.circuit.is_some() || recorded.authorization_changed {
            self.locals.forget(attempt.integration_id);
        }
        if !self.events.has_sinks() {
            return;
        }
        let emit = |kind| self.emit(left, kind);
        emit(match &attempt.failure_class {
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
        });
        if let Some(moved) = &recorded.health {
            let consecutive_failures = moved.consecutive_failures;
            if moved.to == HealthStatus::Disabled {
                emit(EventKind::IntegrationDisabled {
                    consecutive_failures,
                });
            }
            emit(EventKind::HealthChanged {
                from: moved.from.clone(),
                to: moved.to.clone(),
                consecutive_failures,
            });
        }
        if let Some(moved) = &recorded.circuit {
            let reason = moved.reason;
            match moved.to {
                CircuitPhase::Open => emit(EventKind::CircuitOpened { reason }),
                CircuitPhase::Closed => emit(EventKind::CircuitClosed { reason }),
                CircuitPhase::HalfOpen => {}
            }
        }
        let refused = matches!(
            outcome.authorization,
            Some((_, AuthorizationStatus::NeedsReauthorization))
        );
        if recorded.authorization_changed && refused {
            emit(EventKind::AuthorizationNeeded);
        }
    }

    /// An outcome is not on record, for a reason that holds no secret.
    pub(super) fn unrecorded(&self, left: &Left, reason: &str) {
        let attempt = &left.outcome.attempt;
        tracing::error!(
            provider = %left.provider,
            integration_id = %attempt.integration_id,
            endpoint = attempt.endpoint,
            attempt = attempt.attempt,
            status_code = attempt.status_code,
            reason,
            "an attempt was made and could not be recorded"
        );
        let kind = EventKind::RequestUnrecorded {
            endpoint: attempt.endpoint.clone(),
            reason: reason.to_owned(),
        };
        self.emit(left, kind);
    }

    /// An outcome that was kept, or should have been, is lost.
    pub(super) fn dropped(left: &Left) {
        let attempt = &left.outcome.attempt;
        tracing::error!(
            provider = %left.provider,
            integration_id = %attempt.integration_id,
            endpoint = attempt.endpoint,
            "a row was dropped: too many are kept until the store is back"
        );
    }

    fn emit(&self, left: &Left, kind: EventKind) {
        self.events.emit(Event {
            at: self.clock.now(),
            integration_id: Some(left.outcome.attempt.integration_id),
            kind,
        });
    }
}
