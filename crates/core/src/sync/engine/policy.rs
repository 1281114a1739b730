//! The numbers a sync engine goes by.

use std::time::Duration;

/// How a sync engine works. Start from the default and change what has to be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SyncPolicy {
    /// Items handled at once.
    pub concurrency: usize,
    /// The most items one worker holds: those being handled, and those claimed ahead. Quick
    /// handlers are fed in batches of up to this size.
    pub max_held: usize,
    /// Workers, each with claims and settlements of its own.
    pub workers: usize,
    /// How long a claim on an item lasts; renewed while the item is handled. A killed worker's
    /// items are due again after it.
    pub item_lease: Duration,
    /// How long handling an item may take.
    pub item_time_limit: Duration,
    /// Attempts at an item within a run (SYN-22).
    pub max_attempts: i16,
    /// The wait behind each failed attempt; the last one repeats (SYN-22).
    pub backoff: Vec<Duration>,
    /// How long an item may be put off without counting attempts, from when it was stored or its
    /// run began (SYN-24).
    pub put_back_window: Duration,
    /// How long to put off where nobody said until when.
    pub default_pause: Duration,
    /// How often to look for work without a wake-up.
    pub poll: Duration,
    /// Integrations enumerated at once.
    pub enumerations: usize,
    /// How long a claim on an integration lasts; renewed while it is enumerated. A killed
    /// scheduler's integrations are taken over after it.
    pub sync_lease: Duration,
    /// How long reading one page may take.
    pub page_time_limit: Duration,
    /// The most items stored at once; longer pages are stored in parts.
    pub page_chunk: usize,
    /// A run that brings more items than this is warned of, once (SYN-11).
    pub many_items: u64,
    /// How often the cursor of a sorted stream moves during enumeration.
    pub cursor_every: Duration,
    /// When to look again at an integration without interval whose items are still open.
    pub recheck: Duration,
    /// The greatest multiple of the interval after failures in a row (SYN-36).
    pub max_backoff_multiplier: u32,
    /// Up to this much is added to each next sync, so that a fleet does not fire at once
    /// (W-SYN-13).
    pub max_jitter: Duration,
    /// A record whose item fails in so many runs in a row is reported as stuck (SYN-37).
    pub stuck_after_runs: i16,
    /// Syncs are overdue after so many intervals (HLT-14).
    pub stale_after_intervals: u32,
    /// How long work under way may go on after a stop, and then its end wait for the store.
    pub drain_limit: Duration,
}

impl Default for SyncPolicy {
    fn default() -> Self {
        Self {
            concurrency: 16,
            max_held: 512,
            workers: 1,
            item_lease: Duration::from_mins(1),
            item_time_limit: Duration::from_mins(5),
            max_attempts: 5,
            backoff: [10, 30, 120, 300, 900].map(Duration::from_secs).to_vec(),
            put_back_window: Duration::from_hours(6),
            default_pause: Duration::from_mins(1),
            poll: Duration::from_secs(1),
            enumerations: 4,
            sync_lease: Duration::from_mins(1),
            page_time_limit: Duration::from_mins(5),
            page_chunk: 500,
            many_items: 10_000,
            cursor_every: Duration::from_secs(10),
            recheck: Duration::from_mins(15),
            max_backoff_multiplier: 16,
            max_jitter: Duration::from_secs(10),
            stuck_after_runs: 5,
            stale_after_intervals: 10,
            drain_limit: Duration::from_secs(30),
        }
    }
}

impl SyncPolicy {
    /// The wait behind failed attempt `attempt`, counted from 1.
    pub(super) fn backoff_after(&self, attempt: i16) -> Duration {
        let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(0);
        let wait = self.backoff.get(index).or(self.backoff.last());
        wait.copied().unwrap_or(self.poll)
    }

    /// The option that is out of its range, with the range.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        let second = Duration::from_secs(1);
        let checks = [
            (self.concurrency >= 1, "concurrency must be at least 1"),
            (self.workers >= 1, "workers must be at least 1"),
            (self.enumerations >= 1, "enumerations must be at least 1"),
            (self.max_attempts >= 1, "max_attempts must be at least 1"),
            (self.page_chunk >= 1, "page_chunk must be at least 1"),
            (
                self.item_lease >= second,
                "item_lease must be at least a second",
            ),
            (
                self.sync_lease >= second,
                "sync_lease must be at least a second",
            ),
            (!self.poll.is_zero(), "poll must be longer than nothing"),
            (
                self.stuck_after_runs >= 1,
                "stuck_after_runs must be at least 1",
            ),
        ];
        let wrong = checks.into_iter().find(|(holds, _)| !holds);
        wrong.map(|(_, rule)| rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SYN-22
    #[test]
    fn waits_grow_and_the_last_repeats() {
        let policy = SyncPolicy::default();
        let waits: Vec<_> = (1..=6).map(|n| policy.backoff_after(n).as_secs()).collect();
        assert_eq!(waits, [10, 30, 120, 300, 900, 900]);
    }

    // W-CFG-1
    #[test]
    fn an_option_out_of_range_is_named() {
        assert_eq!(SyncPolicy::default().mistake(), None);
        let policy = SyncPolicy {
            workers: 0,
            ..SyncPolicy::default()
        };
        assert_eq!(policy.mistake(), Some("workers must be at least 1"));
    }
}
