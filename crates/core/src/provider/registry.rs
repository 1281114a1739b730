//! The providers an application has, and how it set them up.

use std::{collections::BTreeMap, fmt, sync::Arc};

use url::Url;

use super::{Account, Credentials, Provider, ProviderError, RateLimits, Redaction};
use crate::{
    gate::RateBudget,
    redact::{InvalidPath, JsonPath},
    transport::AllowPrivate,
    value::ProviderKey,
};

/// How an application set a provider up.
///
/// `Debug` shows of the base URL only its origin.
#[derive(Clone, Default)]
pub struct ProviderSettings {
    /// In place of the provider's own base URL: an enterprise server, a proxy, a twin.
    pub base_url: Option<Url>,
    /// Networks that are not public and that its calls may reach all the same.
    pub allow_private: AllowPrivate,
    /// The application's credentials, behind those of each integration.
    pub application: Credentials,
    /// In place of the limits the provider says it has, for each of its integrations.
    pub budgets: Option<Vec<RateBudget>>,
}

impl fmt::Debug for ProviderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = |url: &Url| url.origin().ascii_serialization();
        f.debug_struct("ProviderSettings")
            .field("base_url", &self.base_url.as_ref().map(origin))
            .field("allow_private", &self.allow_private)
            .field("application", &self.application)
            .field("budgets", &self.budgets)
            .finish()
    }
}

/// A provider with its settings.
#[derive(Clone)]
pub struct Registered {
    /// The provider.
    pub provider: Arc<dyn Provider>,
    /// Its settings.
    pub settings: ProviderSettings,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered")
            .field("provider", &self.provider.key())
            .field("settings", &self.settings)
            .finish()
    }
}

impl Registered {
    /// Where the provider's API is for an account.
    ///
    /// # Errors
    ///
    /// Returns [`ProviderError`] where a setting that takes part in it is missing or wrong.
    pub fn base_url(&self, account: &Account<'_>) -> Result<Url, ProviderError> {
        match &self.settings.base_url {
            Some(url) => Ok(url.clone()),
            None => self.provider.base_url(account),
        }
    }

    /// How many calls an account of it takes. A client is not built over limits that are none.
    pub(crate) fn budgets(&self) -> Vec<RateBudget> {
        let own = || self.provider.rate_limits().map(RateLimits::budgets);
        let set = self.settings.budgets.clone();
        set.or_else(own).unwrap_or_default()
    }

    /// What in its bodies must not be logged. A client is not built over a path that is none.
    pub(crate) fn redaction_paths(&self) -> Vec<Result<JsonPath, InvalidPath>> {
        let paths = self.provider.redaction().map(Redaction::paths);
        let paths = paths.unwrap_or_default();
        paths.iter().map(|path| JsonPath::parse(path)).collect()
    }
}

/// There are two providers of one key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider `{0}` is registered twice")]
pub struct DuplicateProvider(pub ProviderKey);

/// The providers by their keys.
#[derive(Clone, Debug, Default)]
pub struct ProviderRegistry(BTreeMap<ProviderKey, Registered>);

impl ProviderRegistry {
    /// Registers a provider.
    ///
    /// # Errors
    ///
    /// Returns [`DuplicateProvider`] where there is one of its key.
    pub fn register(
        &mut self,
        provider: Arc<dyn Provider>,
        settings: ProviderSettings,
    ) -> Result<(), DuplicateProvider> {
        let key = provider.key();
        if self.0.contains_key(&key) {
            return Err(DuplicateProvider(key));
        }
        self.0.insert(key, Registered { provider, settings });
        Ok(())
    }

    /// The provider of a key.
    #[must_use]
    pub fn get(&self, key: &ProviderKey) -> Option<&Registered> {
        self.0.get(key)
    }

    /// All of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&ProviderKey, &Registered)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // W-CRED-7
    #[test]
    fn debug_shows_of_a_base_url_only_its_origin() {
        let settings = ProviderSettings {
            base_url: "https://user:canary@api.example/canary?key=canary"
                .parse()
                .ok(),
            application: Credentials::new().with("token", "canary"),
            ..ProviderSettings::default()
        };
        let shown = format!("{settings:?}");
        assert!(
            shown.contains("https://api.example") && !shown.contains("canary"),
            "{shown}"
        );
    }
}
