//! What a receiver counts.

use std::sync::atomic::{AtomicU64, Ordering};

use super::answer::Answer;
use crate::schemes::Refusal;

/// A receiver's counters at one moment, since it was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Stored and queued.
    pub queued: u64,
    /// Stored and parked.
    pub parked: u64,
    /// Stored as duplicates.
    pub duplicates: u64,
    /// Handshakes answered.
    pub challenges: u64,
    /// Refused, by reason; every reason is there.
    pub refused: Vec<(&'static str, u64)>,
    /// Genuine, and for integrations that an operator switched off.
    pub gone: u64,
    /// Too large.
    pub too_large: u64,
    /// Put off, because too much was under way.
    pub busy: u64,
    /// Put off, because they could not be stored.
    pub unavailable: u64,
    /// Other answers: no such provider, method not allowed, unreadable.
    pub other: u64,
    /// Commits that were asked of the store.
    pub batches: u64,
    /// Deliveries in them.
    pub in_batches: u64,
    /// What is in memory at the moment.
    pub held: Held,
    /// What may be, at most.
    pub bounds: Held,
}

/// What a receiver holds in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Bytes of bodies, from before they are read until they are answered.
    pub bytes: u64,
    /// Deliveries that are being verified.
    pub unverified: u64,
    /// Deliveries that wait for the writer.
    pub waiting: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    queued: AtomicU64,
    parked: AtomicU64,
    duplicates: AtomicU64,
    challenges: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
    gone: AtomicU64,
    too_large: AtomicU64,
    busy: AtomicU64,
    unavailable: AtomicU64,
    other: AtomicU64,
}

impl Counters {
    pub(super) fn refused(&self, refusal: Refusal) {
        self.refused[refusal.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer; refusals are counted by their reason.
    pub(super) fn answered(&self, answer: &Answer) {
        let counter = match answer {
            Answer::Queued => &self.queued,
            Answer::Parked => &self.parked,
            Answer::Duplicate => &self.duplicates,
            Answer::Challenge(_) => &self.challenges,
            Answer::Unauthorized => return,
            Answer::Gone => &self.gone,
            Answer::TooLarge => &self.too_large,
            Answer::Busy => &self.busy,
            Answer::Unavailable => &self.unavailable,
            Answer::NotFound | Answer::MethodNotAllowed | Answer::TooSlow | Answer::Unreadable => {
                &self.other
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(
        &self,
        (batches, in_batches): (u64, u64),
        held: Held,
        bounds: Held,
    ) -> Metrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let refused = Refusal::ALL.iter().zip(&self.refused);
        Metrics {
            queued: read(&self.queued),
            parked: read(&self.parked),
            duplicates: read(&self.duplicates),
            challenges: read(&self.challenges),
            refused: refused
                .map(|(refusal, counter)| (refusal.reason(), read(counter)))
                .collect(),
            gone: read(&self.gone),
            too_large: read(&self.too_large),
            busy: read(&self.busy),
            unavailable: read(&self.unavailable),
            other: read(&self.other),
            batches,
            in_batches,
            held,
            bounds,
        }
    }
}
