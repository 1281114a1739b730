//! `[sync]` and `[sink]`.

use std::time::Duration;

use integrations::{sync::engine::SyncPolicy, transport::AllowPrivate};
use serde::Deserialize;

use super::{
    allowed,
    file::{Networks, Secret},
    look_up,
    range::number,
};
use crate::{
    args::duration,
    exit::{Failure, Outcome},
    sinks::SinkSettings,
};

/// `[sync]`
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Options {
    concurrency: Option<toml::Value>,
    workers: Option<toml::Value>,
    enumerations: Option<toml::Value>,
    max_attempts: Option<toml::Value>,
    stuck_after_runs: Option<toml::Value>,
    stale_after_intervals: Option<toml::Value>,
    backoff: Option<Vec<Span>>,
    item_lease: Option<Span>,
    item_time_limit: Option<Span>,
    sync_lease: Option<Span>,
    page_time_limit: Option<Span>,
    put_back_window: Option<Span>,
    poll: Option<Span>,
    max_jitter: Option<Span>,
    drain_limit: Option<Span>,
}

/// A duration of at least a second.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Span(Duration);

impl TryFrom<String> for Span {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match duration(&text) {
            Ok(span) if !span.is_zero() => Ok(Self(span)),
            _ => Err("expected a duration of a second or more, such as 90s, 15m, 24h or 7d"),
        }
    }
}

impl Options {
    pub(super) fn policy(&self) -> Result<SyncPolicy, String> {
        let mut policy = SyncPolicy::default();
        let size = |name: &str, given: &Option<toml::Value>, max: u32| {
            Ok::<_, String>(number(name, given.as_ref(), 1..=max)?.map(|n| n as usize))
        };
        let small = |name: &str, given: &Option<toml::Value>| {
            // The range is within that of the type.
            let given = number(name, given.as_ref(), 1..=1_000)?;
            Ok::<_, String>(given.and_then(|n| i16::try_from(n).ok()))
        };
        set(
            &mut policy.concurrency,
            size("sync.concurrency", &self.concurrency, 10_000)?,
        );
        set(
            &mut policy.workers,
            size("sync.workers", &self.workers, 64)?,
        );
        let enumerations = size("sync.enumerations", &self.enumerations, 256)?;
        set(&mut policy.enumerations, enumerations);
        let attempts = small("sync.max_attempts", &self.max_attempts)?;
        set(&mut policy.max_attempts, attempts);
        let stuck = small("sync.stuck_after_runs", &self.stuck_after_runs)?;
        set(&mut policy.stuck_after_runs, stuck);
        let name = "sync.stale_after_intervals";
        let stale = number(name, self.stale_after_intervals.as_ref(), 1..=1_000)?;
        set(&mut policy.stale_after_intervals, stale);
        if let Some(backoff) = &self.backoff {
            policy.backoff = backoff.iter().map(|span| span.0).collect();
        }
        for (option, given) in [
            (&mut policy.item_lease, self.item_lease),
            (&mut policy.item_time_limit, self.item_time_limit),
            (&mut policy.sync_lease, self.sync_lease),
            (&mut policy.page_time_limit, self.page_time_limit),
            (&mut policy.put_back_window, self.put_back_window),
            (&mut policy.poll, self.poll),
            (&mut policy.max_jitter, self.max_jitter),
            (&mut policy.drain_limit, self.drain_limit),
        ] {
            set(option, given.map(|span| span.0));
        }
        Ok(policy)
    }
}

fn set<T>(option: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *option = given;
    }
}

/// `[sink]`
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    secret: Option<Secret>,
    allow_private_network: Networks,
}

/// `[sink]`, whose secret is looked up when it is needed.
#[derive(Clone, Default)]
pub(crate) struct SinkConfig {
    secret: Option<Secret>,
    allow_private: AllowPrivate,
}

impl File {
    pub(super) fn config(self) -> Result<SinkConfig, String> {
        let allow_private = allowed(self.allow_private_network)
            .map_err(|why| format!("`sink.allow_private_network` {why}"))?;
        Ok(SinkConfig {
            secret: self.secret,
            allow_private,
        })
    }
}

impl SinkConfig {
    /// The settings, with the secret looked up.
    pub(crate) fn resolve(&self) -> Outcome<SinkSettings> {
        let secret = self.secret.as_ref().map(look_up).transpose();
        Ok(SinkSettings {
            secret: secret.map_err(|why| Failure::usage(format!("`sink.secret`: {why}")))?,
            allow_private: self.allow_private.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SyncPolicy, String> {
        let sync: Options = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        sync.policy()
    }

    #[test]
    fn what_is_given_is_set() {
        let policy =
            read("concurrency = 3\nbackoff = [\"1s\", \"2s\"]\nitem_lease = \"5s\"").unwrap();
        assert_eq!(policy.concurrency, 3);
        assert_eq!(policy.backoff, [1, 2].map(Duration::from_secs));
        assert_eq!(policy.item_lease, Duration::from_secs(5));
        assert_eq!(policy.max_attempts, SyncPolicy::default().max_attempts);
    }

    // W-CFG-1
    #[test]
    fn what_is_out_of_range_is_refused() {
        let error = read("workers = 0").unwrap_err();
        assert!(error.starts_with("`sync.workers` is 0"), "{error}");
        assert!(read("poll = \"0s\"").is_err());
        assert!(read("concurency = 3").is_err());
    }
}
