//! The primary rate limit: a number of requests in each hour.

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

const WINDOW: TimeDelta = TimeDelta::hours(1);

/// One caller's hour.
#[derive(Debug)]
pub(super) struct RateLimit {
    limit: u32,
    used: u32,
    resets_at: DateTime<Utc>,
}

impl RateLimit {
    pub(super) fn new(limit: u32, now: DateTime<Utc>) -> Self {
        Self {
            limit,
            used: 0,
            resets_at: now + WINDOW,
        }
    }

    /// Begins a new hour if the present one is over.
    pub(super) fn renew(&mut self, now: DateTime<Utc>) {
        if now >= self.resets_at {
            self.used = 0;
            self.resets_at = now + WINDOW;
        }
    }

    /// Takes one request out of the hour; `false` when none is left.
    pub(super) fn spend(&mut self) -> bool {
        if self.remaining() == 0 {
            return false;
        }
        self.used += 1;
        true
    }

    /// Gives back what an answer that costs nothing had taken.
    pub(super) fn refund(&mut self) {
        self.used = self.used.saturating_sub(1);
    }

    pub(super) fn set_remaining(&mut self, remaining: u32) {
        self.used = self.limit.saturating_sub(remaining);
    }

    fn remaining(&self) -> u32 {
        self.limit - self.used
    }

    pub(super) fn write_headers(&self, headers: &mut HeaderMap) {
        headers.insert("x-ratelimit-limit", self.limit.into());
        headers.insert("x-ratelimit-remaining", self.remaining().into());
        headers.insert("x-ratelimit-used", self.used.into());
        headers.insert("x-ratelimit-reset", self.resets_at.timestamp().into());
        headers.insert("x-ratelimit-resource", HeaderValue::from_static("core"));
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "limit": self.limit,
            "used": self.used,
            "remaining": self.remaining(),
            "reset": self.resets_at.timestamp(),
        })
    }
}
