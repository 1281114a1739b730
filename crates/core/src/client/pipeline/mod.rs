//! One call from its reservation to its last attempt, whichever way in it takes.
//!
//! ```text
//! reserve the key ─► admit ─► attempt ─► decide ─► settle ─┬─► done
//!                      ▲                                   │
//!                      └────────────── wait ◄──────────────┘
//! ```
//!
//! An attempt and its row belong together: once it began, its settlement runs on a task of its
//! own, also when the caller goes away. Permits and reservations end themselves when dropped. What
//! is decided of an attempt is decided before anything is written.

mod admission;
mod ahead;
mod backoff;
mod begun;
mod limits;
pub(super) mod local;
mod options;
mod pace;
mod permit;
mod reservation;
mod retry;
mod retry_budget;
mod tally;
mod unknown;

use std::{pin::pin, sync::Arc};

use chrono::{DateTime, Utc};
use futures::future::{Either, select};
use tracing::Instrument as _;

use self::{
    admission::{Ask, Line},
    begun::Begun,
    local::Local,
    reservation::{Claim, Held},
    retry::{Failed, Next},
};
use super::{
    CallError, IntegrationHandle, LogMode, Shared, connection::Connection, kept::Kept,
    settle::Attempted,
};
use crate::{
    gate::{Budget, Lane, RateBudget},
    id::RequestId,
    integration::Scope,
    provider::Effect,
    request::FailureClass,
    time::later,
    trace::TraceContext,
};

pub use limits::{RetryLimits, WaitLimits};
pub(super) use options::{CallOptions, call_options};
pub(super) use pace::Pace;
pub(super) use retry::Advice;
pub use retry::Retryable;

/// A way to make an attempt: a request over the transport, or a closure around an SDK.
pub(super) trait Way: Sync {
    /// What comes of it for the caller.
    type Outcome: Send;

    /// Makes one attempt, which is this step of a trace.
    fn attempt(
        &self,
        number: i16,
        step: Option<TraceContext>,
    ) -> impl Future<Output = Tried<Self::Outcome>> + Send;

    /// What comes of an attempt that the call's deadline ends.
    fn cut_off(&self) -> Self::Outcome;
}

/// What an attempt came to.
pub(super) struct Tried<O> {
    pub(super) outcome: O,
    pub(super) finding: Finding,
}

/// What an attempt came to, as the pipeline sees it.
#[derive(Debug)]
pub(super) struct Finding {
    /// `None`: it went well.
    pub(super) class: Option<FailureClass>,
    pub(super) effect: Effect,
    /// Whether the other side was heard of.
    pub(super) answered: bool,
    pub(super) status: Option<u16>,
    pub(super) advice: Advice,
    pub(super) pace: Pace,
    /// The answer, for the log, redacted.
    pub(super) response_data: Option<String>,
    /// The headers that are logged, redacted.
    pub(super) headers: Option<String>,
    /// What went wrong, for the log, redacted.
    pub(super) error: Option<String>,
    pub(super) provider_request_id: Option<String>,
    /// The answer, to be given again for the same key.
    pub(super) kept: Option<Kept>,
}

impl Finding {
    /// An attempt nobody heard the end of.
    pub(super) fn cut_off(why: &str) -> Self {
        Self {
            class: Some(FailureClass::Unknown),
            effect: Effect::Unknown,
            answered: false,
            status: None,
            advice: Advice::None,
            pace: Pace::default(),
            response_data: None,
            headers: None,
            error: Some(why.to_owned()),
            provider_request_id: None,
            kept: None,
        }
    }
}

/// How a call ended.
pub(super) struct Concluded<O> {
    /// What came of its last attempt.
    pub(super) outcome: O,
    pub(super) class: Option<FailureClass>,
    /// The row of that attempt; the error is one of kind
    /// [`Unrecorded`](super::CallErrorKind::Unrecorded).
    pub(super) settled: Result<Option<RequestId>, CallError>,
    /// When a new call makes sense.
    pub(super) retry_at: Option<DateTime<Utc>>,
}

/// What sets a call apart from others, as its way in tells.
pub(super) struct Plan<'a> {
    pub(super) options: &'a CallOptions,
    /// What each attempt's row begins with.
    pub(super) row: Attempted,
    /// Whether it only reads.
    pub(super) reads: bool,
    /// Whether doing it twice is as good as once.
    pub(super) repeatable: bool,
    /// Whether the provider gets the key, and deduplicates by it.
    pub(super) key_on_wire: bool,
    /// The same bytes for the same request, to compare what comes under one key.
    pub(super) fingerprint: Vec<u8>,
}

/// Where a call begins.
pub(super) enum Start {
    /// With its attempts.
    Course(Box<Course>),
    /// It was made before, and this came of it, as this row says.
    Recorded(Kept, Option<RequestId>),
}

/// A call under way.
pub(super) struct Course {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    local: Arc<Local>,
    row: Attempted,
    ask: Ask,
    held: Option<Arc<Held>>,
    attempts: u32,
    repeatable: bool,
    retry_of: Option<RequestId>,
    /// When the call goes on after its last attempt.
    mode: LogMode,
    trace: Option<TraceContext>,
    /// No attempt begins later.
    give_up_at: DateTime<Utc>,
    /// No attempt goes on later.
    deadline: Option<DateTime<Utc>>,
}

impl IntegrationHandle {
    /// Reserves the call's key, where it has one.
    pub(super) async fn begin(
        &self,
        connection: &Arc<Connection>,
        plan: Plan<'_>,
    ) -> Result<Start, CallError> {
        let (shared, options) = (&self.shared, plan.options);
        let clock = &shared.ports.clock;
        let now = clock.now();
        let held = match &options.key {
            None => None,
            Some(key) => {
                if !plan.key_on_wire {
                    warn_local_only(connection);
                }
                let (native, fingerprint) = (plan.key_on_wire, &plan.fingerprint);
                let mut claim = shared.claim(connection, key, native, fingerprint).await;
                if self.settle_unknown(connection, &plan.row, &claim).await {
                    claim = shared.claim(connection, key, native, fingerprint).await;
                }
                match claim? {
                    Claim::Ours(held) => Some(Arc::new(held)),
                    Claim::Done(record) => {
                        let request_id = record.request_id;
                        let kept = shared.recorded(connection, record).await?;
                        return Ok(Start::Recorded(kept, request_id));
                    }
                }
            }
        };
        let limits = &shared.retries;
        let by_method = if plan.reads {
            limits.read_attempts
        } else {
            limits.write_attempts
        };
        let within = options.deadline.unwrap_or(limits.give_up_after);
        Ok(Start::Course(Box::new(Course {
            local: shared
                .locals
                .of(connection.integration.id, clock.monotonic()),
            ask: Ask {
                line: Line {
                    scope: self.scope.clone(),
                    // What a sync asks for can wait.
                    lane: self.sync_log_id.map_or(options.lane, |_| Lane::Background),
                    budgets: budgets(&connection.budgets, &plan.row),
                },
                max_wait: options.max_wait.unwrap_or(shared.waits.max_wait),
            },
            attempts: options.attempts.unwrap_or(by_method).max(1),
            repeatable: plan.repeatable || (held.is_some() && plan.key_on_wire),
            retry_of: options.retry_of,
            mode: if options.row_needed {
                LogMode::Durable
            } else {
                options.log.unwrap_or(shared.log_mode)
            },
            trace: (shared.tracing).of_call(options.trace.as_ref(), &*shared.keys.entropy),
            give_up_at: later(now, within),
            deadline: options.deadline.map(|deadline| later(now, deadline)),
            shared: Arc::clone(shared),
            connection: Arc::clone(connection),
            row: Attempted {
                related: options.related.clone(),
                sync_log_id: self.sync_log_id,
                key: options.key.clone(),
                row_needed: options.row_needed,
                ..plan.row
            },
            held,
        })))
    }

    pub(super) const fn scope(&self) -> &Scope {
        &self.scope
    }
}

/// REQ-05
fn warn_local_only(connection: &Connection) {
    tracing::warn!(
        provider = %connection.integration.provider,
        integration_id = %connection.integration.id,
        "the provider does not deduplicate by key: an outcome nobody knows has to be resolved"
    );
}

/// The budgets a call counts against.
fn budgets(budgets: &[RateBudget], row: &Attempted) -> Arc<[Budget]> {
    budgets
        .iter()
        .filter(|budget| budget.counts(&row.method, &row.endpoint))
        .map(|budget| budget.budget().clone())
        .collect()
}

impl Course {
    /// Makes the attempts.
    ///
    /// Errors are those of a call of which no attempt was made.
    pub(super) async fn run<W: Way>(&self, way: &W) -> Result<Concluded<W::Outcome>, CallError> {
        let integration = &self.connection.integration;
        let span = tracing::info_span!(
            "integration.call",
            provider = %integration.provider,
            integration_id = integration.id.0,
            method = self.row.method,
            endpoint = self.row.endpoint,
        );
        match &self.held {
            Some(held) => held.during(self.attempts(way)).instrument(span).await,
            None => self.attempts(way).instrument(span).await,
        }
    }

    async fn attempts<W: Way>(&self, way: &W) -> Result<Concluded<W::Outcome>, CallError> {
        let mut first = self.retry_of;
        let mut number: i16 = 1;
        let mut permit = match self.admit().await {
            Ok(permit) => permit,
            Err(denied) => {
                self.give_up().await;
                return Err(denied);
            }
        };
        loop {
            let begun = Begun::new(self, permit.spend(), number, first);
            let Tried { outcome, finding } = self.attempt(way, number).await;
            let class = finding.class.clone();
            let next = self.next(number, &finding);
            let settled = begun.end(finding, next).await;
            if let (None, Ok(id)) = (first, &settled) {
                first = *id;
            }
            let concluded = |outcome, settled, retry_at| Concluded {
                outcome,
                class,
                settled,
                retry_at,
            };
            let at = match next {
                Next::Stop(retry_at) => return Ok(concluded(outcome, settled, retry_at)),
                Next::Again(at) => at,
            };
            self.shared.ports.clock.sleep_until(at).await;
            permit = match self.admit().await {
                Ok(permit) => permit,
                // What the last attempt came to says more than that there is no other (REQ-29).
                Err(denied) => {
                    self.give_up().await;
                    return Ok(concluded(outcome, settled, denied.retry_at()));
                }
            };
            number = number.saturating_add(1);
        }
    }

    async fn admit(&self) -> Result<permit::Permit, CallError> {
        let id = self.connection.integration.id;
        self.shared
            .admit(id, &self.local, &self.ask, self.give_up_at)
            .await
    }

    async fn give_up(&self) {
        if let Some(held) = &self.held {
            held.give_up().await;
        }
    }

    async fn attempt<W: Way>(&self, way: &W, number: i16) -> Tried<W::Outcome> {
        let shared = &self.shared;
        let step = self.trace.as_ref();
        let step = step.map(|trace| trace.step(&*shared.keys.entropy));
        let span = self.span(number, step.as_ref());
        let tried = self.within_deadline(way, number, step);
        let tried = tried.instrument(span.clone()).await;
        span.record("status_code", tried.finding.status);
        let class = tried.finding.class.as_ref().map(FailureClass::as_str);
        span.record("failure_class", class);
        tried
    }

    /// The span of an attempt. What it says was redacted.
    fn span(&self, attempt: i16, step: Option<&TraceContext>) -> tracing::Span {
        let integration = &self.connection.integration;
        let span = tracing::info_span!(
            "integration.attempt",
            provider = %integration.provider,
            integration_id = integration.id.0,
            method = self.row.method,
            endpoint = self.row.endpoint,
            attempt,
            trace_id = tracing::field::Empty,
            span_id = tracing::field::Empty,
            status_code = tracing::field::Empty,
            failure_class = tracing::field::Empty,
        );
        if let Some(step) = step.filter(|_| !span.is_disabled()) {
            span.record("trace_id", step.trace_id());
            span.record("span_id", step.parent_id());
        }
        span
    }

    async fn within_deadline<W: Way>(
        &self,
        way: &W,
        number: i16,
        step: Option<TraceContext>,
    ) -> Tried<W::Outcome> {
        let Some(deadline) = self.deadline else {
            return way.attempt(number, step).await;
        };
        let over = self.shared.ports.clock.sleep_until(deadline);
        match select(pin!(way.attempt(number, step)), over).await {
            Either::Left((tried, _)) => tried,
            Either::Right(((), _)) => Tried {
                outcome: way.cut_off(),
                finding: Finding::cut_off("the call's deadline passed"),
            },
        }
    }

    /// Decides what follows an attempt.
    fn next(&self, number: i16, finding: &Finding) -> Next {
        let Some(class) = &finding.class else {
            self.local.memory().retries.succeeded();
            return Next::Stop(None);
        };
        let pause = finding.pace.pause(Some(class));
        if self.held.as_ref().is_some_and(|held| held.is_lost()) {
            return Next::Stop(pause);
        }
        let failed = Failed {
            attempt: number.unsigned_abs().into(),
            attempts: self.attempts,
            class,
            effect: finding.effect,
            repeatable: self.repeatable,
            advice: finding.advice,
            pause,
            give_up_at: self.give_up_at,
            now: self.shared.ports.clock.now(),
        };
        let limits = &self.shared.retries;
        match failed.next(limits, &*self.shared.keys.entropy) {
            Next::Again(at) if self.may_retry() => Next::Again(at),
            Next::Again(_) => Next::Stop(pause),
            stop @ Next::Stop(_) => stop,
        }
    }

    fn may_retry(&self) -> bool {
        let Some(size) = self.shared.retries.budget else {
            return true;
        };
        let now = self.shared.ports.clock.monotonic();
        self.local.memory().retries.take(size, now)
    }
}
