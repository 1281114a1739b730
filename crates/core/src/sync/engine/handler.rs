//! Handlers: what an application does with the items of a kind.

use std::{collections::HashMap, error::Error, fmt, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

use crate::{
    client::{CallError, IntegrationClient, IntegrationHandle},
    id::{LogId, SyncItemId, Uid},
    provider::Pause,
    sync::{ItemOutcome, ItemSettlement, KindSelection, Payload, SyncItem},
    value::{ExternalId, ItemKind},
};

/// Handles the items of a kind.
///
/// Items are delivered at least once: a worker may be killed between the handler's end and its
/// record, and then another handles the item again. Handlers are idempotent. Two versions of one
/// record are never handled at once.
///
/// Closures are handlers too: see [`handler_fn`].
#[async_trait]
pub trait ItemHandler: Send + Sync {
    /// Handles an item. Dropped when the time limit passes, or when the claim is lost.
    ///
    /// # Errors
    ///
    /// Returns a [`HandlerError`], which says whether to try again.
    async fn handle(&self, attempt: ItemAttempt) -> Result<Handled, HandlerError>;
}

/// How an item was handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// It is done.
    Done,
    /// There is nothing to be done, for this reason.
    Skipped {
        /// Why.
        reason: String,
    },
    /// The handler settled it itself, in the transaction of its own rows: see
    /// [`ItemAttempt::settlement`].
    AlreadySettled,
}

/// An item was not handled.
///
/// Every error turns into one by `?`, and then the item is tried again. Where a
/// [`CallError`] that asks for a pause is among its causes, the item is put off and no attempt is
/// counted. The text is kept with the item, at most 1000 characters of it, and redacted as the
/// account's calls are.
#[derive(Debug)]
pub struct HandlerError(pub(super) Refusal);

#[derive(Debug)]
pub(super) enum Refusal {
    Failed(String),
    Hopeless(String),
    Later(Pause),
}

impl HandlerError {
    /// It failed; try again.
    #[must_use]
    pub fn failed(text: impl Into<String>) -> Self {
        Self(Refusal::Failed(text.into()))
    }

    /// It failed and would fail again: no more attempts in this run.
    #[must_use]
    pub fn hopeless(text: impl Into<String>) -> Self {
        Self(Refusal::Hopeless(text.into()))
    }

    /// Not now, without counting the attempt: a rate limit is spent, a resource is locked.
    #[must_use]
    pub fn later(until: Option<DateTime<Utc>>) -> Self {
        Self(Refusal::Later(Pause { until }))
    }

    /// From the error of a call through an SDK, which `?` cannot look into.
    #[must_use]
    pub fn from_call<E: Error + 'static>(error: &CallError<E>) -> Self {
        match error.pause() {
            Some(pause) => Self(Refusal::Later(pause)),
            None => Self::failed(chain(error)),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        match CallError::pause_in(&error) {
            Some(pause) => Self(Refusal::Later(pause)),
            None => Self::failed(chain(&error)),
        }
    }
}

/// An error and its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The payload of an item is not what was expected.
///
/// Names the field, not the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload is not what was expected at `{path}`")]
pub struct PayloadError {
    path: String,
}

/// An attempt at an item: what a handler is given. Cheap to clone.
#[derive(Clone)]
pub struct ItemAttempt(Arc<Parts>);

struct Parts {
    item: SyncItem,
    token: Uid,
    max_attempts: i16,
    client: IntegrationClient,
}

impl fmt::Debug for ItemAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemAttempt")
            .field("item", &self.0.item.id)
            .field("kind", &self.0.item.kind)
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

/// SYN-27
impl ItemAttempt {
    pub(super) fn new(
        item: SyncItem,
        token: Uid,
        max_attempts: i16,
        client: IntegrationClient,
    ) -> Self {
        Self(Arc::new(Parts {
            item,
            token,
            max_attempts,
            client,
        }))
    }

    /// The item.
    #[must_use]
    pub fn item(&self) -> &SyncItem {
        &self.0.item
    }

    /// The item's number.
    #[must_use]
    pub fn id(&self) -> SyncItemId {
        self.0.item.id
    }

    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> &ItemKind {
        &self.0.item.kind
    }

    /// The record, where it has an id.
    #[must_use]
    pub fn external_id(&self) -> Option<&ExternalId> {
        self.0.item.external_id.as_ref()
    }

    /// The run's operation.
    #[must_use]
    pub fn log_id(&self) -> Option<LogId> {
        self.0.item.sync_log_id
    }

    /// The payload, as the other side sent it.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.0.item.payload.as_ref().map_or(&[], Payload::as_bytes)
    }

    /// The payload as a `T`.
    ///
    /// # Errors
    ///
    /// Returns a [`PayloadError`] naming the field that is not what `T` expects.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        let mut reader = serde_json::Deserializer::from_slice(self.payload());
        serde_path_to_error::deserialize(&mut reader).map_err(|error| PayloadError {
            path: error.path().to_string(),
        })
    }

    /// 1 for the first attempt.
    #[must_use]
    pub fn attempt(&self) -> i16 {
        self.0.item.attempts
    }

    /// The attempts there are.
    #[must_use]
    pub fn max_attempts(&self) -> i16 {
        self.0.max_attempts
    }

    /// Whether there is none after this one, unless somebody retries the item by hand.
    #[must_use]
    pub fn is_probably_last(&self) -> bool {
        self.attempt() >= self.0.max_attempts
    }

    /// The account. Calls made through it are listed as those of the run.
    #[must_use]
    pub fn integration(&self) -> IntegrationHandle {
        let operator = self.0.client.operator();
        let handle = operator.integration(self.0.item.integration_id);
        handle.during_sync(self.log_id())
    }

    /// What ends this attempt in a transaction of the handler's own, by a store's
    /// `within(&mut tx).settle_items`: the handler then returns [`Handled::AlreadySettled`]. Its text
    /// is stored as it is, so it must not hold a secret.
    #[must_use]
    pub fn settlement(&self, outcome: ItemOutcome) -> ItemSettlement {
        ItemSettlement {
            id: self.0.item.id,
            token: self.0.token,
            outcome,
            now: self.0.client.ports().clock.now(),
        }
    }
}

/// A closure as a handler.
///
/// ```
/// use integrations_core::sync::engine::{Handled, handler_fn};
///
/// let print = handler_fn(|attempt| async move {
///     println!("{} {:?}", attempt.kind(), attempt.external_id());
///     Ok(Handled::Done)
/// });
/// ```
pub fn handler_fn<F, Fut>(work: F) -> impl ItemHandler
where
    F: Fn(ItemAttempt) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Handled, HandlerError>> + Send,
{
    HandlerFn(work)
}

struct HandlerFn<F>(F);

#[async_trait]
impl<F, Fut> ItemHandler for HandlerFn<F>
where
    F: Fn(ItemAttempt) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Handled, HandlerError>> + Send,
{
    async fn handle(&self, attempt: ItemAttempt) -> Result<Handled, HandlerError> {
        self.0(attempt).await
    }
}

#[async_trait]
impl<T: ItemHandler + ?Sized> ItemHandler for Arc<T> {
    async fn handle(&self, attempt: ItemAttempt) -> Result<Handled, HandlerError> {
        (**self).handle(attempt).await
    }
}

/// What is done with a kind.
#[derive(Clone)]
pub(super) enum Handling {
    By(Arc<dyn ItemHandler>),
    Ignored,
}

/// The handlers there are.
#[derive(Default)]
pub(super) struct Handlers {
    pub(super) by_kind: HashMap<ItemKind, Handling>,
    pub(super) any: Option<Arc<dyn ItemHandler>>,
}

impl Handlers {
    /// The kinds to claim: those with a handler, and no others.
    pub(super) fn selection(&self) -> KindSelection {
        if self.any.is_some() {
            return KindSelection::All;
        }
        let mut kinds: Vec<_> = self.by_kind.keys().cloned().collect();
        kinds.sort_unstable();
        KindSelection::Only(kinds)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.any.is_none() && self.by_kind.is_empty()
    }

    /// What to do with a kind.
    pub(super) fn of(&self, kind: &ItemKind) -> Option<Handling> {
        let own = self.by_kind.get(kind).cloned();
        own.or_else(|| self.any.clone().map(Handling::By))
    }
}
