//! The system's time, as a [`Clock`], and that time corrected to a database's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use integrations_core::{
    store::StoreClock,
    time::{Clock, to_micros},
};
use tokio::time::Instant;

use crate::{backend::OwnCommit, store::SqlStore};

/// A wait is cut into pieces of this length, so that a clock that was set meanwhile is noticed.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The system's clock. Durations and waits are tokio's.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose [`monotonic`](Clock::monotonic) time begins now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where time enters the system"
    )]
    fn now(&self) -> DateTime<Utc> {
        to_micros(SystemTime::now().into())
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    async fn sleep_until(&self, at: DateTime<Utc>) {
        wait_until(self, at).await;
    }
}

/// The system's clock, moved by what the database's differs from it.
///
/// Everyone who shares the database then means the same instant by the end of a lease.
#[derive(Debug)]
pub struct DatabaseClock {
    system: SystemClock,
    /// What to add to the system's time, in microseconds.
    offset: AtomicI64,
}

impl DatabaseClock {
    /// The system's clock until something is [observed](Self::observe).
    #[must_use]
    pub fn new() -> Self {
        Self {
            system: SystemClock::new(),
            offset: AtomicI64::new(0),
        }
    }

    /// Goes by what the database answered when asked at `asked`; the answer took `round_trip`.
    pub fn observe(&self, asked: DateTime<Utc>, answer: DateTime<Utc>, round_trip: Duration) {
        let middle = integrations_core::time::later(asked, round_trip / 2);
        // Beyond 292,000 years apart no offset helps.
        let offset = (answer - middle).num_microseconds().unwrap_or_default();
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// The system's clock, to ask with.
    #[must_use]
    pub const fn system(&self) -> &SystemClock {
        &self.system
    }

    /// How far the system's clock is from the database's, either way.
    #[must_use]
    pub fn skew(&self) -> Duration {
        Duration::from_micros(self.offset.load(Ordering::Relaxed).unsigned_abs())
    }
}

impl Default for DatabaseClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for DatabaseClock {
    fn now(&self) -> DateTime<Utc> {
        let system = self.system.now();
        let offset = TimeDelta::microseconds(self.offset.load(Ordering::Relaxed));
        system.checked_add_signed(offset).unwrap_or(system)
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }

    async fn sleep_until(&self, at: DateTime<Utc>) {
        wait_until(self, at).await;
    }
}

impl<B: OwnCommit> StoreClock for SqlStore<B> {
    fn clock(&self) -> Arc<dyn Clock> {
        self.backend.clock()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is how Clock::sleep_until waits"
)]
async fn wait_until(clock: &dyn Clock, at: DateTime<Utc>) {
    // `to_std` fails for what is past.
    while let Ok(rest) = (at - clock.now()).to_std() {
        if rest.is_zero() {
            return;
        }
        tokio::time::sleep(rest.min(LONGEST_WAIT)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // DESIGN: StoreClock is system time plus the database's offset
    #[test]
    fn a_database_ahead_moves_the_clock_by_its_offset() {
        let clock = DatabaseClock::new();
        let asked = clock.system().now();
        let answer = asked + TimeDelta::seconds(60) + TimeDelta::milliseconds(5);
        clock.observe(asked, answer, Duration::from_millis(10));
        assert_eq!(clock.skew(), Duration::from_mins(1));
        assert!(clock.now() >= asked + TimeDelta::seconds(60));
    }

    #[test]
    fn a_database_behind_is_as_far_off() {
        let clock = DatabaseClock::new();
        let asked = clock.system().now();
        clock.observe(asked, asked - TimeDelta::seconds(45), Duration::ZERO);
        assert_eq!(clock.skew(), Duration::from_secs(45));
        assert!(clock.now() < asked);
    }

    #[test]
    fn instants_are_whole_microseconds() {
        let now = SystemClock::new().now();
        assert_eq!(now, to_micros(now));
    }

    #[tokio::test]
    async fn a_past_instant_is_not_waited_for() {
        let clock = SystemClock::new();
        clock.sleep_until(DateTime::UNIX_EPOCH).await;
        clock.sleep_until(clock.now()).await;
    }
}
