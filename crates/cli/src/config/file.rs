//! `integrations.toml` as it is written.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::Deserialize;

use crate::exit::{Failure, Outcome};

/// The whole file. Every key is optional, and none is there that nobody reads.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) database_url: Option<String>,
    pub(super) listen_url: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) providers: BTreeMap<String, Provider>,
    pub(super) retry: Retry,
    pub(super) rate_limit: RateLimit,
    pub(super) circuit: Circuit,
    pub(super) health: Health,
    pub(super) logging: Logging,
    pub(super) server: super::server::Server,
    pub(super) webhooks: super::webhooks::Webhooks,
    pub(super) retention: super::retention::Retention,
    pub(super) sync: super::sync::Options,
    pub(super) sink: super::sync::File,
}

/// `[providers.KEY]`
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Provider {
    pub(super) base_url: Option<String>,
    pub(super) allow_private_network: Networks,
    pub(super) app: BTreeMap<String, Secret>,
    pub(super) rate_limit: Budgets,
}

/// `[providers.KEY.rate_limit]`
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Budgets {
    pub(super) per_second: Option<toml::Value>,
    pub(super) per_minute: Option<toml::Value>,
    pub(super) per_hour: Option<toml::Value>,
    pub(super) per_day: Option<toml::Value>,
    pub(super) sliding: bool,
}

/// `[retry]`
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Retry {
    pub(super) read_attempts: Option<toml::Value>,
    pub(super) write_attempts: Option<toml::Value>,
    #[serde(rename = "retry_after_max_seconds")]
    pub(super) longest_pause: Option<toml::Value>,
    pub(super) give_up_after_seconds: Option<toml::Value>,
    pub(super) budget: Option<toml::Value>,
}

/// `[rate_limit]`
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RateLimit {
    pub(super) max_wait_seconds: Option<toml::Value>,
}

/// `[circuit]`
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Circuit {
    pub(super) enabled: Option<bool>,
    pub(super) strategy: Option<String>,
    pub(super) time_window_seconds: Option<toml::Value>,
    pub(super) failure_rate_threshold: Option<toml::Value>,
    pub(super) minimum_requests: Option<toml::Value>,
    pub(super) threshold: Option<toml::Value>,
    pub(super) cooldown_seconds: Option<toml::Value>,
    pub(super) probe_timeout_seconds: Option<toml::Value>,
}

/// Private networks a provider may be in.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected true, false, or a list of networks such as \"10.0.0.0/8\""
)]
pub(super) enum Networks {
    Any(bool),
    These(Vec<String>),
}

impl Default for Networks {
    fn default() -> Self {
        Self::Any(false)
    }
}

/// An application credential, or where it is.
#[derive(Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a text, { env = \"VARIABLE\" } or { file = \"PATH\" }"
)]
pub(crate) enum Secret {
    Text(secrecy::SecretString),
    Variable(Variable),
    File(SecretFile),
}

/// `{ env = ".." }`
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variable {
    pub(crate) env: String,
}

/// `{ file = ".." }`
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretFile {
    pub(crate) file: String,
}

/// `[health]`
#[expect(clippy::struct_field_names, reason = "the names of the keys")]
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Health {
    pub(super) degraded_after: Option<toml::Value>,
    pub(super) failing_after: Option<toml::Value>,
    pub(super) disabled_after: Option<toml::Value>,
}

/// `[logging]`
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Logging {
    pub(super) max_request_bytes: Option<toml::Value>,
    pub(super) max_response_bytes: Option<toml::Value>,
    pub(super) mode: Option<String>,
    pub(super) when_unrecorded: Option<String>,
    pub(super) sample_successes: Option<f64>,
    pub(super) headers: Vec<String>,
    pub(super) redact_names: Vec<String>,
    pub(super) redact_paths: Vec<String>,
    pub(super) trace_context: Option<String>,
    pub(super) writers: Option<toml::Value>,
    pub(super) waiting_rows: Option<toml::Value>,
    pub(super) kept_rows: Option<toml::Value>,
}

impl File {
    /// Reads the file at `path`; where it was not asked for, it need not be there.
    pub(super) fn read(path: &Path, asked_for: bool) -> Outcome<Self> {
        let shown = path.display();
        match fs::read_to_string(path) {
            Ok(text) => {
                Self::parse(&text).map_err(|error| Failure::usage(format!("{shown}:{error}")))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !asked_for => {
                Ok(Self::default())
            }
            Err(error) => Err(Failure::usage(format!("{shown} cannot be read: {error}"))),
        }
    }

    /// The error begins with the line. It does not quote the file, which may hold secrets.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + text.get(..start).unwrap_or(text).matches('\n').count();
            format!("{line}: {}", without_values(error.message()))
        })
    }
}

/// What is wrong, without the value that serde puts into messages about types.
fn without_values(message: &str) -> String {
    let about_a_value = ["invalid type", "invalid value", "invalid length"]
        .iter()
        .any(|beginning| message.starts_with(beginning));
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if about_a_value => format!("expected {expected}"),
        _ => message.trim_end().replace('\n', ", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        File::parse(text).err().expect("the file was accepted")
    }

    #[test]
    fn unknown_keys_and_sections_are_refused_with_their_line() {
        let text = error("prefix = \"acme\"\n\n[retries]\nmax = 1\n");
        assert!(text.starts_with("3: unknown field `retries`"), "{text}");
        let text = error("[providers.github]\nbase_url = \"x\"\nbaseurl = \"y\"\n");
        assert!(text.starts_with("3: unknown field `baseurl`"), "{text}");
    }

    #[test]
    fn errors_do_not_quote_the_file() {
        for wrong in [
            "[providers.github]\napp = \"canary-1\"\n",
            "[providers.github.app]\ntoken = { evn = \"canary-1\" }\n",
            "[providers.github.app]\ntoken = \"canary-1\n",
            "[providers.github.app]\ntoken = canary-1\n",
            "[providers.github]\nallow_private_network = \"canary-1\"\n",
        ] {
            let text = error(wrong);
            assert!(!text.contains("canary"), "{text}");
            assert!(text.starts_with("2: "), "{text}");
        }
    }
}
