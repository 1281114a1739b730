//! How a budget is written down: so many calls a minute, for these endpoints.

use std::time::Duration;

use super::{Budget, WindowKind};
use crate::value::InvalidValue;

/// The name of a budget that counts every call.
const EVERY_CALL: &str = "calls";

/// A limit a provider documents or an application sets: so many calls per window.
///
/// ```
/// use integrations_core::gate::RateBudget;
///
/// let limits = [
///     RateBudget::per_hour(5_000),
///     RateBudget::per_minute(30).for_endpoints("search", ["/search/*"]),
///     RateBudget::per_second(10).sliding(),
/// ];
/// assert!(limits.iter().all(|limit| limit.check().is_ok()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateBudget {
    budget: Budget,
    endpoints: Vec<EndpointPattern>,
}

/// `METHOD:path`, where `*` stands for anything within a segment (LOG-09).
#[derive(Clone, Debug, PartialEq, Eq)]
struct EndpointPattern {
    method: Option<String>,
    path: String,
}

impl RateBudget {
    /// So many calls per second.
    #[must_use]
    pub fn per_second(limit: u32) -> Self {
        Self::per(limit, Duration::from_secs(1))
    }

    /// So many calls per minute.
    #[must_use]
    pub fn per_minute(limit: u32) -> Self {
        Self::per(limit, Duration::from_mins(1))
    }

    /// So many calls per hour.
    #[must_use]
    pub fn per_hour(limit: u32) -> Self {
        Self::per(limit, Duration::from_hours(1))
    }

    /// So many calls per day of UTC.
    #[must_use]
    pub fn per_day(limit: u32) -> Self {
        Self::per(limit, Duration::from_hours(24))
    }

    /// So many calls per window of whole seconds. Windows are fixed, unless they are made
    /// [`sliding`](Self::sliding).
    #[must_use]
    pub fn per(limit: u32, window: Duration) -> Self {
        Self {
            budget: Budget {
                name: EVERY_CALL.to_owned(),
                limit,
                window_seconds: u32::try_from(window.as_secs()).unwrap_or(u32::MAX),
                kind: WindowKind::Fixed,
                interactive_reserve: 0,
            },
            endpoints: Vec::new(),
        }
    }

    /// Counts the window before by the share of it that is within reach, so that no burst at a
    /// boundary doubles the limit.
    #[must_use]
    pub fn sliding(mut self) -> Self {
        self.budget.kind = WindowKind::Sliding;
        self
    }

    /// Counts only calls to these endpoints, as a group of this name.
    ///
    /// A pattern is an endpoint template or an SDK call's label, `*` standing for anything but
    /// `/`, with an optional method before it: `POST:/charges`.
    #[must_use]
    pub fn for_endpoints<P: Into<String>>(
        mut self,
        group: impl Into<String>,
        patterns: impl IntoIterator<Item = P>,
    ) -> Self {
        self.budget.name = group.into();
        self.endpoints = patterns
            .into_iter()
            .map(|pattern| EndpointPattern::parse(&pattern.into()))
            .collect();
        self
    }

    /// Keeps so many calls of each window for interactive callers.
    #[must_use]
    pub fn keeping_for_interactive(mut self, calls: u32) -> Self {
        self.budget.interactive_reserve = calls;
        self
    }

    /// Whether it is a limit (RL-01).
    ///
    /// # Errors
    ///
    /// Returns [`InvalidValue`] where it allows no call, has a window shorter than a second, or
    /// keeps everything for interactive callers.
    pub fn check(&self) -> Result<(), InvalidValue> {
        let Budget {
            limit,
            window_seconds,
            interactive_reserve,
            ..
        } = self.budget;
        if limit == 0 || window_seconds == 0 {
            let rule = "must allow at least 1 call per at least 1 second";
            return Err(InvalidValue::new("rate budget", rule));
        }
        if interactive_reserve >= limit {
            let rule = "must leave at least 1 call to the background";
            return Err(InvalidValue::new("rate budget", rule));
        }
        Ok(())
    }

    /// Whether a call counts against it.
    pub(crate) fn counts(&self, method: &str, endpoint: &str) -> bool {
        self.endpoints.is_empty()
            || self
                .endpoints
                .iter()
                .any(|pattern| pattern.matches(method, endpoint))
    }

    /// What the gate counts.
    pub(crate) const fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl EndpointPattern {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

    fn parse(pattern: &str) -> Self {
        let split = pattern.split_once(':');
        match split.filter(|(method, _)| Self::METHODS.contains(method)) {
            Some((method, path)) => Self {
                method: Some(method.to_owned()),
                path: path.to_owned(),
            },
            None => Self {
                method: None,
                path: pattern.to_owned(),
            },
        }
    }

    fn matches(&self, method: &str, endpoint: &str) -> bool {
        self.method.as_deref().is_none_or(|own| own == method)
            && matches_path(self.path.as_bytes(), endpoint.as_bytes())
    }
}

/// Whether `pattern` matches all of `text`, going back to the last `*` where it does not go on.
fn matches_path(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((after, taken)) = star.filter(|(_, taken)| text[*taken] != b'/') {
            star = Some((after, taken + 1));
            (p, t) = (after, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    // LOG-09
    #[test]
    fn a_group_is_named_by_patterns() {
        let cases = [
            ("/search/*", "GET", "/search/code", true),
            ("/search/*", "GET", "/search/code/x", false),
            ("/search/*", "GET", "/search/", true),
            ("/a/*/c", "GET", "/a/{b}/c", true),
            ("/a/*/c", "GET", "/a/b/x/c", false),
            ("*.get", "SDK", "balance.get", true),
            ("POST:/charges", "POST", "/charges", true),
            ("POST:/charges", "GET", "/charges", false),
            ("charge:now", "SDK", "charge:now", true),
            ("/a", "GET", "/ab", false),
        ];
        for (pattern, method, endpoint, expected) in cases {
            let budget = RateBudget::per_minute(1).for_endpoints("group", [pattern]);
            assert_eq!(
                budget.counts(method, endpoint),
                expected,
                "{pattern} {endpoint}"
            );
        }
        assert!(RateBudget::per_minute(1).counts("GET", "/anything"));
    }

    // RL-01, L-RL-1
    #[test]
    fn a_limit_allows_something() {
        assert!(RateBudget::per_second(0).check().is_err());
        assert!(
            RateBudget::per(1, Duration::from_millis(500))
                .check()
                .is_err()
        );
        assert!(
            RateBudget::per_day(5)
                .keeping_for_interactive(5)
                .check()
                .is_err()
        );
        let hour = RateBudget::per_hour(5000);
        assert_eq!(
            (hour.budget().limit, hour.budget().window_seconds),
            (5000, 3600)
        );
    }
}
