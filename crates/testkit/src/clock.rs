//! [`ManualClock`]: time that moves only when a test says so.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::future::{Either, select};
use integrations_core::time::{Clock, later, to_micros};
use tokio::sync::watch;

/// Midnight of 2026-01-01 in seconds of the epoch, where [`ManualClock::default`] begins.
const DEFAULT_START: i64 = 1_767_225_600;

/// A clock that stands still until it is moved. Clones share the time.
///
/// Whoever waits on [`Clock::sleep_until`] wakes as soon as the time is moved far enough.
#[derive(Clone, Debug)]
pub struct ManualClock {
    reading: Arc<watch::Sender<Reading>>,
    sleeping: Arc<watch::Sender<Vec<DateTime<Utc>>>>,
}

/// Somebody who sleeps, as long as it lives.
struct Sleeper<'a>(&'a ManualClock, DateTime<Utc>);

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.0.sleeping.send_modify(|sleeping| {
            if let Some(own) = sleeping.iter().position(|at| *at == self.1) {
                sleeping.swap_remove(own);
            }
        });
    }
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    now: DateTime<Utc>,
    monotonic: Duration,
}

impl ManualClock {
    /// A clock that stands at `at`.
    #[must_use]
    pub fn new(at: DateTime<Utc>) -> Self {
        Self {
            reading: Arc::new(watch::Sender::new(Reading {
                now: to_micros(at),
                monotonic: Duration::ZERO,
            })),
            sleeping: Arc::default(),
        }
    }

    /// Moves both the time and the monotonic clock forwards.
    pub fn advance(&self, by: Duration) {
        self.reading.send_modify(|reading| {
            reading.now = to_micros(later(reading.now, by));
            reading.monotonic = reading.monotonic.saturating_add(by);
        });
    }

    /// Waits until somebody sleeps on this clock; the first instant anybody wakes at.
    ///
    /// What lets time pass in a test waits for this first: moving the clock before the call under
    /// test sleeps would leave it sleeping.
    pub async fn next_wake(&self) -> DateTime<Utc> {
        let mut sleeping = self.sleeping.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let found = sleeping.wait_for(|sleeping| !sleeping.is_empty()).await;
        found
            .ok()
            .and_then(|sleeping| sleeping.iter().min().copied())
            .unwrap_or_else(|| self.now())
    }

    /// Runs `work` to its end, moving the clock to the next instant anybody wakes at whenever
    /// nothing else goes on. For a runtime of one thread and a store in memory.
    pub async fn drive<T>(&self, work: impl Future<Output = T>) -> T {
        /// Turns of the runtime after which everything that could go on has.
        const TURNS: usize = 100;
        let mut work = std::pin::pin!(work);
        loop {
            let idle = async {
                for _ in 0..TURNS {
                    tokio::task::yield_now().await;
                }
                self.next_wake().await
            };
            match select(&mut work, std::pin::pin!(idle)).await {
                Either::Left((done, _)) => return done,
                Either::Right((at, _)) => self.set(at.max(self.now())),
            }
        }
    }

    /// Moves the time to `at`, which may be earlier, as when somebody puts a system's clock back.
    ///
    /// The monotonic clock follows forwards and never goes back.
    pub fn set(&self, at: DateTime<Utc>) {
        let at = to_micros(at);
        self.reading.send_modify(|reading| {
            let forwards = (at - reading.now).to_std().unwrap_or_default();
            reading.monotonic = reading.monotonic.saturating_add(forwards);
            reading.now = at;
        });
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new(DateTime::from_timestamp(DEFAULT_START, 0).unwrap_or(DateTime::UNIX_EPOCH))
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        self.reading.borrow().now
    }

    fn monotonic(&self) -> Duration {
        self.reading.borrow().monotonic
    }

    async fn sleep_until(&self, at: DateTime<Utc>) {
        if self.now() >= at {
            return;
        }
        self.sleeping.send_modify(|sleeping| sleeping.push(at));
        let _sleeper = Sleeper(self, at);
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self
            .reading
            .subscribe()
            .wait_for(|reading| reading.now >= at)
            .await;
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::join};

    use super::*;

    #[test]
    fn begins_at_the_same_instant_each_time() {
        assert_eq!(
            ManualClock::default().now().to_rfc3339(),
            "2026-01-01T00:00:00+00:00"
        );
    }

    #[test]
    fn monotonic_never_goes_back() {
        let clock = ManualClock::default();
        let start = clock.now();
        clock.advance(Duration::from_secs(5));
        clock.set(start);
        assert_eq!(clock.now(), start);
        assert_eq!(clock.monotonic(), Duration::from_secs(5));
        clock.set(start + Duration::from_secs(2));
        assert_eq!(clock.monotonic(), Duration::from_secs(7));
    }

    #[test]
    fn keeps_whole_microseconds() {
        let clock = ManualClock::default();
        clock.advance(Duration::from_nanos(1_999));
        assert_eq!(clock.now().timestamp_subsec_nanos(), 1_000);
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_its_time_is_reached_and_not_before() {
        let clock = ManualClock::default();
        let at = clock.now() + Duration::from_secs(10);
        let mut sleeping = clock.sleep_until(at);

        clock.advance(Duration::from_secs(9));
        assert_eq!(sleeping.as_mut().now_or_never(), None);

        let ((), ()) = join(sleeping, async { clock.advance(Duration::from_secs(1)) }).await;
        assert_eq!(clock.now(), at);
    }

    #[tokio::test]
    async fn driving_passes_the_time_that_is_slept() {
        let clock = ManualClock::default();
        let start = clock.now();
        let slept = clock.drive(async {
            clock.sleep_until(start + Duration::from_secs(10)).await;
            clock.sleep_until(start + Duration::from_secs(15)).await;
            clock.now() - start
        });
        assert_eq!(slept.await.num_seconds(), 15);
        assert_eq!(clock.next_wake().now_or_never(), None);
    }

    #[tokio::test]
    async fn sleeping_until_the_past_returns_at_once() {
        let clock = ManualClock::default();
        assert_eq!(clock.sleep_until(clock.now()).now_or_never(), Some(()));
    }
}
