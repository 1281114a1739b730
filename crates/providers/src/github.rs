//! GitHub, github.com or an Enterprise server.
//!
//! Calls are authenticated with a token and carry the API version they were written against.
//! Sources: <https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api>
//! and <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>.

mod sync;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use integrations_core::{
    gate::RateBudget,
    provider::{
        Account, FailureClassifier, Fields, HealthCheck, IncrementalSync, Outcome, Probe, Provider,
        ProviderError, RateLimits, WebhookSource,
    },
    request::FailureClass,
    value::ProviderKey,
    webhook::{Inbound, SignatureScheme},
};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::support::{key, required, secret_header};

/// Where github.com's API is.
const API: &str = "https://api.github.com/";

/// <https://docs.github.com/en/rest/about-the-rest-api/api-versions>
const API_VERSION: &str = "2022-11-28";

/// GitHub refuses requests without a user agent.
const USER_AGENT: &str = concat!("integrations/", env!("CARGO_PKG_VERSION"));

/// The GitHub provider, registered as `github`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Github;

/// What a GitHub integration is sealed with.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "read through its schema")]
struct GithubCredentials {
    /// A personal access token, classic or fine-grained.
    token: String,
    /// The secret of its webhooks.
    webhook_secret: Option<String>,
}

/// How a GitHub integration is set up.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "read through its schema")]
struct GithubMetadata {
    /// The user or organisation that owns the repository.
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9-]{0,38}$"))]
    owner: String,
    /// The repository's name.
    #[schemars(regex(pattern = "^[A-Za-z0-9._-]{1,100}$"))]
    repo: String,
}

impl Provider for Github {
    fn key(&self) -> ProviderKey {
        key("github")
    }

    fn name(&self) -> &'static str {
        "GitHub"
    }

    fn credentials(&self) -> Fields {
        Fields::of::<GithubCredentials>()
    }

    fn metadata(&self) -> Fields {
        Fields::of::<GithubMetadata>()
    }

    fn base_url(&self, _account: &Account<'_>) -> Result<Url, ProviderError> {
        API.parse().map_err(|_| ProviderError::BaseUrl)
    }

    fn authenticate(
        &self,
        account: &Account<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), ProviderError> {
        let token = required(account, "token")?;
        let bearer = secret_header("Bearer ", token, "token")?;
        headers.insert(header::AUTHORIZATION, bearer);
        Ok(())
    }

    fn default_headers(&self) -> HeaderMap {
        HeaderMap::from_iter([
            (
                header::ACCEPT,
                HeaderValue::from_static("application/vnd.github+json"),
            ),
            (header::USER_AGENT, HeaderValue::from_static(USER_AGENT)),
            (
                HeaderName::from_static("x-github-api-version"),
                HeaderValue::from_static(API_VERSION),
            ),
        ])
    }

    fn request_id_header(&self) -> Option<HeaderName> {
        Some(HeaderName::from_static("x-github-request-id"))
    }

    /// GH-02
    fn default_sync_interval(&self) -> Option<i32> {
        Some(5)
    }

    fn incremental_sync(&self) -> Option<&dyn IncrementalSync> {
        Some(self)
    }

    fn health_check(&self) -> Option<&dyn HealthCheck> {
        Some(self)
    }

    fn failure_classifier(&self) -> Option<&dyn FailureClassifier> {
        Some(self)
    }

    fn rate_limits(&self) -> Option<&dyn RateLimits> {
        Some(self)
    }

    fn webhook_source(&self) -> Option<&dyn WebhookSource> {
        Some(self)
    }
}

/// <https://docs.github.com/en/webhooks/webhook-events-and-payloads>
impl WebhookSource for Github {
    fn scheme(&self, _account: &Account<'_>) -> Result<SignatureScheme, ProviderError> {
        Ok(SignatureScheme::Github)
    }

    /// GitHub's names do not tell upper from lower case.
    fn recipient_of(&self, account: &Account<'_>) -> Option<String> {
        let (owner, repo) = (account.setting("owner")?, account.setting("repo")?);
        Some(format!("{owner}/{repo}").to_lowercase())
    }

    fn recipient(&self, delivery: &Inbound<'_>) -> Option<String> {
        #[derive(Deserialize)]
        struct Event {
            repository: Repository,
        }
        #[derive(Deserialize)]
        struct Repository {
            full_name: String,
        }
        let event: Event = delivery.json()?;
        Some(event.repository.full_name.to_lowercase())
    }
}

impl HealthCheck for Github {
    fn probe(&self) -> Probe {
        Probe::get("/repos/{owner}/{repo}")
    }
}

impl RateLimits for Github {
    /// GH-03; an app or an Enterprise server may have another, which the settings take.
    fn budgets(&self) -> Vec<RateBudget> {
        vec![RateBudget::per_hour(5_000)]
    }

    /// W-GH-1
    fn not_modified_is_free(&self) -> bool {
        true
    }
}

impl FailureClassifier for Github {
    /// GitHub answers 403 for a spent rate limit and for its secondary limits: with
    /// `Retry-After`, with nothing remaining, or with a message that says so (GH-04).
    fn classify(&self, outcome: &Outcome<'_>) -> Option<FailureClass> {
        if outcome.status != Some(403) {
            return None;
        }
        let remaining = outcome.headers.get("x-ratelimit-remaining");
        let throttled = outcome.headers.contains_key(header::RETRY_AFTER)
            || remaining.is_some_and(|left| left == "0")
            || message(outcome.body).is_some_and(|message| says_throttled(&message));
        throttled.then_some(FailureClass::Throttle)
    }
}

/// The `message` of an error's body.
fn message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Error {
        message: String,
    }
    serde_json::from_slice::<Error>(body)
        .ok()
        .map(|error| error.message.to_lowercase())
}

fn says_throttled(message: &str) -> bool {
    ["rate limit", "throttle", "abuse"]
        .iter()
        .any(|word| message.contains(word))
}

#[cfg(test)]
mod tests {
    use integrations_core::provider::Credentials;

    use super::*;

    fn class(
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: &str,
    ) -> Option<FailureClass> {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        let outcome = Outcome {
            status: Some(status),
            headers: &headers,
            body: body.as_bytes(),
        };
        Github.classify(&outcome)
    }

    #[test]
    fn is_registered_as_github() {
        assert_eq!(Github.key().as_str(), "github");
    }

    // GH-04
    #[test]
    fn a_403_that_means_slow_down_is_a_throttle() {
        let throttle = Some(FailureClass::Throttle);
        assert_eq!(class(403, &[("retry-after", "60")], "{}"), throttle);
        assert_eq!(
            class(403, &[("x-ratelimit-remaining", "0")], "{}"),
            throttle
        );
        let body = r#"{"message":"You have exceeded a secondary rate limit"}"#;
        assert_eq!(class(403, &[], body), throttle);
        let body = r#"{"message":"Resource not accessible by personal access token"}"#;
        assert_eq!(class(403, &[("x-ratelimit-remaining", "10")], body), None);
        assert_eq!(class(404, &[("retry-after", "60")], "{}"), None);
    }

    // GH-01
    #[test]
    fn the_token_goes_into_a_sensitive_bearer_header() {
        let credentials = Credentials::new().with("token", "ghp_x\n");
        let none = Credentials::new();
        let mut headers = HeaderMap::new();
        let account = Account::new(None, &credentials, &none);
        Github.authenticate(&account, &mut headers).unwrap();
        let value = &headers[header::AUTHORIZATION];
        assert!(value == "Bearer ghp_x" && value.is_sensitive());
        let account = Account::new(None, &none, &none);
        let missing = Github.authenticate(&account, &mut headers).unwrap_err();
        assert_eq!(missing, ProviderError::MissingCredential("token"));
    }

    // W-WH-2
    #[test]
    fn deliveries_name_the_repository_they_are_about() {
        let none = Credentials::new();
        let settings = serde_json::json!({ "owner": "Octo", "repo": "Hello" });
        let account = Account::new(Some(&settings), &none, &none);
        assert_eq!(Github.recipient_of(&account).as_deref(), Some("octo/hello"));
        let headers = HeaderMap::new();
        let named = |body: &str| {
            Github.recipient(&Inbound {
                method: &http::Method::POST,
                path: "/",
                query: None,
                headers: &headers,
                body: body.as_bytes(),
            })
        };
        let body = r#"{"action":"opened","repository":{"id":1,"full_name":"octo/HELLO"}}"#;
        assert_eq!(named(body).as_deref(), Some("octo/hello"));
        assert_eq!(named(r#"{"zen":"Hi"}"#), None);
        assert_eq!(named("not JSON"), None);
    }

    #[test]
    fn fields_say_what_github_needs() {
        let names: Vec<_> = Github
            .credentials()
            .iter()
            .map(|f| (f.name.clone(), f.required))
            .collect();
        assert_eq!(
            names,
            [
                ("token".to_owned(), true),
                ("webhook_secret".to_owned(), false)
            ]
        );
        let given = [
            ("owner".to_owned(), "a/../b".to_owned()),
            ("repo".to_owned(), "r".to_owned()),
        ];
        assert!(Github.metadata().check(&given.into()).is_err());
    }
}
