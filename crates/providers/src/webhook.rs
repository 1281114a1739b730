//! Any sender of webhooks that has no provider of its own.
//!
//! It receives only: there is no API to call. How deliveries are signed is a setting.

use http::HeaderMap;
use integrations_core::{
    provider::{Account, FieldError, Fields, Provider, ProviderError},
    value::ProviderKey,
};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::support::key;

/// The provider for senders without one of their own, registered as `webhook`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Webhook;

/// What such an integration is sealed with.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "read through its schema")]
struct WebhookCredentials {
    /// The secret that deliveries are signed with; several where it is being rolled.
    webhook_secret: String,
}

/// How such an integration is set up.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "read through its schema")]
struct WebhookMetadata {
    /// How deliveries are signed: standard, svix, slack, shopify, github, stripe or hmac.
    #[schemars(regex(pattern = "^(standard|svix|slack|shopify|github|stripe|hmac)$"))]
    scheme: String,
    /// For hmac: the header that holds the signature.
    #[schemars(regex(pattern = "^[A-Za-z0-9-]{1,64}$"))]
    header: Option<String>,
    /// For hmac: what stands before the signature in its header.
    #[schemars(regex(pattern = "^[!-~]{1,32}$"))]
    prefix: Option<String>,
    /// For hmac: hex or base64.
    #[schemars(regex(pattern = "^(hex|base64)$"))]
    encoding: Option<String>,
    /// For hmac: what is signed, such as {body} or {timestamp}.{body}.
    template: Option<String>,
    /// For hmac with {timestamp}: the header that holds it, in seconds.
    #[schemars(regex(pattern = "^[A-Za-z0-9-]{1,64}$"))]
    timestamp_header: Option<String>,
    /// For hmac: the header that holds the delivery's id.
    #[schemars(regex(pattern = "^[A-Za-z0-9-]{1,64}$"))]
    id_header: Option<String>,
    /// For hmac: the header that holds the event's type.
    #[schemars(regex(pattern = "^[A-Za-z0-9-]{1,64}$"))]
    event_header: Option<String>,
}

/// Settings that mean something with `hmac` alone.
const OF_HMAC: [&str; 7] = [
    "header",
    "prefix",
    "encoding",
    "template",
    "timestamp_header",
    "id_header",
    "event_header",
];

impl Provider for Webhook {
    fn key(&self) -> ProviderKey {
        key("webhook")
    }

    fn name(&self) -> &'static str {
        "Webhook"
    }

    fn credentials(&self) -> Fields {
        Fields::of::<WebhookCredentials>()
    }

    fn metadata(&self) -> Fields {
        Fields::of::<WebhookMetadata>()
    }

    fn check(&self, account: &Account<'_>) -> Vec<FieldError> {
        let given = |name| account.setting(name).is_some();
        if account.setting("scheme") != Some("hmac") {
            let unused = OF_HMAC.into_iter().filter(|name| given(name));
            return unused
                .map(|name| unusable(name, "goes with the scheme `hmac` alone"))
                .collect();
        }
        let mut errors = Vec::new();
        if !given("header") {
            errors.push(FieldError::Missing("header".to_owned()));
        }
        let template = account.setting("template").unwrap_or("{body}");
        if !template.contains("{body}") {
            errors.push(unusable(
                "template",
                "must hold `{body}`: what is not signed can be forged",
            ));
        }
        if template.contains("{timestamp}") != given("timestamp_header") {
            errors.push(unusable(
                "timestamp_header",
                "goes with a `template` that holds `{timestamp}`, and only with one",
            ));
        }
        errors
    }

    fn base_url(&self, _account: &Account<'_>) -> Result<Url, ProviderError> {
        Err(ProviderError::NoApi)
    }

    fn authenticate(
        &self,
        _account: &Account<'_>,
        _headers: &mut HeaderMap,
    ) -> Result<(), ProviderError> {
        Err(ProviderError::NoApi)
    }
}

fn unusable(name: &'static str, why: &str) -> FieldError {
    FieldError::Unusable {
        name,
        why: why.to_owned(),
    }
}
