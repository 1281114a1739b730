//! Checkpoints and the bytes their order is compared by.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Where in a stream a version of a record lies.
///
/// Checkpoints of one kind are compared by value, never as provider text: instants of different
/// offsets compare as instants (W-SYN-9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum Checkpoint {
    /// An instant, such as `updated_at`.
    Instant(DateTime<Utc>),
    /// A number, such as an event id.
    Number(i64),
    /// Text that the provider orders by its bytes.
    Text(String),
}

impl Checkpoint {
    /// The text whose byte order is the order of checkpoints.
    ///
    /// Kinds do not mix within a stream; a leading letter keeps them apart all the same. Only
    /// ASCII is added, so that any database compares it by bytes under the `C` collation.
    #[must_use]
    pub fn order(&self) -> CheckpointOrder {
        CheckpointOrder(match self {
            Self::Number(n) => {
                // Flipping the sign bit turns two's complement into unsigned order.
                format!("n{:016x}", n.cast_unsigned() ^ (1 << 63))
            }
            Self::Instant(at) => {
                let micros = at.timestamp_micros().cast_unsigned() ^ (1 << 63);
                format!("t{micros:016x}")
            }
            Self::Text(text) => format!("x{text}"),
        })
    }

    /// The JSON stored in `checkpoint_value` and in the cursor.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Instant(at) => Json::from(at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            Self::Number(n) => Json::from(*n),
            Self::Text(text) => serde_json::json!({ "text": text }),
        }
    }

    /// Reads what [`to_json`](Self::to_json) wrote; `None` for anything else.
    #[must_use]
    pub fn from_json(json: &Json) -> Option<Self> {
        match json {
            Json::Number(n) => n.as_i64().map(Self::Number),
            Json::String(at) => DateTime::parse_from_rfc3339(at)
                .ok()
                .map(|at| Self::Instant(at.to_utc())),
            Json::Object(fields) => fields
                .get("text")?
                .as_str()
                .map(|t| Self::Text(t.to_owned())),
            Json::Null | Json::Bool(_) | Json::Array(_) => None,
        }
    }
}

/// A checkpoint as `checkpoint_order` holds it. Compared by bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CheckpointOrder(String);

impl CheckpointOrder {
    /// Takes text that was read from a column.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The checkpoint it is the order of, an instant to the microsecond; `None` for other text.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let number = |hex: &str| {
            let bits = u64::from_str_radix(hex, 16).ok()?;
            Some((bits ^ (1 << 63)).cast_signed())
        };
        match self.0.split_at_checked(1)? {
            ("n", hex) => number(hex).map(Checkpoint::Number),
            ("t", hex) => DateTime::from_timestamp_micros(number(hex)?).map(Checkpoint::Instant),
            ("x", text) => Some(Checkpoint::Text(text.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Debug for CheckpointOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckpointOrder({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // W-SYN-9
        #[test]
        fn order_of_numbers_is_their_order(a: i64, b: i64) {
            prop_assert_eq!(
                Checkpoint::Number(a).order().cmp(&Checkpoint::Number(b).order()),
                a.cmp(&b)
            );
        }

        #[test]
        fn order_of_instants_is_their_order(a in -62_000_000_000i64..250_000_000_000, b in -62_000_000_000i64..250_000_000_000) {
            let at = |s| Checkpoint::Instant(DateTime::from_timestamp(s, 0).unwrap());
            prop_assert_eq!(at(a).order().cmp(&at(b).order()), a.cmp(&b));
        }

        #[test]
        fn json_round_trips(n: i64, text in ".*") {
            for checkpoint in [
                Checkpoint::Number(n),
                Checkpoint::Text(text),
                Checkpoint::Instant(DateTime::from_timestamp_micros(n / 1_000_000).unwrap()),
            ] {
                prop_assert_eq!(Checkpoint::from_json(&checkpoint.to_json()), Some(checkpoint));
            }
        }
    }

    proptest! {
        #[test]
        fn order_gives_the_checkpoint_back(n: i64, text in ".*") {
            for checkpoint in [
                Checkpoint::Number(n),
                Checkpoint::Text(text),
                Checkpoint::Instant(DateTime::from_timestamp_micros(n / 1_000_000).unwrap()),
            ] {
                prop_assert_eq!(checkpoint.order().checkpoint(), Some(checkpoint));
            }
        }
    }

    // W-SYN-9
    #[test]
    fn instants_of_different_offsets_compare_as_instants() {
        let read = |text: &str| Checkpoint::from_json(&Json::from(text)).unwrap().order();
        assert!(read("2026-01-01T00:30:00+01:00") < read("2026-01-01T00:00:00Z"));
    }
}
