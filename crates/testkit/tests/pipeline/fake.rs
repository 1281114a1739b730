//! The fake of other systems.

use std::time::Duration;

use integrations_core::{
    client::CallErrorKind,
    request::FailureClass,
    transport::{Reached, TransportError, TransportErrorKind},
};
use integrations_testkit::{
    fake::{Fake, Faked},
    transport::{Reply, ScriptedTransport, SentRequest},
};
use serde_json::{Value as Json, json};

use crate::acme::{Acme, TOKEN};

async fn faked() -> Faked {
    let settings = [("subdomain", "north"), ("project", "7")];
    Faked::account(Acme, &[("token", TOKEN)], &settings).await
}

// FAKE-01, FAKE-02, W-FAKE-1
#[tokio::test]
async fn the_most_precise_pattern_answers_under_the_real_pipeline() {
    let acme = faked().await;
    acme.fake.on("/**", json!("anything"));
    acme.fake.on("/api/orders/*", json!("an order"));
    acme.fake.on("/api/orders/1", json!("the first"));
    acme.fake.on("GET /api/orders/*", json!("a read order"));
    acme.fake.on("POST /orders/{n}", json!("by its template"));
    let get = async |path: &str| acme.handle.get(path).json::<String>().await.unwrap();
    assert_eq!(get("/orders/2").await, "a read order");
    assert_eq!(
        get("/orders/1").await,
        "a read order",
        "a method comes before all"
    );
    assert_eq!(get("/orders/1/lines").await, "anything");
    let post = acme.handle.post("/orders/{n}").param("n", 1);
    assert_eq!(post.json::<String>().await.unwrap(), "by its template");
    let put = acme.handle.put("/orders/1").json::<String>().await;
    assert_eq!(put.unwrap(), "the first");
    let rows = acme.harness.requests().await;
    assert_eq!(rows.len(), 5, "calls leave their rows");
    assert_eq!(acme.fake.requests()[0].bearer(), Some(TOKEN));
}

// W-FAKE-1: resilience can be tested
#[tokio::test]
async fn sequences_and_errors_are_met_by_retries_and_circuit() {
    let acme = faked().await;
    let gone = TransportError::new(TransportErrorKind::Connect, Reached::NotSent, "gone");
    acme.fake
        .on("GET /api/flaky", [Reply::status(503), Reply::status(200)]);
    acme.fake.on("GET /api/down", gone);
    let call = acme.handle.get("/flaky").send();
    let clock = acme.harness.clock.clone();
    let answer = clock.drive(call).await;
    assert_eq!(answer.unwrap().status, 200);
    acme.fake.assert_requested("GET /api/flaky", 2);
    let error = acme
        .handle
        .get("/down")
        .attempts(1)
        .send()
        .await
        .unwrap_err();
    assert!(matches!(error.kind(), CallErrorKind::Transport { .. }));
    let failed = acme.harness.requests().await.pop().unwrap().attempt;
    assert_eq!(failed.failure_class, Some(FailureClass::Upstream));
}

#[tokio::test]
async fn a_closure_makes_the_answer_of_the_request() {
    let acme = faked().await;
    acme.fake.on("POST /api/echo", |request: &SentRequest| {
        let body: Json = serde_json::from_slice(&request.body).unwrap();
        Reply::status(201)
            .json(&body)
            .taking(Duration::from_millis(40))
    });
    let call = acme.handle.post("/echo").body(&json!({ "n": 1 }));
    assert_eq!(call.json::<Json>().await.unwrap(), json!({ "n": 1 }));
    assert_eq!(
        acme.harness.requests().await[0].attempt.duration_ms,
        Some(40)
    );
    let holds = |sent: &SentRequest| sent.body == r#"{"n":1}"#;
    acme.fake.assert_requested_with("POST /api/echo", holds);
}

// FAKE-02: what is faked for one account comes first
#[tokio::test]
async fn what_is_for_one_account_is_not_for_others() {
    let acme = faked().await;
    let other = crate::acme::install(&acme.harness).await;
    acme.fake.on("GET /api/me", json!("anybody"));
    acme.fake.on_account(other.id, "/**", json!("the other"));
    let other = acme.harness.handle(&other).get("/me");
    assert_eq!(other.json::<String>().await.unwrap(), "the other");
    let own = acme.handle.get("/me");
    assert_eq!(own.json::<String>().await.unwrap(), "anybody");
}

// FAKE-03
#[tokio::test]
async fn a_provider_may_pass_to_another_transport() {
    let acme = faked().await;
    let real = ScriptedTransport::new();
    real.reply(http::Method::GET, "/api/me", Reply::status(204));
    acme.fake.pass("acme", real.clone());
    assert_eq!(acme.handle.get("/me").send().await.unwrap().status, 204);
    assert_eq!(real.sent().len(), 1);
    acme.fake.assert_nothing_requested();
}

// FAKE-01: what nothing answers is no silent null
#[tokio::test]
#[should_panic(expected = "the fake has no answer to DELETE /api/me: it was told `GET /api/me`")]
async fn a_request_nothing_fits_is_loud() {
    let acme = faked().await;
    acme.fake.on("GET /api/me", json!(1));
    let _ = acme.handle.delete("/me").send().await;
}

#[tokio::test]
#[should_panic(expected = "the sequence of `GET /api/me` is at its end")]
async fn a_sequence_at_its_end_is_loud() {
    let acme = faked().await;
    acme.fake.on("GET /api/me", [Reply::status(204)]);
    for _ in 0..2 {
        let _ = acme.handle.get("/me").send().await;
    }
}

// FAKE-04
#[tokio::test]
async fn assertions_count_what_was_requested() {
    let acme = faked().await;
    acme.fake.on("/**", Reply::status(204));
    acme.fake.assert_nothing_requested();
    acme.handle.get("/me").send().await.unwrap();
    acme.handle.post("/me").send().await.unwrap();
    acme.fake.assert_count(2);
    acme.fake.assert_requested("/api/me", 2);
    acme.fake.assert_requested("GET /api/*", 1);
    acme.fake.assert_not_requested("PUT /**");
}

#[tokio::test]
#[should_panic(expected = "was requested 1 times and not 2; requested were: GET /api/me")]
async fn an_assertion_that_fails_says_what_was_requested() {
    let acme = faked().await;
    acme.fake.on("/**", Reply::status(204));
    acme.handle.get("/me").send().await.unwrap();
    acme.fake.assert_requested("/api/me", 2);
}

// L-FAKE-2
#[test]
#[should_panic(expected = "is no method")]
fn an_assertion_with_a_misspelt_method_never_passes() {
    Fake::new().assert_not_requested("GTE /api/me");
}
