//! The request log: one row for every attempt of every call.

mod journal;
mod log;

use chrono::{DateTime, Utc};

use crate::{
    id::{IntegrationId, LogId, RequestId},
    state::define_state,
    value::{IdempotencyKey, cut_chars},
};

pub use journal::*;
pub use log::*;

define_state! {
    /// What a failed attempt means. Health, circuit and retries all go by it.
    FailureClass {
        /// The other side is down: 5xx but 501, no connection, a time-out.
        Upstream = "upstream",
        /// The other side wants us to slow down: 429 and what the provider says is one.
        Throttle = "throttle",
        /// The request is wrong: other 4xx, and 501.
        Client = "client",
        /// None of these.
        Unknown = "unknown",
    }
}

/// An entity of the application that a call or record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// The application's type, at most 255 characters.
    pub related_type: String,
    /// The application's id.
    pub id: RelatedId,
}

/// The application's id of a related entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelatedId {
    /// Stored in `related_id`.
    Number(i64),
    /// Stored in `related_key`, at most 191 characters.
    Text(String),
}

/// One attempt, as it is written: redacted and cut.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRequest {
    /// Whose call it was.
    pub integration_id: IntegrationId,
    /// The template or label: low cardinality, at most 255 characters.
    pub endpoint: String,
    /// The method, or a verb for a call through an SDK; at most 10 characters.
    pub method: String,
    /// The concrete path with its query, redacted.
    pub path: Option<String>,
    /// The answer's status, where there was one.
    pub status_code: Option<u16>,
    /// The request body, redacted and cut.
    pub request_data: Option<String>,
    /// The answer's body, redacted and cut.
    pub response_data: Option<String>,
    /// The headers that are logged, as a JSON object with `request` and `response`, each of which
    /// has the values by the header's name; redacted.
    pub headers: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// What that means.
    pub failure_class: Option<FailureClass>,
    /// The key of an at-most-once call.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The provider's own id of the request, at most 128 characters.
    pub provider_request_id: Option<String>,
    /// Milliseconds this attempt took.
    pub duration_ms: Option<i32>,
    /// The first attempt, when this is a retry.
    pub retry_of: Option<RequestId>,
    /// 1 for the first attempt.
    pub attempt: i16,
    /// What it was about.
    pub related: Option<Related>,
    /// The sync it was part of.
    pub sync_log_id: Option<LogId>,
    /// When the attempt ended.
    pub created_at: DateTime<Utc>,
}

impl NewRequest {
    /// The most characters of an endpoint.
    pub const MAX_ENDPOINT: usize = 255;
    /// The most characters of a method.
    pub const MAX_METHOD: usize = 10;
    /// The most characters of a provider's request id (REQ-11).
    pub const MAX_PROVIDER_REQUEST_ID: usize = 128;

    /// The same, with every text of limited length cut on a character boundary and NUL replaced.
    ///
    /// A call that was made must be recordable, whatever its texts look like.
    #[must_use]
    pub fn fitted(mut self) -> Self {
        let fit = |text: String, max: usize| cut_chars(&text, max).replace('\0', "\u{fffd}");
        let fit_all = |text: Option<String>| text.map(|text| text.replace('\0', "\u{fffd}"));
        self.endpoint = fit(self.endpoint, Self::MAX_ENDPOINT);
        self.method = fit(self.method, Self::MAX_METHOD);
        self.provider_request_id = self
            .provider_request_id
            .map(|id| fit(id, Self::MAX_PROVIDER_REQUEST_ID));
        self.path = fit_all(self.path);
        self.request_data = fit_all(self.request_data);
        self.response_data = fit_all(self.response_data);
        self.headers = fit_all(self.headers);
        self.error = fit_all(self.error);
        self
    }
}

/// A row of `{prefix}_requests`.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Its number.
    pub id: RequestId,
    /// What was recorded.
    pub attempt: NewRequest,
    /// Calls that were answered from what this row's call brought.
    pub cache_hits: i32,
    /// The same, after its answer had expired.
    pub stale_hits: i32,
}
