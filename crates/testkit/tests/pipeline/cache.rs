//! The response cache, under the real pipeline.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use http::{HeaderMap, Method};
use integrations_core::{
    cache::{CachedAnswer, ResponseCache},
    client::{AccountUpdate, AnswerSource, CallErrorKind, IntegrationHandle},
    gate::RateBudget,
    integration::Integration,
    mock::MockResponseCache,
    provider::{Account, Fields, Provider, ProviderError, RateLimits},
    store::{Ports, StoreError, StoreErrorKind},
    transport::{HttpTransport, Reached, TransportError, TransportErrorKind},
    value::ProviderKey,
};
use integrations_testkit::{harness::Harness, transport::Reply};
use serde_json::json;
use tokio::sync::Notify;
use url::Url;

use crate::acme::{self, Acme, TOKEN, installed};

const MINUTE: Duration = Duration::from_mins(1);

fn reply(harness: &Harness, path: &str, reply: Reply) {
    harness.transport.reply(Method::GET, path, reply);
}

fn sent(harness: &Harness) -> usize {
    harness.transport.sent().len()
}

/// Hits and stale hits of the first row.
async fn hits(harness: &Harness) -> (i32, i32) {
    harness.client.shutdown().await;
    let row = harness.requests().await.remove(0);
    (row.cache_hits, row.stale_hits)
}

/// What a second process would have: the same store and keys, nothing in memory.
fn second_process(harness: &Harness, acme: &Integration) -> IntegrationHandle {
    let again = integrations_core::client::IntegrationClient::builder(
        harness.store.clone(),
        integrations_testkit::encryptor::TestKeys::default(),
    )
    .transport(harness.transport.clone())
    .provider(Acme)
    .build()
    .unwrap();
    again.operator().integration(acme.id)
}

// RC-01, RC-02, LOG-02, RL-06: a hit sends nothing, writes no row, and is counted
#[tokio::test]
async fn a_hit_sends_nothing_and_writes_no_row() {
    let (harness, acme) = installed().await;
    let body = json!({ "customer": { "email": "a@b.example" } });
    reply(
        &harness,
        "/api/me",
        Reply::status(200).json(&body).header("x-a", "1"),
    );
    let call = || harness.handle(&acme).get("/me").cache(MINUTE).send();
    let live = call().await.unwrap();
    assert_eq!(live.source, AnswerSource::Live);
    for _ in 0..3 {
        let hit = call().await.unwrap();
        assert_eq!(hit.source, AnswerSource::Cached);
        assert_eq!((hit.status, &hit.body), (live.status, &live.body));
        assert_eq!(hit.headers["x-a"], "1");
        assert_eq!(hit.request_id, live.request_id);
    }
    assert_eq!((sent(&harness), harness.requests().await.len()), (1, 1));
    assert_eq!(hits(&harness).await, (3, 0));
}

// RC-09: the time of an answer begins when it came
#[tokio::test]
async fn an_answer_is_good_for_its_time_and_no_longer() {
    let (harness, acme) = installed().await;
    let slow = Reply::status(200)
        .bytes("1")
        .taking(Duration::from_secs(30));
    reply(&harness, "/api/me", slow);
    reply(&harness, "/api/me", Reply::status(200).bytes("2"));
    let call = |ttl| harness.handle(&acme).get("/me").cache(ttl).send();
    assert_eq!(call(MINUTE).await.unwrap().body, "1");
    harness.clock.advance(Duration::from_secs(59));
    assert_eq!(call(MINUTE).await.unwrap().body, "1");
    // Who takes only younger answers gets one, and it is kept for both.
    assert_eq!(call(Duration::from_secs(30)).await.unwrap().body, "2");
    assert_eq!(call(MINUTE).await.unwrap().body, "2");
    assert_eq!(sent(&harness), 2);
}

// DESIGN: two tiers; sealed where the provider redacts; the cache keeps the real answer (L-RED-2)
#[tokio::test]
async fn another_process_is_answered_from_the_store_with_the_real_answer() {
    let (harness, acme) = installed().await;
    let body = json!({ "customer": { "email": "a@b.example" } });
    reply(&harness, "/api/me", Reply::status(200).json(&body));
    let first = harness.handle(&acme).get("/me").cache(MINUTE);
    let live = first.send().await.unwrap();
    let second = second_process(&harness, &acme).get("/me").cache(MINUTE);
    let hit = second.send().await.unwrap();
    assert_eq!((hit.source, &hit.body), (AnswerSource::Cached, &live.body));
    assert_eq!(sent(&harness), 1);
    let logged = harness
        .requests()
        .await
        .remove(0)
        .attempt
        .response_data
        .unwrap();
    assert!(logged.contains("[REDACTED]"), "{logged}");
}

// INV-11: integrations, credentials, queries, headers and bodies are kept apart
#[tokio::test]
async fn nothing_is_served_to_a_call_that_differs_in_anything() {
    let (harness, acme) = installed().await;
    let other = acme::install(&harness).await;
    let call = |acme: &Integration| harness.handle(acme).post("/find").cache(MINUTE);
    let calls = [
        call(&acme),
        call(&other),
        call(&acme).query("q", "1"),
        call(&acme).query("q", "2"),
        call(&acme).header("accept", "text/csv"),
        call(&acme).body(&json!({ "password": "a" })),
        call(&acme).body(&json!({ "password": "b" })),
    ];
    for i in 0..calls.len() {
        let answer = Reply::status(200).bytes(i.to_string());
        harness.transport.reply(Method::POST, "/api/find", answer);
    }
    for (i, call) in calls.iter().enumerate() {
        assert_eq!(call.clone().send().await.unwrap().body, i.to_string());
    }
    for (i, call) in calls.into_iter().enumerate() {
        assert_eq!(call.send().await.unwrap().body, i.to_string());
    }
    assert_eq!(sent(&harness), 7);
}

// INV-11, W-RC-4, W-CRED-6
#[tokio::test]
async fn other_credentials_are_not_given_the_answers_of_the_old_ones() {
    let (harness, acme) = installed().await;
    for body in ["old", "new"] {
        reply(&harness, "/api/me", Reply::status(200).bytes(body));
    }
    let handle = harness.handle(&acme);
    let call = || handle.get("/me").cache(MINUTE).serve_stale().send();
    assert_eq!(call().await.unwrap().body, "old");
    let mut update = AccountUpdate::default();
    update
        .credentials
        .insert("token".to_owned(), "another-token".into());
    handle.update(update).await.unwrap();
    assert_eq!(call().await.unwrap().body, "new");
    let failure = Reply::failure(TransportErrorKind::Connect, Reached::NotSent);
    reply(&harness, "/api/me", failure);
    harness.clock.advance(MINUTE);
    let once = handle.get("/me").cache(MINUTE).serve_stale().attempts(1);
    assert_eq!(once.send().await.unwrap().body, "new");
}

// REQ-25, REQ-26, REQ-27, RC-06
#[tokio::test]
async fn a_stale_answer_stands_in_for_a_call_that_failed() {
    let (harness, acme) = installed().await;
    reply(&harness, "/api/me", Reply::status(200).bytes("kept"));
    let call = || harness.handle(&acme).get("/me").cache(MINUTE).attempts(1);
    call().serve_stale().send().await.unwrap();
    harness.clock.advance(MINUTE);
    reply(&harness, "/api/me", Reply::status(500));
    let stale = call().serve_stale().send().await.unwrap();
    assert_eq!(
        (stale.source, &*stale.body),
        (AnswerSource::Stale, &b"kept"[..])
    );
    reply(&harness, "/api/me", Reply::status(500));
    call().send().await.unwrap_err();
    let rows = harness.requests().await;
    assert_eq!(rows.len(), 3, "what failed left its row");
    assert_eq!(rows[1].attempt.status_code, Some(500));
    assert_eq!(hits(&harness).await, (0, 1));
}

// W-CB-9: nor is the other side called to find out that it is down
#[tokio::test]
async fn a_stale_answer_stands_in_where_the_circuit_is_open() {
    let (harness, acme) = installed().await;
    reply(&harness, "/api/me", Reply::status(200).bytes("kept"));
    let handle = harness.handle(&acme);
    let call = || handle.get("/me").cache(MINUTE).serve_stale().send();
    call().await.unwrap();
    handle.circuit().open(None).await.unwrap();
    harness.clock.advance(MINUTE);
    let stale = call().await.unwrap();
    assert_eq!((stale.source, sent(&harness)), (AnswerSource::Stale, 1));
    let refused = handle.get("/me").cache(MINUTE).send().await.unwrap_err();
    assert!(matches!(refused.kind(), CallErrorKind::CircuitOpen { .. }));
}

#[tokio::test]
async fn what_the_other_side_says_about_the_thing_itself_stands() {
    let (harness, acme) = installed().await;
    reply(&harness, "/api/me", Reply::status(200).bytes("kept"));
    let call = || harness.handle(&acme).get("/me").cache(MINUTE).serve_stale();
    call().send().await.unwrap();
    for status in [401, 403, 404, 410] {
        harness.clock.advance(MINUTE);
        reply(&harness, "/api/me", Reply::status(status));
        let error = call().send().await.unwrap_err();
        assert_eq!(error.answer().unwrap().status, status);
    }
}

// RC: 304 extends, and counts as a hit
#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let (harness, acme) = installed().await;
    let tagged = Reply::status(200)
        .bytes("kept")
        .header("etag", "\"1\"")
        .header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT");
    reply(&harness, "/api/me", tagged);
    let call = || harness.handle(&acme).get("/me").cache(MINUTE).send();
    call().await.unwrap();
    harness.clock.advance(MINUTE);
    reply(
        &harness,
        "/api/me",
        Reply::status(304).header("etag", "\"1\""),
    );
    let same = call().await.unwrap();
    assert_eq!(
        (same.source, same.status.as_u16()),
        (AnswerSource::Revalidated, 200)
    );
    assert_eq!(&*same.body, b"kept");
    let asked = &harness.transport.sent()[1].headers;
    assert_eq!(asked["if-none-match"], "\"1\"");
    assert_eq!(asked["if-modified-since"], "Thu, 01 Jan 2026 00:00:00 GMT");
    harness.clock.advance(Duration::from_secs(59));
    assert_eq!(call().await.unwrap().source, AnswerSource::Cached);
    let elsewhere = second_process(&harness, &acme).get("/me").cache(MINUTE);
    assert_eq!(elsewhere.send().await.unwrap().source, AnswerSource::Cached);
    // What did change takes the old one's place.
    harness.clock.advance(MINUTE);
    reply(&harness, "/api/me", Reply::status(200).bytes("new"));
    assert_eq!(call().await.unwrap().body, "new");
    assert_eq!(call().await.unwrap().body, "new");
    let rows = harness.requests().await;
    let statuses: Vec<_> = rows.iter().map(|row| row.attempt.status_code).collect();
    assert_eq!(statuses, [Some(200), Some(304), Some(200)]);
    assert_eq!(hits(&harness).await, (2, 0));
}

// RC-07, L-RC-2: what is no text, and what is no success, is not kept
#[tokio::test]
async fn what_cannot_be_kept_is_asked_for_again() {
    let (harness, acme) = installed().await;
    for _ in 0..2 {
        reply(
            &harness,
            "/api/logo",
            Reply::status(200).bytes(&b"\xff\0"[..]),
        );
        reply(&harness, "/api/part", Reply::status(206).bytes("part"));
        reply(&harness, "/api/gone", Reply::status(404));
    }
    for _ in 0..2 {
        for path in ["/logo", "/part", "/gone"] {
            let call = harness.handle(&acme).get(path).cache(MINUTE);
            let live = match call.send().await {
                Ok(answer) => answer,
                Err(error) => error.into_answer().unwrap(),
            };
            assert_eq!(live.source, AnswerSource::Live, "{path}");
        }
    }
    assert_eq!(sent(&harness), 6);
}

// A caller who asks conditionally wants what the other side says to that.
#[tokio::test]
async fn a_callers_own_condition_goes_to_the_other_side() {
    let (harness, acme) = installed().await;
    reply(&harness, "/api/me", Reply::status(200).bytes("kept"));
    reply(&harness, "/api/me", Reply::status(304));
    let call = || harness.handle(&acme).get("/me").cache(MINUTE);
    call().send().await.unwrap();
    let answer = call()
        .header("if-none-match", "\"1\"")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status, 304);
}

// W-RC-6: an entry that is not what is expected is fetched anew, once
#[tokio::test]
async fn a_cached_answer_of_another_shape_is_asked_for_again() {
    let (harness, acme) = installed().await;
    reply(&harness, "/api/n", Reply::status(200).json(&json!("seven")));
    reply(&harness, "/api/n", Reply::status(200).json(&json!(7)));
    let call = || harness.handle(&acme).get("/n").cache(MINUTE);
    call().send().await.unwrap();
    assert_eq!(call().json::<i64>().await.unwrap(), 7);
    assert_eq!(call().json::<i64>().await.unwrap(), 7);
    assert_eq!(sent(&harness), 2);
    reply(&harness, "/api/n", Reply::status(200).json(&json!(8)));
    let error = call().json::<String>().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::SchemaDrift);
    assert_eq!(
        sent(&harness),
        3,
        "drift is asked about once and not for ever"
    );
}

// INV-01: a store that fails or panics never fails a call
#[tokio::test]
async fn a_cache_that_is_away_is_passed_over() {
    let mut cache = MockResponseCache::new();
    let away = || StoreError::new(StoreErrorKind::Unavailable, "away");
    cache.expect_find().returning(move |_| Err(away()));
    cache.expect_put().returning(|_| panic!("the store panics"));
    let cache: Arc<dyn ResponseCache> = Arc::new(cache);
    let harness = Harness::with(
        |ports| Ports { cache, ..ports },
        |builder| builder.provider(Acme),
    );
    let acme = acme::install(&harness).await;
    reply(&harness, "/api/me", Reply::status(200).bytes("1"));
    let call = || harness.handle(&acme).get("/me").cache(MINUTE).send();
    assert_eq!(call().await.unwrap().source, AnswerSource::Live);
    assert_eq!(
        call().await.unwrap().source,
        AnswerSource::Cached,
        "from the process"
    );
}

// W-RC-2: single flight
#[tokio::test]
async fn of_many_who_miss_at_once_one_asks() {
    let gate = Arc::new(Gate::default());
    let harness = Harness::with(
        |ports| ports,
        |builder| {
            builder
                .provider(Plain::default())
                .shared_transport(Arc::clone(&gate) as _)
        },
    );
    let plain = harness.install("plain", None, &[], &[]).await;
    let call = || {
        let call = harness.handle(&plain).get("/me").cache(MINUTE);
        async move { call.send().await.unwrap() }
    };
    let all = join_all((0..20).map(|_| call()));
    let open = async {
        gate.arrived.notified().await;
        gate.open.notify_one();
    };
    let (answers, ()) = futures::future::join(all, open).await;
    let live = answers
        .iter()
        .filter(|a| a.source == AnswerSource::Live)
        .count();
    assert_eq!((live, harness.requests().await.len()), (1, 1));
    assert_eq!(hits(&harness).await, (19, 0));
}

// The one who asks may go away; the next asks in its place.
#[tokio::test]
async fn a_caller_who_goes_away_does_not_keep_the_others_waiting() {
    let gate = Arc::new(Gate::default());
    let harness = Harness::with(
        |ports| ports,
        |builder| {
            builder
                .provider(Plain::default())
                .shared_transport(Arc::clone(&gate) as _)
        },
    );
    let plain = harness.install("plain", None, &[], &[]).await;
    let call = || harness.handle(&plain).get("/me").cache(MINUTE).send();
    let mut first = Box::pin(call());
    let arrived = gate.arrived.notified();
    let began = futures::future::select(&mut first, Box::pin(arrived)).await;
    assert!(matches!(began, futures::future::Either::Right(_)));
    let second = call();
    drop(began);
    drop(first);
    gate.open.notify_one();
    assert_eq!(second.await.unwrap().source, AnswerSource::Live);
}

// Hits are written every second, and not one by one.
#[tokio::test]
async fn hits_are_written_when_their_second_is_over() {
    let (harness, acme) = installed().await;
    reply(&harness, "/api/me", Reply::status(200).bytes("1"));
    let call = || harness.handle(&acme).get("/me").cache(MINUTE).send();
    for _ in 0..4 {
        call().await.unwrap();
    }
    let cached = async || harness.requests().await[0].cache_hits;
    // The task that waits for the second has to be waiting before the second passes.
    harness.clock.next_wake().await;
    assert_eq!(cached().await, 0);
    harness.clock.advance(Duration::from_secs(1));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(cached().await, 3);
}

// A 304 costs no budget where the provider says so, and a hit never does (RL-06).
#[tokio::test]
async fn what_did_not_change_costs_nothing_where_the_provider_says_so() {
    let harness = Harness::new(Plain { limited: true });
    let plain = harness.install("plain", None, &[], &[]).await;
    let tagged = Reply::status(200).bytes("1").header("etag", "\"1\"");
    reply(&harness, "/me", tagged);
    harness
        .transport
        .reply_times(3, &Method::GET, "/me", &Reply::status(304));
    let handle = harness.handle(&plain);
    let ask = |ttl| handle.get("/me").cache(ttl).send();
    ask(MINUTE).await.unwrap();
    for _ in 0..3 {
        assert_eq!(
            ask(Duration::ZERO).await.unwrap().source,
            AnswerSource::Revalidated
        );
        assert_eq!(ask(MINUTE).await.unwrap().source, AnswerSource::Cached);
    }
    reply(&harness, "/other", Reply::status(204));
    let other = || handle.get("/other").max_wait(Duration::ZERO).send();
    other().await.unwrap();
    let refused = other().await.unwrap_err();
    assert_eq!(refused.kind(), &CallErrorKind::RateLimited);
}

/// A client whose entries can be looked at.
fn spied(provider: impl Provider + 'static) -> (Harness, Arc<Mutex<Vec<CachedAnswer>>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let puts = Arc::clone(&kept);
    let mut cache = MockResponseCache::new();
    cache.expect_find().returning(|_| Ok(None));
    cache.expect_put().returning(move |entry| {
        puts.lock().unwrap().push(entry.answer.clone());
        Ok(())
    });
    let cache: Arc<dyn ResponseCache> = Arc::new(cache);
    let harness = Harness::with(
        |ports| Ports { cache, ..ports },
        |builder| builder.provider(provider),
    );
    (harness, kept)
}

// DESIGN: sealed where the provider redacts; INV-10: and where it echoes a credential all the same
#[tokio::test]
async fn an_answer_that_may_hold_a_secret_is_sealed() {
    let (harness, kept) = spied(Plain::default());
    let plain = harness
        .install("plain", None, &[("token", TOKEN)], &[])
        .await;
    let answers = [
        ("/plain", "nothing to hide".to_owned()),
        ("/echo", format!("you are {TOKEN}")),
        ("/named", r#"{"api_key":"of somebody"}"#.to_owned()),
    ];
    for (path, body) in answers {
        reply(&harness, path, Reply::status(200).bytes(body));
        let call = harness.handle(&plain).get(path).cache(MINUTE);
        call.send().await.unwrap();
    }
    let (redacting, sealed) = spied(Acme);
    let acme = acme::install(&redacting).await;
    reply(
        &redacting,
        "/api/me",
        Reply::status(200).bytes("nothing to hide"),
    );
    let call = redacting.handle(&acme).get("/me").cache(MINUTE);
    call.send().await.unwrap();

    let kept = kept.lock().unwrap();
    assert!(matches!(&kept[0], CachedAnswer::Plain(text) if text == "\nnothing to hide"));
    let all = kept[1..]
        .iter()
        .chain(&*sealed.lock().unwrap())
        .cloned()
        .collect::<Vec<_>>();
    assert_eq!(all.len(), 3);
    for answer in all {
        assert!(matches!(answer, CachedAnswer::Sealed(_)), "{answer:?}");
    }
}

/// A provider without redaction, with or without a budget of two calls a minute.
#[derive(Default)]
struct Plain {
    limited: bool,
}

impl RateLimits for Plain {
    fn budgets(&self) -> Vec<RateBudget> {
        vec![RateBudget::per_minute(2)]
    }

    fn not_modified_is_free(&self) -> bool {
        true
    }
}

impl Provider for Plain {
    fn key(&self) -> ProviderKey {
        ProviderKey::new("plain").unwrap()
    }

    fn name(&self) -> &'static str {
        "Plain"
    }

    fn credentials(&self) -> Fields {
        Fields::of::<PlainSecrets>()
    }

    fn metadata(&self) -> Fields {
        Fields::of::<Nothing>()
    }

    fn base_url(&self, _: &Account<'_>) -> Result<Url, ProviderError> {
        Ok("https://plain.example".parse().unwrap())
    }

    fn authenticate(&self, _: &Account<'_>, _: &mut HeaderMap) -> Result<(), ProviderError> {
        Ok(())
    }

    fn rate_limits(&self) -> Option<&dyn RateLimits> {
        self.limited.then_some(self)
    }
}

#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "read through its schema")]
struct PlainSecrets {
    token: Option<String>,
}

#[derive(schemars::JsonSchema)]
struct Nothing {}

/// Answers when it is opened.
#[derive(Default)]
struct Gate {
    arrived: Notify,
    open: Notify,
}

#[async_trait::async_trait]
impl HttpTransport for Gate {
    async fn send(
        &self,
        _: http::Request<bytes::Bytes>,
    ) -> Result<http::Response<bytes::Bytes>, TransportError> {
        self.arrived.notify_one();
        self.open.notified().await;
        Ok(http::Response::new(bytes::Bytes::from_static(b"1")))
    }
}
