//! Redaction: what is stored or traced holds no secret.
//!
//! Four kinds of things are replaced: values at the paths that a provider or the application
//! names, values under keys whose names say secret, values of a form that gives them away, and the
//! account's own credentials wherever they turn up. What matches nothing stays byte for byte what
//! it was.

mod detect;
mod json;
mod names;
mod path;
mod secrets;

use std::{borrow::Cow, sync::Arc};

use secrecy::SecretString;

pub use names::{InvalidName, SecretNames};
pub use path::{InvalidPath, JsonPath};
use secrets::Secrets;

/// What stands in place of a secret.
pub const REDACTED: &str = "[REDACTED]";

/// Replaces what must not be stored, for one account.
#[derive(Clone, Debug)]
pub struct Redactor {
    paths: Vec<JsonPath>,
    names: Arc<SecretNames>,
    secrets: Secrets,
    /// Of one call only, and on top of the account's.
    passing: Secrets,
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
            names: Arc::default(),
            secrets: Secrets::new(secrets),
            passing: Secrets::default(),
        }
    }

    /// The same for names that an application added.
    #[must_use]
    pub fn with_names(mut self, names: Arc<SecretNames>) -> Self {
        self.names = names;
        self
    }

    /// The same for a call that brings secrets of its own: under secret names in its path, query
    /// or headers.
    #[must_use]
    pub fn with_secrets<'a>(&self, secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        Self {
            passing: Secrets::new(secrets),
            ..self.clone()
        }
    }

    /// Whether a name says that what it names is secret.
    #[must_use]
    pub fn is_secret_name(&self, name: &str) -> bool {
        self.names.say(name)
    }

    /// What of headers may be kept: the value, unless the name says secret.
    #[must_use]
    pub fn header<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        if self.is_secret_name(name) {
            return Cow::Borrowed(REDACTED);
        }
        self.text(value)
    }

    /// A body. JSON is redacted by path and key, a form by key; whatever it is, the account's own
    /// secrets and values that give themselves away go. `None` where nobody can say what it holds: for multipart bodies, whose fields
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
            Some(self.pairs(body))
        } else if let Some(redacted) = json::redact(body, self) {
            Some(redacted)
        } else if self.paths.is_empty() || body.is_empty() {
            Some(detect::replace(Cow::Borrowed(body), &self.names))
        } else {
            None
        }?;
        Some(self.own(by_structure))
    }

    /// A path with its query: values under secret names, and the account's own secrets.
    #[must_use]
    pub fn path_and_query(&self, target: &str) -> String {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let path = self.text(path);
        match query {
            Some(query) => format!("{path}?{}", self.query(query)),
            None => path.into_owned(),
        }
    }

    /// A query: values under secret names, and the account's own secrets.
    #[must_use]
    pub fn query<'a>(&self, query: &'a str) -> Cow<'a, str> {
        self.own(self.pairs(query))
    }

    /// Text of no known structure, an error message for instance: the account's own secrets, and
    /// values that give themselves away.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.own(detect::replace(Cow::Borrowed(text), &self.names))
    }

    /// The account's own secrets, and those of the call.
    fn own<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        self.passing.replace(self.secrets.replace(text))
    }

    /// `a=1&b=2`, with the values of secret names replaced.
    fn pairs<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let secret = |pair: &str| {
            pair.split_once('=').is_some_and(|(name, value)| {
                let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
                !value.is_empty() && self.is_secret_name(&name)
            })
        };
        if !text.split('&').any(secret) {
            return detect::replace(Cow::Borrowed(text), &self.names);
        }
        let pairs = text.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if secret(pair) => Cow::Owned(format!("{name}={REDACTED}")),
            _ => Cow::Borrowed(pair),
        });
        let pairs = Cow::Owned(pairs.collect::<Vec<_>>().join("&"));
        detect::replace(pairs, &self.names)
    }
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

    // W-RED-2
    #[test]
    fn values_that_give_themselves_away_go_in_every_kind_of_text() {
        let redactor = redactor(&[], &[]);
        let body = r#"{"next":"https://u:p@x.example/?access_token=t","card":4242424242424242}"#;
        assert_eq!(
            redactor.body(body, None).unwrap(),
            r#"{"next":"https://[REDACTED]@x.example/?access_token=[REDACTED]","card":4242424242424242}"#,
        );
        let form = Some("application/x-www-form-urlencoded");
        let card = redactor.body("n=4242424242424242", form).unwrap();
        assert_eq!(card, "n=[REDACTED]");
        assert_eq!(
            redactor.body("card 4242424242424242", None).unwrap(),
            "card [REDACTED]"
        );
        assert_eq!(
            redactor.path_and_query("/cards/4242424242424242?x=1"),
            "/cards/[REDACTED]?x=1"
        );
    }

    // RED-09, W-RED-3
    #[test]
    fn headers_go_by_their_names_and_by_what_they_hold() {
        let redactor = redactor(&[], &["canary-5f2b"]);
        assert_eq!(redactor.header("Set-Cookie", "a=1"), REDACTED);
        assert_eq!(redactor.header("x-echo", "is canary-5f2b"), "is [REDACTED]");
        assert_eq!(redactor.header("etag", "\"1\""), "\"1\"");
    }

    #[test]
    fn a_call_brings_secrets_of_its_own() {
        let account = redactor(&[], &["canary-5f2b"]);
        let call = account.with_secrets(&["passing-9c1d".into()]);
        assert_eq!(
            call.text("canary-5f2b and passing-9c1d"),
            "[REDACTED] and [REDACTED]"
        );
        assert_eq!(account.text("passing-9c1d"), "passing-9c1d");
    }

    #[test]
    fn an_applications_names_count_everywhere() {
        let names = SecretNames::default().with("*_ssn").unwrap();
        let redactor = redactor(&[], &[]).with_names(names.into());
        let body = r#"{"user_ssn":1,"pin":2}"#;
        assert_eq!(
            redactor.body(body, None).unwrap(),
            r#"{"user_ssn":"[REDACTED]","pin":2}"#
        );
        assert_eq!(redactor.path_and_query("/x?ssn=1"), "/x?ssn=[REDACTED]");
        assert_eq!(redactor.text("ssn=1"), "ssn=[REDACTED]");
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
}
