//! What can go wrong with a call.

use std::{convert::Infallible, error::Error, fmt};

use chrono::{DateTime, Utc};

use super::Answer;
use crate::{
    entropy::EntropyError,
    id::{IntegrationId, RequestId},
    idempotency::ReservationRecord,
    integration::Refusal,
    request::FailureClass,
    transport::{Reached, TransportErrorKind},
};

/// What went wrong, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallErrorKind {
    /// No such integration within the scope.
    NotFound,
    /// The integration takes no calls at the moment.
    Refused(Refusal),
    /// The row names a provider that is not registered.
    UnknownProvider,
    /// The credentials are missing, do not open, or cannot be sent.
    Credentials,
    /// The call itself is wrong; nothing was sent.
    Invalid,
    /// There was no usable answer.
    Transport {
        /// What went wrong.
        kind: TransportErrorKind,
        /// Whether the other side may have seen the request.
        reached: Reached,
    },
    /// The other side answered that it failed.
    Failed(FailureClass),
    /// A list does not go on as a list should: in a circle, to another server, or for ever.
    Paging,
    /// The other side answered with a status that has no body to read.
    UnexpectedStatus,
    /// The answer is not what was expected of it.
    SchemaDrift,
    /// The closure around an SDK returned an error.
    Sdk(FailureClass),
    /// The circuit is open: the other side was down, and nothing was sent.
    CircuitOpen {
        /// Whether an operator opened it.
        forced: bool,
    },
    /// A budget is spent, or the other side asked for a pause, for longer than the call waits.
    /// Nothing was sent.
    RateLimited,
    /// The call's deadline passed while an attempt was under way, which may have happened.
    Deadline,
    /// Another call under the same idempotency key is under way. Nothing was sent.
    KeyInFlight,
    /// A call under the same idempotency key may have happened, and nobody knows. Nothing was
    /// sent.
    KeyUnknown,
    /// The idempotency key was used for a different request. Nothing was sent.
    KeyMismatch,
    /// A call under the same idempotency key succeeded, and its answer cannot be given again.
    /// Nothing was sent.
    KeyDone,
    /// The system gave no random numbers. Nothing was sent.
    Entropy,
    /// The store failed before anything was sent.
    Store,
    /// The call was made and could not be recorded. Never call again because of it.
    Unrecorded,
}

/// A call did not come to what was asked of it. `E` is the error of an SDK, for calls through
/// one.
///
/// Messages name neither URLs nor bodies nor secrets.
pub struct CallError<E = Infallible>(Box<Inner<E>>);

struct Inner<E> {
    kind: CallErrorKind,
    message: String,
    request_id: Option<RequestId>,
    retry_at: Option<DateTime<Utc>>,
    answer: Option<Answer>,
    record: Option<Box<ReservationRecord>>,
    sdk: Option<E>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl<E> CallError<E> {
    pub(crate) fn new(kind: CallErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            request_id: None,
            retry_at: None,
            answer: None,
            record: None,
            sdk: None,
            source: None,
        }))
    }

    pub(crate) fn with_retry_at(mut self, retry_at: Option<DateTime<Utc>>) -> Self {
        self.0.retry_at = retry_at.or(self.0.retry_at);
        self
    }

    pub(crate) fn with_record(mut self, record: Box<ReservationRecord>) -> Self {
        self.0.request_id = record.request_id;
        self.0.record = Some(record);
        self
    }

    pub(crate) fn with_answer(mut self, answer: Answer) -> Self {
        self.0.request_id = answer.request_id;
        self.0.answer = Some(answer);
        self
    }

    pub(crate) fn with_request(mut self, request_id: Option<RequestId>) -> Self {
        self.0.request_id = request_id;
        self
    }

    pub(crate) fn with_sdk(mut self, error: E) -> Self {
        self.0.sdk = Some(error);
        self
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> &CallErrorKind {
        &self.0.kind
    }

    /// The row of the attempt, where there is one.
    #[must_use]
    pub const fn request_id(&self) -> Option<RequestId> {
        self.0.request_id
    }

    /// When calling again makes sense, where that is known.
    #[must_use]
    pub const fn retry_at(&self) -> Option<DateTime<Utc>> {
        self.0.retry_at
    }

    /// What the other side answered, where it did.
    #[must_use]
    pub const fn answer(&self) -> Option<&Answer> {
        self.0.answer.as_ref()
    }

    /// What the other side answered, where it did.
    #[must_use]
    pub fn into_answer(self) -> Option<Answer> {
        self.0.answer
    }

    /// What is on file for the call's idempotency key, where that is why nothing was sent.
    #[must_use]
    pub fn record(&self) -> Option<&ReservationRecord> {
        self.0.record.as_deref()
    }

    /// The SDK's error, where the call was made through one.
    #[must_use]
    pub const fn sdk(&self) -> Option<&E> {
        self.0.sdk.as_ref()
    }

    /// The SDK's error, where the call was made through one.
    #[must_use]
    pub fn into_sdk(self) -> Option<E> {
        self.0.sdk
    }
}

impl CallError {
    pub(crate) fn refused(id: IntegrationId, refusal: Refusal) -> Self {
        let message = format!("integration {id} takes no calls: {refusal}");
        Self::new(CallErrorKind::Refused(refusal), message)
    }

    pub(crate) fn unrecorded(why: &str) -> Self {
        let message = format!("the call was made and could not be recorded: {why}");
        Self::new(CallErrorKind::Unrecorded, message)
    }

    pub(crate) fn entropy(error: EntropyError) -> Self {
        let message = format!("{error}; nothing was sent");
        Self::new(CallErrorKind::Entropy, message).with_source(error)
    }

    pub(crate) fn deadline() -> Self {
        let message = "the call's deadline passed during an attempt, which may have happened";
        Self::new(CallErrorKind::Deadline, message)
    }

    /// The same error where an SDK's would be expected.
    pub(crate) fn widen<E>(self) -> CallError<E> {
        let inner = *self.0;
        CallError(Box::new(Inner {
            kind: inner.kind,
            message: inner.message,
            request_id: inner.request_id,
            retry_at: inner.retry_at,
            answer: inner.answer,
            record: inner.record,
            sdk: None,
            source: inner.source,
        }))
    }
}

impl<E> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl<E> fmt::Debug for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallError")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("request_id", &self.0.request_id)
            .field(
                "status",
                &self.0.answer.as_ref().map(|answer| answer.status),
            )
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl<E: Error + 'static> Error for CallError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match (&self.0.sdk, &self.0.source) {
            (Some(sdk), _) => Some(sdk),
            (None, Some(source)) => Some(&**source),
            (None, None) => None,
        }
    }
}
