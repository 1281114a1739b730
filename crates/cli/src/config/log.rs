//! `[logging]`: what the request log keeps, and when a call goes on.

use std::ops::RangeInclusive;

use http::HeaderName;
use integrations::{
    body::BodyCaps,
    client::{ClientBuilder, LogMode, LogQueue, SampleRate, UnrecordedPolicy},
    redact::{JsonPath, SecretNames},
    trace::TracePropagation,
};

use super::{file::Logging, range::number};

/// Bytes of a body that the log may keep.
const BODY: RangeInclusive<u32> = 1_024..=16_777_216;
/// Rows that may wait, or be kept while the database is away.
const ROWS: RangeInclusive<u32> = 1..=1_000_000;
/// Batches under way at once.
const WRITERS: RangeInclusive<u32> = 1..=16;

/// The request log's settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LogSettings {
    caps: BodyCaps,
    mode: LogMode,
    queue: LogQueue,
    when_unrecorded: UnrecordedPolicy,
    successes: SampleRate,
    headers: Vec<HeaderName>,
    names: SecretNames,
    paths: Vec<JsonPath>,
    trace: TracePropagation,
}

impl LogSettings {
    pub(super) fn of(given: &Logging) -> Result<Self, String> {
        let default = Self::default();
        let count = |key: &str, given: &Option<toml::Value>, range, default: usize| {
            let given = number(&format!("logging.{key}"), given.as_ref(), range)?;
            Ok::<_, String>(given.map_or(default, |given| given as usize))
        };
        let (caps, mut queue) = (default.caps, default.queue);
        queue.writers = count("writers", &given.writers, WRITERS, queue.writers)?;
        let waiting = &mut queue.waiting.rows;
        *waiting = count("waiting_rows", &given.waiting_rows, ROWS, *waiting)?;
        let kept = &mut queue.kept.rows;
        *kept = count("kept_rows", &given.kept_rows, ROWS, *kept)?;
        let in_bytes = |key: &str, given, default| count(key, given, BODY, default);
        Ok(Self {
            caps: BodyCaps {
                request: in_bytes("max_request_bytes", &given.max_request_bytes, caps.request)?,
                response: in_bytes(
                    "max_response_bytes",
                    &given.max_response_bytes,
                    caps.response,
                )?,
            },
            mode: one_of(
                "mode",
                given.mode.as_deref(),
                [
                    ("durable", LogMode::Durable),
                    ("background", LogMode::Background),
                ],
            )?,
            when_unrecorded: one_of(
                "when_unrecorded",
                given.when_unrecorded.as_deref(),
                [
                    ("answer_and_report", UnrecordedPolicy::AnswerAndReport),
                    ("fail_call", UnrecordedPolicy::FailCall),
                ],
            )?,
            trace: one_of(
                "trace_context",
                given.trace_context.as_deref(),
                [
                    ("all", TracePropagation::All),
                    ("given", TracePropagation::Given),
                    ("off", TracePropagation::Off),
                ],
            )?,
            successes: given
                .sample_successes
                .map_or(Ok(default.successes), SampleRate::new)
                .map_err(|error| format!("`logging.sample_successes`: {error}"))?,
            headers: each("headers", &given.headers, HeaderName::try_from)?,
            names: given
                .redact_names
                .iter()
                .try_fold(default.names, |names, name| names.with(name))
                .map_err(|error| format!("`logging.redact_names`: {error}"))?,
            paths: each("redact_paths", &given.redact_paths, JsonPath::parse)?,
            queue,
        })
    }

    /// A builder that goes by them.
    pub(crate) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        builder
            .body_caps(self.caps)
            .log_mode(self.mode)
            .log_queue(self.queue)
            .when_unrecorded(self.when_unrecorded)
            .sample_successes(self.successes)
            .log_headers(self.headers.iter().cloned())
            .redact_names(self.names.clone())
            .redact_paths(self.paths.iter().cloned())
            .trace_propagation(self.trace)
    }
}

/// The value a word stands for; the first one's where none is given.
fn one_of<T: Copy, const N: usize>(
    key: &str,
    given: Option<&str>,
    words: [(&str, T); N],
) -> Result<T, String> {
    let wanted = given.unwrap_or(words[0].0);
    let found = words.iter().find(|(word, _)| *word == wanted);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known = words.map(|(word, _)| format!("\"{word}\"")).join(" or ");
        format!("`logging.{key}` must be {known}")
    })
}

fn each<'a, T, E: std::fmt::Display>(
    key: &str,
    given: &'a [String],
    read: impl Fn(&'a str) -> Result<T, E>,
) -> Result<Vec<T>, String> {
    let read = given.iter().map(|text| read(text));
    let read: Result<Vec<T>, E> = read.collect();
    read.map_err(|error| format!("`logging.{key}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<LogSettings, String> {
        LogSettings::of(&toml::from_str(text).unwrap())
    }

    #[test]
    fn nothing_given_is_the_defaults() {
        assert_eq!(read("").unwrap(), LogSettings::default());
    }

    #[test]
    fn every_key_is_read() {
        let read = read(
            "max_request_bytes = 2048\nmode = \"background\"\nwhen_unrecorded = \"fail_call\"\n\
             sample_successes = 0.25\nheaders = [\"ETag\"]\nredact_names = [\"pin\"]\n\
             redact_paths = [\"$.a\"]\ntrace_context = \"off\"\nwriters = 2\nwaiting_rows = 10\n\
             kept_rows = 20\n",
        )
        .unwrap();
        assert_eq!((read.caps.request, read.mode), (2048, LogMode::Background));
        assert_eq!(read.when_unrecorded, UnrecordedPolicy::FailCall);
        assert_eq!(read.successes, SampleRate::new(0.25).unwrap());
        assert_eq!(read.headers, ["etag"]);
        assert_eq!((read.paths.len(), read.trace), (1, TracePropagation::Off));
        assert_ne!(read.names, SecretNames::default());
        let queue = read.queue;
        assert_eq!(
            (queue.writers, queue.waiting.rows, queue.kept.rows),
            (2, 10, 20)
        );
    }

    // W-CFG-1
    #[test]
    fn what_cannot_be_is_refused_with_its_key() {
        for (text, error) in [
            (
                "mode = \"fast\"",
                "`logging.mode` must be \"durable\" or \"background\"",
            ),
            (
                "sample_successes = 2.0",
                "`logging.sample_successes`: 2 is no part of a whole: a sample rate is a number \
                 from 0 to 1",
            ),
            (
                "headers = [\"a b\"]",
                "`logging.headers`: invalid HTTP header name",
            ),
            (
                "redact_names = [\"*\"]",
                "`logging.redact_names`: `*` is not a name such as `pin` or `*_ssn`: it would \
                 match everything or nothing",
            ),
            (
                "redact_paths = [\"$.a[\"]",
                "`logging.redact_paths`: `$.a[` is not a path such as `$.items[*].secret`",
            ),
            (
                "max_response_bytes = 10",
                "`logging.max_response_bytes` is 10: it must be a whole number from 1024 to 16777216",
            ),
        ] {
            assert_eq!(read(text), Err(error.to_owned()), "{text}");
        }
    }
}
