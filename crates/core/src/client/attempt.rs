//! One attempt over HTTP: authenticate, send, classify, settle.
//!
//! The order of a call is: cache, admission (circuit, then budgets), attempt, classification,
//! settlement, retry. This module is attempt and classification; settlement is
//! [`settle`](super::settle). Cache and admission have their place in
//! [`IntegrationHandle::send`], before the attempt; retries around it.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};

use super::{
    Answer, CallError, CallErrorKind, IntegrationHandle, Shared,
    call::Draft,
    connection::{Connection, provider_failed},
    endpoint::{self, Target},
    settle::Attempted,
};
use crate::{
    body,
    classify::{class_of_answer, class_of_transport},
    provider::{Account, Outcome, Registered},
    redact::Redactor,
    request::FailureClass,
    transport::{TransportError, TransportOptions},
    unwind::caught,
};

/// How an attempt ended, before anything was written down.
pub(super) struct Sent {
    pub(super) target: Target,
    pub(super) result: Result<Response<Bytes>, TransportError>,
    pub(super) class: Option<FailureClass>,
    pub(super) duration_ms: i32,
}

impl IntegrationHandle {
    /// Makes a call.
    pub(super) async fn send(&self, draft: Draft) -> Result<Answer, CallError> {
        let shared = &*self.shared;
        let connection = shared.connect(self.reference, &self.scope).await?;
        let account = connection.account();
        // Asks the provider for its paths, so before anything is sent.
        let redactor = connection.redactor();
        let sent = shared
            .attempt(connection.registered, &account, &draft)
            .await?;
        let attempted = Attempted {
            sync_log_id: self.sync_log_id,
            ..attempted(shared, &connection, &redactor, &draft, &sent)
        };
        let settled = shared.settle(&connection.integration, attempted).await;
        conclude(sent, settled)
    }
}

impl Shared {
    /// Sends one request with the account's authentication. Errors are those of a request that
    /// never went out because it could not be put together.
    pub(super) async fn attempt(
        &self,
        registered: &Registered,
        account: &Account<'_>,
        draft: &Draft,
    ) -> Result<Sent, CallError> {
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
        let mut request = Request::new(draft.body.clone());
        *request.method_mut() = draft.method.clone();
        *request.uri_mut() = target.uri.clone();
        *request.headers_mut() = headers;
        request.extensions_mut().insert(TransportOptions {
            timeout: draft.timeout,
            redirect_origins: Vec::new(),
            allow_private: registered.settings.allow_private.clone(),
        });
        let started = self.ports.clock.monotonic();
        let result = self.transport.send(request).await;
        let duration = self.ports.clock.monotonic().saturating_sub(started);
        let class = match &result {
            Ok(answer) => class_of_answer(
                &*registered.provider,
                &Outcome {
                    status: Some(answer.status().as_u16()),
                    headers: answer.headers(),
                    body: answer.body(),
                },
            ),
            Err(error) => Some(class_of_transport(error)),
        };
        let duration_ms = i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        Ok(Sent {
            target,
            result,
            class,
            duration_ms,
        })
    }
}

/// What there is to write down of an attempt, redacted.
fn attempted(
    shared: &Shared,
    connection: &Connection<'_>,
    redactor: &Redactor,
    draft: &Draft,
    sent: &Sent,
) -> Attempted {
    let caps = shared.caps;
    let content_type = |headers: &HeaderMap| {
        headers
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    };
    let request_type = content_type(&draft.headers);
    let answer = sent.result.as_ref().ok();
    let response_data = answer.and_then(|answer| {
        let kind = content_type(answer.headers());
        body::logged(answer.body(), kind.as_deref(), redactor, caps.response)
    });
    let provider = &connection.registered.provider;
    let provider_request_id = caught("request id header", || provider.request_id_header())
        .flatten()
        .and_then(|name| {
            let value = answer?.headers().get(name)?.to_str().ok()?;
            Some(redactor.text(value).into_owned())
        });
    Attempted {
        endpoint: redactor.text(&sent.target.label).into_owned(),
        method: draft.method.as_str().to_owned(),
        path: Some(redactor.path_and_query(sent.target.path_and_query())),
        status: answer.map(|answer| answer.status().as_u16()),
        request_data: body::logged(&draft.body, request_type.as_deref(), redactor, caps.request),
        response_data,
        error: failure_text(sent).map(|text| redactor.text(&text).into_owned()),
        class: sent.class.clone(),
        provider_request_id,
        duration_ms: sent.duration_ms,
        related: draft.related.clone(),
        sync_log_id: None,
    }
}

/// What went wrong, for the row and for the caller.
fn failure_text(sent: &Sent) -> Option<String> {
    match (&sent.result, &sent.class) {
        (Err(error), _) => Some(error.to_string()),
        (Ok(answer), Some(_)) => Some(format!("the other side answered {}", answer.status())),
        (Ok(_), None) => None,
    }
}

/// What the caller gets. Decided by what the other side did; the bookkeeping only adds the row.
fn conclude(
    sent: Sent,
    settled: Result<Option<crate::id::RequestId>, CallError>,
) -> Result<Answer, CallError> {
    let text = failure_text(&sent);
    let answer = |response: Response<Bytes>, request_id| {
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
            request_id,
        }
    };
    let request_id = match settled {
        Ok(request_id) => request_id,
        Err(unrecorded) => {
            return Err(match sent.result {
                Ok(response) => unrecorded.with_answer(answer(response, None)),
                Err(error) => unrecorded.with_source(error),
            });
        }
    };
    match (sent.result, sent.class) {
        (Ok(response), None) => Ok(answer(response, request_id)),
        (Ok(response), Some(class)) => Err(CallError::new(
            CallErrorKind::Failed(class),
            text.unwrap_or_default(),
        )
        .with_answer(answer(response, request_id))),
        (Err(error), _) => {
            let kind = CallErrorKind::Transport {
                kind: error.kind,
                reached: error.reached,
            };
            Err(CallError::new(kind, error.to_string())
                .with_request(request_id)
                .with_source(error))
        }
    }
}
