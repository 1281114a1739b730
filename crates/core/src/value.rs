//! Validated values: text with a meaning and a limit, checked once where it enters.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a value was refused. Names the kind of value and the rule, never the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {rule}")]
pub struct InvalidValue {
    what: &'static str,
    rule: &'static str,
}

impl InvalidValue {
    /// A refusal of a `what` that broke `rule`.
    #[must_use]
    pub const fn new(what: &'static str, rule: &'static str) -> Self {
        Self { what, rule }
    }
}

macro_rules! define_text {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $check:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` and takes it.
            ///
            /// # Errors
            ///
            /// Returns [`InvalidValue`] naming the rule that `text` broke.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidValue> {
                let text = text.into();
                let check: fn(&str) -> Result<(), &'static str> = $check;
                match check(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err(rule) => Err(InvalidValue::new($what, rule)),
                }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidValue;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )+};
}

/// Text of 1 to `max` characters without NUL, which PostgreSQL cannot store.
fn plain(text: &str, max: usize, too_long: &'static str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("must not be empty")
    } else if text.chars().count() > max {
        Err(too_long)
    } else if text.contains('\0') {
        Err("must not contain NUL")
    } else {
        Ok(())
    }
}

define_text! {
    /// What an at-most-once call is known by: 1 to 191 characters chosen by the caller.
    ///
    /// 191 is what fits an index of every database the layer was ever run on.
    IdempotencyKey, "idempotency key", |t| plain(t, 191, "must have at most 191 characters");
    /// The name a record has in the other system: 1 to 500 characters.
    ExternalId, "external id", |t| plain(t, 500, "must have at most 500 characters");
    /// What a provider is registered under and what `provider` columns hold.
    ProviderKey, "provider key", |t| {
        plain(t, 64, "must have at most 64 characters")?;
        let first = t.starts_with(|c: char| c.is_ascii_lowercase());
        let rest = t.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
        if first && rest { Ok(()) } else { Err("must be lower-case letters, digits, `_` and `-`, beginning with a letter") }
    };
    /// The display name of an integration: 1 to 255 characters.
    IntegrationName, "integration name", |t| plain(t, 255, "must have at most 255 characters");
    /// One feed of a provider with a cursor of its own, such as `issues`.
    StreamName, "stream name", |t| plain(t, 64, "must have at most 64 characters");
    /// What a sync item is about, such as `issue`; handlers are registered per kind.
    ItemKind, "item kind", |t| plain(t, 255, "must have at most 255 characters");
    /// The application's type an external id maps to, such as `ticket`.
    InternalType, "internal type", |t| plain(t, 255, "must have at most 255 characters");
    /// The application's id an external id maps to.
    InternalId, "internal id", |t| plain(t, 255, "must have at most 255 characters");
    /// What a lease excludes others from.
    LeaseName, "lease name", |t| plain(t, 191, "must have at most 191 characters");
    /// Who holds a lease or a claim: a worker's own name.
    HolderName, "holder name", |t| plain(t, 64, "must have at most 64 characters");
    /// A key of the ring, as envelopes and `{prefix}_keys` name it.
    KeyId, "key id", |t| {
        plain(t, 32, "must have at most 32 characters")?;
        if t.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') { Ok(()) } else { Err("must be letters, digits, `_` and `-`") }
    };
}

impl Default for StreamName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

/// What every table name begins with: `[a-z_][a-z0-9_]*`, at most [`TablePrefix::MAX_LEN`] bytes.
///
/// The check keeps names safe to put into statement text, and short enough that every name
/// derived from the prefix fits the 63 bytes PostgreSQL keeps of an identifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TablePrefix(String);

impl TablePrefix {
    /// The longest prefix: 63 bytes less the longest suffix any table, index or constraint adds.
    pub const MAX_LEN: usize = 28;

    /// Checks `text` and takes it.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidValue`] naming the rule that `text` broke.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidValue> {
        let text = text.into();
        let mut chars = text.chars();
        let starts = chars
            .next()
            .is_some_and(|c| c.is_ascii_lowercase() || c == '_');
        let goes_on = chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !starts || !goes_on {
            return Err(InvalidValue::new(
                "table prefix",
                "must be lower-case letters, digits and `_`, not beginning with a digit",
            ));
        }
        if text.len() > Self::MAX_LEN {
            return Err(InvalidValue::new(
                "table prefix",
                "must have at most 28 characters",
            ));
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TablePrefix {
    fn default() -> Self {
        Self("integration".to_owned())
    }
}

impl fmt::Display for TablePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TablePrefix {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for TablePrefix {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<TablePrefix> for String {
    fn from(prefix: TablePrefix) -> Self {
        prefix.0
    }
}

/// Cuts `text` to at most `max` characters, on a character boundary.
#[must_use]
pub fn cut_chars(text: &str, max: usize) -> &str {
    text.char_indices()
        .nth(max)
        .map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    // IDM-01
    #[test]
    fn idempotency_key_takes_191_characters_and_no_more() {
        assert!(IdempotencyKey::new("k".repeat(191)).is_ok());
        assert!(IdempotencyKey::new("ü".repeat(191)).is_ok());
        assert!(IdempotencyKey::new("k".repeat(192)).is_err());
        assert!(IdempotencyKey::new("").is_err());
    }

    // MAP-01
    #[test]
    fn external_id_takes_500_characters_and_no_nul() {
        assert!(ExternalId::new("x".repeat(500)).is_ok());
        assert!(ExternalId::new("x".repeat(501)).is_err());
        assert!(ExternalId::new("a\0b").is_err());
    }

    #[test]
    fn table_prefix_refuses_what_could_leave_an_identifier() {
        for text in [
            "",
            "Acme",
            "1st",
            "a-b",
            "a b",
            "a\"b",
            "ä",
            &"a".repeat(29),
        ] {
            assert!(TablePrefix::new(text).is_err(), "{text:?} was accepted");
        }
        for text in ["integration", "_x", "acme_2", &"a".repeat(28)] {
            assert!(TablePrefix::new(text).is_ok(), "{text:?} was refused");
        }
    }

    #[test]
    fn cutting_keeps_whole_characters() {
        assert_eq!(cut_chars("größe", 3), "grö");
        assert_eq!(cut_chars("ab", 3), "ab");
    }
}
