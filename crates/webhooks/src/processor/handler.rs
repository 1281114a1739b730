//! What an application brings to deal with deliveries.

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{client::CallError, provider::Pause, value::ProviderKey};

use super::Delivery;

/// Deals with deliveries.
///
/// Handlers are idempotent: a delivery is handed over at least once, and again when a worker dies
/// over it. An `async` closure over a [`Delivery`] is a handler too.
#[async_trait]
pub trait WebhookHandler: Send + Sync {
    /// Deals with one delivery.
    ///
    /// # Errors
    ///
    /// Returns [`HandlerError`], which says whether to try again. Any error turns into one by `?`.
    async fn handle(&self, delivery: Delivery) -> Result<Handled, HandlerError>;
}

#[async_trait]
impl<F, A> WebhookHandler for F
where
    F: Fn(Delivery) -> A + Send + Sync,
    A: Future<Output = Result<Handled, HandlerError>> + Send,
{
    async fn handle(&self, delivery: Delivery) -> Result<Handled, HandlerError> {
        self(delivery).await
    }
}

/// How a handler dealt with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handled {
    /// It is done.
    Done,
    /// It is of no interest.
    Ignored,
    /// The handler settled it within its own transaction.
    AlreadySettled,
}

/// A handler could not deal with a delivery.
///
/// Not an error type itself, so that every error turns into one by `?`. Where a [`CallError`] that
/// asks for a pause is among its causes, the delivery is put back.
#[derive(Clone, PartialEq, Eq)]
pub struct HandlerError {
    pub(super) message: String,
    pub(super) verdict: Verdict,
}

/// What is to become of the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Try again, as far as there are attempts.
    Retry,
    /// Trying again is of no use.
    Permanent,
    /// Try again after a pause, whatever the attempts.
    PutBack(Pause),
}

impl HandlerError {
    /// Try again, as far as there are attempts. `message` is stored, redacted as what is logged of
    /// calls.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            verdict: Verdict::Retry,
        }
    }

    /// Trying again is of no use.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            verdict: Verdict::Permanent,
        }
    }

    /// Try again at `at`, or without one after
    /// [`ProcessorPolicy::default_pause`](super::ProcessorPolicy::default_pause); within
    /// [`ProcessorPolicy::put_back_window`](super::ProcessorPolicy::put_back_window), this attempt
    /// does not count.
    pub fn put_back(at: impl Into<Option<DateTime<Utc>>>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            verdict: Verdict::PutBack(Pause { until: at.into() }),
        }
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.verdict, self.message)
    }
}

impl<E: std::error::Error + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let message = error.to_string();
        match CallError::pause_in(&error) {
            Some(pause) => Self::put_back(pause.until, message),
            None => Self::new(message),
        }
    }
}

/// The handlers of one provider.
#[derive(Clone, Default)]
struct OfProvider {
    by_event: BTreeMap<String, Arc<dyn WebhookHandler>>,
    fallback: Option<Arc<dyn WebhookHandler>>,
}

/// Which handler deals with what.
#[derive(Clone, Default)]
pub(super) struct Handlers(BTreeMap<ProviderKey, OfProvider>);

impl Handlers {
    pub(super) fn on(
        &mut self,
        provider: ProviderKey,
        event_type: &str,
        handler: Arc<dyn WebhookHandler>,
    ) {
        let of = self.0.entry(provider).or_default();
        of.by_event.insert(event_type.to_owned(), handler);
    }

    pub(super) fn fallback(&mut self, provider: ProviderKey, handler: Arc<dyn WebhookHandler>) {
        self.0.entry(provider).or_default().fallback = Some(handler);
    }

    /// The fallback of a provider that has none.
    pub(super) fn fallback_if_none(
        &mut self,
        provider: ProviderKey,
        handler: Arc<dyn WebhookHandler>,
    ) {
        let of = self.0.entry(provider).or_default();
        of.fallback.get_or_insert(handler);
    }

    /// The providers that deliveries are claimed of.
    pub(super) fn providers(&self) -> Vec<ProviderKey> {
        self.0.keys().cloned().collect()
    }

    /// The handler of an event, else its provider's fallback.
    pub(super) fn of(&self, delivery: &Delivery) -> Option<Arc<dyn WebhookHandler>> {
        let of = self.0.get(delivery.provider())?;
        let handler = delivery
            .event_type()
            .and_then(|event_type| of.by_event.get(event_type));
        handler.or(of.fallback.as_ref()).map(Arc::clone)
    }
}
