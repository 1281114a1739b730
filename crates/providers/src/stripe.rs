//! Stripe.
//!
//! Calls are authenticated with a secret or restricted key, and made for a connected account where
//! one is set. Sources: <https://docs.stripe.com/api>, <https://docs.stripe.com/connect/authentication>
//! and <https://docs.stripe.com/rate-limits>.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use integrations_core::{
    gate::RateBudget,
    provider::{
        Account, Fields, HealthCheck, NativeIdempotency, Probe, Provider, ProviderError,
        RateLimits, WebhookSource,
    },
    value::ProviderKey,
    webhook::{Inbound, SignatureScheme},
};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::support::{key, required, secret_header};

/// Where the API is. Endpoints carry their version: `/v1/charges`.
const API: &str = "https://api.stripe.com/";

/// The Stripe provider, registered as `stripe`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Stripe;

/// What a Stripe integration is sealed with.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "read through its schema")]
struct StripeCredentials {
    /// A secret or restricted API key.
    #[schemars(regex(pattern = "^(sk|rk)_(live|test|org)_[A-Za-z0-9_]+$"))]
    api_key: String,
    /// The signing secret of its webhook endpoint; several where it is being rolled.
    #[schemars(regex(pattern = "whsec_"))]
    webhook_secret: Option<String>,
    /// The key that browsers may see.
    #[schemars(regex(pattern = "^pk_(live|test)_[A-Za-z0-9_]+$"))]
    publishable_key: Option<String>,
}

/// How a Stripe integration is set up.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "read through its schema")]
struct StripeMetadata {
    /// The connected account that calls are made for.
    #[schemars(regex(pattern = "^acct_[A-Za-z0-9]{1,64}$"))]
    account: Option<String>,
    /// The API version to ask for, instead of the account's own.
    #[schemars(regex(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}([.][a-z]{1,32})?$"))]
    api_version: Option<String>,
}

impl Provider for Stripe {
    fn key(&self) -> ProviderKey {
        key("stripe")
    }

    fn name(&self) -> &'static str {
        "Stripe"
    }

    fn credentials(&self) -> Fields {
        Fields::of::<StripeCredentials>()
    }

    fn metadata(&self) -> Fields {
        Fields::of::<StripeMetadata>()
    }

    fn base_url(&self, _account: &Account<'_>) -> Result<Url, ProviderError> {
        API.parse().map_err(|_| ProviderError::BaseUrl)
    }

    fn authenticate(
        &self,
        account: &Account<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), ProviderError> {
        let api_key = required(account, "api_key")?;
        let bearer = secret_header("Bearer ", api_key, "api_key")?;
        headers.insert(header::AUTHORIZATION, bearer);
        for (setting, header) in [
            ("account", "stripe-account"),
            ("api_version", "stripe-version"),
        ] {
            if let Some(value) = account.setting(setting) {
                let value = HeaderValue::try_from(value);
                let value = value.map_err(|_| ProviderError::Metadata(setting))?;
                headers.insert(HeaderName::from_static(header), value);
            }
        }
        Ok(())
    }

    /// ST-02
    fn request_id_header(&self) -> Option<HeaderName> {
        Some(HeaderName::from_static("request-id"))
    }

    fn health_check(&self) -> Option<&dyn HealthCheck> {
        Some(self)
    }

    fn webhook_source(&self) -> Option<&dyn WebhookSource> {
        Some(self)
    }

    fn rate_limits(&self) -> Option<&dyn RateLimits> {
        Some(self)
    }

    fn native_idempotency(&self) -> Option<&dyn NativeIdempotency> {
        Some(self)
    }
}

/// ST-03, <https://docs.stripe.com/webhooks>
impl WebhookSource for Stripe {
    fn scheme(&self, _account: &Account<'_>) -> Result<SignatureScheme, ProviderError> {
        Ok(SignatureScheme::Stripe)
    }

    fn recipient_of(&self, account: &Account<'_>) -> Option<String> {
        account.setting("account").map(str::to_owned)
    }

    /// Events of connected accounts name the account.
    fn recipient(&self, delivery: &Inbound<'_>) -> Option<String> {
        #[derive(Deserialize)]
        struct Event {
            account: String,
        }
        delivery.json().map(|event: Event| event.account)
    }
}

impl RateLimits for Stripe {
    /// ST-01
    fn budgets(&self) -> Vec<RateBudget> {
        vec![RateBudget::per_second(100)]
    }
}

impl NativeIdempotency for Stripe {
    /// ST-02; <https://docs.stripe.com/api/idempotent_requests>
    fn header(&self) -> HeaderName {
        HeaderName::from_static("idempotency-key")
    }
}

impl HealthCheck for Stripe {
    /// ST-04
    fn probe(&self) -> Probe {
        Probe::get("/v1/balance")
    }
}
