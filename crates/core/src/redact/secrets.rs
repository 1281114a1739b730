//! An account's own secrets, in every spelling they may turn up in.

use std::{borrow::Cow, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use secrecy::{ExposeSecret, SecretString};

use super::REDACTED;

/// Shorter values would turn up by chance and take harmless text with them.
const MIN_LEN: usize = 6;

/// Secret texts to look for.
#[derive(Clone)]
pub(super) struct Secrets(Vec<SecretString>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
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
        // The longest first: one may be part of another.
        spellings.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        spellings.dedup();
        Self(spellings.into_iter().map(SecretString::from).collect())
    }

    /// `text` with every one of them replaced; untouched where there is none.
    pub(super) fn replace<'a>(&self, mut text: Cow<'a, str>) -> Cow<'a, str> {
        for secret in &self.0 {
            if text.contains(secret.expose_secret()) {
                text = Cow::Owned(text.replace(secret.expose_secret(), REDACTED));
            }
        }
        text
    }
}

/// As it is, trimmed, JSON-escaped in two ways, percent-encoded in two ways, as a form field, and
/// in base64.
fn spellings_of(secret: &str) -> Vec<String> {
    let trimmed = secret.trim();
    let json = serde_json::to_string(trimmed).unwrap_or_default();
    let json = json.trim_matches('"').to_owned();
    let encoded = percent_encode(trimmed.as_bytes(), NON_ALPHANUMERIC).to_string();
    vec![
        secret.to_owned(),
        trimmed.to_owned(),
        json.replace('/', "\\/"),
        json,
        encoded.to_lowercase(),
        url::form_urlencoded::byte_serialize(trimmed.as_bytes()).collect(),
        unreserved_encoded(trimmed),
        encoded,
        STANDARD.encode(trimmed),
    ]
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
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", Secrets::new(&[])), "Secrets(0)");
    }
}
