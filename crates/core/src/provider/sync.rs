//! What a provider has to say for its records to be synced.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use crate::{
    client::{CallError, IntegrationHandle},
    id::IntegrationId,
    sync::{Checkpoint, Payload},
    value::{ExternalId, ItemKind, StreamName},
};

/// Has records that are enumerated whole at each sync.
pub trait ScheduledSync: Send + Sync {
    /// Its feeds. Each is a run of its own, one after the other, in this order.
    fn streams(&self) -> Vec<Box<dyn SyncStream>>;
}

/// Has records and can tell those that changed since a cursor.
///
/// Streams are given the cursor and answer with what lies at or behind it; they take from it what
/// the other side needs for an overlap. Without a cursor they answer with everything.
pub trait IncrementalSync: Send + Sync {
    /// Its feeds, each with a cursor of its own. Each is a run of its own, one after the other, in
    /// this order.
    fn streams(&self) -> Vec<Box<dyn SyncStream>>;
}

/// The order in which a stream tells its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamOrder {
    /// Any. The cursor moves when enumeration is complete.
    Unsorted,
    /// By checkpoints, which never fall. The cursor moves during enumeration, and an enumeration
    /// that failed keeps what it reached. The engine checks each page.
    Ascending,
}

/// One feed of a provider, enumerated page by page.
///
/// No more than a page is ever held in memory. Every page is stored with the token of the next in
/// one transaction, so an enumeration that was cut off goes on where it was.
#[async_trait]
pub trait SyncStream: Send + Sync {
    /// Its name, under which its cursor is kept.
    fn name(&self) -> StreamName;

    /// The order of its records.
    fn order(&self) -> StreamOrder {
        StreamOrder::Unsorted
    }

    /// Whether a run from the beginning tells every record there is, so that one that it does not
    /// tell was deleted. Pages by number or offset, from which a record may slip while others come
    /// and go, are no such thing.
    ///
    /// The engine then tells of each deletion by an item of the kind's
    /// [`deletion`](ItemKind::deletion) (`issue.deleted`), with the payload `null`, after every
    /// full run whose enumeration was complete and told no record without an id. Applications
    /// handle or ignore that kind as any other.
    fn is_exhaustive(&self) -> bool {
        false
    }

    /// One page.
    ///
    /// Records are read one by one: one that is not as expected is told without id and checkpoint
    /// rather than failing the page with all others.
    ///
    /// # Errors
    ///
    /// Returns an [`EnumerationError`]. It ends the run, or, where the other side asked for a
    /// pause, puts it off.
    async fn page(&self, query: &PageQuery) -> Result<SyncPage, EnumerationError>;
}

/// What page of a stream is asked for.
#[derive(Clone, Debug)]
pub struct PageQuery {
    /// The integration.
    pub integration_id: IntegrationId,
    /// The account. Calls made through it are listed as those of the run.
    pub integration: IntegrationHandle,
    /// The cursor at which the run began; `None`: from the beginning. The same for every page of
    /// a run.
    pub since: Option<Json>,
    /// The token the page before named; `None` for the first page.
    pub page: Option<Json>,
}

impl PageQuery {
    /// The cursor as an instant; `None`: from the beginning.
    ///
    /// # Errors
    ///
    /// Returns an [`EnumerationError`] where the cursor is something else.
    pub fn since_instant(&self) -> Result<Option<DateTime<Utc>>, EnumerationError> {
        let Some(cursor) = &self.since else {
            return Ok(None);
        };
        match Checkpoint::from_json(cursor) {
            Some(Checkpoint::Instant(at)) => Ok(Some(at)),
            _ => Err(EnumerationError::failed(
                "the cursor is not an instant; a full sync starts over",
            )),
        }
    }
}

/// One page of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncPage {
    /// The records on it.
    pub items: Vec<SourceItem>,
    /// The token of the next page; `None`: this was the last. A page may be empty and not be the
    /// last.
    pub next: Option<Json>,
    /// The cursor at which the next run begins, where only the other side can tell: a token that
    /// stands for everything up to now. The last one that is told in a run counts. It becomes the
    /// stream's once enumeration is complete and every item of this run and of all before it is
    /// resolved, so one item that fails keeps the run's whole window to be read again. `None`: the
    /// cursor follows the checkpoints, as far as they are resolved.
    ///
    /// Either every run of a stream that is complete tells one, or none does.
    pub cursor: Option<Json>,
}

/// One version of one record, as a stream tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceItem {
    /// What it is about; handlers are registered by kind.
    pub kind: ItemKind,
    /// What the handler gets, as it came.
    pub payload: Payload,
    /// The record. One without an id is never a duplicate.
    pub external_id: Option<ExternalId>,
    /// The version of the record, and where in the stream it lies. Without one, the version is a
    /// digest of the payload.
    pub checkpoint: Option<Checkpoint>,
}

/// A page could not be read.
///
/// The message is kept with the run. It MUST NOT hold a secret, a URL's query or a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EnumerationError {
    message: String,
    pause: Option<Pause>,
}

/// The other side asked to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Until when, where it said so.
    pub until: Option<DateTime<Utc>>,
}

impl EnumerationError {
    /// It failed, and the run ends with it.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            pause: None,
        }
    }

    /// The other side asked for a pause; the run goes on afterwards where it was.
    #[must_use]
    pub fn later(until: Option<DateTime<Utc>>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            pause: Some(Pause { until }),
        }
    }

    /// The pause, where one was asked for.
    #[must_use]
    pub const fn pause(&self) -> Option<Pause> {
        self.pause
    }
}

impl<E> From<CallError<E>> for EnumerationError {
    fn from(error: CallError<E>) -> Self {
        Self {
            message: error.to_string(),
            pause: error.pause(),
        }
    }
}
