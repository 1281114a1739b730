//! Who waits to be written, and what is kept while the store is away.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use super::{Bound, Left, LogCounts, LogQueue, Waiter};
use crate::{request::NewRequest, time::later};

/// The most rows of a batch. More make a statement longer without making rows cheaper.
const BATCH: Bound = Bound {
    rows: 256,
    bytes: 4 * 1024 * 1024,
};

/// How long the store is left alone after it failed; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// An outcome in line.
pub(super) struct Entry {
    pub(super) left: Left,
    /// `None` once it was answered.
    pub(super) waiter: Option<Waiter>,
    bytes: usize,
}

/// Where an outcome came to stand.
pub(super) enum Place {
    /// In line.
    InLine,
    /// In line, and the line is longer than it should be.
    Full,
    /// Nowhere: the store is away, for this reason.
    Away(Left, String),
}

/// What a writer is to do next.
pub(super) enum Work {
    /// Write these.
    Batch(Vec<Entry>),
    /// Leave the store alone until then.
    Pause(DateTime<Utc>),
}

/// Entries, and the bytes of them all.
#[derive(Default)]
struct Entries {
    entries: VecDeque<Entry>,
    bytes: usize,
}

/// The store failed and was not back since.
struct Outage {
    reason: String,
    pause: Duration,
    until: DateTime<Utc>,
}

#[derive(Default)]
struct State {
    waiting: Entries,
    kept: Entries,
    writers: usize,
    /// Outcomes that writers have in hand.
    under_way: usize,
    outage: Option<Outage>,
    draining: usize,
    counts: LogCounts,
}

pub(super) struct Line {
    limits: LogQueue,
    state: Mutex<State>,
    /// A writer ended.
    ended: Notify,
    /// Nobody should pause any more.
    hurry: Notify,
}

impl Entries {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes;
        self.entries.push_back(entry);
    }

    fn is_over(&self, bound: Bound) -> bool {
        self.entries.len() >= bound.rows || self.bytes >= bound.bytes
    }

    /// Takes the first ones, as many as fit and at least one.
    fn take(&mut self, bound: Bound, batch: &mut Vec<Entry>) {
        let mut bytes: usize = batch.iter().map(|entry| entry.bytes).sum();
        while let Some(next) = self.entries.front() {
            bytes += next.bytes;
            let is_full = batch.len() >= bound.rows || bytes > bound.bytes;
            if is_full && !batch.is_empty() {
                break;
            }
            if let Some(entry) = self.entries.pop_front() {
                self.bytes -= entry.bytes;
                batch.push(entry);
            }
        }
    }
}

impl Line {
    pub(super) fn new(limits: LogQueue) -> Self {
        Self {
            limits,
            state: Mutex::default(),
            ended: Notify::new(),
            hurry: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an outcome in line, unless the store is away.
    pub(super) fn join(&self, left: Left, waiter: Waiter) -> Place {
        let mut state = self.lock();
        if let Some(outage) = &state.outage {
            return Place::Away(left, outage.reason.clone());
        }
        let is_full = state.waiting.is_over(self.limits.waiting);
        state.waiting.push(Entry {
            bytes: weight(&left.outcome.attempt),
            left,
            waiter: Some(waiter),
        });
        if is_full { Place::Full } else { Place::InLine }
    }

    /// Keeps an outcome until the store is back; gives it back where there is no room left.
    pub(super) fn keep(&self, left: Left) -> Result<(), Left> {
        let mut state = self.lock();
        if state.kept.is_over(self.limits.kept) {
            state.counts.dropped += 1;
            return Err(left);
        }
        state.kept.push(Entry {
            bytes: weight(&left.outcome.attempt),
            left,
            waiter: None,
        });
        Ok(())
    }

    /// Whether another writer is needed; it then counts as begun.
    pub(super) fn needs_writer(&self) -> bool {
        let mut state = self.lock();
        let limit = match state.outage {
            Some(_) => 1,
            None => self.limits.writers.max(1),
        };
        let has_work = !(state.waiting.entries.is_empty() && state.kept.entries.is_empty());
        let needed = has_work && state.writers < limit;
        if needed {
            state.writers += 1;
        }
        needed
    }

    /// What the writer who asks is to do; `None` when it should end, and counts as ended.
    ///
    /// What was kept goes first. While the store is away, one writer stays to try.
    pub(super) fn next(&self, now: DateTime<Utc>) -> Option<Work> {
        let mut state = self.lock();
        let has_work = !(state.waiting.entries.is_empty() && state.kept.entries.is_empty());
        let work = match &state.outage {
            _ if !has_work => None,
            Some(_) if state.writers > 1 => None,
            Some(outage) if now < outage.until && state.draining == 0 => {
                Some(Work::Pause(outage.until))
            }
            Some(outage) if outage.pause > FIRST_PAUSE && state.draining > 0 => None,
            _ => {
                let mut batch = Vec::with_capacity(state.waiting.entries.len().min(BATCH.rows));
                state.kept.take(BATCH, &mut batch);
                if batch.is_empty() {
                    state.waiting.take(BATCH, &mut batch);
                }
                state.under_way += batch.len();
                Some(Work::Batch(batch))
            }
        };
        if work.is_none() {
            self.end(&mut state);
        }
        work
    }

    /// The store took a batch: so many were written, so many refused.
    pub(super) fn taken(&self, written: usize, refused: usize) {
        let mut state = self.lock();
        state.outage = None;
        state.under_way = state.under_way.saturating_sub(written + refused);
        state.counts.batches += 1;
        state.counts.written += written as u64;
        state.counts.refused += refused as u64;
    }

    /// Somebody was told that an outcome is not on record.
    pub(super) fn unrecorded(&self) {
        self.lock().counts.unrecorded += 1;
    }

    /// The store panicked over a batch of so many.
    pub(super) fn gave_up(&self, entries: usize) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(entries);
        state.counts.dropped += entries as u64;
    }

    /// The store failed a batch of so many. Returns those in line, who need not wait for it.
    pub(super) fn failed(&self, entries: usize, reason: &str, now: DateTime<Utc>) -> Vec<Entry> {
        let mut state = self.lock();
        let pause = match &state.outage {
            Some(outage) => (outage.pause * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        state.outage = Some(Outage {
            reason: reason.to_owned(),
            pause,
            until: later(now, pause),
        });
        state.under_way = state.under_way.saturating_sub(entries);
        std::mem::take(&mut state.waiting).entries.into()
    }

    /// A writer ended before its time: its runtime did, with so many outcomes in its hands.
    pub(super) fn broke_off(&self, entries: usize) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(entries);
        state.counts.dropped += entries as u64;
        self.end(&mut state);
    }

    fn end(&self, state: &mut State) {
        state.writers = state.writers.saturating_sub(1);
        self.ended.notify_waiters();
    }

    /// Waits until `pause` is over or somebody is in a hurry.
    pub(super) async fn pause(&self, pause: impl Future<Output = ()>) {
        let hurried = self.hurry.notified();
        if self.lock().draining > 0 {
            return;
        }
        tokio::select! {
            () = pause => {}
            () = hurried => {}
        }
    }

    /// Has writers end as soon as they can, until the guard is dropped.
    pub(super) fn drain(&self) -> Draining<'_> {
        let mut state = self.lock();
        state.draining += 1;
        // What is kept is tried once more, however long the pause has become.
        if let Some(outage) = &mut state.outage {
            outage.pause = FIRST_PAUSE;
        }
        self.hurry.notify_waiters();
        Draining(self)
    }

    /// Waits until no writer is at work.
    pub(super) async fn idle(&self) {
        loop {
            let ended = self.ended.notified();
            if self.lock().writers == 0 {
                return;
            }
            ended.await;
        }
    }

    pub(super) fn counts(&self) -> LogCounts {
        let state = self.lock();
        LogCounts {
            waiting: state.waiting.entries.len() + state.under_way,
            kept: state.kept.entries.len(),
            ..state.counts
        }
    }
}

/// See [`Line::drain`].
pub(super) struct Draining<'a>(&'a Line);

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.draining = state.draining.saturating_sub(1);
    }
}

/// The bytes of a row's long texts, and something for the rest.
fn weight(row: &NewRequest) -> usize {
    let texts = [
        &row.request_data,
        &row.response_data,
        &row.headers,
        &row.path,
        &row.error,
    ];
    let texts = texts.into_iter().flatten().map(String::len);
    512 + texts.sum::<usize>()
}
