//! How deliveries are processed.

use std::time::Duration;

/// How many attempts there are, how long they may take, and how many run at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessorPolicy {
    /// Attempts before a delivery is a dead letter (CFG-04). A handler starts from scratch each
    /// time, so there are no further ones unless asked for.
    pub max_attempts: i16,
    /// Waits between attempts; the last one counts for all that follow.
    pub backoff: Vec<Duration>,
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

    /// The wait behind an attempt, counted from 1.
    pub(super) fn wait(&self, attempt: i16) -> Duration {
        let index = usize::try_from(attempt.max(1) - 1).unwrap_or_default();
        let last = self.backoff.last();
        let wait = self.backoff.get(index).or(last);
        wait.copied().unwrap_or(Duration::from_mins(1))
    }
}
