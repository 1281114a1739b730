//! Any sender of webhooks that has no provider of its own.
//!
//! It receives only: there is no API to call. How deliveries are signed is a setting.

use http::HeaderMap;
use integrations_core::{
    provider::{Account, FieldError, Fields, Provider, ProviderError, WebhookSource},
    value::ProviderKey,
    webhook::{Handshake, Inbound, SignatureScheme},
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
    /// For hmac: what is signed, such as {body} or {timestamp}.{id}.{body}.
    template: Option<String>,
    /// For hmac with {timestamp}: the header that holds it, in seconds since 1970.
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
        if account.setting("scheme") != Some("hmac") {
            let unused = OF_HMAC
                .into_iter()
                .filter(|name| account.setting(name).is_some());
            return unused
                .map(|name| format!("`{name}` goes with the scheme `hmac` alone"))
                .map(FieldError::Together)
                .collect();
        }
        let scheme = SignatureScheme::from_settings(|name| account.setting(name));
        let error = scheme.err().map(|error| error.to_string());
        error.map(FieldError::Together).into_iter().collect()
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

    fn webhook_source(&self) -> Option<&dyn WebhookSource> {
        Some(self)
    }
}

impl WebhookSource for Webhook {
    fn scheme(&self, account: &Account<'_>) -> Result<SignatureScheme, ProviderError> {
        SignatureScheme::from_settings(|name| account.setting(name))
            .map_err(|_| ProviderError::Metadata("scheme"))
    }

    /// Senders who ask first whether anybody is there, and sign later.
    fn handshake(&self, request: &Inbound<'_>) -> Option<Handshake> {
        Handshake::validation_token(request).or_else(|| Handshake::hub_challenge(request))
    }
}
