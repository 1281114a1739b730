//! `[server]`: what `serve` listens on, and what it bears.

use std::{net::SocketAddr, time::Duration};

use integrations_server::{AdminToken, Limits};
use serde::Deserialize;

use super::{base_url, file::Secret, look_up};
use crate::{
    args::duration,
    exit::{Failure, Outcome},
};

/// `[server]`
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Server {
    listen: Option<SocketAddr>,
    admin_listen: Option<SocketAddr>,
    admin_token: Option<Secret>,
    prefix: Option<Prefix>,
    public_url: Option<PublicUrl>,
    connections: Option<Count>,
    head_timeout: Option<Seconds>,
    request_timeout: Option<Seconds>,
    drain_timeout: Option<Seconds>,
}

/// What the paths of routes begin with.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
struct Prefix(String);

impl TryFrom<String> for Prefix {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
        if text.starts_with('/') && text.len() > 1 && text.chars().all(plain) {
            return Ok(Self(text));
        }
        Err("expected a path such as \"/integrations\"")
    }
}

/// Where senders and browsers reach the public listener.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
struct PublicUrl(String);

impl TryFrom<String> for PublicUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let url = base_url(&text).map_err(|why| format!("`server.public_url` {why}"))?;
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

/// A number of things, at least one.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Count(pub(super) usize);

impl TryFrom<i64> for Count {
    type Error = &'static str;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        match u32::try_from(number) {
            Ok(number @ 1..=1_073_741_824) => Ok(Self(number as usize)),
            _ => Err("expected a whole number from 1 to 1073741824"),
        }
    }
}

/// A duration.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Seconds(pub(super) Duration);

impl TryFrom<String> for Seconds {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        duration(&text).map(Self)
    }
}

impl Server {
    /// Where the public listener is.
    pub(crate) fn listen(&self) -> SocketAddr {
        let default = SocketAddr::from(([127, 0, 0, 1], 8420));
        self.listen.unwrap_or(default)
    }

    /// Where the operators' listener is.
    pub(crate) fn admin_listen(&self) -> SocketAddr {
        let default = SocketAddr::from(([127, 0, 0, 1], 8421));
        self.admin_listen.unwrap_or(default)
    }

    /// What opens the operators' routes on the public listener, looked up.
    pub(crate) fn admin_token(&self) -> Outcome<Option<AdminToken>> {
        let wrong = |why: String| Failure::usage(format!("`server.admin_token`: {why}"));
        let Some(secret) = &self.admin_token else {
            return Ok(None);
        };
        let token = AdminToken::new(look_up(secret).map_err(wrong)?);
        token.map(Some).map_err(|error| wrong(error.to_string()))
    }

    pub(crate) fn limits(&self) -> Limits {
        let default = Limits::default();
        let seconds = |given: Option<Seconds>, default| given.map_or(default, |given| given.0);
        Limits {
            connections: self
                .connections
                .map_or(default.connections, |count| count.0),
            head: seconds(self.head_timeout, default.head),
            request: seconds(self.request_timeout, default.request),
            drain: seconds(self.drain_timeout, default.drain),
            ..default
        }
    }

    /// What the paths of routes begin with, without a slash at the end.
    pub(crate) fn prefix(&self) -> &str {
        let given = self.prefix.as_ref().map(|prefix| prefix.0.as_str());
        given.unwrap_or("/integrations").trim_end_matches('/')
    }

    /// Where the public listener is reached from outside, without a slash at the end.
    pub(crate) fn public_url(&self) -> Option<&str> {
        self.public_url.as_ref().map(|url| url.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Server, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn nothing_is_loopback_and_without_a_token() {
        let server = read("").unwrap();
        assert_eq!(server.listen().to_string(), "127.0.0.1:8420");
        assert_eq!(server.admin_listen().to_string(), "127.0.0.1:8421");
        assert!(server.admin_token().unwrap().is_none());
        assert_eq!(server.limits(), Limits::default());
        assert_eq!(
            (server.prefix(), server.public_url()),
            ("/integrations", None)
        );
    }

    #[test]
    fn what_urls_are_made_of_has_no_slash_at_the_end() {
        let server = read("prefix = \"/hooks/\"\npublic_url = \"https://A.example/x/\"").unwrap();
        assert_eq!(server.prefix(), "/hooks");
        assert_eq!(server.public_url(), Some("https://a.example/x"));
        let server = read("public_url = \"http://127.0.0.1:8420\"").unwrap();
        assert_eq!(server.public_url(), Some("http://127.0.0.1:8420"));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for (text, says) in [
            ("listen = \"8420\"", "address"),
            ("prefix = \"hooks\"", "expected a path"),
            ("prefix = \"/{id}\"", "expected a path"),
            (
                "public_url = \"api.acme.example\"",
                "`server.public_url` is not a URL",
            ),
            ("public_url = \"https://u:p@a.example\"", "user or password"),
            (
                "public_url = \"https://a.example/?x=1\"",
                "neither query nor fragment",
            ),
            ("connections = 0", "from 1 to"),
            ("head_timeout = \"10\"", "expected a duration"),
        ] {
            let error = read(text).err().unwrap_or_default();
            assert!(error.contains(says), "{text}: {error}");
        }
        let weak = read("admin_token = \"canary\"").unwrap().admin_token();
        let weak = weak.unwrap_err().message;
        assert_eq!(
            weak,
            "`server.admin_token`: an admin token has at least 32 characters"
        );
    }

    #[test]
    fn limits_are_taken_over() {
        let server =
            read("connections = 7\nhead_timeout = \"3s\"\ndrain_timeout = \"1m\"").unwrap();
        let limits = server.limits();
        assert_eq!(limits.connections, 7);
        assert_eq!(limits.head, Duration::from_secs(3));
        assert_eq!(limits.drain, Duration::from_mins(1));
        assert_eq!(limits.request, Limits::default().request);
    }
}
