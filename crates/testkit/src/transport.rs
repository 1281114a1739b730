//! A transport that answers from a script, under the real pipeline.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use integrations_core::transport::{HttpTransport, Reached, TransportError, TransportErrorKind};
use serde::Serialize;

use crate::clock::ManualClock;

/// One scripted answer.
#[derive(Clone, Debug)]
pub struct Reply {
    result: Result<(StatusCode, HeaderMap, Bytes), TransportError>,
    takes: Duration,
}

impl Reply {
    /// An answer with this status and no body.
    ///
    /// # Panics
    ///
    /// Panics for a number that is no status, which is a mistake in the test.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a mistake in a test shall fail the test"
    )]
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a status between 100 and 999");
        Self {
            result: Ok((status, HeaderMap::new(), Bytes::new())),
            takes: Duration::ZERO,
        }
    }

    /// No answer, for this reason.
    #[must_use]
    pub fn failure(kind: TransportErrorKind, reached: Reached) -> Self {
        let error = TransportError::new(kind, reached, format!("scripted failure: {kind:?}"));
        Self {
            result: Err(error),
            takes: Duration::ZERO,
        }
    }

    /// No answer, with this error.
    #[must_use]
    pub const fn error(error: TransportError) -> Self {
        Self {
            result: Err(error),
            takes: Duration::ZERO,
        }
    }

    /// The same with a JSON body.
    ///
    /// # Panics
    ///
    /// Panics for what cannot be JSON, which is a mistake in the test.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a mistake in a test shall fail the test"
    )]
    pub fn json(self, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("a body that is JSON");
        self.header("content-type", "application/json").bytes(body)
    }

    /// The same with these bytes as its body.
    #[must_use]
    pub fn bytes(mut self, body: impl Into<Bytes>) -> Self {
        if let Ok((_, _, bytes)) = &mut self.result {
            *bytes = body.into();
        }
        self
    }

    /// The same with one more header.
    ///
    /// # Panics
    ///
    /// Panics for what is no header, which is a mistake in the test.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a mistake in a test shall fail the test"
    )]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Ok((_, headers, _)) = &mut self.result {
            let name = HeaderName::try_from(name).expect("a header's name");
            headers.append(
                name,
                HeaderValue::try_from(value).expect("a header's value"),
            );
        }
        self
    }

    /// The same, with the manual clock moved this far before it comes.
    #[must_use]
    pub fn taking(mut self, takes: Duration) -> Self {
        self.takes = takes;
        self
    }

    /// What a transport answers with it.
    pub(crate) fn into_answer(
        self,
        clock: Option<&ManualClock>,
    ) -> Result<Response<Bytes>, TransportError> {
        if let Some(clock) = clock {
            clock.advance(self.takes);
        }
        let (status, headers, body) = self.result?;
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// A request that was sent.
#[derive(Clone, Debug)]
pub struct SentRequest {
    /// The method.
    pub method: Method,
    /// The URI.
    pub uri: http::Uri,
    /// The headers. `Debug` hides those that are marked sensitive.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl SentRequest {
    /// The bearer token it carries.
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        self.headers
            .get(header::AUTHORIZATION)?
            .to_str()
            .ok()?
            .strip_prefix("Bearer ")
    }
}

#[derive(Default)]
struct Script {
    replies: Vec<(Method, String, VecDeque<Reply>)>,
    sent: Vec<SentRequest>,
}

/// A [`HttpTransport`] that answers from a script. Cheap to clone; clones share the script.
///
/// Each reply answers one request. A request nobody scripted panics with its method and path.
#[derive(Clone, Default)]
pub struct ScriptedTransport {
    script: Arc<Mutex<Script>>,
    clock: Option<ManualClock>,
}

impl fmt::Debug for ScriptedTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedTransport").finish_non_exhaustive()
    }
}

impl ScriptedTransport {
    /// A transport with an empty script.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, moving `clock` by what replies take.
    #[must_use]
    pub fn on_clock(mut self, clock: ManualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Answers the next request of this method and path (without query) with `reply`, after
    /// replies scripted for it before.
    pub fn reply(&self, method: Method, path: &str, reply: Reply) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = script
            .replies
            .iter_mut()
            .find(|(m, p, _)| *m == method && p == path);
        match queue {
            Some((_, _, queue)) => queue.push_back(reply),
            None => script
                .replies
                .push((method, path.to_owned(), VecDeque::from([reply]))),
        }
    }

    /// The same for so many requests.
    pub fn reply_times(&self, times: usize, method: &Method, path: &str, reply: &Reply) {
        for _ in 0..times {
            self.reply(method.clone(), path, reply.clone());
        }
    }

    /// Every request so far.
    #[must_use]
    pub fn sent(&self) -> Vec<SentRequest> {
        self.script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .sent
            .clone()
    }
}

#[async_trait]
impl HttpTransport for ScriptedTransport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let reply = {
            let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
            let queue = script
                .replies
                .iter_mut()
                .find(|(m, p, _)| *m == parts.method && *p == path);
            let reply = queue.and_then(|(_, _, queue)| queue.pop_front());
            script.sent.push(SentRequest {
                method: parts.method.clone(),
                uri: parts.uri,
                headers: parts.headers,
                body,
            });
            reply
        };
        let Some(reply) = reply else {
            panic!("nobody scripted {} {path}", parts.method);
        };
        reply.into_answer(self.clock.as_ref())
    }
}
