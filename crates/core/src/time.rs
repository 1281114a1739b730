//! Time as a port: services ask a [`Clock`], ports take instants as values.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, Utc};

/// Tells the time and waits for it.
///
/// The only source of time in core. [`now`](Self::now) is what rows are stamped with and leases
/// are judged by; [`monotonic`](Self::monotonic) is what durations are measured with.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Clock: Send + Sync {
    /// The present instant in UTC.
    ///
    /// Implementations MUST truncate to whole microseconds, which is what both databases keep:
    /// an instant then equals itself after a round trip.
    fn now(&self) -> DateTime<Utc>;

    /// Time since an arbitrary origin, which MUST never go backwards.
    fn monotonic(&self) -> Duration;

    /// Returns once [`now`](Self::now) has reached `at`; at once when it already has.
    ///
    /// Cancel safe: dropping the future forgets the wait.
    async fn sleep_until(&self, at: DateTime<Utc>);
}

/// `at` without what is finer than a microsecond.
#[must_use]
pub fn to_micros(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}

/// `base` moved by `by`, staying at the last instant there is where that would overflow.
#[must_use]
pub fn later(base: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    chrono::Duration::from_std(by)
        .ok()
        .and_then(|by| base.checked_add_signed(by))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// `base` moved back by `by`, staying at the first instant there is where that would overflow.
#[must_use]
pub fn earlier(base: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    chrono::Duration::from_std(by)
        .ok()
        .and_then(|by| base.checked_sub_signed(by))
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}
