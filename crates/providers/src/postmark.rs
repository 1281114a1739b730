//! Postmark.
//!
//! Calls are authenticated with a server's token. Its webhooks are not signed: they are protected
//! by user and password in their URL. Sources: <https://postmarkapp.com/developer/api/overview> and
//! <https://postmarkapp.com/developer/webhooks/webhooks-overview>.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use integrations_core::{
    provider::{
        Account, FailureClassifier, FieldError, Fields, HealthCheck, Outcome, Probe, Provider,
        ProviderError, WebhookSource,
    },
    request::FailureClass,
    value::ProviderKey,
    webhook::{Description, Inbound, InvalidSecret, SignatureScheme, WebhookSecrets},
};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use crate::support::{key, required, secret_header};

/// Where the API is.
const API: &str = "https://api.postmarkapp.com/";

/// <https://postmarkapp.com/developer/api/overview#error-codes>
const OFFLINE_FOR_MAINTENANCE: i64 = 100;

/// The Postmark provider, registered as `postmark`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Postmark;

/// What a Postmark integration is sealed with.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "read through its schema")]
struct PostmarkCredentials {
    /// The server's API token.
    server_token: String,
    /// The account's API token. Calls do not carry it.
    account_token: Option<String>,
    /// The user that webhooks authenticate as.
    webhook_username: Option<String>,
    /// The password that webhooks authenticate with.
    webhook_password: Option<String>,
}

/// How a Postmark integration is set up.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "read through its schema")]
struct PostmarkMetadata {
    /// The message stream it sends on.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9-]{0,29}$"))]
    message_stream: Option<String>,
}

impl Provider for Postmark {
    fn key(&self) -> ProviderKey {
        key("postmark")
    }

    fn name(&self) -> &'static str {
        "Postmark"
    }

    fn credentials(&self) -> Fields {
        Fields::of::<PostmarkCredentials>()
    }

    fn metadata(&self) -> Fields {
        Fields::of::<PostmarkMetadata>()
    }

    /// PM-01: user and password of webhooks belong together.
    fn check(&self, account: &Account<'_>) -> Vec<FieldError> {
        let given = |name| account.credential(name).is_some();
        let missing = match (given("webhook_username"), given("webhook_password")) {
            (true, false) => "webhook_password",
            (false, true) => "webhook_username",
            _ => return Vec::new(),
        };
        vec![FieldError::Missing(missing.to_owned())]
    }

    fn base_url(&self, _account: &Account<'_>) -> Result<Url, ProviderError> {
        API.parse().map_err(|_| ProviderError::BaseUrl)
    }

    fn authenticate(
        &self,
        account: &Account<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), ProviderError> {
        let token = required(account, "server_token")?;
        let name = HeaderName::from_static("x-postmark-server-token");
        headers.insert(name, secret_header("", token, "server_token")?);
        Ok(())
    }

    fn default_headers(&self) -> HeaderMap {
        let json = HeaderValue::from_static("application/json");
        HeaderMap::from_iter([(header::ACCEPT, json)])
    }

    fn health_check(&self) -> Option<&dyn HealthCheck> {
        Some(self)
    }

    fn failure_classifier(&self) -> Option<&dyn FailureClassifier> {
        Some(self)
    }

    fn webhook_source(&self) -> Option<&dyn WebhookSource> {
        Some(self)
    }
}

/// PM-02, PM-03
impl WebhookSource for Postmark {
    fn scheme(&self, _account: &Account<'_>) -> Result<SignatureScheme, ProviderError> {
        Ok(SignatureScheme::Basic)
    }

    fn secrets(&self, account: &Account<'_>) -> Option<Result<WebhookSecrets, InvalidSecret>> {
        let user = account.credential("webhook_username")?.expose_secret();
        let password = account.credential("webhook_password")?.expose_secret();
        let both = SecretString::from(format!("{user}:{password}"));
        Some(WebhookSecrets::single(&both))
    }

    /// Postmark numbers no deliveries. What happens to a message once is told apart by the message;
    /// opens and clicks happen again and again, and each counts (W-WH-14).
    fn describe(&self, _scheme: &SignatureScheme, delivery: &Inbound<'_>) -> Description {
        let body: Body = delivery.json().unwrap_or_default();
        let Body {
            record_type,
            id,
            message_id,
            recipient,
        } = body;
        let about = match record_type.as_deref() {
            Some("Bounce" | "SpamComplaint") => id.map(|id| id.to_string()),
            Some("Delivery") => message_id
                .zip(recipient)
                .map(|(id, to)| format!("{id}:{to}")),
            Some("Inbound") => message_id,
            _ => None,
        };
        let delivery_id = record_type
            .as_ref()
            .zip(about)
            .map(|(kind, about)| format!("{kind}:{about}"));
        Description {
            event_type: record_type,
            delivery_id,
            id_is_signed: true,
            ..Description::default()
        }
    }
}

/// What the bodies of all webhooks have in common, and what tells them apart.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Body {
    record_type: Option<String>,
    #[serde(rename = "ID")]
    id: Option<i64>,
    #[serde(rename = "MessageID")]
    message_id: Option<String>,
    recipient: Option<String>,
}

impl HealthCheck for Postmark {
    fn probe(&self) -> Probe {
        Probe::get("/server")
    }
}

impl FailureClassifier for Postmark {
    /// Postmark answers 422 with a code of its own for nearly everything, its maintenance
    /// included.
    fn classify(&self, outcome: &Outcome<'_>) -> Option<FailureClass> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Error {
            error_code: i64,
        }
        if outcome.status != Some(422) {
            return None;
        }
        let error: Error = serde_json::from_slice(outcome.body).ok()?;
        (error.error_code == OFFLINE_FOR_MAINTENANCE).then_some(FailureClass::Upstream)
    }
}
