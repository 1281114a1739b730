//! What the other side says about its limits: `Retry-After`, `X-RateLimit-*`, and the `RateLimit`
//! fields of the IETF's drafts.
//!
//! Sources: RFC 9110, section 10.2.3; draft-ietf-httpapi-ratelimit-headers, versions 7 (one list
//! of `limit`, `remaining`, `reset`) and 10 (items with `r` and `t`, policies with `w`).

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use http::{HeaderMap, header};

use crate::{request::FailureClass, time::later};

/// The longest pause anybody is granted. A reset beyond it is not believed.
const LONGEST: Duration = Duration::from_hours(24);

/// Numbers above this are seconds of the epoch, below it seconds from now.
const EPOCH_SECONDS: f64 = 1e9;
/// Numbers above this are milliseconds of the epoch.
const EPOCH_MILLIS: f64 = 1e12;

const REMAINING: [&str; 3] = [
    "x-ratelimit-remaining",
    "x-rate-limit-remaining",
    "ratelimit-remaining",
];
const RESET: [&str; 4] = [
    "x-ratelimit-reset",
    "x-rate-limit-reset",
    "ratelimit-reset",
    "x-ratelimit-reset-after",
];

/// What was said about pace. What was not said, or not in a way anybody understands, is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::client) struct Pace {
    /// When to call again, in so many words. Not in the past.
    pub(in crate::client) retry_at: Option<DateTime<Utc>>,
    /// When a spent limit is there again, where nothing remains of it.
    pub(in crate::client) reset_at: Option<DateTime<Utc>>,
}

impl Pace {
    /// Reads an answer's headers.
    pub(in crate::client) fn of(headers: &HeaderMap, now: DateTime<Utc>) -> Self {
        let retry_at = text(headers, header::RETRY_AFTER.as_str())
            .and_then(|value| instant(value, now))
            .or_else(|| {
                let millis = number(text(headers, "retry-after-ms")?)?;
                from_now(millis / 1000.0, now)
            });
        Self {
            retry_at,
            reset_at: spent_field(headers, now).or_else(|| spent_numbers(headers, now)),
        }
    }

    /// What an SDK's closure reported.
    pub(in crate::client) fn reported(
        retry_after: Option<Duration>,
        remaining: Option<u64>,
        reset_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Self {
        let spent = remaining == Some(0);
        let reset_at = reset_at.filter(|at| spent && *at > now);
        let retry_at = retry_after.map(|after| later(now, after.min(LONGEST)));
        Self {
            retry_at,
            // A closure that reports a pause means one, whatever came of the call.
            reset_at: retry_at.or(reset_at.map(|at| at.min(later(now, LONGEST)))),
        }
    }

    /// Until when this integration's calls should be kept back; `None`: go on.
    ///
    /// An explicit time wins over a reset (RL-09). On answers that are no failure it means
    /// something else, when to ask for a result for instance.
    pub(in crate::client) fn pause(&self, class: Option<&FailureClass>) -> Option<DateTime<Utc>> {
        let is_failure = matches!(class, Some(FailureClass::Throttle | FailureClass::Upstream));
        self.retry_at.filter(|_| is_failure).or(self.reset_at)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

fn number(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

fn from_now(seconds: f64, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    Some(later(now, wait.min(LONGEST)))
}

/// Seconds from now, or a date that is not over (RET-03).
fn instant(value: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if let Some(seconds) = number(value) {
        return from_now(seconds, now);
    }
    let at = http_date(value)?;
    (at > now).then(|| at.min(later(now, LONGEST)))
}

/// The three forms of RFC 9110, section 5.6.7.
fn http_date(value: &str) -> Option<DateTime<Utc>> {
    if let Ok(date) = DateTime::parse_from_rfc2822(value) {
        return Some(date.with_timezone(&Utc));
    }
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(value, form).ok())
        .map(|date| date.and_utc())
}

/// The reset of a limit that `X-RateLimit-*` says is spent; `None` where no time is given (RL-09).
fn spent_numbers(headers: &HeaderMap, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let remaining = REMAINING
        .iter()
        .find_map(|name| number(text(headers, name)?))?;
    if remaining > 0.0 {
        return None;
    }
    RESET
        .iter()
        .find_map(|name| reset(text(headers, name)?, now))
}

fn reset(value: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let at = match number(value) {
        Some(number) if number >= EPOCH_MILLIS => millis(number)?,
        Some(number) if number >= EPOCH_SECONDS => millis(number * 1000.0)?,
        Some(seconds) => from_now(seconds, now)?,
        None => DateTime::parse_from_rfc3339(value)
            .ok()?
            .with_timezone(&Utc),
    };
    (at > now).then(|| at.min(later(now, LONGEST)))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "an instant chrono does not know is none"
)]
fn millis(millis: f64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(millis as i64)
}

/// The reset of the limits that the `RateLimit` field says are spent; the latest of them.
fn spent_field(headers: &HeaderMap, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let field = text(headers, "ratelimit")?;
    let items: Vec<Item<'_>> = list(field);
    // Version 7 has one list for the one limit: `limit=100, remaining=0, reset=5`.
    let plain = |name| items.iter().find_map(|item| item.plain(name));
    if plain("remaining") == Some(0.0) {
        return from_now(plain("reset")?, now);
    }
    let policies = text(headers, "ratelimit-policy")
        .map(list)
        .unwrap_or_default();
    let spent = items.iter().filter(|item| item.parameter("r") == Some(0.0));
    let resets = spent.filter_map(|item| {
        let policy = || {
            policies
                .iter()
                .find(|policy| policy.name == item.name)?
                .parameter("w")
        };
        from_now(item.parameter("t").or_else(policy)?, now)
    });
    resets.max()
}

/// An item of a structured field, as much of it as is needed here.
struct Item<'a> {
    name: &'a str,
    parameters: Vec<&'a str>,
}

impl Item<'_> {
    fn parameter(&self, name: &str) -> Option<f64> {
        self.parameters.iter().find_map(|one| value_of(one, name))
    }

    fn plain(&self, name: &str) -> Option<f64> {
        value_of(self.name, name)
    }
}

fn value_of(pair: &str, name: &str) -> Option<f64> {
    let (key, value) = pair.split_once('=')?;
    (key.trim() == name).then(|| number(value.trim()))?
}

fn list(field: &str) -> Vec<Item<'_>> {
    split(field, ',')
        .into_iter()
        .map(|item| {
            let mut parts = split(item, ';').into_iter().map(str::trim);
            Item {
                name: parts.next().unwrap_or_default(),
                parameters: parts.collect(),
            }
        })
        .collect()
}

/// Splits where `separator` is not within quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(|c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn now() -> DateTime<Utc> {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn pace(headers: &[(&'static str, &str)]) -> Pace {
        let headers = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::try_from(*value).unwrap(),
            )
        });
        Pace::of(&headers.collect(), now())
    }

    fn seconds(at: Option<DateTime<Utc>>) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a test's own small numbers")]
        at.map(|at| (at - now()).num_milliseconds() as f64 / 1000.0)
    }

    // RET-03, L-RET-2, W-RET-3
    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let cases = [
            ("2", Some(2.0)),
            ("1.5", Some(1.5)),
            ("0", Some(0.0)),
            ("-3", None),
            ("inf", None),
            ("99999999", Some(86400.0)),
            ("Thu, 01 Jan 2026 00:00:30 GMT", Some(30.0)),
            ("Thursday, 01-Jan-26 00:00:30 GMT", Some(30.0)),
            ("Thu Jan  1 00:00:30 2026", Some(30.0)),
            ("Wed, 31 Dec 2025 23:59:59 GMT", None),
            ("soon", None),
        ];
        for (value, expected) in cases {
            assert_eq!(
                seconds(pace(&[("retry-after", value)]).retry_at),
                expected,
                "{value}"
            );
        }
        assert_eq!(
            seconds(pace(&[("retry-after-ms", "250")]).retry_at),
            Some(0.25)
        );
    }

    // RL-09
    #[test]
    fn a_spent_limit_says_when_it_is_there_again() {
        type Headers<'a> = &'a [(&'static str, &'a str)];
        let cases: [(Headers<'_>, Option<f64>); 9] = [
            (
                &[
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "1767225660"),
                ],
                Some(60.0),
            ),
            (
                &[
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "1767225660000"),
                ],
                Some(60.0),
            ),
            (
                &[("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "7")],
                Some(7.0),
            ),
            (
                &[("ratelimit-remaining", "0"), ("ratelimit-reset", "7")],
                Some(7.0),
            ),
            (&[("x-ratelimit-remaining", "0")], None),
            (
                &[("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "7")],
                None,
            ),
            (
                &[
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "1700000000"),
                ],
                None,
            ),
            (
                &[("ratelimit", "limit=100, remaining=0, reset=5")],
                Some(5.0),
            ),
            (&[("ratelimit", "limit=100, remaining=1, reset=5")], None),
        ];
        for (headers, expected) in cases {
            assert_eq!(seconds(pace(headers).reset_at), expected, "{headers:?}");
        }
    }

    #[test]
    fn the_fields_of_the_draft_name_policies() {
        let policy = (
            "ratelimit-policy",
            "\"burst;,\";q=10;w=60, \"daily\";q=100;w=86400",
        );
        let at = |field| seconds(pace(&[policy, ("ratelimit", field)]).reset_at);
        assert_eq!(
            at("\"burst;,\";r=0;t=12, \"daily\";r=40;t=3000"),
            Some(12.0)
        );
        assert_eq!(at("\"burst;,\";r=0, \"daily\";r=0;t=7"), Some(60.0));
        assert_eq!(at("\"burst;,\";r=3;t=1"), None);
        assert_eq!(at("nonsense"), None);
    }

    // RL-09, INV-04: what a success says about polling is no pause
    #[test]
    fn only_failures_pause_by_retry_after() {
        let said = pace(&[("retry-after", "5")]);
        assert_eq!(said.pause(None), None);
        assert_eq!(said.pause(Some(&FailureClass::Client)), None);
        for class in [FailureClass::Throttle, FailureClass::Upstream] {
            assert_eq!(seconds(said.pause(Some(&class))), Some(5.0));
        }
        let spent = pace(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9")]);
        assert_eq!(seconds(spent.pause(None)), Some(9.0));
    }
}
