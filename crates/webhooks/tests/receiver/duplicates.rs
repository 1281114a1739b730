//! The same delivery twice.

use bytes::Bytes;
use http::{Request, StatusCode};
use integrations_core::{client::IntegrationClient, integration::Integration};
use integrations_encryptor::{KeyRing, RingEncryptor};
use integrations_providers::{github::Github, webhook::Webhook};
use integrations_testkit::harness::Harness;
use integrations_webhooks::{Receiver, Route};
use ring::hmac;

use crate::setup::{SECRET, Setup, delivery, own};

// WH-05
#[tokio::test]
async fn the_same_id_is_a_duplicate_of_the_first_per_integration() {
    let setup = Setup::new();
    let one = setup.install("one", Some(SECRET)).await;
    let two = setup.install("two", Some("another")).await;
    let sent = |secret: &str, body: &str| delivery(secret, "d-1", body);
    let first = setup.send(&own(&one), sent(SECRET, "{}")).await;
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    let again = setup.send(&own(&one), sent(SECRET, "{\"b\":1}")).await;
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(again.body(), r#"{"status":"duplicate"}"#);
    let other = setup.send(&own(&two), sent("another", "{}")).await;
    assert_eq!(other.status(), StatusCode::ACCEPTED);
    let rows = setup.rows().await;
    let of: Vec<_> = rows.iter().map(|row| row.duplicate_of).collect();
    assert_eq!(of, [None, Some(rows[0].id), None]);
}

#[tokio::test]
async fn the_same_signed_bytes_under_a_new_unsigned_id_are_a_duplicate_for_a_day() {
    let setup = Setup::new();
    let integration = setup.install("hello", Some(SECRET)).await;
    let status = async |id: &str| {
        let sent = delivery(SECRET, id, "{\"a\":1}");
        setup.status(&own(&integration), sent).await
    };
    assert_eq!(status("d-1").await, StatusCode::ACCEPTED);
    setup
        .harness
        .clock
        .advance(std::time::Duration::from_hours(23));
    assert_eq!(status("d-2").await, StatusCode::OK);
    setup
        .harness
        .clock
        .advance(std::time::Duration::from_hours(2));
    assert_eq!(status("d-3").await, StatusCode::ACCEPTED);
}

/// The same request without what names it.
fn without(header: &str, mut request: Request<Bytes>) -> Request<Bytes> {
    assert!(request.headers_mut().remove(header).is_some());
    request
}

// A replay is no delivery of its own for want of an id.
#[tokio::test]
async fn the_same_signed_bytes_without_their_unsigned_id_are_a_duplicate() {
    let setup = Setup::new();
    let integration = setup.install("hello", Some(SECRET)).await;
    let sent = |id: &str, body: &str| delivery(SECRET, id, body);
    let status = async |request| setup.status(&own(&integration), request).await;
    let named = sent("d-1", "{}");
    assert_eq!(status(named).await, StatusCode::ACCEPTED);

    let nameless = |body| without("x-github-delivery", sent("d-1", body));
    assert_eq!(status(nameless("{}")).await, StatusCode::OK);
    assert_eq!(status(sent("", "{}")).await, StatusCode::OK);
    let mut twice = sent("d-1", "{}");
    let id = "d-3".parse().unwrap();
    twice.headers_mut().append("x-github-delivery", id);
    assert_eq!(status(twice).await, StatusCode::OK);

    // The one with the id was held back.
    assert_eq!(status(nameless("[1]")).await, StatusCode::ACCEPTED);
    assert_eq!(status(nameless("[1]")).await, StatusCode::OK);
    assert_eq!(status(sent("d-2", "[1]")).await, StatusCode::OK);
}

// Without an id, none is made up from the body.
#[tokio::test]
async fn a_sender_without_ids_may_mean_the_same_bytes_twice() {
    let harness = Harness::new(Webhook::default());
    let metadata = [("scheme", "hmac"), ("header", "x-signature")];
    let secret = [("webhook_secret", SECRET)];
    let other = harness.install("webhook", None, &secret, &metadata).await;
    let receiver = Receiver::builder(&harness.client).build();
    let route = Route::integration("webhook", other.uid.to_string());
    let status = async |id: Option<&str>, body: &'static str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = hex::encode(hmac::sign(&key, body.as_bytes()));
        let mut request =
            Request::post("/integrations/webhook/1/webhook").header("x-signature", tag);
        if let Some(id) = id {
            request = request.header("x-webhook-id", id);
        }
        let request = request.body(Bytes::from_static(body.as_bytes())).unwrap();
        receiver.receive(&route, request, None).await.status()
    };

    assert_eq!(status(None, "{}").await, StatusCode::ACCEPTED);
    assert_eq!(status(None, "{}").await, StatusCode::ACCEPTED);
    assert_eq!(status(Some("d-1"), "[1]").await, StatusCode::ACCEPTED);
    assert_eq!(
        status(None, "[1]").await,
        StatusCode::OK,
        "its id was left out"
    );
}

#[tokio::test]
async fn an_id_that_is_too_long_still_tells_duplicates() {
    let setup = Setup::new();
    let integration = setup.install("hello", Some(SECRET)).await;
    let long = "x".repeat(300);
    let status = async |id: &str, body: &str| {
        let sent = delivery(SECRET, id, body);
        setup.status(&own(&integration), sent).await
    };
    assert_eq!(status(&long, "{}").await, StatusCode::ACCEPTED);
    assert_eq!(status(&long, "{\"b\":1}").await, StatusCode::OK);
    let other = format!("{long}y");
    assert_eq!(status(&other, "{\"c\":1}").await, StatusCode::ACCEPTED);
    let rows = setup.rows().await;
    assert_eq!(rows[0].delivery.delivery_id.as_deref(), Some(&long[..255]));
}

// Acceptance: the same id from 64 connections at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_delivery_at_once_is_stored_once_as_itself() {
    let setup = std::sync::Arc::new(Setup::new());
    let integration = setup.install("hello", Some(SECRET)).await;
    let sending: Vec<_> = (0..64)
        .map(|_| {
            let (setup, route) = (std::sync::Arc::clone(&setup), own(&integration));
            tokio::spawn(async move { setup.status(&route, delivery(SECRET, "d", "{}")).await })
        })
        .collect();
    let mut accepted = 0;
    for sent in sending {
        match sent.await.unwrap() {
            StatusCode::ACCEPTED => accepted += 1,
            StatusCode::OK => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(accepted, 1);
    let rows = setup.rows().await;
    let originals = rows.iter().filter(|row| row.duplicate_of.is_none());
    assert_eq!((rows.len(), originals.count()), (64, 1));
}

/// A receiver of a process with these keys, over the store of a harness.
fn with_keys(harness: &Harness, keys: &str) -> (IntegrationClient, Receiver) {
    let keys = RingEncryptor::new(KeyRing::parse(keys).unwrap());
    let client = IntegrationClient::builder(harness.store.clone(), keys)
        .transport(harness.transport.clone())
        .provider(Github::default())
        .provider(Webhook::default())
        .build()
        .unwrap();
    let receiver = Receiver::builder(&client).build();
    (client, receiver)
}

/// A request as Slack signs it, without an id: only its signed bytes tell it apart.
fn slack(harness: &Harness, body: &'static str) -> Request<Bytes> {
    let at = harness.client.ports().clock.now().timestamp();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, format!("v0:{at}:{body}").as_bytes());
    Request::post("/integrations/webhook/1/webhook")
        .header("x-slack-request-timestamp", at.to_string())
        .header("x-slack-signature", format!("v0={}", hex::encode(tag)))
        .body(Bytes::from_static(body.as_bytes()))
        .unwrap()
}

// The digest under any key still in the ring tells a duplicate.
#[tokio::test]
async fn the_same_bytes_are_a_duplicate_after_another_key_was_promoted() {
    const OLD: &str = "old:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const NEW: &str = "new:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let mut harness = Harness::new(Github::default());
    let (client, before) = with_keys(&harness, &format!("{OLD},{NEW}"));
    harness.client = client;
    let secret = ("webhook_secret", SECRET);
    let github = [("token", "ghp_x"), secret];
    let metadata = [("owner", "octo"), ("repo", "hello")];
    let github = harness.install("github", None, &github, &metadata).await;
    let metadata = [("scheme", "slack")];
    let other = harness.install("webhook", None, &[secret], &metadata).await;
    let (_, promoted) = with_keys(&harness, &format!("{NEW},{OLD}"));
    let route = |integration: &Integration| {
        Route::integration(integration.provider.as_str(), integration.uid.to_string())
    };
    let sent = async |receiver: &Receiver, id: &str| {
        let by_body = delivery(SECRET, id, "{}");
        let by_body = receiver.receive(&route(&github), by_body, None).await;
        let by_key = slack(&harness, r#"{"type":"event"}"#);
        let by_key = receiver.receive(&route(&other), by_key, None).await;
        (by_body.status(), by_key.status())
    };

    let first = (StatusCode::ACCEPTED, StatusCode::ACCEPTED);
    let again = (StatusCode::OK, StatusCode::OK);
    assert_eq!(sent(&before, "d-1").await, first);
    assert_eq!(sent(&promoted, "d-2").await, again);
    assert_eq!(sent(&before, "d-3").await, again);
    let (_, dropped) = with_keys(&harness, NEW);
    assert_eq!(
        sent(&dropped, "d-4").await.0,
        StatusCode::UNAUTHORIZED,
        "sealed under the old key"
    );
}
