//! `[retention]`: how long things are kept.

use std::time::Duration;

use integrations::retention::{Prunable, RetentionPolicy};
use serde::Deserialize;

use crate::args::duration;

/// Ages by what they are of.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Retention {
    requests: Option<Age>,
    request_bodies: Option<Age>,
    logs: Option<Age>,
    idempotency_keys: Option<Age>,
    sync_items: Option<Age>,
    sync_item_payloads: Option<Age>,
    sync_runs: Option<Age>,
    webhooks: Option<Age>,
    failed_webhooks: Option<Age>,
}

/// An age, or none: it is kept for ever.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Age(Option<Duration>);

impl TryFrom<String> for Age {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "never" {
            return Ok(Self(None));
        }
        match duration(&text) {
            Ok(age) => Ok(Self(Some(age))),
            Err(_) => Err("expected a duration such as 90s, 15m, 24h or 7d, or \"never\""),
        }
    }
}

impl Retention {
    pub(super) fn policy(&self) -> RetentionPolicy {
        let given = [
            (Prunable::Requests, self.requests),
            (Prunable::RequestBodies, self.request_bodies),
            (Prunable::Operations, self.logs),
            (Prunable::IdempotencyKeys, self.idempotency_keys),
            (Prunable::SyncItems, self.sync_items),
            (Prunable::ItemPayloads, self.sync_item_payloads),
            (Prunable::SyncRuns, self.sync_runs),
            (Prunable::ProcessedWebhooks, self.webhooks),
            (Prunable::FailedWebhooks, self.failed_webhooks),
        ];
        let set = |policy: RetentionPolicy, (what, age): (Prunable, Option<Age>)| match age {
            Some(Age(age)) => policy.keep(what, age),
            None => policy,
        };
        given.into_iter().fold(RetentionPolicy::default(), set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RetentionPolicy, toml::de::Error> {
        toml::from_str::<Retention>(text).map(|retention| retention.policy())
    }

    #[test]
    fn ages_are_durations_or_never() {
        let policy = read("requests = \"7d\"\nlogs = \"never\"").unwrap();
        let week = Duration::from_hours(7 * 24);
        assert_eq!(policy.age(Prunable::Requests), Some(week));
        assert_eq!(policy.age(Prunable::Operations), None);
        assert_eq!(read("").unwrap(), RetentionPolicy::default());
    }

    #[test]
    fn other_ages_and_keys_are_refused() {
        for wrong in ["requests = \"soon\"", "requests = 7", "request = \"7d\""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
