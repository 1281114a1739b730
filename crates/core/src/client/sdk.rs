//! Calls through an SDK: any async closure, logged and tracked as a request is.

use std::{
    any::Any,
    error::Error,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use secrecy::SecretString;
use serde::Serialize;

use super::{
    CallError, CallErrorKind, IntegrationHandle, Retryable,
    attempt::fingerprint,
    connection::Connection,
    pipeline::{
        Advice, CallOptions, Concluded, Course, Finding, Pace, Plan, Start, Tried, Way,
        call_options,
    },
    settle::Attempted,
};
use crate::{
    body,
    classify::{class_of_error, class_of_status, effect_of_error, effect_of_status},
    id::IntegrationId,
    provider::{Credentials, Effect},
    request::FailureClass,
    time::Clock,
    trace::TraceContext,
    unwind::caught,
    value::{IdempotencyKey, cut_chars},
};

/// The most characters of an error's text (LOG-04).
const MAX_ERROR: usize = 2000;

/// What a closure around an SDK is given. Cheap to clone, and its own, so that it can be moved
/// into a future.
#[derive(Clone, Debug)]
pub struct CallContext(Arc<Context>);

#[derive(Debug)]
struct Context {
    integration_id: IntegrationId,
    credentials: Credentials,
    application: Credentials,
    metadata: Option<serde_json::Value>,
    key: Option<IdempotencyKey>,
    attempt: i16,
    trace: Option<TraceContext>,
    reported: Mutex<Reported>,
}

/// What a closure found out about the answer, where its SDK shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// The status.
    pub status: Option<u16>,
    /// The provider's id of the request.
    pub provider_request_id: Option<String>,
    /// After how long the provider wants the next call.
    pub retry_after: Option<Duration>,
    /// Calls that remain of the provider's limit.
    pub rate_remaining: Option<u64>,
    /// When that limit is there again.
    pub rate_reset_at: Option<DateTime<Utc>>,
}

impl CallContext {
    /// Whose call it is.
    #[must_use]
    pub fn integration_id(&self) -> IntegrationId {
        self.0.integration_id
    }

    /// 1 for the first attempt.
    #[must_use]
    pub fn attempt(&self) -> i16 {
        self.0.attempt
    }

    /// The key of an at-most-once call, to be given to an SDK that sends one.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.0.key.as_ref().map(IdempotencyKey::as_str)
    }

    /// Where the attempt stands in a trace, for an SDK that passes it on.
    #[must_use]
    pub fn trace_context(&self) -> Option<&TraceContext> {
        self.0.trace.as_ref()
    }

    /// A credential: the integration's own, else the application's.
    #[must_use]
    pub fn credential(&self, name: &str) -> Option<&SecretString> {
        self.0
            .credentials
            .get(name)
            .or_else(|| self.0.application.get(name))
    }

    /// The credential most SDKs are made with: `access_token`, `token`, `api_key`, `api_token` or
    /// `server_token`, the first there is.
    #[must_use]
    pub fn token(&self) -> Option<&SecretString> {
        [
            "access_token",
            "token",
            "api_key",
            "api_token",
            "server_token",
        ]
        .into_iter()
        .find_map(|name| self.credential(name))
    }

    /// A setting that is text.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.0.metadata.as_ref()?.get(name)?.as_str()
    }

    /// Notes what the SDK shows of the answer. What is `None` leaves an earlier report standing
    /// (REQ-11).
    pub fn report(&self, report: Reported) {
        let mut reported = self.reported();
        reported.status = report.status.or(reported.status);
        reported.retry_after = report.retry_after.or(reported.retry_after);
        reported.rate_remaining = report.rate_remaining.or(reported.rate_remaining);
        reported.rate_reset_at = report.rate_reset_at.or(reported.rate_reset_at);
        let id = report
            .provider_request_id
            .or_else(|| reported.provider_request_id.take());
        reported.provider_request_id = id;
    }

    fn reported(&self) -> MutexGuard<'_, Reported> {
        let reported = &self.0.reported;
        reported.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call through an SDK that has not been made yet.
#[must_use = "a call does nothing until it is run"]
#[derive(Debug)]
pub struct SdkCall {
    handle: IntegrationHandle,
    label: String,
    options: CallOptions,
    request: Bytes,
    repeatable: bool,
    passes_key_on: bool,
}

call_options!(SdkCall, options);

impl IntegrationHandle {
    /// Makes a call through an SDK: `work` is given a context and does what it likes. Every
    /// attempt is logged under `label`, limited, classified and tracked as a request is.
    ///
    /// [`sdk`](Self::sdk) takes options.
    ///
    /// # Errors
    ///
    /// As [`SdkCall::run`].
    ///
    /// # Panics
    ///
    /// As [`SdkCall::run`].
    pub async fn run<T, E, F, Fut>(&self, label: &str, work: F) -> Result<T, CallError<E>>
    where
        T: Send,
        E: Error + Send + Sync + 'static,
        F: Fn(CallContext) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        self.sdk(label).run(work).await
    }

    /// A call through an SDK, logged under `label`.
    pub fn sdk(&self, label: impl Into<String>) -> SdkCall {
        SdkCall {
            handle: self.clone(),
            label: label.into(),
            options: CallOptions::default(),
            request: Bytes::new(),
            repeatable: false,
            passes_key_on: false,
        }
    }
}

impl SdkCall {
    /// Doing it twice is as good as once, as for reads: it is attempted as often as a `GET`.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// The closure gives [`CallContext::idempotency_key`] to the SDK, and the provider
    /// deduplicates by it.
    pub fn passes_key_on(mut self) -> Self {
        self.passes_key_on = true;
        self
    }

    /// What is asked for. It is logged, redacted; and another request under the same idempotency
    /// key is refused.
    pub fn request(mut self, request: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(request) {
            Ok(json) => self.request = json.into(),
            Err(_) => {
                self.options.wrong = Some("the request cannot be written as JSON".to_owned());
            }
        }
        self
    }

    /// Makes the call. Of the answer, nothing is logged but what the closure reports.
    ///
    /// When the future is dropped, the closure's is dropped with it. The attempt is recorded all
    /// the same, as for [`Call::send`](super::Call::send).
    ///
    /// # Errors
    ///
    /// Returns a [`CallError`] that carries the closure's own error, where it returned one. What
    /// succeeded before under the call's key is one of kind [`CallErrorKind::KeyDone`]. Where the
    /// attempt cannot be recorded and
    /// [`UnrecordedPolicy::FailCall`](super::UnrecordedPolicy::FailCall) asks for an error, what
    /// the closure returned well is lost: keep it in the closure where that matters.
    ///
    /// # Panics
    ///
    /// Goes on with a panic of `work`, once the attempt is recorded.
    pub async fn run<T, E, F, Fut>(self, work: F) -> Result<T, CallError<E>>
    where
        T: Send,
        E: Error + Send + Sync + 'static,
        F: Fn(CallContext) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let (course, connection, label) = self.begin().await.map_err(CallError::widen)?;
        let way = SdkWay {
            clock: &*self.handle.shared.ports.clock,
            connection: &connection,
            key: self.options.key.as_ref(),
            work,
        };
        let concluded = course.run(&way).await.map_err(CallError::widen)?;
        conclude(&label, concluded)
    }

    /// Everything before the attempts, and the label as it may be shown.
    async fn begin(&self) -> Result<(Box<Course>, Arc<Connection>, String), CallError> {
        if let Some(wrong) = &self.options.wrong {
            return Err(CallError::new(CallErrorKind::Invalid, wrong));
        }
        let handle = &self.handle;
        let shared = &handle.shared;
        let connection = shared.connect(handle.reference, &handle.scope).await?;
        let label = connection.redactor.text(&self.label).into_owned();
        let caps = shared.log.caps;
        let plan = Plan {
            options: &self.options,
            row: Attempted {
                endpoint: label.clone(),
                method: "SDK".to_owned(),
                request_data: body::logged(
                    &self.request,
                    Some("application/json"),
                    &connection.redactor,
                    caps.request,
                ),
                ..Attempted::default()
            },
            reads: self.repeatable,
            repeatable: self.repeatable,
            key_on_wire: self.passes_key_on
                && connection
                    .registered
                    .provider
                    .native_idempotency()
                    .is_some(),
            fingerprint: fingerprint(&[b"SDK", self.label.as_bytes(), &self.request]),
        };
        match handle.begin(&connection, plan).await? {
            Start::Course(course) => Ok((course, connection, label)),
            Start::Recorded(_, request_id) => {
                let message = "the call under this key succeeded before";
                Err(CallError::new(CallErrorKind::KeyDone, message).with_request(request_id))
            }
        }
    }
}

/// A closure around an SDK.
struct SdkWay<'a, F> {
    clock: &'a dyn Clock,
    connection: &'a Connection,
    key: Option<&'a IdempotencyKey>,
    work: F,
}

/// What a closure comes to.
enum SdkOutcome<T, E> {
    Returned(T),
    Failed(E),
    Panicked(Box<dyn Any + Send>),
    CutOff,
}

impl<T, E, F, Fut> Way for SdkWay<'_, F>
where
    T: Send,
    E: Error + Send + Sync + 'static,
    F: Fn(CallContext) -> Fut + Send + Sync,
    Fut: Future<Output = Result<T, E>> + Send,
{
    type Outcome = SdkOutcome<T, E>;

    async fn attempt(&self, number: i16, step: Option<TraceContext>) -> Tried<Self::Outcome> {
        let context = self.context(number, step);
        let result = AssertUnwindSafe((self.work)(context.clone()))
            .catch_unwind()
            .await;
        let reported = context.reported().clone();
        let outcome = match result {
            Ok(Ok(value)) => SdkOutcome::Returned(value),
            Ok(Err(error)) => SdkOutcome::Failed(error),
            Err(panic) => SdkOutcome::Panicked(panic),
        };
        Tried {
            finding: self.finding(&outcome, reported),
            outcome,
        }
    }

    fn cut_off(&self) -> Self::Outcome {
        SdkOutcome::CutOff
    }
}

impl<F> SdkWay<'_, F> {
    fn context(&self, attempt: i16, trace: Option<TraceContext>) -> CallContext {
        let connection = self.connection;
        CallContext(Arc::new(Context {
            integration_id: connection.integration.id,
            credentials: connection.credentials.clone(),
            application: connection.registered.settings.application.clone(),
            metadata: connection.integration.metadata.clone(),
            key: self.key.cloned(),
            attempt,
            trace,
            reported: Mutex::default(),
        }))
    }

    fn finding<T, E>(&self, outcome: &SdkOutcome<T, E>, reported: Reported) -> Finding
    where
        E: Error + Send + Sync + 'static,
    {
        let redactor = &self.connection.redactor;
        let status = reported.status;
        let told = match outcome {
            SdkOutcome::Returned(_) => {
                let class = status.and_then(class_of_status);
                Finding {
                    effect: status.map_or(Effect::Happened, effect_of_status),
                    error: None,
                    class,
                    ..Finding::cut_off("")
                }
            }
            SdkOutcome::Failed(error) => self.failed(error, status),
            SdkOutcome::Panicked(_) => Finding::cut_off("the closure panicked"),
            SdkOutcome::CutOff => Finding::cut_off("the call's deadline passed"),
        };
        Finding {
            answered: told.answered || status.is_some(),
            status,
            pace: Pace::reported(
                reported.retry_after,
                reported.rate_remaining,
                reported.rate_reset_at,
                self.clock.now(),
            ),
            provider_request_id: reported
                .provider_request_id
                .map(|id| redactor.text(&id).into_owned()),
            ..told
        }
    }

    fn failed<E>(&self, error: &E, status: Option<u16>) -> Finding
    where
        E: Error + Send + Sync + 'static,
    {
        let provider = &*self.connection.registered.provider;
        let class = caught("SDK error", || class_of_error(provider, status, error))
            .unwrap_or(FailureClass::Unknown);
        let text = caught("SDK error", || chain(error))
            .unwrap_or_else(|| "an error that cannot be shown".to_owned());
        // Cut last: half a secret would not be found.
        let text = cut_chars(&self.connection.redactor.text(&text), MAX_ERROR).to_owned();
        let effect = caught("SDK error", || effect_of_error(status, &class, error));
        let advice = caught("retry policy", || match Retryable::find(error) {
            Some(retryable) => Some(retryable.advice()),
            None => provider
                .retry_policy()?
                .verdict_on_error(error)
                .map(Advice::Provider),
        });
        Finding {
            effect: effect.unwrap_or(Effect::Unknown),
            // Only the other side refuses and throttles.
            answered: matches!(class, FailureClass::Client | FailureClass::Throttle),
            advice: advice.flatten().unwrap_or_default(),
            class: Some(class),
            ..Finding::cut_off(&text)
        }
    }
}

/// What the caller gets.
fn conclude<T, E>(label: &str, concluded: Concluded<SdkOutcome<T, E>>) -> Result<T, CallError<E>> {
    let Concluded {
        outcome,
        class,
        settled,
        retry_at,
    } = concluded;
    let (request_id, unrecorded) = match settled {
        Ok(request_id) => (request_id, None),
        Err(unrecorded) => (None, Some(unrecorded.widen())),
    };
    let error = match outcome {
        SdkOutcome::Panicked(panic) => resume_unwind(panic),
        SdkOutcome::Returned(value) => match unrecorded {
            None => return Ok(value),
            Some(unrecorded) => unrecorded,
        },
        SdkOutcome::Failed(error) => unrecorded
            .unwrap_or_else(|| {
                let class = class.unwrap_or(FailureClass::Unknown);
                let message = format!("the call `{label}` failed");
                CallError::new(CallErrorKind::Sdk(class), message)
            })
            .with_sdk(error),
        SdkOutcome::CutOff => unrecorded.unwrap_or_else(|| CallError::deadline().widen()),
    };
    Err(error.with_request(request_id).with_retry_at(retry_at))
}

/// An error and its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
