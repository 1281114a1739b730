//! What arguments are read into.

use std::{convert::Infallible, time::Duration};

use integrations::{
    id::{LogId, RequestId, SyncItemId},
    idempotency::ReservationState,
    integration::{HealthStatus, Owner, OwnerId},
    request::{FailureClass, OutcomeFilter, RelatedId},
    sync::ItemStatus,
};
use secrecy::{ExposeSecret as _, SecretString};

/// Text that is judged later, so that refusing it has its own exit status.
pub(crate) type Text = String;

/// A name and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Pair {
    /// Reads `NAME=VALUE`.
    pub(super) fn equals(text: &str) -> Result<Self, &'static str> {
        let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
        Self::named(name, value)
    }

    /// Reads `NAME:VALUE`; blanks around the value do not belong to it.
    pub(super) fn colon(text: &str) -> Result<Self, &'static str> {
        let (name, value) = text.split_once(':').ok_or("expected NAME:VALUE")?;
        Self::named(name, value.trim())
    }

    fn named(name: &str, value: &str) -> Result<Self, &'static str> {
        if name.trim().is_empty() {
            return Err("the name is missing");
        }
        Ok(Self {
            name: name.trim().to_owned(),
            value: value.to_owned(),
        })
    }
}

/// A credential as it was typed: secret as a whole, because what is missing a `=` may be one.
#[derive(Clone)]
pub(crate) struct SecretPair(SecretString);

/// Where a credential's value is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SecretSource<'a> {
    /// In the argument.
    Here(&'a str),
    /// In a file.
    File(&'a str),
    /// In an environment variable.
    Variable(&'a str),
    /// On standard input.
    Input,
}

impl SecretPair {
    /// Never fails, because the parser would print what it refuses.
    #[expect(clippy::unnecessary_wraps, reason = "the parser wants a result")]
    pub(super) fn take(text: &str) -> Result<Self, Infallible> {
        Ok(Self(SecretString::from(text)))
    }

    /// Name and source: what stands before and behind the first `=` or `@`.
    pub(crate) fn split(&self) -> Option<(&str, SecretSource<'_>)> {
        let text = self.0.expose_secret();
        let at = text.find(['=', '@'])?;
        let (name, rest) = text.split_at(at);
        let (sign, value) = rest.split_at(1);
        let source = match (sign, value) {
            ("=", value) => SecretSource::Here(value),
            (_, "-") => SecretSource::Input,
            (_, value) => match value.strip_prefix("env:") {
                Some(variable) => SecretSource::Variable(variable),
                None => SecretSource::File(value),
            },
        };
        (!name.is_empty()).then_some((name, source))
    }
}

/// Minutes between syncs, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval(pub(crate) Option<i32>);

impl Interval {
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        if text == "off" {
            return Ok(Self(None));
        }
        match text.parse() {
            Ok(minutes) if minutes >= 1 => Ok(Self(Some(minutes))),
            _ => Err("expected a number of minutes, 1 or more, or `off`"),
        }
    }
}

/// An outcome to select calls by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) OutcomeFilter);

impl Status {
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected success, failed, upstream, throttle, client, unknown, \
                                a status from 100 to 599, or one like 4xx";
        let outcome = match text {
            "success" => OutcomeFilter::Succeeded,
            "failed" => OutcomeFilter::Failed,
            class if FailureClass::KNOWN.contains(&class) => OutcomeFilter::Class(class.into()),
            status => match status.strip_suffix("xx") {
                Some(hundred) => match hundred.parse() {
                    Ok(hundred @ 1..=5) => OutcomeFilter::StatusGroup(hundred),
                    _ => return Err(EXPECTED),
                },
                None => match status.parse() {
                    Ok(status @ 100..=599) => OutcomeFilter::Status(status),
                    _ => return Err(EXPECTED),
                },
            },
        };
        Ok(Self(outcome))
    }
}

/// Reads `90s`, `15m`, `24h` or `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "expected a duration such as 90s, 15m, 24h or 7d";
    let unit = text.chars().next_back().ok_or(EXPECTED)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(EXPECTED),
    };
    let number = &text[..text.len() - 1];
    if !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(EXPECTED);
    }
    let number: u64 = number.parse().map_err(|_| EXPECTED)?;
    match number.checked_mul(seconds) {
        Some(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        _ => Err("the duration must be at least 1s"),
    }
}

/// Reads `TYPE:ID`; an id of digits is a number.
pub(super) fn owner(text: &str) -> Result<Owner, String> {
    let (owner_type, id) = text.split_once(':').ok_or("expected TYPE:ID")?;
    let id = match id.parse() {
        Ok(number) => OwnerId::Number(number),
        Err(_) => OwnerId::Text(id.to_owned()),
    };
    Owner::new(owner_type, id).map_err(|error| error.to_string())
}

/// Reads a health status this version knows.
pub(super) fn health(text: &str) -> Result<HealthStatus, String> {
    if HealthStatus::KNOWN.contains(&text) {
        return Ok(text.into());
    }
    Err(format!(
        "expected one of {}",
        HealthStatus::KNOWN.join(", ")
    ))
}

/// Reads a status of an item this version knows.
pub(super) fn item_status(text: &str) -> Result<ItemStatus, String> {
    if ItemStatus::KNOWN.contains(&text) {
        return Ok(text.into());
    }
    Err(format!("expected one of {}", ItemStatus::KNOWN.join(", ")))
}

/// Reads the number of an item.
pub(super) fn item_id(text: &str) -> Result<SyncItemId, &'static str> {
    match text.parse() {
        Ok(id) if id >= 1 => Ok(SyncItemId(id)),
        _ => Err("expected the number of an item"),
    }
}

/// Reads how many, at least one.
pub(super) fn count(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(count @ 1..=10_000) => Ok(count),
        _ => Err("expected a number from 1 to 10000"),
    }
}

/// Reads a method in any case.
pub(super) fn method(text: &str) -> Result<http::Method, &'static str> {
    text.to_ascii_uppercase()
        .parse()
        .map_err(|_| "expected a method such as GET")
}

/// Reads the number of a request.
pub(super) fn request_id(text: &str) -> Result<RequestId, &'static str> {
    match text.parse() {
        Ok(id) if id >= 1 => Ok(RequestId(id)),
        _ => Err("expected the number of a request"),
    }
}

/// Reads the number of an operation.
pub(super) fn log_id(text: &str) -> Result<LogId, &'static str> {
    match text.parse() {
        Ok(id) if id >= 1 => Ok(LogId(id)),
        _ => Err("expected the number of an operation"),
    }
}

/// Reads the state of a key that this version knows.
pub(super) fn reservation_state(text: &str) -> Result<ReservationState, String> {
    if ReservationState::KNOWN.contains(&text) {
        return Ok(text.into());
    }
    Err(format!(
        "expected one of {}",
        ReservationState::KNOWN.join(", ")
    ))
}

/// An entity of the application, or a type of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Related(pub(crate) String, Option<RelatedId>);

impl Related {
    /// Reads `TYPE` or `TYPE:ID`; an id of digits is a number.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        let (kind, id) = match text.split_once(':') {
            Some((kind, id)) => (kind, Some(id)),
            None => (text, None),
        };
        if kind.is_empty() || id == Some("") {
            return Err("expected TYPE or TYPE:ID");
        }
        let id = id.map(|id| match id.parse() {
            Ok(number) => RelatedId::Number(number),
            Err(_) => RelatedId::Text(id.to_owned()),
        });
        Ok(Self(kind.to_owned(), id))
    }

    pub(crate) fn number(&self) -> Option<i64> {
        match &self.1 {
            Some(RelatedId::Number(id)) => Some(*id),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<String> {
        match &self.1 {
            Some(RelatedId::Text(id)) => Some(id.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_are_not_nothing() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("15m"), Ok(Duration::from_mins(15)));
        assert_eq!(duration("7d"), Ok(Duration::from_hours(168)));
        for wrong in [
            "",
            "5",
            "m",
            "-1s",
            "+1s",
            "1.5h",
            "1w",
            "0s",
            "5ä",
            "99999999999999999999d",
        ] {
            assert!(duration(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    // W-CLI-3
    #[test]
    fn credentials_split_at_the_first_sign() {
        let split = |text: &str| {
            let pair = SecretPair::take(text).unwrap();
            pair.split()
                .map(|(name, source)| format!("{name} {source:?}"))
        };
        assert_eq!(split("token=a@b=c").unwrap(), "token Here(\"a@b=c\")");
        assert_eq!(split("token@/run/a=b").unwrap(), "token File(\"/run/a=b\")");
        assert_eq!(split("token@env:T").unwrap(), "token Variable(\"T\")");
        assert_eq!(split("token@-").unwrap(), "token Input");
        assert_eq!(split("token="), Some("token Here(\"\")".to_owned()));
        assert_eq!(split("ghp_secret"), None);
        assert_eq!(split("=x"), None);
    }

    #[test]
    fn owners_are_numbered_or_named() {
        assert_eq!(owner("team:7").unwrap().id(), &OwnerId::Number(7));
        assert_eq!(
            owner("team:a:b").unwrap().id(),
            &OwnerId::Text("a:b".to_owned())
        );
        assert!(owner("team").is_err() && owner(":7").is_err() && owner("team:").is_err());
    }

    #[test]
    fn statuses_are_outcomes_classes_and_numbers() {
        let read = |text| Status::read(text).map(|status| status.0);
        assert_eq!(read("failed"), Ok(OutcomeFilter::Failed));
        assert_eq!(
            read("upstream"),
            Ok(OutcomeFilter::Class(FailureClass::Upstream))
        );
        assert_eq!(read("404"), Ok(OutcomeFilter::Status(404)));
        assert_eq!(read("4xx"), Ok(OutcomeFilter::StatusGroup(4)));
        for wrong in ["", "ok", "99", "600", "6xx", "xx", "44xx"] {
            assert!(read(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn a_header_loses_the_blanks_around_its_value() {
        let pair = Pair::colon("accept:  a:b ").unwrap();
        assert_eq!((pair.name.as_str(), pair.value.as_str()), ("accept", "a:b"));
        assert!(Pair::equals("=x").is_err() && Pair::equals("x").is_err());
    }
}
