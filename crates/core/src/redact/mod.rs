//! Redaction: what is stored or traced holds no secret.
//!
//! Three kinds of things are replaced: values at the paths a provider names, values under keys
//! whose names say secret, and the account's own credentials wherever they turn up. What matches
//! nothing stays byte for byte what it was.

mod json;
mod path;
mod secrets;

use std::borrow::Cow;

use secrecy::SecretString;

pub use path::{InvalidPath, JsonPath};
use secrets::Secrets;

/// What stands in place of a secret.
pub const REDACTED: &str = "[REDACTED]";

/// Parts of key names that say secret, compared without case, `-` and `_`.
const SECRET_NAMES: [&str; 14] = [
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

/// Whether a key's name says that its value is secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    SECRET_NAMES.iter().any(|part| plain.contains(part))
        && !HARMLESS_NAMES.contains(&plain.as_str())
}

/// Replaces what must not be stored, for one account.
#[derive(Clone, Debug)]
pub struct Redactor {
    paths: Vec<JsonPath>,
    secrets: Secrets,
}

impl Redactor {
    /// A redactor for these paths and the secrets of an account.
    #[must_use]
    pub fn new<'a>(
        paths: Vec<JsonPath>,
        secrets: impl IntoIterator<Item = &'a SecretString>,
    ) -> Self {
        Self {
            paths,
            secrets: Secrets::new(secrets),
        }
    }

    /// A body. JSON is redacted by path and key, a form by key; whatever it is, the account's own
    /// secrets go. `None` where nobody can say what it holds: for multipart bodies, whose fields
    /// are not looked at, and where paths were named and the body is not JSON (W-RED-1).
    #[must_use]
    pub fn body<'a>(&self, body: &'a str, content_type: Option<&str>) -> Option<Cow<'a, str>> {
        let is_a = |kind: &str| {
            let start = content_type.and_then(|given| given.get(..kind.len()));
            start.is_some_and(|start| start.eq_ignore_ascii_case(kind))
        };
        let by_structure = if is_a("multipart/") {
            None
        } else if is_a("application/x-www-form-urlencoded") {
            Some(redact_pairs(body))
        } else if let Some(redacted) = json::redact(body, &self.paths, &self.secrets) {
            Some(redacted)
        } else if self.paths.is_empty() || body.is_empty() {
            Some(Cow::Borrowed(body))
        } else {
            None
        }?;
        Some(self.secrets.replace(by_structure))
    }

    /// A path with its query: values under secret names, and the account's own secrets.
    #[must_use]
    pub fn path_and_query(&self, target: &str) -> String {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let path = self.secrets.replace(Cow::Borrowed(path));
        match query {
            Some(query) => {
                let query = self.secrets.replace(redact_pairs(query));
                format!("{path}?{query}")
            }
            None => path.into_owned(),
        }
    }

    /// Text of no known structure, an error message for instance: the account's own secrets.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.secrets.replace(Cow::Borrowed(text))
    }
}

/// `a=1&b=2`, with the values of secret names replaced.
fn redact_pairs(text: &str) -> Cow<'_, str> {
    let secret = |pair: &str| {
        pair.split_once('=').is_some_and(|(name, value)| {
            let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
            !value.is_empty() && is_secret_name(&name)
        })
    };
    if !text.split('&').any(secret) {
        return Cow::Borrowed(text);
    }
    let pairs = text.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if secret(pair) => Cow::Owned(format!("{name}={REDACTED}")),
        _ => Cow::Borrowed(pair),
    });
    Cow::Owned(pairs.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(paths: &[&str], secrets: &[&str]) -> Redactor {
        let secrets: Vec<SecretString> = secrets.iter().map(|s| (*s).into()).collect();
        let paths = paths.iter().map(|p| JsonPath::parse(p).unwrap()).collect();
        Redactor::new(paths, &secrets)
    }

    fn json(paths: &[&str], body: &str) -> Option<String> {
        redactor(paths, &[]).body(body, None).map(Cow::into_owned)
    }

    // RED-02, RED-06
    #[test]
    fn paths_take_wildcards_indexes_and_whole_values() {
        let body = r#"{"a":[{"b":1},{"b":{"c":2}}],"d":"x"}"#;
        let expected = r#"{"a":[{"b":"[REDACTED]"},{"b":"[REDACTED]"}],"d":"x"}"#;
        assert_eq!(json(&["$.a[*].b"], body).unwrap(), expected);
        let expected = r#"{"a":[{"b":1},{"b":"[REDACTED]"}],"d":"x"}"#;
        assert_eq!(json(&["a.1.b"], body).unwrap(), expected);
        assert_eq!(
            json(&["$.**.c"], body).unwrap(),
            body.replace('2', "\"[REDACTED]\"")
        );
    }

    // RED-03, RED-04, L-RED-3, W-RED-0
    #[test]
    fn what_matches_nothing_stays_byte_for_byte() {
        let body = "{ \"n\" : 1.0e400, \"big\":123456789012345678901234567890, \"e\": {} }";
        assert_eq!(json(&["$.missing", "$.n.deeper"], body).unwrap(), body);
        let body = "{ \"n\" : 1.0e400, \"x\": 1, \"e\": {} }";
        assert_eq!(
            json(&["$.x"], body).unwrap(),
            body.replace("1,", "\"[REDACTED]\",")
        );
    }

    // W-RED-1
    #[test]
    fn fails_closed_where_paths_are_named_and_the_body_is_not_json() {
        assert_eq!(json(&["$.a"], "a=1"), None);
        assert_eq!(json(&[], "not json").unwrap(), "not json");
        let parts = "--b\r\ncontent-disposition: form-data; name=\"password\"\r\n\r\nhunter2";
        let kind = Some("Multipart/Form-Data; boundary=b");
        assert_eq!(redactor(&[], &[]).body(parts, kind), None);
    }

    // W-RED-2
    #[test]
    fn secret_names_go_in_json_forms_and_queries() {
        let body = r#"{"user":"u","Access-Token":"t","nested":{"client_secret":"s"}}"#;
        let expected =
            r#"{"user":"u","Access-Token":"[REDACTED]","nested":{"client_secret":"[REDACTED]"}}"#;
        assert_eq!(json(&[], body).unwrap(), expected);
        let form = redactor(&["$.a"], &[]);
        let kind = Some("application/x-www-form-urlencoded; charset=utf-8");
        assert_eq!(
            form.body("a=1&api%5Fkey=k", kind).unwrap(),
            "a=1&api%5Fkey=[REDACTED]"
        );
        let kind = Some("Application/X-WWW-Form-Urlencoded");
        assert_eq!(form.body("token=t", kind).unwrap(), "token=[REDACTED]");
        assert_eq!(
            form.path_and_query("/x?page=2&token=t"),
            "/x?page=2&token=[REDACTED]"
        );
    }

    // INV-10
    #[test]
    fn an_accounts_own_secrets_go_wherever_they_are() {
        let redactor = redactor(&[], &["ghp_canary/5f2b+"]);
        let redacted = |text: &str| redactor.body(text, None).unwrap().into_owned();
        assert_eq!(
            redacted("error near ghp_canary/5f2b+!"),
            "error near [REDACTED]!"
        );
        assert_eq!(
            redacted(r#"{"echo":"ghp_canary\/5f2b+"}"#),
            r#"{"echo":"[REDACTED]"}"#
        );
        assert_eq!(
            redactor.path_and_query("/x/ghp_canary%2F5f2b%2B"),
            "/x/[REDACTED]"
        );
        assert_eq!(redactor.text("ghp_canary/5f2b+"), "[REDACTED]");
    }

    #[test]
    fn names_that_only_sound_secret_stay() {
        for name in ["token_type", "nextPageToken", "id", "title"] {
            assert!(!is_secret_name(name), "{name}");
        }
        for name in ["X-Api-Key", "refreshToken", "webhook_secret", "Set-Cookie"] {
            assert!(is_secret_name(name), "{name}");
        }
    }
}
