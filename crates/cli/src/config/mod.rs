//! The configuration: a flag wins over the environment, the environment over the file, the file
//! over the default.

mod file;
mod log;
mod pipeline;
mod range;
mod retention;
mod server;
mod sync;
mod webhooks;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use integrations::{
    client::{RetryLimits, WaitLimits},
    gate::{CircuitPolicy, RateBudget},
    integration::HealthPolicy,
    provider::{Credentials, ProviderSettings},
    retention::RetentionPolicy,
    sync::engine::SyncPolicy,
    transport::AllowPrivate,
    value::{ProviderKey, TablePrefix},
};
use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use self::{
    file::{File, Networks, Secret},
    log::LogSettings,
    range::number,
    sync::SinkConfig,
};
use crate::{
    args::Global,
    database::Database,
    exit::{Failure, Outcome},
};

const DEFAULT_FILE: &str = "integrations.toml";
const DEFAULT_DATABASE: &str = "sqlite://integrations.db";

/// What commands go by.
pub(crate) struct Settings {
    pub(crate) database: Database,
    pub(crate) prefix: TablePrefix,
    pub(crate) providers: BTreeMap<ProviderKey, ProviderConfig>,
    pub(crate) health: HealthPolicy,
    pub(crate) retry: RetryLimits,
    pub(crate) rate_limit: WaitLimits,
    pub(crate) circuit: CircuitPolicy,
    pub(crate) log: LogSettings,
    pub(crate) server: server::Server,
    pub(crate) webhooks: webhooks::Webhooks,
    pub(crate) retention: RetentionPolicy,
    pub(crate) sync: SyncPolicy,
    pub(crate) sink: SinkConfig,
}

/// How a provider is set up. Secrets are looked up when they are needed.
#[derive(Clone, Default)]
pub(crate) struct ProviderConfig {
    pub(crate) base_url: Option<Url>,
    pub(crate) allow_private: AllowPrivate,
    application: BTreeMap<String, Secret>,
    budgets: Option<Vec<RateBudget>>,
}

impl Settings {
    /// Reads flags, environment and file.
    pub(crate) fn load(global: &Global) -> Outcome<Self> {
        let given = global
            .config
            .clone()
            .or_else(|| variable("INTEGRATIONS_CONFIG").map(PathBuf::from));
        let path = given.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        let file = File::read(path, given.is_some())?;
        let database = global
            .database
            .clone()
            .or_else(|| variable("INTEGRATIONS_DATABASE_URL"))
            .or(file.database_url)
            .unwrap_or_else(|| DEFAULT_DATABASE.to_owned());
        let listen = variable("INTEGRATIONS_LISTEN_URL").or(file.listen_url);
        let prefix = global
            .prefix
            .clone()
            .or_else(|| variable("INTEGRATIONS_PREFIX"))
            .or(file.prefix);
        let wrong = |error: String| Failure::usage(format!("{}: {error}", path.display()));
        Ok(Self {
            database: Database::parse(&database)?.listening_at(listen),
            prefix: prefix
                .map(TablePrefix::new)
                .transpose()?
                .unwrap_or_default(),
            providers: providers(file.providers).map_err(wrong)?,
            health: health(&file.health).map_err(wrong)?,
            retry: pipeline::retry(&file.retry).map_err(wrong)?,
            rate_limit: pipeline::rate_limit(&file.rate_limit).map_err(wrong)?,
            circuit: pipeline::circuit(&file.circuit).map_err(wrong)?,
            log: LogSettings::of(&file.logging).map_err(wrong)?,
            server: file.server,
            webhooks: file.webhooks,
            retention: file.retention.policy(),
            sync: file.sync.policy().map_err(wrong)?,
            sink: file.sink.config().map_err(wrong)?,
        })
    }
}

/// An environment variable that is set to something.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl ProviderConfig {
    /// A provider that is somewhere else, private networks included.
    pub(crate) fn at(base_url: Url) -> Self {
        Self {
            base_url: Some(base_url),
            allow_private: AllowPrivate::All,
            ..Self::default()
        }
    }

    /// The same with an application credential.
    pub(crate) fn with_application(mut self, name: &str, value: &SecretString) -> Self {
        let value = Secret::Text(value.clone());
        self.application.insert(name.to_owned(), value);
        self
    }

    /// The names of the application credentials.
    pub(crate) fn application_names(&self) -> impl Iterator<Item = &str> {
        self.application.keys().map(String::as_str)
    }

    /// The settings, with every secret looked up.
    pub(crate) fn resolve(&self, key: &ProviderKey) -> Outcome<ProviderSettings> {
        let mut application = Credentials::new();
        for (name, secret) in &self.application {
            let value = look_up(secret)
                .map_err(|why| Failure::usage(format!("`providers.{key}.app.{name}`: {why}")))?;
            application.set(name.clone(), value);
        }
        Ok(ProviderSettings {
            base_url: self.base_url.clone(),
            allow_private: self.allow_private.clone(),
            application,
            budgets: self.budgets.clone(),
        })
    }
}

fn look_up(secret: &Secret) -> Result<SecretString, String> {
    match secret {
        Secret::Text(text) => Ok(text.clone()),
        Secret::Variable(source) => secret_variable(&source.env),
        Secret::File(source) => secret_file(&source.file),
    }
}

/// The secret in an environment variable.
pub(crate) fn secret_variable(name: &str) -> Result<SecretString, String> {
    variable(name)
        .map(SecretString::from)
        .ok_or_else(|| format!("the environment variable `{name}` is not set"))
}

/// The secret in a file; the line end behind it does not belong to it.
pub(crate) fn secret_file(path: &str) -> Result<SecretString, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(SecretString::from(text.trim_end_matches(['\r', '\n']))),
        Err(error) => Err(format!("the file `{path}` cannot be read: {error}")),
    }
}

fn providers(
    given: BTreeMap<String, file::Provider>,
) -> Result<BTreeMap<ProviderKey, ProviderConfig>, String> {
    given
        .into_iter()
        .map(|(name, provider)| {
            let at = |what: &str, why: String| format!("`providers.{name}{what}` {why}");
            let key = ProviderKey::new(&*name).map_err(|error| at("", format!(": {error}")))?;
            let base_url = provider.base_url.as_deref().map(base_url).transpose();
            let allow_private = allowed(provider.allow_private_network);
            let config = ProviderConfig {
                base_url: base_url.map_err(|why| at(".base_url", why.to_owned()))?,
                allow_private: allow_private.map_err(|why| at(".allow_private_network", why))?,
                application: provider.app,
                budgets: pipeline::budgets(&provider.rate_limit)
                    .map_err(|why| at(".rate_limit", format!(": {why}")))?,
            };
            Ok((key, config))
        })
        .collect()
}

fn base_url(text: &str) -> Result<Url, &'static str> {
    let url: Url = text.parse().map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must be a URL of http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must have neither query nor fragment");
    }
    Ok(url)
}

fn allowed(networks: Networks) -> Result<AllowPrivate, String> {
    let networks = match networks {
        Networks::Any(true) => return Ok(AllowPrivate::All),
        Networks::Any(false) => return Ok(AllowPrivate::No),
        Networks::These(networks) => networks,
    };
    for network in &networks {
        let is_one =
            network.parse::<IpNet>().is_ok() || network.parse::<std::net::IpAddr>().is_ok();
        if !is_one {
            return Err(format!(
                "holds `{network}`, which is no network such as 10.0.0.0/8"
            ));
        }
    }
    Ok(AllowPrivate::Networks(networks))
}

/// Outages in a row that a threshold may be.
const OUTAGES: std::ops::RangeInclusive<u32> = 1..=1_000_000;

fn health(given: &file::Health) -> Result<HealthPolicy, String> {
    let default = HealthPolicy::default();
    let degraded_after = number(
        "health.degraded_after",
        given.degraded_after.as_ref(),
        OUTAGES,
    )?;
    let failing_after = number(
        "health.failing_after",
        given.failing_after.as_ref(),
        OUTAGES,
    )?;
    let disabled_after = match &given.disabled_after {
        Some(toml::Value::String(never)) if never == "never" => None,
        given => number("health.disabled_after", given.as_ref(), OUTAGES)?
            .map_or(default.disabled_after, Some),
    };
    let policy = HealthPolicy {
        degraded_after: degraded_after.unwrap_or(default.degraded_after),
        failing_after: failing_after.unwrap_or(default.failing_after),
        disabled_after,
    };
    let last = policy.disabled_after.unwrap_or(u32::MAX);
    if policy.degraded_after > policy.failing_after || policy.failing_after > last {
        return Err(format!(
            "`health`: degraded_after ({}), failing_after ({}) and disabled_after ({}) must not \
             come down",
            policy.degraded_after,
            policy.failing_after,
            policy
                .disabled_after
                .map_or("never".to_owned(), |n| n.to_string()),
        ));
    }
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<HealthPolicy, String> {
        let file = File::parse(text)?;
        providers(file.providers)?;
        health(&file.health)
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(read(""), Ok(HealthPolicy::default()));
    }

    // W-CFG-1
    #[test]
    fn values_out_of_range_name_option_value_and_range() {
        let cases = [
            (
                "[health]\nfailing_after = 0",
                "`health.failing_after` is 0: it must be a whole number from 1 to 1000000",
            ),
            (
                "[health]\ndegraded_after = \"5\"",
                "`health.degraded_after` is a string: it must be a whole number from 1 to 1000000",
            ),
            (
                "[health]\ndegraded_after = 30",
                "`health`: degraded_after (30), failing_after (20) and disabled_after (50) must \
                 not come down",
            ),
            (
                "[providers.github]\nbase_url = \"ftp://a\"",
                "`providers.github.base_url` must be a URL of http:// or https://",
            ),
            (
                "[providers.github]\nallow_private_network = [\"10.0.0.0/99\"]",
                "`providers.github.allow_private_network` holds `10.0.0.0/99`, which is no \
                 network such as 10.0.0.0/8",
            ),
        ];
        for (text, error) in cases {
            assert_eq!(read(text), Err(error.to_owned()), "{text}");
        }
    }

    // CFG-11
    #[test]
    fn health_may_never_disable() {
        let policy = read("[health]\ndisabled_after = \"never\"\nfailing_after = 9").unwrap();
        assert_eq!((policy.failing_after, policy.disabled_after), (9, None));
    }
}
