//! The recorder: writes what attempts leave behind, many to a commit.
//!
//! Whoever has an outcome puts it in line. A writer takes whatever waits, hands it to the journal
//! in one batch and answers everyone: callers who come while a batch is under way share the next.
//! Nothing is delayed to make batches larger. A writer begins when there is work and nobody at
//! it, and ends when there is none, so an idle recorder has no task.
//!
//! While the store is away, rows are kept, up to a bound, and tried again by and by; their
//! callers are told at once that they are unrecorded.

mod line;
mod report;
mod writer;

use std::{fmt, sync::Arc};

use tokio::{runtime::Handle, sync::oneshot};

use self::{
    line::{Line, Place},
    report::Reporter,
    writer::Writer,
};
use super::{events::Events, pipeline::local::Locals};
use crate::{
    request::{CallJournal, CallOutcome, Recorded},
    time::Clock,
    value::ProviderKey,
};

/// When a call goes on once its attempt ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogMode {
    /// When its row is durable. Calls that wait at the same time share a commit.
    #[default]
    Durable,
    /// At once; the row follows. A process that dies in between loses it, and the answer does not
    /// know its row's id. Calls under an idempotency key, and attempts that are followed by
    /// another, wait all the same.
    Background,
}

/// How much the recorder does at once and holds on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogQueue {
    /// How many batches may be under way at the same time. One is best for a store with one
    /// writer, and for a database that is near.
    pub writers: usize,
    /// How much may wait before a call in [`LogMode::Background`] waits for its row after all.
    pub waiting: Bound,
    /// How much is kept while the store is away. What comes on top is dropped, counted and told.
    pub kept: Bound,
}

/// A limit to rows, by number and by size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Rows.
    pub rows: usize,
    /// Bytes of their texts together.
    pub bytes: usize,
}

impl Default for LogQueue {
    fn default() -> Self {
        let bytes = 64 * 1024 * 1024;
        Self {
            writers: 1,
            waiting: Bound { rows: 4096, bytes },
            kept: Bound {
                rows: 10_000,
                bytes,
            },
        }
    }
}

/// What the recorder did since the client was built, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Outcomes that were written.
    pub written: u64,
    /// Commits that took.
    pub batches: u64,
    /// Outcomes whose callers were told that they are not on record. Kept ones may be later.
    pub unrecorded: u64,
    /// Outcomes the store refused; each was refused alone.
    pub refused: u64,
    /// Outcomes given up because too many were kept, or the store panicked over them.
    pub dropped: u64,
    /// Outcomes in line or under way.
    pub waiting: usize,
    /// Outcomes kept until the store is back.
    pub kept: usize,
}

/// What an attempt left: an outcome, and whose it is.
#[derive(Debug)]
pub(in crate::client) struct Left {
    pub(in crate::client) provider: ProviderKey,
    pub(in crate::client) outcome: Box<CallOutcome>,
}

/// An outcome is not on record, or not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct Unrecorded {
    pub(in crate::client) reason: String,
}

/// Who waits for an outcome to be written, if anybody does.
type Waiter = oneshot::Sender<Result<Recorded, Unrecorded>>;

/// Writes outcomes down.
pub(in crate::client) struct Recorder(Arc<Inner>);

struct Inner {
    journal: Arc<dyn CallJournal>,
    clock: Arc<dyn Clock>,
    reporter: Reporter,
    line: Line,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorder").field(&self.counts()).finish()
    }
}

impl Recorder {
    pub(in crate::client) fn new(
        journal: Arc<dyn CallJournal>,
        clock: Arc<dyn Clock>,
        events: Arc<Events>,
        locals: Arc<Locals>,
        queue: LogQueue,
    ) -> Self {
        Self(Arc::new(Inner {
            journal,
            reporter: Reporter::new(events, locals, Arc::clone(&clock)),
            clock,
            line: Line::new(queue),
        }))
    }

    /// Puts an outcome in line and waits for what the mode asks for; `None` where that is
    /// nothing.
    ///
    /// The outcome is in line before this first waits: it is written even when the future is
    /// dropped.
    pub(in crate::client) async fn record(
        &self,
        left: Left,
        mode: LogMode,
    ) -> Result<Option<Recorded>, Unrecorded> {
        let (waiter, written) = oneshot::channel();
        let place = self.0.line.join(left, waiter);
        let waits = match place {
            Place::InLine => mode == LogMode::Durable,
            Place::Full => true,
            Place::Away(left, reason) => {
                self.0.turn_away(left, &reason);
                self.begin_writing();
                return Err(Unrecorded { reason });
            }
        };
        if !self.begin_writing() {
            let reason = "calls are made within a tokio runtime".to_owned();
            return Err(Unrecorded { reason });
        }
        if !waits {
            return Ok(None);
        }
        let gone = |_| {
            let reason = "the runtime ended before the row was written".to_owned();
            Err(Unrecorded { reason })
        };
        written.await.unwrap_or_else(gone).map(Some)
    }

    /// Waits until nothing is in line, and tries what is kept once more. Says how many rows are
    /// lost with the process if the store stays away.
    pub(in crate::client) async fn drain(&self) -> usize {
        let _draining = self.0.line.drain();
        self.begin_writing();
        self.0.line.idle().await;
        let kept = self.counts().kept;
        if kept > 0 {
            tracing::error!(kept, "rows of the request log are lost: the store is away");
        }
        kept
    }

    /// What it did and holds.
    pub(in crate::client) fn counts(&self) -> LogCounts {
        self.0.line.counts()
    }

    /// Begins a writer where one is needed; `false` where there is no runtime for it.
    fn begin_writing(&self) -> bool {
        let Ok(runtime) = Handle::try_current() else {
            return false;
        };
        if let Some(writer) = Writer::begin(&self.0) {
            runtime.spawn(writer.run());
        }
        true
    }
}

#[cfg(test)]
mod tests;
