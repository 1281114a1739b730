//! Answers, which say the same for every refusal.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use integrations_core::webhook::Challenge;
use serde_json::json;

/// What a sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Stored, and queued.
    Queued,
    /// Stored, and waits until its integration works again.
    Parked,
    /// Stored as a duplicate.
    Duplicate,
    /// A handshake.
    Challenge(Challenge),
    /// Not genuine, or nobody's.
    Unauthorized,
    /// No such provider, or one without webhooks.
    NotFound,
    /// Neither `GET` nor `POST`.
    MethodNotAllowed,
    /// Genuine, and switched off by an operator.
    Gone,
    /// Longer than bodies may be.
    TooLarge,
    /// The body did not come in time.
    #[cfg_attr(
        not(feature = "axum"),
        expect(dead_code, reason = "bodies are read by the router")
    )]
    TooSlow,
    /// The body could not be read.
    #[cfg_attr(
        not(feature = "axum"),
        expect(dead_code, reason = "bodies are read by the router")
    )]
    Unreadable,
    /// Too much is under way that nobody verified yet.
    Busy,
    /// It could not be stored.
    Unavailable,
}

/// When a sender who was put off may come back.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Queued | Self::Parked => StatusCode::ACCEPTED,
            Self::Duplicate | Self::Challenge(_) => StatusCode::OK,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Gone => StatusCode::GONE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Unreadable => StatusCode::BAD_REQUEST,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) fn into_response(self) -> Response<Bytes> {
        let status = self.status();
        let (content_type, body) = match self {
            Self::Challenge(challenge) => (challenge.content_type, Bytes::from(challenge.body)),
            Self::Queued => (
                "application/json",
                Bytes::from_static(br#"{"status":"queued"}"#),
            ),
            Self::Parked => (
                "application/json",
                Bytes::from_static(br#"{"status":"parked"}"#),
            ),
            Self::Duplicate => (
                "application/json",
                Bytes::from_static(br#"{"status":"duplicate"}"#),
            ),
            _ => {
                let problem = json!({
                    "type": "about:blank",
                    "title": status.canonical_reason().unwrap_or_default(),
                    "status": status.as_u16(),
                });
                ("application/problem+json", Bytes::from(problem.to_string()))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        // What a challenge echoes must not be taken for a page.
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(
                    header::RETRY_AFTER,
                    HeaderValue::from(RETRY_AFTER.as_secs()),
                );
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
            }
            _ => {}
        }
        response
    }
}
