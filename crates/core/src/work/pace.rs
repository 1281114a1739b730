//! How much a worker claims ahead of what it works on.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Work claimed ahead shall be begun within about this time.
const AHEAD: Duration = Duration::from_millis(250);

/// The weight of the past in the running mean: 7 of 8.
const PAST: u64 = 7;

/// How many claims a worker holds at once, by how long the work on one takes.
///
/// Quick work is claimed in large batches, since a claim costs more than the work. Slow work is
/// claimed as it can be begun, so that nothing waits with a busy worker while another is idle.
#[derive(Debug)]
pub struct Pace {
    at_once: usize,
    most: usize,
    /// Mean duration in nanoseconds; `u64::MAX` before anything was measured.
    mean: AtomicU64,
}

impl Pace {
    /// For a worker that works on `at_once` claims at a time and never holds more than `most`.
    #[must_use]
    pub fn new(at_once: usize, most: usize) -> Self {
        let at_once = at_once.max(1);
        Self {
            at_once,
            most: most.max(at_once),
            mean: AtomicU64::new(u64::MAX),
        }
    }

    /// Takes note of how long the work on one claim took.
    pub fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX >> 4);
        let took = took.min(u64::MAX >> 4);
        let mean = self.mean.load(Ordering::Relaxed);
        let next = if mean == u64::MAX {
            took
        } else {
            (mean.saturating_mul(PAST).saturating_add(took)) / (PAST + 1)
        };
        // Two notes at once may lose one; a mean does not mind.
        self.mean.store(next, Ordering::Relaxed);
    }

    /// The most claims to hold now.
    #[must_use]
    pub fn limit(&self) -> usize {
        let mean = self.mean.load(Ordering::Relaxed);
        let ahead = u64::try_from(AHEAD.as_nanos()).unwrap_or(u64::MAX);
        let rounds = usize::try_from(ahead / mean.max(1)).unwrap_or(usize::MAX);
        self.at_once
            .saturating_mul(rounds)
            .clamp(self.at_once, self.most)
    }

    /// How few are left when it is time to claim again.
    #[must_use]
    pub fn low_water(&self) -> usize {
        let limit = self.limit();
        (limit / 2).max(self.at_once).min(limit - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_with_what_can_be_worked_on_at_once() {
        let pace = Pace::new(8, 500);
        assert_eq!((pace.limit(), pace.low_water()), (8, 7));
    }

    #[test]
    fn quick_work_is_claimed_in_large_batches() {
        let pace = Pace::new(8, 500);
        pace.note(Duration::from_micros(10));
        assert_eq!((pace.limit(), pace.low_water()), (500, 250));
    }

    #[test]
    fn slow_work_is_claimed_as_it_can_be_begun() {
        let pace = Pace::new(8, 500);
        pace.note(Duration::from_mins(1));
        assert_eq!((pace.limit(), pace.low_water()), (8, 7));
        for _ in 0..100 {
            pace.note(Duration::from_millis(50));
        }
        assert!((32..=40).contains(&pace.limit()), "{}", pace.limit());
    }

    #[test]
    fn one_at_a_time_waits_until_there_is_none() {
        let pace = Pace::new(1, 1);
        assert_eq!((pace.limit(), pace.low_water()), (1, 0));
    }
}
