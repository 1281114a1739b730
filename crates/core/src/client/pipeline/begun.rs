//! An attempt that began, and leaves its row whatever becomes of the caller.

use std::{sync::Arc, time::Duration};

use super::{Course, Finding, permit::Debt, retry::Next};
use crate::{
    client::{CallError, LogMode, Shared, connection::Connection, settle::Settlement},
    gate::{CircuitVerdict, Suppression},
    id::{IntegrationId, RequestId},
    provider::RateLimits,
    request::FailureClass,
    unwind::caught,
};

/// An attempt under way.
pub(super) struct Begun<'a> {
    course: &'a Course,
    debt: Debt,
    number: i16,
    first: Option<RequestId>,
    started: Duration,
    ended: bool,
}

impl<'a> Begun<'a> {
    pub(super) fn new(
        course: &'a Course,
        debt: Debt,
        number: i16,
        first: Option<RequestId>,
    ) -> Self {
        Self {
            course,
            debt,
            number,
            first,
            started: course.shared.ports.clock.monotonic(),
            ended: false,
        }
    }

    /// Settles it; the row.
    pub(super) async fn end(
        mut self,
        finding: Finding,
        next: Next,
    ) -> Result<Option<RequestId>, CallError> {
        self.ended = true;
        let shared = &self.course.shared;
        let mode = match next {
            Next::Stop(_) => self.course.mode,
            // The next attempt's row points at this one's.
            Next::Again(_) => LogMode::Durable,
        };
        // Most rows are in line as soon as the settlement is polled, with nothing left to do: they
        // need no task that outlives the caller.
        let is_more_than_a_row = self.course.held.is_some()
            || self.debt.is_probe()
            || finding.pace.pause(finding.class.as_ref()).is_some();
        let settling = self.settle(finding, matches!(next, Next::Stop(_)), mode);
        if !is_more_than_a_row {
            return settling.await;
        }
        let settling = shared.background.spawn(settling);
        match settling.await {
            Ok(settled) => settled,
            Err(_) => Err(CallError::unrecorded("the task that records ended early")),
        }
    }

    /// The settlement, which needs nobody to wait for it.
    fn settle(
        &self,
        finding: Finding,
        is_last: bool,
        mode: LogMode,
    ) -> impl Future<Output = Result<Option<RequestId>, CallError>> + use<> {
        let course = self.course;
        let (shared, connection) = (Arc::clone(&course.shared), Arc::clone(&course.connection));
        let held = course.held.clone();
        let (now, monotonic) = (shared.ports.clock.now(), shared.ports.clock.monotonic());
        let took = monotonic.saturating_sub(self.started);
        let circuit = self.debt.outcome(&shared, verdict(&finding), now);
        let circuit = course.local.memory().tally.tell(circuit, monotonic);
        let is_free = finding.status == Some(304) && not_modified_is_free(&connection);
        let refund = is_free.then(|| self.debt.refund(connection.integration.id));
        let pause = finding.pace.pause(finding.class.as_ref());
        let mut row = course.row.clone();
        row.attempt = self.number;
        row.retry_of = self.first;
        row.duration_ms = i32::try_from(took.as_millis()).unwrap_or(i32::MAX);
        row.status = finding.status;
        row.class = finding.class;
        row.response_data = finding.response_data;
        row.headers = finding.headers;
        row.error = finding.error;
        row.provider_request_id = finding.provider_request_id;
        let (effect, kept) = (finding.effect, finding.kept);
        async move {
            let completion = match held {
                Some(held) if is_last => Some(held.completion(effect, row.status, kept).await),
                Some(held) => {
                    held.note(effect);
                    None
                }
                None => None,
            };
            let id = connection.integration.id;
            let settlement = Settlement {
                row,
                circuit,
                completion,
                mode,
            };
            let settled = shared.settle(&connection.integration, settlement).await;
            if let Some(refund) = refund.flatten()
                && let Err(error) = shared.ports.gate.give_back(&[refund]).await
            {
                tracing::warn!(%error, "a call that costs nothing could not be given back");
            }
            if let Some(until) = pause {
                shared
                    .suppress(
                        Suppression {
                            integration_id: id,
                            until,
                            now,
                        },
                        id,
                    )
                    .await;
            }
            settled
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let why = if std::thread::panicking() {
            "the attempt panicked"
        } else {
            "the caller went away before there was an answer"
        };
        let settling = self.settle(Finding::cut_off(why), true, LogMode::Durable);
        let settling = async move {
            // What there is to say was said when it was settled.
            let _ = settling.await;
        };
        let background = &self.course.shared.background;
        background.spawn_from_drop("recording an attempt", settling);
    }
}

/// Whether the provider does not count answers of 304.
fn not_modified_is_free(connection: &Connection) -> bool {
    let provider = &connection.registered.provider;
    let says = || provider.rate_limits().map(RateLimits::not_modified_is_free);
    caught("rate limits", says).flatten().unwrap_or(false)
}

/// What an attempt says about the circuit. Whatever was answered, the other side is reachable.
const fn verdict(finding: &Finding) -> CircuitVerdict {
    match (&finding.class, finding.answered) {
        (None, _) => CircuitVerdict::Success,
        (Some(FailureClass::Upstream), _) => CircuitVerdict::Outage,
        (Some(_), true) => CircuitVerdict::Reachable,
        (Some(_), false) => CircuitVerdict::Unknown,
    }
}

impl Shared {
    /// Keeps everybody's calls back. Where that fails, only this process's own next attempts wait.
    async fn suppress(&self, suppression: Suppression, id: IntegrationId) {
        self.locals.forget(id);
        if let Err(error) = self.ports.gate.suppress(&suppression).await {
            tracing::warn!(%error, "a pause the other side asked for could not be shared");
        }
        // What was admitted while it was shared may not know of it.
        self.locals.forget(id);
    }
}
