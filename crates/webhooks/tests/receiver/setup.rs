//! What the tests of the receiver share.

use std::sync::Mutex;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use integrations_core::{
    integration::{Integration, Owner},
    provider::{Credentials, ProviderSettings},
    webhook::Webhook,
};
use integrations_providers::github::Github;
use integrations_testkit::harness::Harness;
use integrations_webhooks::{Receiver, Route};
use ring::hmac;
use secrecy::SecretString;

pub(crate) const SECRET: &str = "it's a secret";

/// A receiver over the parts of a test.
pub(crate) struct Setup {
    pub(crate) harness: Harness,
    pub(crate) receiver: Receiver,
    next: Mutex<u32>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self::over(Harness::new(Github::default()))
    }

    /// With a webhook secret of the application's.
    pub(crate) fn with_application_secret(secret: &str) -> Self {
        let settings = ProviderSettings {
            application: Credentials::new().with("webhook_secret", SecretString::from(secret)),
            ..ProviderSettings::default()
        };
        Self::over(Harness::with(
            |ports| ports,
            |builder| builder.provider_with(Github::default(), settings),
        ))
    }

    pub(crate) fn over(harness: Harness) -> Self {
        let receiver = Receiver::builder(&harness.client).build();
        Self {
            harness,
            receiver,
            next: Mutex::new(0),
        }
    }

    /// Installs a repository of an owner of its own.
    pub(crate) async fn install(&self, repo: &str, secret: Option<&str>) -> Integration {
        let tenant = {
            let mut next = self.next.lock().unwrap();
            *next += 1;
            i64::from(*next)
        };
        let owner = Owner::new("team", tenant).unwrap();
        let mut credentials = vec![("token", "ghp_x")];
        credentials.extend(secret.map(|secret| ("webhook_secret", secret)));
        let metadata = [("owner", "octo"), ("repo", repo)];
        self.harness
            .install("github", Some(owner), &credentials, &metadata)
            .await
    }

    pub(crate) async fn send(&self, route: &Route, request: Request<Bytes>) -> Response<Bytes> {
        self.receiver.receive(route, request, None).await
    }

    pub(crate) async fn status(&self, route: &Route, request: Request<Bytes>) -> StatusCode {
        self.send(route, request).await.status()
    }

    /// Every row, oldest first.
    pub(crate) async fn rows(&self) -> Vec<Webhook> {
        self.harness.deliveries().await
    }
}

/// A delivery as GitHub signs it.
pub(crate) fn delivery(secret: &str, id: &str, body: &str) -> Request<Bytes> {
    signed(secret, id, Bytes::copy_from_slice(body.as_bytes()))
}

pub(crate) fn signed(secret: &str, id: &str, body: Bytes) -> Request<Bytes> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hex::encode(hmac::sign(&key, &body));
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = "/integrations/github/webhook?a=1".parse().unwrap();
    let mut header = |name: &'static str, value: &str| {
        let value = HeaderValue::from_str(value).unwrap();
        let headers = request.headers_mut();
        headers.insert(HeaderName::from_static(name), value);
    };
    header("content-type", "application/json");
    header("x-github-event", "issues");
    header("x-github-delivery", id);
    header("x-hub-signature-256", &format!("sha256={tag}"));
    header("cookie", "canary");
    request
}

pub(crate) fn about(repo: &str) -> String {
    format!(r#"{{"action":"opened","repository":{{"full_name":"octo/{repo}"}}}}"#)
}

pub(crate) fn own(integration: &Integration) -> Route {
    Route::integration("github", integration.uid.to_string())
}
