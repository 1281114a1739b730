//! Switches for what goes wrong.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::{self, Body},
    response::Response,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use tokio::sync::watch;

use super::{answers, headers};

const CHUNK: usize = 64 * 1024;

/// How an answer says when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// As a number of seconds.
    Seconds(u64),
    /// As an HTTP date.
    At(DateTime<Utc>),
}

impl RetryAfter {
    fn header(self) -> HeaderValue {
        match self {
            Self::Seconds(seconds) => seconds.into(),
            Self::At(at) => headers::http_date(at),
        }
    }
}

/// One way of failing. See [`GithubTwin::inject`](super::GithubTwin::inject).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Answers with this status and text, and does nothing else.
    Answer {
        /// The status.
        status: StatusCode,
        /// The content type of the body.
        content_type: &'static str,
        /// The body.
        body: String,
    },
    /// Answers 429 and does nothing else.
    TooManyRequests(RetryAfter),
    /// Answers with GitHub's secondary rate limit and does nothing else.
    SecondaryLimit {
        /// 403 or 429.
        status: StatusCode,
        /// When to come back; GitHub does not always say.
        retry_after: Option<RetryAfter>,
    },
    /// Waits this long in real time, then answers as usual.
    Slow(Duration),
    /// Waits for [`GithubTwin::release_held`](super::GithubTwin::release_held), then answers as
    /// usual.
    Hold,
    /// Closes the connection without doing anything.
    CutBeforeActing,
    /// Does what was asked, then closes the connection without an answer.
    CutBeforeHeaders,
    /// Does what was asked, then closes the connection in the middle of the body.
    CutMidBody,
    /// Does what was asked, and ends the JSON too early. The answer is complete as HTTP.
    MalformedJson,
    /// Answers with a JSON document of about this many bytes, without `Content-Length`.
    HugeBody {
        /// The size of the body, in bytes.
        bytes: usize,
    },
    /// Does what was asked, with one field of the answer replaced.
    ChangedField {
        /// A JSON pointer, such as `/number` or `/0/user/id`.
        pointer: String,
        /// What the field holds instead.
        value: Value,
    },
}

impl Fault {
    /// An answer with this status and GitHub's own error body; 500 when there is no such status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let message = status.canonical_reason().unwrap_or("Server Error");
        Self::Answer {
            status,
            content_type: "application/json; charset=utf-8",
            body: serde_json::json!({ "message": message }).to_string(),
        }
    }

    /// Applies to the next `count` requests instead of one.
    #[must_use]
    pub fn times(self, count: usize) -> FaultRule {
        FaultRule::from(self).times(count)
    }

    /// Applies to requests for `path` alone. See [`FaultRule::on_path`].
    #[must_use]
    pub fn on_path(self, path: impl Into<String>) -> FaultRule {
        FaultRule::from(self).on_path(path)
    }

    /// Applies to requests with this method alone.
    #[must_use]
    pub fn on_method(self, method: Method) -> FaultRule {
        FaultRule::from(self).on_method(method)
    }

    /// The answer given in place of the work, for faults that do none of it.
    pub(super) fn refusal(&self) -> Option<Response> {
        match self {
            Self::Answer {
                status,
                content_type,
                body,
            } => {
                let content_type = HeaderValue::from_static(content_type);
                Some(answers::content(*status, content_type, body.clone()))
            }
            Self::TooManyRequests(retry_after) => {
                let refusal = answers::rate_limited(StatusCode::TOO_MANY_REQUESTS);
                Some(with_retry_after(refusal, Some(*retry_after)))
            }
            Self::SecondaryLimit {
                status,
                retry_after,
            } => Some(with_retry_after(
                answers::secondary_limited(*status),
                *retry_after,
            )),
            _ => None,
        }
    }

    /// Spoils an answer that would have been right.
    pub(super) async fn spoil(&self, response: Response) -> Response {
        match self {
            Self::MalformedJson => {
                let (head, body) = read(response).await;
                Response::from_parts(head, Body::from(body.slice(..body.len() / 2)))
            }
            Self::ChangedField { pointer, value } => {
                let (head, body) = read(response).await;
                Response::from_parts(head, Body::from(replace(&body, pointer, value)))
            }
            _ => response,
        }
    }

    /// Replaces the body by one that cannot be read to its end, or only with patience.
    pub(super) async fn spoil_body(&self, response: Response) -> Response {
        match self {
            Self::CutMidBody => {
                let (mut head, body) = read(response).await;
                head.headers
                    .insert(header::CONTENT_LENGTH, body.len().into());
                Response::from_parts(head, cut_short(body.slice(..body.len() / 2)))
            }
            Self::HugeBody { bytes } => {
                let (mut head, _) = response.into_parts();
                head.headers.remove(header::CONTENT_LENGTH);
                Response::from_parts(head, huge(*bytes))
            }
            _ => response,
        }
    }
}

fn with_retry_after(mut response: Response, retry_after: Option<RetryAfter>) -> Response {
    if let Some(retry_after) = retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, retry_after.header());
    }
    response
}

/// The two halves of an answer whose body is about to change, and with it its length.
async fn read(response: Response) -> (http::response::Parts, Bytes) {
    let (mut head, body) = response.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    // The body is in memory already, so that reading it cannot fail.
    let body = body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    (head, body)
}

fn replace(body: &Bytes, pointer: &str, value: &Value) -> Bytes {
    let Ok(mut document) = serde_json::from_slice::<Value>(body) else {
        return body.clone();
    };
    let Some(field) = document.pointer_mut(pointer) else {
        return body.clone();
    };
    *field = value.clone();
    document.to_string().into()
}

/// A body that sends `start` and then fails. It pauses between the two, so that the server
/// sends what it has before it notices.
fn cut_short(start: Bytes) -> Body {
    let cut = stream::once(async {
        tokio::task::yield_now().await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    Body::from_stream(stream::iter([Ok(start)]).chain(cut))
}

fn huge(bytes: usize) -> Body {
    static PADDING: [u8; CHUNK] = [b'x'; CHUNK];
    let start = Bytes::from_static(b"{\"padding\":\"");
    let end = Bytes::from_static(b"\"}");
    let padding = bytes.saturating_sub(start.len() + end.len());
    let whole = std::iter::repeat_n(Bytes::from_static(&PADDING), padding / CHUNK);
    let rest = Bytes::from_static(&PADDING).slice(..padding % CHUNK);
    let chunks = [start].into_iter().chain(whole).chain([rest, end]);
    Body::from_stream(stream::iter(chunks.map(Ok::<_, std::io::Error>)))
}

/// A fault, and the requests it applies to: by default the next one, whatever it is.
#[derive(Clone, Debug)]
pub struct FaultRule {
    fault: Fault,
    times: usize,
    path: Option<String>,
    method: Option<Method>,
}

impl From<Fault> for FaultRule {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            times: 1,
            path: None,
            method: None,
        }
    }
}

impl FaultRule {
    /// Applies to the next `count` requests that fit.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = count;
        self
    }

    /// Applies to requests for `path` alone, or for all that begin with what stands before a
    /// final `*`.
    #[must_use]
    pub fn on_path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Applies to requests with this method alone.
    #[must_use]
    pub fn on_method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    fn fits(&self, method: &Method, path: &str) -> bool {
        let path_fits = match self.path.as_deref() {
            None => true,
            Some(wanted) => match wanted.strip_suffix('*') {
                Some(beginning) => path.starts_with(beginning),
                None => path == wanted,
            },
        };
        path_fits && self.method.as_ref().is_none_or(|wanted| wanted == method)
    }
}

/// The rules in force, the oldest first.
#[derive(Debug)]
pub(super) struct Faults {
    rules: Mutex<VecDeque<FaultRule>>,
    releases: watch::Sender<u64>,
}

impl Faults {
    pub(super) fn new() -> Self {
        Self {
            rules: Mutex::default(),
            releases: watch::Sender::new(0),
        }
    }

    pub(super) fn inject(&self, rule: FaultRule) {
        if rule.times > 0 {
            self.lock().push_back(rule);
        }
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    pub(super) fn release_held(&self) {
        self.releases.send_modify(|releases| *releases += 1);
    }

    /// Must be subscribed to before a request becomes visible, or a release could be missed.
    pub(super) fn releases(&self) -> watch::Receiver<u64> {
        self.releases.subscribe()
    }

    /// Uses up the first rule that fits.
    pub(super) fn take(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut rules = self.lock();
        let index = rules.iter().position(|rule| rule.fits(method, path))?;
        let rule = rules.get_mut(index)?;
        rule.times -= 1;
        let fault = rule.fault.clone();
        if rule.times == 0 {
            rules.remove(index);
        }
        Some(fault)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<FaultRule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
