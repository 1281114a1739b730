//! `[retry]`, `[rate_limit]`, `[circuit]` and the budgets of providers.

use std::time::Duration;

use integrations::{
    client::{RetryLimits, WaitLimits},
    gate::{CircuitPolicy, CircuitStrategy, RateBudget},
};

use super::{
    file,
    range::{number, seconds},
};

pub(super) fn retry(given: &file::Retry) -> Result<RetryLimits, String> {
    let default = RetryLimits::default();
    let read = number("retry.read_attempts", given.read_attempts.as_ref(), 1..=20)?;
    let write = number(
        "retry.write_attempts",
        given.write_attempts.as_ref(),
        1..=20,
    )?;
    let pause = seconds(
        "retry.longest_pause",
        given.longest_pause.as_ref(),
        1..=86_400,
    )?;
    let give_up = seconds(
        "retry.give_up_after_seconds",
        given.give_up_after_seconds.as_ref(),
        1..=86_400,
    )?;
    let budget = match &given.budget {
        Some(toml::Value::String(any)) if any == "unlimited" => None,
        given => number("retry.budget", given.as_ref(), 0..=100_000)?.map_or(default.budget, Some),
    };
    Ok(RetryLimits {
        read_attempts: read.unwrap_or(default.read_attempts),
        write_attempts: write.unwrap_or(default.write_attempts),
        longest_pause: pause.unwrap_or(default.longest_pause),
        give_up_after: give_up.unwrap_or(default.give_up_after),
        budget,
        ..default
    })
}

/// RL-12: zero never waits.
pub(super) fn rate_limit(given: &file::RateLimit) -> Result<WaitLimits, String> {
    let max_wait = seconds(
        "rate_limit.max_wait_seconds",
        given.max_wait_seconds.as_ref(),
        0..=3_600,
    )?;
    Ok(WaitLimits {
        max_wait: max_wait.unwrap_or(WaitLimits::default().max_wait),
    })
}

/// CFG-09
pub(super) fn circuit(given: &file::Circuit) -> Result<CircuitPolicy, String> {
    let default = CircuitPolicy::default();
    let window = seconds(
        "circuit.time_window_seconds",
        given.time_window_seconds.as_ref(),
        1..=86_400,
    )?;
    let share = number(
        "circuit.failure_rate_threshold",
        given.failure_rate_threshold.as_ref(),
        1..=100,
    )?;
    let minimum = number(
        "circuit.minimum_requests",
        given.minimum_requests.as_ref(),
        1..=1_000_000,
    )?;
    let threshold = number("circuit.threshold", given.threshold.as_ref(), 1..=1_000_000)?;
    let cooldown = seconds(
        "circuit.cooldown_seconds",
        given.cooldown_seconds.as_ref(),
        1..=86_400,
    )?;
    let probe_timeout = seconds(
        "circuit.probe_timeout_seconds",
        given.probe_timeout_seconds.as_ref(),
        1..=86_400,
    )?;
    let strategy = match given.strategy.as_deref() {
        None | Some("rate") => CircuitStrategy::Rate {
            window: window.unwrap_or(Duration::from_mins(1)),
            threshold_percent: share.map_or(50, |share| u8::try_from(share).unwrap_or(100)),
            minimum_requests: minimum.unwrap_or(10),
        },
        Some("count") => CircuitStrategy::Count {
            threshold: threshold.unwrap_or(5),
        },
        Some(other) => {
            return Err(format!(
                "`circuit.strategy` is `{other}`: it must be `rate` or `count`"
            ));
        }
    };
    Ok(CircuitPolicy {
        enabled: given.enabled.unwrap_or(default.enabled),
        strategy,
        cooldown: cooldown.unwrap_or(default.cooldown),
        probe_timeout: probe_timeout.unwrap_or(default.probe_timeout),
    })
}

/// Makes a budget of a number of calls.
type Per = fn(u32) -> RateBudget;

/// The budgets of a provider's integrations; `None` leaves it to the provider.
pub(super) fn budgets(given: &file::Budgets) -> Result<Option<Vec<RateBudget>>, String> {
    let windows: [(&str, &Option<toml::Value>, Per); 4] = [
        ("per_second", &given.per_second, RateBudget::per_second),
        ("per_minute", &given.per_minute, RateBudget::per_minute),
        ("per_hour", &given.per_hour, RateBudget::per_hour),
        ("per_day", &given.per_day, RateBudget::per_day),
    ];
    let mut budgets = Vec::new();
    for (name, limit, budget) in windows {
        if let Some(limit) = number(name, limit.as_ref(), 1..=100_000_000)? {
            let budget = budget(limit);
            budgets.push(if given.sliding {
                budget.sliding()
            } else {
                budget
            });
        }
    }
    Ok((!budgets.is_empty()).then_some(budgets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(RetryLimits, WaitLimits, CircuitPolicy), String> {
        let file = file::File::parse(text)?;
        Ok((
            retry(&file.retry)?,
            rate_limit(&file.rate_limit)?,
            circuit(&file.circuit)?,
        ))
    }

    // CFG-08, CFG-09
    #[test]
    fn nothing_given_is_the_defaults() {
        let defaults = (
            RetryLimits::default(),
            WaitLimits::default(),
            CircuitPolicy::default(),
        );
        assert_eq!(read(""), Ok(defaults));
    }

    #[test]
    fn what_is_given_counts() {
        let text = "[retry]\nread_attempts = 5\nbudget = \"unlimited\"\n\
                    [rate_limit]\nmax_wait_seconds = 0\n\
                    [circuit]\nstrategy = \"count\"\nthreshold = 3\ncooldown_seconds = 30\n";
        let (retry, wait, circuit) = read(text).unwrap();
        assert_eq!((retry.read_attempts, retry.budget), (5, None));
        assert_eq!(wait.max_wait, Duration::ZERO);
        assert_eq!(circuit.strategy, CircuitStrategy::Count { threshold: 3 });
        assert_eq!(circuit.cooldown.as_secs(), 30);
    }

    // W-CFG-1, REQ-02
    #[test]
    fn wrong_values_are_named() {
        let cases = [
            (
                "[retry]\nread_attempts = 0",
                "`retry.read_attempts` is 0: it must be a whole number from 1 to 20",
            ),
            (
                "[circuit]\nstrategy = \"rates\"",
                "`circuit.strategy` is `rates`: it must be `rate` or `count`",
            ),
            (
                "[circuit]\nfailure_rate_threshold = 101",
                "`circuit.failure_rate_threshold` is 101: it must be a whole number from 1 to 100",
            ),
        ];
        for (text, error) in cases {
            assert_eq!(read(text), Err(error.to_owned()), "{text}");
        }
    }

    // RL-01, W-RL-9
    #[test]
    fn a_provider_may_have_several_budgets() {
        let given = file::Budgets {
            per_second: Some(toml::Value::Integer(10)),
            per_day: Some(toml::Value::Integer(1000)),
            sliding: true,
            ..file::Budgets::default()
        };
        let expected = vec![
            RateBudget::per_second(10).sliding(),
            RateBudget::per_day(1000).sliding(),
        ];
        assert_eq!(budgets(&given), Ok(Some(expected)));
        assert_eq!(budgets(&file::Budgets::default()), Ok(None));
    }
}
