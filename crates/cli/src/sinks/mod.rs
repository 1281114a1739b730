//! Sinks: where a program without handlers of its own delivers items and webhooks.
//!
//! A delivery is reported only once it is where it shall be: flushed, on disk, or answered with a
//! 2xx. Deliveries are made at least once; a message keeps its id.

mod http;
mod items;
mod lines;
mod message;
mod webhooks;

use std::{fs::OpenOptions, io, path::PathBuf, sync::Arc};

use chrono::{DateTime, Utc};
use integrations::{sync::engine::SyncPolicy, time::Clock, transport::AllowPrivate};
use secrecy::SecretString;
use url::Url;

pub(crate) use self::message::Message;
use self::{
    http::HttpSink,
    lines::{AppendFile, Lines, StandardOutput},
};
use crate::exit::{Failure, Outcome};

/// Lines delivered at once, which share a write.
const LINES_AT_ONCE: usize = 256;

/// Where to deliver, as `--sink` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SinkTarget {
    /// Standard output, a line each.
    Stdout,
    /// A file, a line each.
    Ndjson(PathBuf),
    /// A server, a request each.
    Http(Url),
}

impl SinkTarget {
    /// Reads `stdout`, `ndjson:FILE`, or `http:URL`.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected stdout, ndjson:FILE or http:URL, such as \
                                http:https://example.com/hook";
        if text == "stdout" {
            return Ok(Self::Stdout);
        }
        match text.split_once(':') {
            Some(("ndjson", file)) if !file.is_empty() => Ok(Self::Ndjson(file.into())),
            Some(("http", url)) => match url.parse::<Url>() {
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                    Ok(Self::Http(url))
                }
                _ => Err(EXPECTED),
            },
            _ => Err(EXPECTED),
        }
    }
}

/// `[sink]`, looked up.
#[derive(Clone, Default)]
pub(crate) struct SinkSettings {
    /// What requests are signed with.
    pub(crate) secret: Option<SecretString>,
    /// Private networks the server may be in.
    pub(crate) allow_private: AllowPrivate,
}

/// A message did not get where it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Undelivered {
    /// For this reason, which holds no secret and no URL.
    Failed(String),
    /// The other side asks for a pause.
    Later(Option<DateTime<Utc>>),
}

/// Delivers messages. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sink(Arc<Kind>);

enum Kind {
    Lines(Lines),
    Http(Box<HttpSink>),
}

impl Sink {
    /// Opens it: makes the file, checks the secret.
    pub(crate) fn open(
        target: &SinkTarget,
        settings: &SinkSettings,
        clock: &Arc<dyn Clock>,
    ) -> Outcome<Self> {
        let kind = match target {
            SinkTarget::Stdout => Kind::Lines(Lines::over(StandardOutput)),
            SinkTarget::Ndjson(path) => {
                let file = AppendFile::open(path).map_err(|error| {
                    let shown = path.display();
                    Failure::failed(format!("the sink `{shown}` cannot be opened: {error}"))
                })?;
                Kind::Lines(Lines::over(file))
            }
            SinkTarget::Http(url) => {
                Kind::Http(Box::new(HttpSink::new(url, settings, Arc::clone(clock))?))
            }
        };
        Ok(Self(Arc::new(kind)))
    }

    /// How many deliveries to make at once, unless somebody says so: what shares a write wants more
    /// than what is a request of its own.
    pub(crate) fn at_once(&self, policy: &SyncPolicy) -> usize {
        let is_default = policy.concurrency == SyncPolicy::default().concurrency;
        match &*self.0 {
            Kind::Lines(_) if is_default => LINES_AT_ONCE,
            Kind::Lines(_) | Kind::Http(_) => policy.concurrency,
        }
    }

    /// Delivers a message. Messages that are delivered at once share what a delivery costs.
    ///
    /// Dropping the future does not take the message back.
    pub(crate) async fn deliver(&self, message: Message) -> Result<(), Undelivered> {
        match &*self.0 {
            Kind::Lines(lines) => lines.deliver(message.line()).await,
            Kind::Http(http) => http.deliver(&message).await,
        }
    }
}

/// Options for a file that only its owner can read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

/// What the system says, without a path.
fn said(error: &io::Error) -> String {
    error.kind().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_others_refused() {
        assert_eq!(SinkTarget::read("stdout"), Ok(SinkTarget::Stdout));
        let file = SinkTarget::Ndjson("a:b.ndjson".into());
        assert_eq!(SinkTarget::read("ndjson:a:b.ndjson"), Ok(file));
        let url = SinkTarget::Http("https://example.com/hook".parse().unwrap());
        assert_eq!(SinkTarget::read("http:https://example.com/hook"), Ok(url));
        for wrong in [
            "",
            "ndjson:",
            "http:",
            "http:example.com",
            "http:ftp://a/b",
            "file:x",
        ] {
            assert!(SinkTarget::read(wrong).is_err(), "{wrong}");
        }
    }
}
