//! The two dialects and what differs between them.

use chrono::{DateTime, SecondsFormat, Utc};
use sea_query::{ArrayType, Value};
use serde_json::Value as Json;

/// Whose SQL a statement is rendered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// PostgreSQL 13 and later.
    Postgres,
    /// SQLite with STRICT tables.
    Sqlite,
}

impl Dialect {
    /// The most values one statement may bind.
    #[must_use]
    pub const fn max_binds(self) -> usize {
        match self {
            Self::Postgres => u16::MAX as usize,
            // SQLITE_MAX_VARIABLE_NUMBER, <https://www.sqlite.org/limits.html>
            Self::Sqlite => 32_766,
        }
    }

    /// An instant as its column holds it: `timestamptz`, or text whose order is that of time.
    #[must_use]
    pub fn time(self, at: Option<DateTime<Utc>>) -> Value {
        match self {
            Self::Postgres => Value::ChronoDateTimeUtc(at),
            Self::Sqlite => Value::String(at.map(time_text)),
        }
    }

    /// A JSON value as its column holds it.
    #[must_use]
    pub fn json(self, json: Option<Json>) -> Value {
        let json = json.map(without_nul);
        match self {
            Self::Postgres => Value::Json(json.map(Box::new)),
            Self::Sqlite => Value::String(json.map(|json| json.to_string())),
        }
    }

    /// A list of numbers as one value: an array for `= ANY($n)`, or JSON text for `json_each($n)`.
    #[must_use]
    pub fn numbers(self, numbers: &[i64]) -> Value {
        match self {
            Self::Postgres => {
                let values = numbers.iter().map(|n| Value::from(*n)).collect();
                Value::Array(ArrayType::BigInt, Some(Box::new(values)))
            }
            Self::Sqlite => Value::from(Json::from(numbers).to_string()),
        }
    }

    /// A list of texts as one value: an array for `= ANY($n)`, or JSON text for `json_each($n)`.
    #[must_use]
    pub fn texts<T: AsRef<str>>(self, texts: &[T]) -> Value {
        match self {
            Self::Postgres => {
                let values = texts.iter().map(|t| Value::from(t.as_ref())).collect();
                Value::Array(ArrayType::String, Some(Box::new(values)))
            }
            Self::Sqlite => {
                let list: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
                Value::from(Json::from(list).to_string())
            }
        }
    }
}

/// `YYYY-MM-DDTHH:MM:SS.ffffffZ`: always as long, so that text order is time order.
#[must_use]
pub fn time_text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// PostgreSQL refuses `\u0000` in JSON; both databases keep the replacement character instead.
fn without_nul(json: Json) -> Json {
    match json {
        Json::String(text) if text.contains('\0') => Json::String(text.replace('\0', "\u{fffd}")),
        Json::Array(list) => list.into_iter().map(without_nul).collect(),
        Json::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key.replace('\0', "\u{fffd}"), without_nul(value)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // DEPENDENCIES: text of trimmed fractions sorts wrongly.
    #[test]
    fn text_of_instants_sorts_as_time() {
        let at = |micros| time_text(DateTime::from_timestamp_micros(micros).unwrap());
        let texts = [at(0), at(500_000), at(500_001), at(1_000_000)];
        assert!(texts.is_sorted());
        assert_eq!(texts[1], "1970-01-01T00:00:00.500000Z");
    }

    #[test]
    fn nul_in_json_becomes_the_replacement_character() {
        let json = serde_json::json!({ "a\u{0}": ["\u{0}"] });
        assert_eq!(
            without_nul(json),
            serde_json::json!({ "a\u{fffd}": ["\u{fffd}"] })
        );
    }
}
