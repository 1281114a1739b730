//! Calls over HTTP: put together, sent, classified.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use secrecy::SecretString;

use super::{
    Answer, AnswerSource, CallError, CallErrorKind, IntegrationHandle, Shared,
    call::Draft,
    connection::{Connection, provider_failed},
    endpoint::{self, Target},
    kept::Kept,
    pipeline::{Advice, CallOptions, Concluded, Finding, Pace, Plan, Start, Tried, Way},
    settle::Attempted,
};
use crate::{
    body,
    classify::{class_of_answer, class_of_transport, effect_of_answer, effect_of_transport},
    id::RequestId,
    provider::{Account, Outcome, Registered},
    redact::Redactor,
    request::FailureClass,
    trace::TraceContext,
    transport::{CallOrigin, TransportError, TransportErrorKind, TransportOptions},
    unwind::caught,
};

/// A request that is ready to go, authenticated where it may be.
#[derive(Clone)]
pub(super) struct Outgoing {
    /// What this call alone brings that must not be stored.
    secrets: Vec<SecretString>,
    pub(super) target: Target,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whose call it is, where it is a call.
    origin: Option<CallOrigin>,
    transport: TransportOptions,
}

impl IntegrationHandle {
    /// Makes a call.
    pub(super) async fn send(
        &self,
        draft: Draft,
        mut options: CallOptions,
    ) -> Result<Answer, CallError> {
        if let Some(wrong) = options.wrong {
            return Err(CallError::new(CallErrorKind::Invalid, wrong));
        }
        let connection = self.shared.connect(self.reference, self.scope()).await?;
        let account = connection.account();
        let mut outgoing = Shared::outgoing(&connection.registered, &account, &draft)?;
        outgoing.secrets = draft.secrets(&connection.redactor);
        outgoing.origin = Some(CallOrigin {
            provider: connection.integration.provider.clone(),
            integration_id: connection.integration.id,
            endpoint: outgoing.target.label.clone(),
        });
        match draft.cache.policy()? {
            // What answers without a live call, or adds conditions to one, comes before any key is
            // reserved, and before admission.
            Some(policy) => {
                // Hits are counted on the row that brought the answer.
                options.row_needed = true;
                let call = self.cached_call(&connection, outgoing, &options, policy);
                Box::pin(call).await
            }
            None => Box::pin(self.live_call(&connection, outgoing, &options)).await,
        }
    }

    /// Makes a call that nothing kept could answer: reservation, admission, attempts, settlement.
    /// Statuses below 400 are answers, 304 among them.
    pub(super) async fn live_call(
        &self,
        connection: &Arc<Connection>,
        mut outgoing: Outgoing,
        options: &CallOptions,
    ) -> Result<Answer, CallError> {
        let native = connection.registered.provider.native_idempotency();
        if let (Some(key), Some(native)) = (&options.key, native) {
            let value = http::HeaderValue::try_from(key.as_str()).map_err(|_| {
                let message = "this provider takes keys of visible ASCII characters only";
                CallError::new(CallErrorKind::Invalid, message)
            })?;
            outgoing.headers.insert(native.header(), value);
        }
        let redactor = outgoing.redactor(connection);
        let plan = Plan {
            options,
            row: outgoing.row(&redactor, &self.shared),
            reads: matches!(outgoing.method, Method::GET | Method::HEAD),
            repeatable: outgoing.method.is_idempotent(),
            key_on_wire: native.is_some(),
            fingerprint: outgoing.fingerprint(),
        };
        let course = match self.begin(connection, plan).await? {
            Start::Course(course) => course,
            Start::Recorded(kept, request_id) => return Ok(Answer::recorded(kept, request_id)),
        };
        let way = HttpWay {
            shared: &self.shared,
            connection,
            redactor: &redactor,
            outgoing: &outgoing,
            keyed: options.key.is_some(),
        };
        conclude(course.run(&way).await?)
    }
}

impl Shared {
    /// Puts a request together. Errors are those of a request that cannot go out.
    pub(super) fn outgoing(
        registered: &Registered,
        account: &Account<'_>,
        draft: &Draft,
    ) -> Result<Outgoing, CallError> {
        let invalid = |message: String| CallError::new(CallErrorKind::Invalid, message);
        let base = registered
            .base_url(account)
            .map_err(|error| provider_failed(&error))?;
        let target = endpoint::target(
            &base,
            &draft.endpoint,
            &draft.params,
            account.metadata(),
            &draft.query,
        )
        .map_err(|error| invalid(error.to_string()))?;
        let target = match &draft.link {
            Some(link) => target
                .follow(link)
                .map_err(|error| CallError::new(CallErrorKind::Paging, error.to_string()))?,
            None => target,
        };
        let mut headers = registered.provider.default_headers();
        for (name, value) in &draft.headers {
            headers.insert(name.clone(), value.clone());
        }
        let may_see_credentials = registered.settings.base_url.is_some()
            || registered
                .provider
                .origins(&base)
                .contains(&target.url.origin());
        if may_see_credentials {
            registered
                .provider
                .authenticate(account, &mut headers)
                .map_err(|error| provider_failed(&error))?;
        }
        Ok(Outgoing {
            secrets: Vec::new(),
            target,
            method: draft.method.clone(),
            headers,
            body: draft.body.clone(),
            origin: None,
            transport: TransportOptions {
                timeout: draft.timeout,
                redirect_origins: Vec::new(),
                allow_private: registered.settings.allow_private.clone(),
            },
        })
    }
}

impl Outgoing {
    /// The request to send, as the step of a trace that it is.
    pub(super) fn request(&self, step: Option<&TraceContext>) -> Request<Bytes> {
        let mut request = Request::new(self.body.clone());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(step) = step {
            step.set_on(request.headers_mut());
        }
        request.extensions_mut().insert(self.transport.clone());
        if let Some(origin) = &self.origin {
            request.extensions_mut().insert(origin.clone());
        }
        request
    }

    /// The account's redactor, or one that knows this call's secrets too.
    fn redactor<'a>(&self, connection: &'a Connection) -> Cow<'a, Redactor> {
        if self.secrets.is_empty() {
            return Cow::Borrowed(&connection.redactor);
        }
        Cow::Owned(connection.redactor.with_secrets(&self.secrets))
    }

    /// What the row of each attempt begins with.
    fn row(&self, redactor: &Redactor, shared: &Shared) -> Attempted {
        let kind = content_type(&self.headers);
        Attempted {
            endpoint: redactor.text(&self.target.label).into_owned(),
            method: self.method.as_str().to_owned(),
            path: Some(redactor.path_and_query(self.target.path_and_query())),
            request_data: body::logged(&self.body, kind, redactor, shared.log.caps.request),
            ..Attempted::default()
        }
    }

    /// Method, path, query and body, each preceded by its length.
    fn fingerprint(&self) -> Vec<u8> {
        fingerprint(&[
            self.method.as_str().as_bytes(),
            self.target.path_and_query().as_bytes(),
            &self.body,
        ])
    }
}

/// Parts, each preceded by its length, so that no two lists of parts read the same.
pub(super) fn fingerprint(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

/// Requests over the transport.
struct HttpWay<'a> {
    shared: &'a Shared,
    connection: &'a Connection,
    redactor: &'a Redactor,
    outgoing: &'a Outgoing,
    keyed: bool,
}

/// What a request over the transport comes to.
enum HttpOutcome {
    Answer(Response<Bytes>),
    Failed(TransportError),
    CutOff,
}

impl Way for HttpWay<'_> {
    type Outcome = HttpOutcome;

    async fn attempt(&self, _number: i16, step: Option<TraceContext>) -> Tried<HttpOutcome> {
        let request = self.outgoing.request(step.as_ref());
        let log = &self.shared.log;
        let sent = (!log.headers.is_empty()).then(|| request.headers().clone());
        let (mut finding, outcome) = match self.shared.transport.send(request).await {
            Ok(answer) => (self.answered(&answer), HttpOutcome::Answer(answer)),
            Err(error) => (self.failed(&error), HttpOutcome::Failed(error)),
        };
        if let Some(sent) = sent {
            let answered = match &outcome {
                HttpOutcome::Answer(answer) => Some(answer.headers()),
                HttpOutcome::Failed(_) | HttpOutcome::CutOff => None,
            };
            finding.headers = log.headers(self.redactor, &sent, answered);
        }
        Tried { outcome, finding }
    }

    fn cut_off(&self) -> HttpOutcome {
        HttpOutcome::CutOff
    }
}

impl HttpWay<'_> {
    fn answered(&self, answer: &Response<Bytes>) -> Finding {
        let provider = &*self.connection.registered.provider;
        let redactor = self.redactor;
        let outcome = Outcome {
            status: Some(answer.status().as_u16()),
            headers: answer.headers(),
            body: answer.body(),
        };
        let class = class_of_answer(provider, &outcome);
        let verdict = || provider.retry_policy()?.verdict(&outcome);
        let advice = match &class {
            Some(_) => caught("retry policy", verdict).flatten(),
            None => None,
        };
        let request_id = caught("request id header", || provider.request_id_header())
            .flatten()
            .and_then(|name| answer.headers().get(name)?.to_str().ok());
        let kind = content_type(answer.headers());
        Finding {
            effect: effect_of_answer(provider, &outcome),
            answered: true,
            status: outcome.status,
            advice: advice.map_or(Advice::None, Advice::Provider),
            pace: Pace::of(answer.headers(), self.shared.ports.clock.now()),
            response_data: body::logged(
                answer.body(),
                kind,
                redactor,
                self.shared.log.caps.response,
            ),
            headers: None,
            error: class.as_ref().map(|_| failure_text(answer)),
            provider_request_id: request_id.map(|id| redactor.text(id).into_owned()),
            kept: self.keyed.then(|| Kept {
                status: answer.status(),
                headers: answer.headers().clone(),
                body: answer.body().clone(),
            }),
            class,
        }
    }

    fn failed(&self, error: &TransportError) -> Finding {
        let provider = &*self.connection.registered.provider;
        let verdict = || provider.retry_policy()?.verdict_on_error(error);
        let advice = caught("retry policy", verdict).flatten();
        Finding {
            class: Some(class_of_transport(error)),
            effect: effect_of_transport(error),
            answered: matches!(
                error.kind,
                TransportErrorKind::Redirect
                    | TransportErrorKind::TooLarge
                    | TransportErrorKind::Decode
            ),
            advice: advice.map_or(Advice::None, Advice::Provider),
            ..Finding::cut_off(&self.redactor.text(&error.to_string()))
        }
    }
}

fn failure_text(answer: &Response<Bytes>) -> String {
    format!("the other side answered {}", answer.status())
}

/// What the caller gets. Decided by what the other side did; the bookkeeping only adds the row.
fn conclude(concluded: Concluded<HttpOutcome>) -> Result<Answer, CallError> {
    let Concluded {
        outcome,
        class,
        settled,
        retry_at,
    } = concluded;
    let (settled, unrecorded) = match settled {
        Ok(request_id) => (request_id, None),
        Err(unrecorded) => (None, Some(unrecorded)),
    };
    let error = match (outcome, class) {
        (HttpOutcome::Answer(response), class) => {
            let failed = class.map(|class| failed(class, &response));
            let answer = Answer::live(response, settled);
            match unrecorded.or(failed) {
                None => return Ok(answer),
                Some(error) => error.with_answer(answer),
            }
        }
        (HttpOutcome::Failed(error), _) => unrecorded
            .unwrap_or_else(|| {
                let kind = CallErrorKind::Transport {
                    kind: error.kind,
                    reached: error.reached,
                };
                CallError::new(kind, error.to_string()).with_request(settled)
            })
            .with_source(error),
        (HttpOutcome::CutOff, _) => unrecorded
            .unwrap_or_else(CallError::deadline)
            .with_request(settled),
    };
    Err(error.with_retry_at(retry_at))
}

fn failed(class: FailureClass, response: &Response<Bytes>) -> CallError {
    CallError::new(CallErrorKind::Failed(class), failure_text(response))
}

impl Answer {
    fn live(response: Response<Bytes>, request_id: Option<RequestId>) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
            request_id,
            source: AnswerSource::Live,
        }
    }

    pub(super) fn recorded(kept: Kept, request_id: Option<RequestId>) -> Self {
        Self {
            status: kept.status,
            headers: kept.headers,
            body: kept.body,
            request_id,
            source: AnswerSource::Recorded,
        }
    }
}
