//! How deliveries are processed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use integrations_core::{provider::Pause, time::later};

/// How many attempts there are, how long they may take, and how many run at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessorPolicy {
    /// Attempts before a delivery is a dead letter (CFG-04). A handler starts from scratch each
    /// time, so there are no further ones unless asked for.
    pub max_attempts: i16,
    /// Waits between attempts; the last one counts for all that follow.
    pub backoff: Vec<Duration>,
    /// How long a delivery may be put back without counting attempts, from when it was queued
    /// (INV-09).
    pub put_back_window: Duration,
    /// How long to put back where nobody said until when.
    pub default_pause: Duration,
    /// How long a handler may take.
    pub timeout: Duration,
    /// How long a claim lasts without being renewed: what a worker that dies holds on to.
    pub lease: Duration,
    /// Deliveries under way at the same time.
    pub concurrency: u32,
    /// Those of one integration.
    pub per_integration: u32,
    /// How long to wait before looking for work when nobody rings.
    pub poll: Duration,
    /// How often parked and abandoned deliveries are looked for.
    pub recover_every: Duration,
    /// How long handlers may go on after shutting down began.
    pub drain: Duration,
}

impl Default for ProcessorPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 1,
            backoff: [60, 300, 1800, 7200, 21_600]
                .map(Duration::from_secs)
                .to_vec(),
            put_back_window: Duration::from_hours(6),
            default_pause: Duration::from_mins(1),
            timeout: Duration::from_mins(30),
            lease: Duration::from_mins(1),
            concurrency: 32,
            per_integration: 8,
            poll: Duration::from_secs(1),
            recover_every: Duration::from_mins(1),
            drain: Duration::from_secs(30),
        }
    }
}

impl ProcessorPolicy {
    /// How many times a worker may die over a delivery before it is given up.
    pub(super) const DEATHS: i16 = 5;

    /// The least time a delivery is put back for: whoever says "now" gets no hot loop.
    const LEAST_PAUSE: Duration = Duration::from_secs(1);

    /// Until when a pause puts a delivery back.
    pub(super) fn until(&self, pause: Pause, now: DateTime<Utc>) -> DateTime<Utc> {
        let until = pause.until;
        let until = until.unwrap_or_else(|| later(now, self.default_pause));
        until.clamp(
            later(now, Self::LEAST_PAUSE),
            later(now, self.put_back_window.max(Self::LEAST_PAUSE)),
        )
    }

    /// The wait behind an attempt, counted from 1.
    pub(super) fn wait(&self, attempt: i16) -> Duration {
        let index = usize::try_from(attempt.max(1) - 1).unwrap_or_default();
        let last = self.backoff.last();
        let wait = self.backoff.get(index).or(last);
        wait.copied().unwrap_or(Duration::from_mins(1))
    }
}
