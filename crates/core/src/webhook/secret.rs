//! Secrets that webhooks are signed with: several at once, some of which run out.

use std::fmt;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// Marks the end of a secret's life, behind it.
const UNTIL: &str = ";until=";

/// A secret of deliveries.
///
/// `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct WebhookSecret {
    /// What the sender signs with, in the sender's notation.
    pub value: SecretString,
    /// Until when it counts; `None`: for as long as it stands here.
    pub until: Option<DateTime<Utc>>,
}

/// What was configured is not a list of secrets. Carries nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// One of them is empty or blank.
    #[error("a webhook secret is empty; give each one a value, or take it out of the list")]
    Blank,
    /// What follows `;until=` is not an instant.
    #[error(
        "what follows `;until=` must be an instant as of RFC 3339, 2030-01-31T00:00:00Z for instance"
    )]
    Until,
    /// It begins like a JSON array and is none of texts.
    #[error(
        "webhook secrets that begin with `[` must be a JSON array of texts, or of objects with \
         `secret` and, where it runs out, `until`"
    )]
    Json,
    /// There are more than anybody rotates through.
    #[error("there are more than {max} webhook secrets", max = WebhookSecrets::MAX)]
    TooMany,
}

/// The secrets of an account, newest first.
///
/// Written as texts separated by commas, each with `;until=RFC3339` where it runs out:
/// `new-secret,old-secret;until=2030-01-31T00:00:00Z`. Secrets that hold a comma are written as a
/// JSON array; an object in it, `{"secret": "..", "until": ".."}`, is taken literally.
#[derive(Clone, Debug)]
pub struct WebhookSecrets(Vec<WebhookSecret>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Text(SecretString),
    Object {
        secret: SecretString,
        until: Option<String>,
    },
}

impl WebhookSecrets {
    /// How many there may be.
    pub const MAX: usize = 16;

    /// Reads what was configured.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidSecret`]; an account with such secrets accepts nothing.
    pub fn parse(configured: &SecretString) -> Result<Self, InvalidSecret> {
        let text = configured.expose_secret().trim();
        let secrets: Vec<WebhookSecret> = if text.starts_with('[') {
            let entries: Vec<Entry> =
                serde_json::from_str(text).map_err(|_| InvalidSecret::Json)?;
            let read = entries.into_iter().map(|entry| match entry {
                Entry::Text(text) => one(text.expose_secret()),
                Entry::Object { secret, until } => {
                    let until = until.as_deref().map(instant).transpose()?;
                    not_blank(secret.expose_secret(), until)
                }
            });
            read.collect::<Result<_, _>>()?
        } else {
            text.split(',').map(one).collect::<Result<_, _>>()?
        };
        match secrets.len() {
            0 => Err(InvalidSecret::Blank),
            1..=Self::MAX => Ok(Self(secrets)),
            _ => Err(InvalidSecret::TooMany),
        }
    }

    /// One secret, taken literally.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidSecret::Blank`] where there is nothing in it.
    pub fn single(secret: &SecretString) -> Result<Self, InvalidSecret> {
        Ok(Self(vec![not_blank(secret.expose_secret(), None)?]))
    }

    /// All of them, newest first, those that ran out included.
    pub fn iter(&self) -> impl Iterator<Item = &WebhookSecret> {
        self.0.iter()
    }
}

impl WebhookSecret {
    /// Whether it counts at `now`.
    #[must_use]
    pub fn counts_at(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl fmt::Display for WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} webhook secrets", self.0.len())
    }
}

fn one(text: &str) -> Result<WebhookSecret, InvalidSecret> {
    match text.split_once(UNTIL) {
        None => not_blank(text.trim(), None),
        Some((secret, until)) => not_blank(secret.trim(), Some(instant(until)?)),
    }
}

fn not_blank(secret: &str, until: Option<DateTime<Utc>>) -> Result<WebhookSecret, InvalidSecret> {
    if secret.trim().is_empty() {
        return Err(InvalidSecret::Blank);
    }
    Ok(WebhookSecret {
        value: SecretString::from(secret),
        until,
    })
}

fn instant(text: &str) -> Result<DateTime<Utc>, InvalidSecret> {
    DateTime::parse_from_rfc3339(text.trim())
        .map(|at| at.to_utc())
        .map_err(|_| InvalidSecret::Until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<(String, Option<String>)>, InvalidSecret> {
        let secrets = WebhookSecrets::parse(&SecretString::from(text))?;
        let show = |s: &WebhookSecret| {
            let until = s.until.map(|at| at.to_rfc3339());
            (s.value.expose_secret().to_owned(), until)
        };
        Ok(secrets.iter().map(show).collect())
    }

    // W-WH-13
    #[test]
    fn several_secrets_newest_first_and_some_run_out() {
        let until = Some("2030-01-31T00:00:00+00:00".to_owned());
        assert_eq!(
            parsed("new, old;until=2030-01-31T01:00:00+01:00\n").unwrap(),
            [("new".to_owned(), None), ("old".to_owned(), until.clone())]
        );
        assert_eq!(
            parsed(r#"["a,b", {"secret": "c;until=d", "until": "2030-01-31T00:00:00Z"}]"#).unwrap(),
            [("a,b".to_owned(), None), ("c;until=d".to_owned(), until)]
        );
    }

    #[test]
    fn what_is_blank_or_misspelt_is_refused() {
        for blank in [
            "",
            "  ",
            ",",
            "a,,b",
            "a, ",
            "[]",
            "[\" \"]",
            ";until=2030-01-31T00:00:00Z",
        ] {
            assert_eq!(
                parsed(blank).unwrap_err(),
                InvalidSecret::Blank,
                "{blank:?}"
            );
        }
        for until in ["a;until=", "a;until=tomorrow", "a;until=2030-01-31"] {
            assert_eq!(
                parsed(until).unwrap_err(),
                InvalidSecret::Until,
                "{until:?}"
            );
        }
        for json in ["[", "[1]", "[null]", "[{\"until\":null}]"] {
            assert_eq!(parsed(json).unwrap_err(), InvalidSecret::Json, "{json:?}");
        }
        assert_eq!(
            parsed(&["a"; 17].join(",")).unwrap_err(),
            InvalidSecret::TooMany
        );
    }

    #[test]
    fn a_secret_that_ran_out_does_not_count_and_none_is_shown() {
        let text = SecretString::from("canary;until=2030-01-31T00:00:00Z");
        let secrets = WebhookSecrets::parse(&text).unwrap();
        let end: DateTime<Utc> = "2030-01-31T00:00:00Z".parse().unwrap();
        let secret = secrets.iter().next().unwrap();
        assert!(secret.counts_at(end - chrono::Duration::microseconds(1)));
        assert!(!secret.counts_at(end));
        assert!(!format!("{secrets:?} {secrets}").contains("canary"));
    }
}
