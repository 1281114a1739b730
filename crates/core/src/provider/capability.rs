//! What a provider may be able to do beyond taking calls.

use std::time::Duration;

use http::HeaderName;

use crate::{gate::RateBudget, request::FailureClass, value::IdempotencyKey};

/// Can be asked whether an account works.
pub trait HealthCheck: Send + Sync {
    /// The request that succeeds exactly when the account works. It must change nothing.
    fn probe(&self) -> Probe;
}

/// A request that shows whether an account works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The endpoint template of a `GET`.
    pub endpoint: String,
}

impl Probe {
    /// A `GET` of `endpoint`.
    #[must_use]
    pub fn get(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
        }
    }
}

/// Knows what in a provider's bodies must not be logged.
pub trait Redaction: Send + Sync {
    /// Paths into JSON bodies, such as `$.user.email` or `$.items[*].secret`; `**` stands for any
    /// depth.
    fn paths(&self) -> Vec<String>;
}

/// What came of an attempt, for classifying it.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The status, where there was an answer.
    pub status: Option<u16>,
    /// The answer's headers.
    pub headers: &'a http::HeaderMap,
    /// The answer's body.
    pub body: &'a [u8],
}

/// Knows better than the status what a failure means.
pub trait FailureClassifier: Send + Sync {
    /// The class of a failed attempt, or `None` to leave it to the status.
    fn classify(&self, outcome: &Outcome<'_>) -> Option<FailureClass>;

    /// Whether a failed attempt changed anything there, or `None` to leave it to the status. Keys
    /// of at-most-once calls go by it.
    fn effect(&self, _outcome: &Outcome<'_>) -> Option<Effect> {
        None
    }

    /// The class of an SDK's error, or `None` to leave it to what else is known.
    fn classify_error(&self, _error: &(dyn std::error::Error + 'static)) -> Option<FailureClass> {
        None
    }
}

/// What an attempt changed on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// What was asked for.
    Happened,
    /// Certainly nothing.
    DidNotHappen,
    /// Nobody knows.
    Unknown,
}

/// Knows better than the class of a failure whether to try again.
pub trait RetryPolicy: Send + Sync {
    /// The verdict on a failed attempt, or `None` to leave it to its class.
    ///
    /// What may have changed something there is not sent again all the same, unless that does no
    /// harm.
    fn verdict(&self, outcome: &Outcome<'_>) -> Option<RetryVerdict>;

    /// The verdict on an SDK's error, or `None` to leave it to its class.
    fn verdict_on_error(&self, _error: &(dyn std::error::Error + 'static)) -> Option<RetryVerdict> {
        None
    }
}

/// Whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryVerdict {
    /// It would fail again.
    Stop,
    /// It may succeed.
    Again {
        /// After so long; `None` leaves it to what the other side asked for, and to the back-off.
        after: Option<Duration>,
    },
}

/// Says how many calls it takes.
pub trait RateLimits: Send + Sync {
    /// The limits of one account. Checked when a client is built.
    fn budgets(&self) -> Vec<RateBudget>;

    /// Whether an answer of 304 is not counted against them.
    fn not_modified_is_free(&self) -> bool {
        false
    }
}

/// Does what is asked under one key once, however often it is sent.
pub trait NativeIdempotency: Send + Sync {
    /// The header that carries the key.
    fn header(&self) -> HeaderName;

    /// How long it remembers a key. An outcome nobody knows is not tried again after that.
    fn remembers_for(&self) -> Duration {
        Duration::from_hours(24)
    }
}

/// Can be asked whether a call under a key happened.
pub trait KeyProbe: Send + Sync {
    /// The request that finds what a call to `endpoint`, a template, made under `key`; `None`
    /// where there is none. It must change nothing.
    fn request(&self, endpoint: &str, key: &IdempotencyKey) -> Option<Probe>;

    /// What its answer says.
    fn verdict(&self, key: &IdempotencyKey, outcome: &Outcome<'_>) -> Effect;
}
