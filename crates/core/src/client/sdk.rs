//! Calls through an SDK: any async closure, logged and tracked as a request is.

use std::{
    error::Error,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use futures::FutureExt as _;
use secrecy::SecretString;

use super::{CallError, CallErrorKind, IntegrationHandle, settle::Attempted};
use crate::{
    classify::{class_of_error, class_of_status},
    id::IntegrationId,
    provider::Credentials,
    request::FailureClass,
    unwind::caught,
    value::cut_chars,
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
    attempt: i16,
    reported: Mutex<Reported>,
}

/// What a closure found out about the answer, where its SDK shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// The status.
    pub status: Option<u16>,
    /// The provider's id of the request.
    pub provider_request_id: Option<String>,
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
        let mut reported = self
            .0
            .reported
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        reported.status = report.status.or(reported.status);
        let id = report
            .provider_request_id
            .or_else(|| reported.provider_request_id.take());
        reported.provider_request_id = id;
    }
}

impl IntegrationHandle {
    /// Makes a call through an SDK: `work` is given a context and does what it likes. The attempt
    /// is logged under `label`, classified and tracked as a request is. No body is logged.
    ///
    /// Not cancel safe, as [`Call::send`](super::Call::send).
    ///
    /// # Errors
    ///
    /// Returns a [`CallError`] that carries the closure's own error, where it returned one. Where
    /// the attempt cannot be recorded and
    /// [`UnrecordedPolicy::FailCall`](super::UnrecordedPolicy::FailCall) asks for an error, what
    /// the closure returned well is lost: keep it in the closure where that matters.
    ///
    /// # Panics
    ///
    /// Goes on with a panic of `work`, once the attempt is recorded.
    pub async fn run<T, E, F, Fut>(&self, label: &str, work: F) -> Result<T, CallError<E>>
    where
        T: Send,
        E: Error + Send + Sync + 'static,
        F: Fn(CallContext) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let shared = &*self.shared;
        let connection = shared
            .connect(self.reference, &self.scope)
            .await
            .map_err(CallError::widen)?;
        // Asks the provider for its paths, so before anything is sent.
        let redactor = connection.redactor();
        let context = CallContext(Arc::new(Context {
            integration_id: connection.integration.id,
            credentials: connection.credentials.clone(),
            application: connection.registered.settings.application.clone(),
            metadata: connection.integration.metadata.clone(),
            attempt: 1,
            reported: Mutex::default(),
        }));
        let started = shared.ports.clock.monotonic();
        let result = AssertUnwindSafe(work(context.clone())).catch_unwind().await;
        let duration = shared.ports.clock.monotonic().saturating_sub(started);
        let reported = context
            .0
            .reported
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let provider = &*connection.registered.provider;
        let (class, error) = match &result {
            Ok(Ok(_)) => (reported.status.and_then(class_of_status), None),
            Ok(Err(error)) => {
                let class = || class_of_error(provider, reported.status, error);
                let class = caught("SDK error", class).unwrap_or(FailureClass::Unknown);
                let text = caught("SDK error", || chain(error));
                let text = text.unwrap_or_else(|| "an error that cannot be shown".to_owned());
                (Some(class), Some(text))
            }
            Err(_) => (
                Some(FailureClass::Unknown),
                Some("the closure panicked".to_owned()),
            ),
        };
        let label = redactor.text(label);
        let attempted = Attempted {
            endpoint: label.clone().into_owned(),
            method: "SDK".to_owned(),
            path: None,
            status: reported.status,
            request_data: None,
            response_data: None,
            // Cut last: half a secret would not be found.
            error: error.map(|text| cut_chars(&redactor.text(&text), MAX_ERROR).to_owned()),
            class: class.clone(),
            provider_request_id: reported
                .provider_request_id
                .map(|id| redactor.text(&id).into_owned()),
            duration_ms: i32::try_from(duration.as_millis()).unwrap_or(i32::MAX),
            related: None,
            sync_log_id: self.sync_log_id,
        };
        let settled = shared.settle(&connection.integration, attempted).await;
        match (result, settled) {
            (Err(panic), _) => resume_unwind(panic),
            (Ok(Ok(value)), Ok(_)) => Ok(value),
            (Ok(Ok(_)), Err(unrecorded)) => Err(unrecorded.widen()),
            (Ok(Err(error)), Err(unrecorded)) => Err(unrecorded.widen().with_sdk(error)),
            (Ok(Err(error)), Ok(request_id)) => {
                let class = class.unwrap_or(FailureClass::Unknown);
                let message = format!("the call `{label}` failed");
                Err(CallError::new(CallErrorKind::Sdk(class), message)
                    .with_request(request_id)
                    .with_sdk(error))
            }
        }
    }
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
