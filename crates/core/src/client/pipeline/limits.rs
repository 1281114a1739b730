//! What a client is told about retries and waiting.

use std::time::Duration;

/// How calls are tried again (RET).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryLimits {
    /// Attempts of a `GET` or `HEAD` that is not told otherwise, at least 1.
    pub read_attempts: u32,
    /// Attempts of everything else that is not told otherwise, at least 1.
    pub write_attempts: u32,
    /// The longest wait before the second attempt, where the other side asks for none. Doubles
    /// with each further attempt; the wait is a random part of it.
    pub first_backoff: Duration,
    /// Where that doubling ends.
    pub longest_backoff: Duration,
    /// The longest pause asked for by the other side that a call waits for. It ends with an error
    /// that says when to call again where more is asked for.
    pub longest_pause: Duration,
    /// No attempt begins later than this after its call began, unless the call has a deadline.
    pub give_up_after: Duration,
    /// Retries of one integration that may be made at once, so that an outage is not multiplied.
    /// They come back within a minute, and faster while calls succeed. `None`: any number.
    pub budget: Option<u32>,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self {
            read_attempts: 3,
            write_attempts: 1,
            first_backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(30),
            longest_pause: Duration::from_mins(10),
            give_up_after: Duration::from_mins(2),
            budget: Some(20),
        }
    }
}

/// How calls wait for budgets and pauses (RL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitLimits {
    /// The longest an attempt waits to be admitted; zero: never (RL-12).
    pub max_wait: Duration,
}

impl Default for WaitLimits {
    fn default() -> Self {
        Self {
            max_wait: Duration::from_secs(10),
        }
    }
}
