//! An account's own secrets, in every spelling they may turn up in.

use std::{borrow::Cow, fmt, sync::Arc};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use secrecy::{ExposeSecret, SecretString};

use super::REDACTED;

/// Shorter values would turn up by chance and take harmless text with them.
const MIN_LEN: usize = 6;

/// Secret texts to look for.
#[derive(Clone, Default)]
pub(super) struct Secrets(Option<Arc<Known>>);

struct Known {
    /// The longest first: one may be part of another.
    spellings: Vec<SecretString>,
    /// A bit for each two bytes that one of them begins with, so that text is looked through once
    /// however many there are.
    beginnings: Vec<u64>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.0.as_ref().map_or(0, |known| known.spellings.len());
        write!(f, "Secrets({known})")
    }
}

/// Where the bit of two bytes is: the word, and the bit in it.
fn bit(first: u8, second: u8) -> (usize, u64) {
    let pair = usize::from(first) << 8 | usize::from(second);
    (pair / 64, 1 << (pair % 64))
}

impl Known {
    /// The first spelling in `text` from a position on, as its start and end.
    fn find(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        let pairs = text.get(from..)?.windows(2).enumerate();
        for (at, pair) in pairs {
            let (word, bit) = bit(pair[0], pair[1]);
            if self.beginnings[word] & bit == 0 {
                continue;
            }
            let start = from + at;
            let is_here = |spelling: &&SecretString| {
                text[start..].starts_with(spelling.expose_secret().as_bytes())
            };
            if let Some(found) = self.spellings.iter().find(is_here) {
                return Some((start, start + found.expose_secret().len()));
            }
        }
        None
    }
}

impl Secrets {
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut spellings: Vec<String> = secrets
            .into_iter()
            .map(ExposeSecret::expose_secret)
            .filter(|secret| secret.trim().len() >= MIN_LEN)
            .flat_map(spellings_of)
            .collect();
        if spellings.is_empty() {
            return Self(None);
        }
        spellings.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        spellings.dedup();
        let mut beginnings = vec![0; 1 << 10];
        for spelling in &spellings {
            if let [first, second, ..] = spelling.as_bytes() {
                let (word, bit) = bit(*first, *second);
                beginnings[word] |= bit;
            }
        }
        let spellings = spellings.into_iter().map(SecretString::from).collect();
        Self(Some(Arc::new(Known {
            spellings,
            beginnings,
        })))
    }

    /// Whether `text` holds one of them.
    pub(super) fn are_in(&self, text: &str) -> bool {
        let known = self.0.as_ref();
        known.is_some_and(|known| known.find(text.as_bytes(), 0).is_some())
    }

    /// `text` with every one of them replaced; untouched where there is none.
    pub(super) fn replace<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        let Some(known) = &self.0 else { return text };
        let mut found = known.find(text.as_bytes(), 0);
        if found.is_none() {
            return text;
        }
        let (mut replaced, mut copied) = (String::with_capacity(text.len()), 0);
        while let Some((start, end)) = found {
            // Spellings are whole characters, so these are boundaries.
            replaced.push_str(&text[copied..start]);
            replaced.push_str(REDACTED);
            copied = end;
            found = known.find(text.as_bytes(), end);
        }
        replaced.push_str(&text[copied..]);
        Cow::Owned(replaced)
    }
}

/// As it is, trimmed, JSON-escaped in two ways, percent-encoded in two ways and as a form field,
/// each with digits of either case, and in base64, by itself and within something longer.
fn spellings_of(secret: &str) -> Vec<String> {
    let trimmed = secret.trim();
    let json = serde_json::to_string(trimmed).unwrap_or_default();
    let json = json.trim_matches('"').to_owned();
    let percent = [
        percent_encode(trimmed.as_bytes(), NON_ALPHANUMERIC).to_string(),
        unreserved_encoded(trimmed),
        url::form_urlencoded::byte_serialize(trimmed.as_bytes()).collect(),
    ];
    let mut spellings = vec![
        secret.to_owned(),
        trimmed.to_owned(),
        json.replace('/', "\\/"),
        json,
        STANDARD.encode(trimmed),
        URL_SAFE.encode(trimmed),
    ];
    spellings.extend(percent.iter().map(|encoded| lower_digits(encoded)));
    spellings.extend(percent);
    spellings.extend(within_base64(trimmed.as_bytes()));
    spellings
}

/// `%2F` as `%2f`; everything else as it is.
fn lower_digits(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // What was encoded has two digits behind each `%`.
        let (digits, rest) = part.split_at(2);
        lower.push('%');
        lower.push_str(&digits.to_lowercase());
        lower.push_str(rest);
    }
    lower
}

/// What base64 of a longer text that holds `secret`, as that of `user:password` does, has of it:
/// one spelling for each of three alignments, without the characters it shares with its
/// neighbours.
fn within_base64(secret: &[u8]) -> Vec<String> {
    let spelling = |before: usize| {
        let text = [&[0; 2][..before], secret].concat();
        let (from, to) = ((before * 8).div_ceil(6), text.len() * 8 / 6);
        [&STANDARD, &URL_SAFE].map(|engine| engine.encode(&text)[from..to].to_owned())
    };
    (0..3).flat_map(spelling).collect()
}

/// Percent-encoded but for the unreserved characters of RFC 3986.
fn unreserved_encoded(text: &str) -> String {
    const SET: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    percent_encode(text.as_bytes(), SET).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_values_are_not_looked_for() {
        let secrets = Secrets::new(&[SecretString::from("abc")]);
        assert_eq!(secrets.replace(Cow::Borrowed("abc abc")), "abc abc");
    }

    #[test]
    fn digits_of_either_case_are_found() {
        let secrets = Secrets::new(&[SecretString::from("Canary/5F+")]);
        for text in ["Canary%2F5F%2B", "Canary%2f5F%2b"] {
            assert_eq!(secrets.replace(Cow::Borrowed(text)), REDACTED);
        }
    }

    // INV-10: an `Authorization` header that the other side echoes
    #[test]
    fn base64_is_found_at_every_alignment() {
        let secrets = Secrets::new(&[SecretString::from("p?ssw>rd~canary")]);
        for user in ["", "u", "us", "use", "user@example/token"] {
            for behind in ["", ":", ":x"] {
                let text = format!("{user}:p?ssw>rd~canary{behind}");
                for encoded in [STANDARD.encode(&text), URL_SAFE.encode(&text)] {
                    let replaced = secrets.replace(Cow::Borrowed(&encoded));
                    assert!(replaced.contains(REDACTED), "{text}: {replaced}");
                }
            }
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", Secrets::new(&[])), "Secrets(0)");
    }
}
