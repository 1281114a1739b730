//! What the tests of the processor share.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use integrations_core::{
    event::EventKind,
    id::WebhookId,
    integration::{Integration, Scope},
    operation_log::{Operation, OperationFilter},
    store::{PageRequest, Ports},
    value::ProviderKey,
    webhook::{Webhook, WebhookInbox as _},
};
use integrations_providers::github::Github;
use integrations_testkit::harness::Harness;
use integrations_webhooks::{
    Delivery, Handled, HandlerError, Processor, ProcessorBuilder, Receiver, Route,
};
use ring::hmac;

pub(crate) const SECRET: &str = "it's a secret";

/// A harness that received deliveries.
pub(crate) struct Setup {
    pub(crate) harness: Harness,
    pub(crate) integration: Integration,
    receiver: Receiver,
}

impl Setup {
    pub(crate) async fn new() -> Self {
        Self::with(|ports| ports).await
    }

    pub(crate) async fn with(ports: impl FnOnce(Ports) -> Ports) -> Self {
        let provider =
            |builder: integrations_core::client::ClientBuilder| builder.provider(Github::default());
        let harness = Harness::with(ports, provider);
        let receiver = Receiver::builder(&harness.client).build();
        let integration = install(&harness, "hello").await;
        Self {
            harness,
            integration,
            receiver,
        }
    }

    pub(crate) fn processor(&self) -> ProcessorBuilder {
        Processor::builder(&self.harness.client)
    }

    /// Receives a delivery, genuine for `integration`.
    pub(crate) async fn receive_for(&self, integration: &Integration, id: &str, event: &str) {
        let body = Bytes::from(format!("{{\"delivery\":\"{id}\"}}"));
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = hex::encode(hmac::sign(&key, &body));
        let request = Request::post("/integrations/github/webhook")
            .header("x-github-event", event)
            .header("x-github-delivery", id)
            .header("x-hub-signature-256", format!("sha256={tag}"))
            .body(body)
            .unwrap();
        let route = Route::integration("github", integration.uid.to_string());
        let answer = self.receiver.receive(&route, request, None).await;
        assert!(answer.status().is_success(), "{answer:?}");
    }

    pub(crate) async fn receive(&self, id: &str, event: &str) {
        self.receive_for(&self.integration, id, event).await;
    }

    pub(crate) async fn row(&self, id: i64) -> Webhook {
        let now = self.harness.client.ports().clock.now();
        let found = self
            .harness
            .store
            .find(WebhookId(id), &Scope::Operator, now)
            .await;
        found.unwrap().unwrap()
    }

    /// The operation log, oldest first.
    pub(crate) async fn operations(&self) -> Vec<Operation> {
        let page = PageRequest::oldest(PageRequest::MAX_LIMIT);
        let all = OperationFilter::default();
        let operations = &self.harness.client.ports().operations;
        let read = operations.query(&all, &Scope::Operator, &page).await;
        read.unwrap().items
    }

    /// Waits until sinks have had everything; nothing is told after it.
    pub(crate) async fn told(&self) -> Vec<EventKind> {
        self.harness.client.shutdown().await;
        self.harness.events.kinds()
    }
}

pub(crate) async fn install(harness: &Harness, repo: &str) -> Integration {
    let credentials = [("token", "ghp_x"), ("webhook_secret", SECRET)];
    let metadata = [("owner", "octo"), ("repo", repo)];
    harness
        .install("github", None, &credentials, &metadata)
        .await
}

pub(crate) fn github() -> ProviderKey {
    ProviderKey::new("github").unwrap()
}

/// Remembers what handlers saw.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    pub(crate) fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A handler that remembers deliveries under a name.
pub(crate) fn remembering(
    seen: &Seen,
    name: &'static str,
) -> impl Fn(Delivery) -> std::future::Ready<Result<Handled, HandlerError>> + Send + Sync + 'static
{
    let seen = seen.clone();
    move |delivery| {
        let id = delivery.delivery_id().unwrap_or_default();
        seen.add(format!("{name} {id}"));
        std::future::ready(Ok(Handled::Done))
    }
}
