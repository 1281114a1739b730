//! INV-01: once the other side answered, no fault of ours changes the outcome.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method};
use integrations_core::{
    client::{CallErrorKind, UnrecordedPolicy},
    event::{Event, EventKind, EventSink},
    mock::MockCallJournal,
    provider::{Account, FailureClassifier, Fields, Outcome, Provider, ProviderError},
    request::FailureClass,
    store::{Ports, Rejected, StoreError, StoreErrorKind},
    value::ProviderKey,
};
use integrations_testkit::{harness::Harness, transport::Reply};
use serde_json::json;
use url::Url;

use crate::acme::{Acme, install};

/// Ports whose journal fails in one of the ways a store can.
fn failing(reject: bool) -> impl FnOnce(Ports) -> Ports {
    move |mut ports| {
        let mut journal = MockCallJournal::new();
        journal.expect_record().returning(move |_| {
            if reject {
                Ok(vec![Err(Rejected::Constraint)])
            } else {
                Err(StoreError::new(
                    StoreErrorKind::Unavailable,
                    "the database cannot be reached",
                ))
            }
        });
        ports.journal = Arc::new(journal);
        ports
    }
}

// INV-01, W-REQ-1
#[tokio::test]
async fn an_answer_that_cannot_be_recorded_is_still_the_answer() {
    for reject in [false, true] {
        let harness = Harness::with(failing(reject), |builder| builder.provider(Acme));
        let acme = install(&harness).await;
        harness.transport.reply(
            Method::POST,
            "/api/x",
            Reply::status(201).json(&json!({ "id": 1 })),
        );
        let answer = harness.handle(&acme).post("/x").send().await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.request_id), (201, None));
        assert_eq!(harness.transport.sent().len(), 1);
        harness.client.shutdown().await;
        let told = harness.events.kinds();
        assert!(
            told.iter()
                .any(|kind| matches!(kind, EventKind::RequestUnrecorded { .. })),
            "{told:?}"
        );
    }
}

// DESIGN: `fail_call` returns the answer inside an error that is never a reason to call again
#[tokio::test]
async fn fail_call_carries_the_answer() {
    let harness = Harness::with(failing(false), |builder| {
        builder
            .provider(Acme)
            .when_unrecorded(UnrecordedPolicy::FailCall)
    });
    let acme = install(&harness).await;
    harness
        .transport
        .reply(Method::POST, "/api/x", Reply::status(201));
    let error = harness.handle(&acme).post("/x").send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Unrecorded);
    assert_eq!(error.answer().unwrap().status.as_u16(), 201);
}

// DESIGN: calls through an SDK keep to the policy as requests do
#[tokio::test]
async fn fail_call_carries_the_error_of_an_sdk() {
    let harness = Harness::with(failing(false), |builder| {
        builder
            .provider(Acme)
            .when_unrecorded(UnrecordedPolicy::FailCall)
    });
    let acme = install(&harness).await;
    let work = |_| async { Err::<(), _>(std::io::Error::other("declined")) };
    let error = harness.handle(&acme).run("x", work).await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Unrecorded);
    assert_eq!(error.into_sdk().unwrap().to_string(), "declined");
}

#[tokio::test]
async fn a_failure_that_cannot_be_recorded_is_still_that_failure() {
    let harness = Harness::with(failing(false), |builder| builder.provider(Acme));
    let acme = install(&harness).await;
    harness
        .transport
        .reply(Method::GET, "/api/x", Reply::status(500));
    let error = harness
        .handle(&acme)
        .get("/x")
        .attempts(1)
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Failed(FailureClass::Upstream));
}

// INV-01: nor does a panic in the bookkeeping
#[tokio::test]
async fn a_panicking_store_does_not_lose_the_answer() {
    let panicking = |mut ports: Ports| {
        let mut journal = MockCallJournal::new();
        journal
            .expect_record()
            .returning(|_| panic!("a store that panics"));
        ports.journal = Arc::new(journal);
        ports
    };
    let harness = Harness::with(panicking, |builder| builder.provider(Acme));
    let acme = install(&harness).await;
    harness
        .transport
        .reply(Method::POST, "/api/x", Reply::status(201));
    let answer = harness.handle(&acme).post("/x").send().await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.request_id), (201, None));
}

/// Acme, but its own code fails once there is an answer.
struct Touchy;

impl Provider for Touchy {
    fn key(&self) -> ProviderKey {
        Acme.key()
    }

    fn name(&self) -> &str {
        Acme.name()
    }

    fn credentials(&self) -> Fields {
        Acme.credentials()
    }

    fn metadata(&self) -> Fields {
        Acme.metadata()
    }

    fn base_url(&self, account: &Account<'_>) -> Result<Url, ProviderError> {
        Acme.base_url(account)
    }

    fn authenticate(
        &self,
        account: &Account<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), ProviderError> {
        Acme.authenticate(account, headers)
    }

    fn request_id_header(&self) -> Option<HeaderName> {
        panic!("a provider that panics")
    }

    fn failure_classifier(&self) -> Option<&dyn FailureClassifier> {
        Some(self)
    }
}

impl FailureClassifier for Touchy {
    fn classify(&self, _outcome: &Outcome<'_>) -> Option<FailureClass> {
        panic!("a classifier that panics")
    }
}

// INV-01
#[tokio::test]
async fn a_panicking_provider_loses_neither_answer_nor_row() {
    let harness = Harness::new(Touchy);
    let acme = install(&harness).await;
    harness
        .transport
        .reply(Method::POST, "/api/x", Reply::status(503));
    let error = harness.handle(&acme).post("/x").send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Failed(FailureClass::Upstream));
    let rows = harness.requests().await;
    assert_eq!(error.request_id(), Some(rows[0].id));
}

struct Panicking;

impl EventSink for Panicking {
    fn emit(&self, _event: &Event) {
        panic!("a sink that panics");
    }
}

// EVT-02
#[tokio::test]
async fn a_panicking_sink_changes_nothing_and_others_hear() {
    let harness = Harness::with(
        |ports| ports,
        |builder| builder.event_sink(Panicking).provider(Acme),
    );
    let acme = install(&harness).await;
    harness
        .transport
        .reply(Method::GET, "/api/x", Reply::status(200));
    harness.handle(&acme).get("/x").send().await.unwrap();
    harness.client.shutdown().await;
    let told = harness.events.kinds();
    assert!(
        told.iter()
            .any(|kind| matches!(kind, EventKind::RequestCompleted { .. })),
        "{told:?}"
    );
}

/// Acme with a path to redact that is none.
struct Misspelt;

impl integrations_core::provider::Redaction for Misspelt {
    fn paths(&self) -> Vec<String> {
        vec!["$.a[".to_owned()]
    }
}

impl Provider for Misspelt {
    fn key(&self) -> ProviderKey {
        ProviderKey::new("misspelt").unwrap()
    }

    fn name(&self) -> &'static str {
        "Misspelt"
    }

    fn credentials(&self) -> Fields {
        Fields::default()
    }

    fn metadata(&self) -> Fields {
        Fields::default()
    }

    fn base_url(&self, _account: &Account<'_>) -> Result<Url, ProviderError> {
        "https://misspelt.example"
            .parse()
            .map_err(|_| ProviderError::BaseUrl)
    }

    fn authenticate(&self, _: &Account<'_>, _: &mut HeaderMap) -> Result<(), ProviderError> {
        Ok(())
    }

    fn redaction(&self) -> Option<&dyn integrations_core::provider::Redaction> {
        Some(self)
    }
}

// W-RED-1: a path that matches nothing because it is none would let everything through
#[test]
fn a_client_is_not_built_over_a_path_that_is_none() {
    use integrations_core::client::{BuildError, IntegrationClient};
    use integrations_testkit::{
        encryptor::TestKeys, memory::MemoryStore, transport::ScriptedTransport,
    };

    let error = IntegrationClient::builder(MemoryStore::new(), TestKeys::default())
        .transport(ScriptedTransport::new())
        .provider(Misspelt)
        .build()
        .unwrap_err();
    assert!(
        matches!(error, BuildError::RedactionPath { .. }),
        "{error:?}"
    );
    let text = "the provider `misspelt`: `$.a[` is not a path such as `$.items[*].secret`";
    assert_eq!(error.to_string(), text);
}
