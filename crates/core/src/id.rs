//! Identifiers: numeric row ids as one newtype per table, and the random [`Uid`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::value::InvalidValue;

macro_rules! define_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<i64> for $name {
            fn from(id: i64) -> Self {
                Self(id)
            }
        }
    )+};
}

define_id! {
    /// A row of `{prefix}s`: one connected account of one provider.
    IntegrationId,
    /// A row of `{prefix}_requests`: one attempt of one call.
    RequestId,
    /// A row of `{prefix}_logs`: one operation.
    LogId,
    /// A row of `{prefix}_mappings`.
    MappingId,
    /// A row of `{prefix}_idempotency_keys`.
    ReservationId,
    /// A row of `{prefix}_sync_items`.
    SyncItemId,
    /// A row of `{prefix}_sync_runs`.
    SyncRunId,
    /// A row of `{prefix}_webhooks`.
    WebhookId,
}

/// 128 random bits, written as 26 characters of lower-case Crockford base32.
///
/// A `uid` is minted before its row is inserted, so that what is sealed for the row can be bound
/// to it beforehand. Being random it is also safe to show in a URL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uid([u8; Uid::LEN]);

impl Uid {
    /// Characters of the text form: 128 bits at 5 bits each, rounded up.
    pub const LEN: usize = 26;

    /// <https://www.crockford.com/base32.html>, in lower case.
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

    /// The uid made of these 128 random bits.
    #[must_use]
    pub fn from_bits(bits: u128) -> Self {
        let mut text = [0; Self::LEN];
        for (i, slot) in text.iter_mut().enumerate() {
            let shift = 5 * (Self::LEN - 1 - i);
            *slot = Self::ALPHABET[((bits >> shift) & 31) as usize];
        }
        Self(text)
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The alphabet is ASCII and every constructor checks it.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Uid {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes: [u8; Self::LEN] = text
            .as_bytes()
            .try_into()
            .map_err(|_| InvalidValue::new("uid", "must have 26 characters"))?;
        // 26 × 5 = 130 bits: the first character carries only three of them.
        let fits = matches!(bytes[0], b'0'..=b'7');
        if fits && bytes.iter().all(|b| Self::ALPHABET.contains(b)) {
            Ok(Self(bytes))
        } else {
            Err(InvalidValue::new(
                "uid",
                "must be lower-case Crockford base32",
            ))
        }
    }
}

impl TryFrom<String> for Uid {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.as_str().to_owned()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uid_text_round_trips_for_the_extremes() {
        for bits in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let uid = Uid::from_bits(bits);
            assert_eq!(uid.as_str().len(), Uid::LEN);
            assert_eq!(uid.as_str().parse::<Uid>().unwrap(), uid);
        }
    }

    #[test]
    fn uid_refuses_what_no_uid_prints() {
        for text in [
            "",
            "short",
            "8zzzzzzzzzzzzzzzzzzzzzzzzz",
            "0ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        ] {
            assert!(text.parse::<Uid>().is_err(), "{text:?} was accepted");
        }
    }
}
