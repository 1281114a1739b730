//! What a provider may be able to do beyond taking calls.

use crate::request::FailureClass;

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

    /// The class of an SDK's error, or `None` to leave it to what else is known.
    fn classify_error(&self, _error: &(dyn std::error::Error + 'static)) -> Option<FailureClass> {
        None
    }
}
