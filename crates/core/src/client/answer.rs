//! Answers of calls.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::{CallError, CallErrorKind};
use crate::id::RequestId;

/// What the other side answered.
///
/// `Debug` shows neither headers nor body, which nobody redacted.
#[derive(Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole and as it came.
    pub body: Bytes,
    /// The row of the attempt; `None` when it could not be recorded.
    pub request_id: Option<RequestId>,
    /// Where it comes from.
    pub source: AnswerSource,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnswerSource {
    /// From the other side, just now.
    Live,
    /// From the ledger: an earlier call under the same idempotency key was given it.
    Recorded,
    /// From the response cache.
    Cached,
    /// From the response cache, after the other side said that it did not change.
    Revalidated,
    /// From the response cache, behind its time: the other side could not be asked.
    Stale,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .field("request_id", &self.request_id)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl Answer {
    /// The answer, where its status is a success.
    pub(super) fn success(self) -> Result<Self, CallError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let message = format!(
            "the other side answered {}, which has no body to read",
            self.status
        );
        Err(CallError::new(CallErrorKind::UnexpectedStatus, message).with_answer(self))
    }

    /// The body as a `T`.
    ///
    /// # Errors
    ///
    /// Returns a [`CallError`] of kind [`CallErrorKind::SchemaDrift`] that names the field where
    /// the body is not what `T` expects, and carries the answer.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, CallError> {
        let mut reader = serde_json::Deserializer::from_slice(&self.body);
        let parsed = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| (error.path().to_string(), drift(error.inner())))
            .and_then(|value| {
                reader
                    .end()
                    .map(|()| value)
                    .map_err(|error| (".".to_owned(), drift(&error)))
            });
        parsed.map_err(|(path, what)| {
            let expected = std::any::type_name::<T>()
                .rsplit("::")
                .next()
                .unwrap_or_default();
            CallError::new(
                CallErrorKind::SchemaDrift,
                format!("the answer is not a `{expected}`: {what} at `{path}`"),
            )
            .with_answer(self)
        })
    }
}

/// What is wrong, without the value that serde would print.
fn drift(error: &serde_json::Error) -> &'static str {
    use serde_json::error::Category;
    let text = error.to_string();
    match error.classify() {
        Category::Syntax | Category::Eof | Category::Io => "it is not JSON",
        Category::Data if text.starts_with("missing field") => "a field is missing",
        Category::Data if text.starts_with("invalid type") => "a value is of another type",
        Category::Data if text.starts_with("unknown variant") => {
            "a value is not one of those known"
        }
        Category::Data => "a value is not what was expected",
    }
}
