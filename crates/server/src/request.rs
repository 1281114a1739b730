//! What happens around every request: an id, a time limit, a line in the log.

use std::{
    fmt,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use integrations_core::time::Clock;

use crate::{metrics::HttpMetrics, problem::Problem};

/// Where a request's id stands, in the request and in its answer.
const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// How long an id from outside may be.
const MAX_LENGTH: usize = 64;

/// Characters of a path that the log keeps.
const PATH_SHOWN: usize = 256;

/// The id of a request: what the client or a proxy named it, else a new one. Among the request's
/// extensions, and in the header `X-Request-Id` of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Made of visible ASCII only.
        self.0.to_str().unwrap_or_default()
    }

    /// What a request is named already, where that is harmless to repeat.
    fn given(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(HEADER)?;
        let harmless = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        let fits = (1..=MAX_LENGTH).contains(&value.len());
        (fits && value.as_bytes().iter().all(harmless)).then(|| Self(value.clone()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Makes ids: random for the process, counted within it.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) const fn new(process: u64) -> Self {
        Self {
            process,
            next: AtomicU64::new(1),
        }
    }

    fn next(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let text = format!("{:016x}-{number}", self.process);
        // Hexadecimal digits and a dash.
        RequestId(HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("-")))
    }
}

/// What the middleware works with.
#[derive(Clone)]
pub(crate) struct Around {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<RequestIds>,
    pub(crate) metrics: Arc<HttpMetrics>,
    pub(crate) limit: Duration,
}

/// Runs a request within its limits, and tells of it. Neither query, headers nor body are told.
pub(crate) async fn around(
    State(around): State<Around>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = around.clock.monotonic();
    let id = RequestId::given(request.headers()).unwrap_or_else(|| around.ids.next());
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    let path: String = request.uri().path().chars().take(PATH_SHOWN).collect();
    let remote = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let remote = remote.map(|info| info.0.ip());

    let mut response = within(around.limit, request, next).await;
    response.headers_mut().insert(HEADER, id.0.clone());

    let took = around.clock.monotonic().saturating_sub(started);
    let status = response.status().as_u16();
    around.metrics.answered(status, took);
    tracing::info!(
        target: "integrations_server::access",
        listener = around.metrics.listener(),
        request_id = %id,
        %method,
        path,
        status,
        microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        remote = remote.map(tracing::field::display),
        "answered"
    );
    response
}

/// The answer, or what stands in for it: a handler that is late or panics answers all the same.
async fn within(limit: Duration, request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!("a handler panicked");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
        Err(_) => {
            let problem = Problem::new(StatusCode::REQUEST_TIMEOUT);
            let mut response = problem.into_response();
            // The rest of the body is still on its way, and nobody reads it.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(value: &'static str) -> Option<String> {
        let headers = HeaderMap::from_iter([(HEADER, HeaderValue::from_static(value))]);
        RequestId::given(&headers).map(|id| id.to_string())
    }

    #[test]
    fn an_id_from_outside_is_kept_where_it_is_harmless() {
        assert_eq!(given("a-1_B.2").as_deref(), Some("a-1_B.2"));
        let long = "a".repeat(65).leak();
        for refused in ["", "a b", "a\"", "{}", "\t", long] {
            assert_eq!(given(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn ids_of_a_process_differ() {
        let ids = RequestIds::new(0xabc);
        assert_eq!(ids.next().as_str(), "0000000000000abc-1");
        assert_ne!(ids.next(), ids.next());
    }
}
