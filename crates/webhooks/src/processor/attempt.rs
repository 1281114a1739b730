//! One attempt at a delivery: the handler within its time, and panics caught.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt as _;
use integrations_core::{operation_log::OperationStatus, time::later, webhook::WebhookOutcome};

use super::{Delivery, Handled, HandlerError, ProcessorPolicy, Shared, handler::Verdict};

/// How an attempt ended.
pub(super) struct Ended {
    /// `None`: the handler settled it.
    pub(super) outcome: Option<WebhookOutcome>,
    pub(super) status: OperationStatus,
    pub(super) error: Option<String>,
    pub(super) took: Duration,
}

/// Characters of an error that are stored.
const MAX_ERROR: usize = 1000;

impl Shared {
    /// Makes an attempt at a delivery.
    pub(super) async fn attempt(&self, delivery: &Delivery) -> Ended {
        let clock = &self.client.ports().clock;
        let started = clock.monotonic();
        let result = if delivery.attempt()
            > self
                .policy
                .max_attempts
                .saturating_add(ProcessorPolicy::DEATHS)
        {
            Err(HandlerError::permanent(
                "workers died over it time and again",
            ))
        } else {
            self.handle(delivery).await
        };
        let took = clock.monotonic().saturating_sub(started);
        self.ended(delivery, result, took).await
    }

    async fn handle(&self, delivery: &Delivery) -> Result<Handled, HandlerError> {
        let Some(handler) = self.handlers.of(delivery) else {
            return Ok(Handled::Ignored);
        };
        let clock = &self.client.ports().clock;
        let deadline = later(clock.now(), self.policy.timeout);
        let attempt = AssertUnwindSafe(async { handler.handle(delivery.clone()).await });
        tokio::select! {
            result = attempt.catch_unwind() => result.unwrap_or_else(|_| {
                tracing::error!(webhook = %delivery.id(), "a webhook's handler panicked");
                Err(HandlerError::new("the handler panicked"))
            }),
            () = clock.sleep_until(deadline) => {
                let limit = self.policy.timeout.as_secs();
                Err(HandlerError::new(format!("the handler took longer than {limit} s")))
            }
        }
    }

    /// What is to become of a delivery.
    pub(super) async fn ended(
        &self,
        delivery: &Delivery,
        result: Result<Handled, HandlerError>,
        took: Duration,
    ) -> Ended {
        let error = match result {
            Ok(handled) => {
                let outcome = match handled {
                    Handled::AlreadySettled => None,
                    Handled::Done | Handled::Ignored => Some(WebhookOutcome::Processed),
                };
                return Ended {
                    outcome,
                    status: OperationStatus::Success,
                    error: None,
                    took,
                };
            }
            Err(error) => error,
        };
        let redactor = self.client.redactor_of(delivery.integration_id()).await;
        let policy = &self.policy;
        let attempt = delivery.attempt();
        let now = self.client.ports().clock.now();
        let put_back = match error.verdict {
            Verdict::PutBack(pause) => Some(policy.until(pause, now)),
            Verdict::Retry | Verdict::Permanent => None,
        };
        let may_be_put_back = now < later(delivery.row().queued_at, policy.put_back_window);
        let message = match put_back {
            Some(_) if !may_be_put_back => format!("put off for too long: {}", error.message),
            _ => error.message,
        };
        let text: String = (redactor.text(&message).chars())
            .map(|c| if c == '\0' { '\u{fffd}' } else { c })
            .take(MAX_ERROR)
            .collect();
        let (outcome, status) = match put_back {
            Some(at) if may_be_put_back => (
                WebhookOutcome::Retry {
                    at,
                    error: text.clone(),
                    counts: false,
                },
                OperationStatus::Deferred,
            ),
            _ if error.verdict != Verdict::Permanent && attempt < policy.max_attempts => {
                let at = later(now, policy.wait(attempt));
                (
                    WebhookOutcome::Retry {
                        at: put_back.map_or(at, |earliest| at.max(earliest)),
                        error: text.clone(),
                        counts: true,
                    },
                    OperationStatus::Failed,
                )
            }
            _ => (
                WebhookOutcome::Failed {
                    error: text.clone(),
                },
                OperationStatus::Failed,
            ),
        };
        Ended {
            outcome: Some(outcome),
            status,
            error: Some(text),
            took,
        }
    }
}
