//! A provider with a subdomain, a token and a redaction path.

use http::{HeaderMap, HeaderName, HeaderValue};
use integrations_core::{
    integration::Integration,
    provider::{Account, Fields, HealthCheck, Probe, Provider, ProviderError, Redaction},
    value::ProviderKey,
};
use integrations_testkit::harness::Harness;
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use url::Url;

pub(crate) struct Acme;

#[derive(JsonSchema)]
#[expect(dead_code, reason = "read through its schema")]
struct Secrets {
    token: String,
    extra: Option<String>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "read through its schema")]
struct Settings {
    #[schemars(regex(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    subdomain: String,
    project: Option<i64>,
}

impl Provider for Acme {
    fn key(&self) -> ProviderKey {
        ProviderKey::new("acme").unwrap()
    }

    fn name(&self) -> &'static str {
        "Acme"
    }

    fn credentials(&self) -> Fields {
        Fields::of::<Secrets>()
    }

    fn metadata(&self) -> Fields {
        Fields::of::<Settings>()
    }

    fn base_url(&self, account: &Account<'_>) -> Result<Url, ProviderError> {
        let subdomain = account
            .setting("subdomain")
            .ok_or(ProviderError::Metadata("subdomain"))?;
        let url = format!("https://{subdomain}.acme.example/api");
        url.parse().map_err(|_| ProviderError::BaseUrl)
    }

    fn authenticate(
        &self,
        account: &Account<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), ProviderError> {
        let token = account
            .credential("token")
            .ok_or(ProviderError::MissingCredential("token"))?;
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
            .map_err(|_| ProviderError::UnusableCredential("token"))?;
        value.set_sensitive(true);
        headers.insert("authorization", value);
        Ok(())
    }

    fn request_id_header(&self) -> Option<HeaderName> {
        Some(HeaderName::from_static("x-request-id"))
    }

    fn health_check(&self) -> Option<&dyn HealthCheck> {
        Some(self)
    }

    fn redaction(&self) -> Option<&dyn Redaction> {
        Some(self)
    }
}

impl HealthCheck for Acme {
    fn probe(&self) -> Probe {
        Probe::get("/me")
    }
}

impl Redaction for Acme {
    fn paths(&self) -> Vec<String> {
        vec!["$.customer.email".to_owned()]
    }
}

/// The token of [`installed`]; long enough to be looked for everywhere.
pub(crate) const TOKEN: &str = "acme-canary-2f9c";

/// A harness with an account of Acme.
pub(crate) async fn installed() -> (Harness, Integration) {
    let harness = Harness::new(Acme);
    let integration = install(&harness).await;
    (harness, integration)
}

pub(crate) async fn install(harness: &Harness) -> Integration {
    let settings = [("subdomain", "north"), ("project", "7")];
    harness
        .install("acme", None, &[("token", TOKEN)], &settings)
        .await
}
