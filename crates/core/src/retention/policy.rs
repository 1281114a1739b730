//! How long things are kept.

use std::time::Duration;

use super::Prunable;

const DAY: Duration = Duration::from_hours(24);

/// How long each kind of row is kept.
///
/// ```
/// use std::time::Duration;
/// use integrations_core::retention::{Prunable, RetentionPolicy};
///
/// let policy = RetentionPolicy::default()
///     .keep(Prunable::RequestBodies, Some(Duration::from_hours(7 * 24)))
///     .keep(Prunable::Operations, None);
/// assert_eq!(policy.age(Prunable::Operations), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionPolicy {
    ages: [Option<Duration>; Prunable::ALL.len()],
}

impl Default for RetentionPolicy {
    /// Requests and keys 90 days, operations 365, items 30, their runs 90, deliveries 30, failed
    /// ones 90; answers of the cache and tokens until they expire. Bodies go with their rows.
    fn default() -> Self {
        Self {
            ages: Prunable::ALL.map(|what| match what {
                Prunable::Requests
                | Prunable::IdempotencyKeys
                | Prunable::SyncRuns
                | Prunable::FailedWebhooks => Some(90 * DAY),
                Prunable::Operations => Some(365 * DAY),
                Prunable::SyncItems | Prunable::ProcessedWebhooks => Some(30 * DAY),
                Prunable::CachedResponses | Prunable::Tokens => Some(Duration::ZERO),
                Prunable::RequestBodies | Prunable::ItemPayloads => None,
            }),
        }
    }
}

impl RetentionPolicy {
    /// The same with another age; `None` keeps it for ever.
    #[must_use]
    pub fn keep(mut self, what: Prunable, age: Option<Duration>) -> Self {
        for (kind, kept) in Prunable::ALL.iter().zip(&mut self.ages) {
            if *kind == what {
                *kept = age;
            }
        }
        self
    }

    /// The same age for everything that has one. What expires by itself keeps its own.
    #[must_use]
    pub fn keep_all(self, age: Duration) -> Self {
        let aged = Prunable::ALL.into_iter().filter(|what| {
            let expires = matches!(what, Prunable::CachedResponses | Prunable::Tokens);
            !expires && self.age(*what).is_some()
        });
        let aged: Vec<_> = aged.collect();
        aged.into_iter()
            .fold(self, |policy, what| policy.keep(what, Some(age)))
    }

    /// How long it is kept; `None`: for ever.
    #[must_use]
    pub fn age(&self, what: Prunable) -> Option<Duration> {
        let mut kinds = Prunable::ALL.iter().zip(&self.ages);
        kinds
            .find(|(kind, _)| **kind == what)
            .and_then(|(_, age)| *age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // CONTRACT: retention defaults
    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let days = |what| {
            let age = RetentionPolicy::default().age(what);
            age.map(|age| age.as_secs() / DAY.as_secs())
        };
        let kept = Prunable::ALL.map(|what| (what.name(), days(what)));
        assert_eq!(
            kept,
            [
                ("requests", Some(90)),
                ("request_bodies", None),
                ("sync_items", Some(30)),
                ("sync_item_payloads", None),
                ("sync_runs", Some(90)),
                ("logs", Some(365)),
                ("idempotency_keys", Some(90)),
                ("webhooks", Some(30)),
                ("failed_webhooks", Some(90)),
                ("response_cache", Some(0)),
                ("tokens", Some(0)),
            ]
        );
    }

    #[test]
    fn one_age_for_all_leaves_what_expires_and_what_is_kept_for_ever() {
        let policy = RetentionPolicy::default()
            .keep(Prunable::Operations, None)
            .keep_all(DAY);
        assert_eq!(policy.age(Prunable::Requests), Some(DAY));
        assert_eq!(policy.age(Prunable::Operations), None);
        assert_eq!(policy.age(Prunable::CachedResponses), Some(Duration::ZERO));
    }
}
