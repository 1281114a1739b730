//! Names that say that what they name is secret.

/// Parts of names that say secret, compared without case and whatever is neither letter nor
/// digit.
const SECRET_PARTS: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "authorization",
    "credential",
    "privatekey",
    "accesskey",
    "signature",
    "cookie",
    "sessionid",
    "clientassertion",
];

/// Names that contain such a part and say nothing secret.
const HARMLESS_NAMES: [&str; 6] = [
    "tokentype",
    "nextpagetoken",
    "pagetoken",
    "tokenexpiresat",
    "tokenexpiry",
    "maxtokens",
];

/// The longest name that is looked at whole. Longer ones are looked at by their beginning.
const LONGEST: usize = 64;

/// Names that an application adds to those that say secret by themselves: `pin`, `*_ssn`,
/// `card*`. Compared without case, `-`, `_` and `.`; `*` stands for any number of characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretNames(Vec<String>);

/// Text that names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name such as `pin` or `*_ssn`: it would match everything or nothing")]
pub struct InvalidName(String);

impl SecretNames {
    /// The same with one more.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidName`] for a pattern without letters and digits.
    pub fn with(mut self, pattern: &str) -> Result<Self, InvalidName> {
        let plain: String = pattern
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '*')
            .map(|c| c.to_ascii_lowercase())
            .collect();
        if plain.chars().all(|c| c == '*') {
            return Err(InvalidName(pattern.to_owned()));
        }
        self.0.push(plain);
        Ok(self)
    }

    /// Whether a name says that what it names is secret.
    pub(super) fn say(&self, name: &str) -> bool {
        let mut letters = [0; LONGEST];
        let plain = plain(name, &mut letters);
        says_secret(plain) || self.0.iter().any(|pattern| fits(pattern.as_bytes(), plain))
    }
}

/// The letters and digits of a name, in lower case.
fn plain<'a>(name: &str, letters: &'a mut [u8; LONGEST]) -> &'a [u8] {
    let known = name.bytes().filter(u8::is_ascii_alphanumeric);
    let mut len = 0;
    for (slot, letter) in letters.iter_mut().zip(known) {
        *slot = letter.to_ascii_lowercase();
        len += 1;
    }
    &letters[..len]
}

fn says_secret(plain: &[u8]) -> bool {
    let begins_one = |rest: &[u8]| {
        // Most names have no position worth a second look.
        matches!(rest.first(), Some(b'p' | b's' | b't' | b'a' | b'c'))
            && SECRET_PARTS
                .iter()
                .any(|part| rest.starts_with(part.as_bytes()))
    };
    (0..plain.len()).any(|at| begins_one(&plain[at..]))
        && !HARMLESS_NAMES.iter().any(|name| name.as_bytes() == plain)
}

/// Whether a pattern with `*` describes all of `name`.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|skipped| fits(rest, &name[skipped..])),
        Some((letter, rest)) => name
            .split_first()
            .is_some_and(|(first, name)| first == letter && fits(rest, name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RED-10, W-RED-2
    #[test]
    fn names_that_only_sound_secret_stay() {
        let names = SecretNames::default();
        for name in ["token_type", "nextPageToken", "id", "title", "", "größe"] {
            assert!(!names.say(name), "{name}");
        }
        for name in ["X-Api-Key", "refreshToken", "webhook_secret", "Set-Cookie"] {
            assert!(names.say(name), "{name}");
        }
    }

    #[test]
    fn an_application_adds_names_with_wildcards() {
        let names = SecretNames::default().with("PIN").unwrap();
        let names = names.with("*_ssn").unwrap().with("card*").unwrap();
        for name in ["pin", "P-I-N", "ssn", "user.ssn", "cardHolder", "card"] {
            assert!(names.say(name), "{name}");
        }
        for name in ["pinned", "opinion", "ssnx", "discard"] {
            assert!(!names.say(name), "{name}");
        }
        for pattern in ["", "*", "__"] {
            assert!(SecretNames::default().with(pattern).is_err(), "{pattern}");
        }
    }
}
