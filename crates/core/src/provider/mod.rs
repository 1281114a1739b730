//! Providers: what the layer has to know of another system to talk to it.

mod account;
mod capability;
mod fields;
mod registry;
mod sync;
mod webhook_source;

use url::{Origin, Url};

use crate::value::ProviderKey;

pub use account::{Account, Credentials, CredentialsFormatError};
pub use capability::*;
pub use fields::{Field, FieldError, FieldKind, Fields};
pub use registry::{DuplicateProvider, ProviderRegistry, ProviderSettings, Registered};
pub use sync::*;
pub use webhook_source::WebhookSource;

/// A provider could not do what it was asked for an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// A credential the provider needs is not there.
    #[error("the credential `{0}` is missing; set it with `update`")]
    MissingCredential(&'static str),
    /// A credential cannot be used as it is, a line break in a token for instance.
    #[error("the credential `{0}` cannot be sent: it holds characters a header does not take")]
    UnusableCredential(&'static str),
    /// A setting the provider needs is not there or not usable.
    #[error("the setting `{0}` is missing or not usable; set it with `update`")]
    Metadata(&'static str),
    /// The base URL is not one.
    #[error("the provider's base URL is not usable")]
    BaseUrl,
    /// There is nothing to call.
    #[error("the provider has no API to call: it only receives webhooks")]
    NoApi,
}

/// Another system, as the pipeline sees it.
///
/// The required methods are what every call needs. Everything else is a capability, which the
/// provider answers with itself where it has it.
pub trait Provider: Send + Sync {
    /// What it is registered under, and what `provider` columns hold.
    fn key(&self) -> ProviderKey;

    /// What people call it.
    fn name(&self) -> &str;

    /// The credentials it takes. All of them are secret.
    fn credentials(&self) -> Fields;

    /// The settings it takes. None of them is secret.
    fn metadata(&self) -> Fields;

    /// What is wrong with an account beyond its single fields: two that belong together, or a value
    /// that could never be used. Asked before an account is stored or changed.
    fn check(&self, _account: &Account<'_>) -> Vec<FieldError> {
        Vec::new()
    }

    /// Where its API is for this account, without a path of its own or with a prefix.
    ///
    /// # Errors
    ///
    /// Returns [`ProviderError`] where a setting that takes part in it is missing or wrong, and
    /// [`ProviderError::NoApi`] where it only receives webhooks.
    fn base_url(&self, account: &Account<'_>) -> Result<Url, ProviderError>;

    /// Puts the account's authentication on a request.
    ///
    /// Called only for requests to an origin of [`origins`](Self::origins).
    ///
    /// # Errors
    ///
    /// Returns [`ProviderError`] where a credential is missing or cannot be sent.
    fn authenticate(
        &self,
        account: &Account<'_>,
        headers: &mut http::HeaderMap,
    ) -> Result<(), ProviderError>;

    /// Origins that may see the credentials: that of the base URL, unless it says otherwise.
    fn origins(&self, base_url: &Url) -> Vec<Origin> {
        vec![base_url.origin()]
    }

    /// Headers every request to it carries, `Accept` or a version for instance.
    fn default_headers(&self) -> http::HeaderMap {
        http::HeaderMap::new()
    }

    /// The header in which it names each request.
    fn request_id_header(&self) -> Option<http::HeaderName> {
        None
    }

    /// Minutes between syncs, where `install` is not told otherwise.
    fn default_sync_interval(&self) -> Option<i32> {
        None
    }

    /// Has records that are enumerated whole at each sync.
    fn scheduled_sync(&self) -> Option<&dyn ScheduledSync> {
        None
    }

    /// Has records and can tell those that changed.
    fn incremental_sync(&self) -> Option<&dyn IncrementalSync> {
        None
    }

    /// Can be asked whether an account works.
    fn health_check(&self) -> Option<&dyn HealthCheck> {
        None
    }

    /// Knows what in its bodies must not be logged.
    fn redaction(&self) -> Option<&dyn Redaction> {
        None
    }

    /// Knows better than the status what a failure means.
    fn failure_classifier(&self) -> Option<&dyn FailureClassifier> {
        None
    }

    /// Sends webhooks.
    fn webhook_source(&self) -> Option<&dyn WebhookSource> {
        None
    }

    /// Knows better than the class of a failure whether to try again.
    fn retry_policy(&self) -> Option<&dyn RetryPolicy> {
        None
    }

    /// Says how many calls it takes.
    fn rate_limits(&self) -> Option<&dyn RateLimits> {
        None
    }

    /// Does what is asked under one key once.
    fn native_idempotency(&self) -> Option<&dyn NativeIdempotency> {
        None
    }

    /// Can be asked whether a call under a key happened.
    fn key_probe(&self) -> Option<&dyn KeyProbe> {
        None
    }
}

/// The names of the capabilities `provider` has, for people.
#[must_use]
pub fn capabilities(provider: &dyn Provider) -> Vec<&'static str> {
    [
        ("scheduled sync", provider.scheduled_sync().is_some()),
        ("incremental sync", provider.incremental_sync().is_some()),
        ("health check", provider.health_check().is_some()),
        ("redaction", provider.redaction().is_some()),
        (
            "failure classifier",
            provider.failure_classifier().is_some(),
        ),
        ("retry policy", provider.retry_policy().is_some()),
        ("rate limits", provider.rate_limits().is_some()),
        ("idempotency", provider.native_idempotency().is_some()),
        ("key probe", provider.key_probe().is_some()),
        ("request ids", provider.request_id_header().is_some()),
        ("webhooks", provider.webhook_source().is_some()),
    ]
    .into_iter()
    .filter_map(|(name, has)| has.then_some(name))
    .collect()
}
