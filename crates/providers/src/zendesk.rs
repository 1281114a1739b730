//! Zendesk Support.
//!
//! Calls go to the account's own subdomain, authenticated with an API token or an OAuth access
//! token. Sources: <https://developer.zendesk.com/api-reference/introduction/security-and-auth/>
//! and <https://developer.zendesk.com/api-reference/introduction/requests/>.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use integrations_core::{
    provider::{
        Account, FieldError, Fields, HealthCheck, Probe, Provider, ProviderError, WebhookSource,
    },
    value::ProviderKey,
    webhook::{Description, Inbound, SignatureScheme},
};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use crate::support::{key, required, secret_header};

/// The Zendesk provider, registered as `zendesk`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Zendesk;

/// What a Zendesk integration is sealed with: an email address and an API token, or an access token.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "read through its schema")]
struct ZendeskCredentials {
    /// The email address of the agent that the API token acts as.
    #[schemars(regex(pattern = "^[^\\s:@/]+@[^\\s:@/]+$"))]
    email: Option<String>,
    /// An API token.
    api_token: Option<String>,
    /// An OAuth access token, instead of email address and API token.
    access_token: Option<String>,
    /// The signing secret of its webhook.
    webhook_secret: Option<String>,
}

/// How a Zendesk integration is set up.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "read through its schema")]
struct ZendeskMetadata {
    /// The account's subdomain: the part before `.zendesk.com`.
    // One DNS label: it takes part in the origin that the credentials go to.
    #[schemars(regex(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    subdomain: String,
}

impl Provider for Zendesk {
    fn key(&self) -> ProviderKey {
        key("zendesk")
    }

    fn name(&self) -> &'static str {
        "Zendesk"
    }

    fn credentials(&self) -> Fields {
        Fields::of::<ZendeskCredentials>()
    }

    fn metadata(&self) -> Fields {
        Fields::of::<ZendeskMetadata>()
    }

    fn check(&self, account: &Account<'_>) -> Vec<FieldError> {
        let given = |name| account.credential(name).is_some();
        let missing = match (given("access_token"), given("email"), given("api_token")) {
            (true, _, _) | (_, true, true) => return Vec::new(),
            (false, true, false) => "api_token",
            (false, false, true) => "email",
            (false, false, false) => {
                let either = "`email` and `api_token` are required, or `access_token` instead";
                return vec![FieldError::Together(either.to_owned())];
            }
        };
        vec![FieldError::Missing(missing.to_owned())]
    }

    /// ZD-01
    fn base_url(&self, account: &Account<'_>) -> Result<Url, ProviderError> {
        let subdomain = account
            .setting("subdomain")
            .filter(|subdomain| is_label(subdomain))
            .ok_or(ProviderError::Metadata("subdomain"))?;
        format!("https://{subdomain}.zendesk.com/api/v2/")
            .parse()
            .map_err(|_| ProviderError::BaseUrl)
    }

    fn authenticate(
        &self,
        account: &Account<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), ProviderError> {
        let value = match account.credential("access_token") {
            Some(token) => secret_header("Bearer ", token, "access_token")?,
            None => secret_header("Basic ", &basic(account)?, "api_token")?,
        };
        headers.insert(header::AUTHORIZATION, value);
        Ok(())
    }

    fn default_headers(&self) -> HeaderMap {
        let json = HeaderValue::from_static("application/json");
        HeaderMap::from_iter([(header::ACCEPT, json)])
    }

    fn request_id_header(&self) -> Option<HeaderName> {
        Some(HeaderName::from_static("x-request-id"))
    }

    fn health_check(&self) -> Option<&dyn HealthCheck> {
        Some(self)
    }

    fn webhook_source(&self) -> Option<&dyn WebhookSource> {
        Some(self)
    }
}

/// <https://developer.zendesk.com/documentation/webhooks/>
impl WebhookSource for Zendesk {
    fn scheme(&self, _account: &Account<'_>) -> Result<SignatureScheme, ProviderError> {
        Ok(SignatureScheme::Zendesk)
    }

    /// Zendesk's own events have an id in their body. What a trigger sends is whatever its author
    /// wrote, so there the invocation is the id, which the signature does not cover.
    fn describe(&self, scheme: &SignatureScheme, delivery: &Inbound<'_>) -> Description {
        let told = scheme.describe(delivery);
        if told.delivery_id.is_some() {
            return told;
        }
        let invocation = delivery.header("x-zendesk-webhook-invocation-id");
        Description {
            delivery_id: invocation.map(str::to_owned),
            id_is_signed: false,
            ..told
        }
    }
}

/// `email/token:token`, encoded.
fn basic(account: &Account<'_>) -> Result<SecretString, ProviderError> {
    let email = required(account, "email")?.expose_secret().trim();
    let token = required(account, "api_token")?.expose_secret().trim();
    let plain = SecretString::from(format!("{email}/token:{token}"));
    Ok(SecretString::from(
        BASE64_STANDARD.encode(plain.expose_secret()),
    ))
}

/// Whether it is one DNS label. A row may have been written by something that did not check it.
fn is_label(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(inside)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl HealthCheck for Zendesk {
    fn probe(&self) -> Probe {
        Probe::get("/users/me.json")
    }
}
