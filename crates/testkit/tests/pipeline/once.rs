//! At most once: what a key is reserved for, and what becomes of it.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use http::{HeaderMap, HeaderName, Method};
use integrations_core::{
    client::{AnswerSource, CallErrorKind, Once},
    idempotency::{ReservationRecord, ReservationState},
    integration::{Integration, Scope},
    provider::{
        Account, Effect, Fields, KeyProbe, NativeIdempotency, Outcome, Probe, Provider,
        ProviderError,
    },
    store::{Ports, StoreError, StoreErrorKind},
    transport::{Reached, TransportErrorKind},
    value::{IdempotencyKey, ProviderKey},
};
use integrations_testkit::{harness::Harness, transport::Reply};
use serde_json::json;
use url::Url;

use crate::acme::{Acme, install, installed};

async fn on_file(harness: &Harness, acme: &Integration, key: &str) -> Option<ReservationRecord> {
    let ports = harness.client.ports();
    let key = IdempotencyKey::new(key).unwrap();
    let now = ports.clock.now();
    ports
        .ledger
        .find(acme.id, &key, &Scope::Operator, now)
        .await
        .unwrap()
}

async fn state(harness: &Harness, acme: &Integration) -> Option<ReservationState> {
    Some(on_file(harness, acme, "k1").await?.state)
}

fn charge(harness: &Harness, acme: &Integration) -> integrations_core::client::Call {
    harness
        .handle(acme)
        .post("/charges")
        .body(&json!({ "amount": 100 }))
        .idempotency_key("k1")
}

fn script(harness: &Harness, reply: Reply) {
    harness.transport.reply(Method::POST, "/api/charges", reply);
}

// INV-12, IDM-04, W-IDM-6: done before is answered with what is on file
#[tokio::test]
async fn the_second_call_is_given_the_first_ones_answer() {
    let (harness, acme) = installed().await;
    script(
        &harness,
        Reply::status(201)
            .json(&json!({ "id": "ch_1" }))
            .header("x-a", "b"),
    );
    let first = charge(&harness, &acme).send().await.unwrap();
    let second = charge(&harness, &acme).send().await.unwrap();
    assert_eq!(
        (first.source, second.source),
        (AnswerSource::Live, AnswerSource::Recorded)
    );
    assert_eq!((second.status, &second.body), (first.status, &first.body));
    assert_eq!(
        (second.headers["x-a"].to_str().unwrap(), second.request_id),
        ("b", first.request_id)
    );
    assert_eq!(harness.transport.sent().len(), 1);
    let row = harness.requests().await.remove(0).attempt;
    assert_eq!(row.idempotency_key.unwrap().as_str(), "k1");
    let record = on_file(&harness, &acme, "k1").await.unwrap();
    assert_eq!(
        (record.state, record.request_id),
        (ReservationState::Succeeded, first.request_id)
    );
}

// DESIGN: the table of outcomes
#[tokio::test]
async fn what_became_of_the_key() {
    use ReservationState::{Succeeded, Unknown};
    let lost = |kind, reached| Reply::failure(kind, reached);
    let cases = [
        (Reply::status(200), Some(Succeeded)),
        (Reply::status(302), None),
        (Reply::status(400), None),
        (Reply::status(422), None),
        (Reply::status(425), None),
        (Reply::status(429), None),
        (Reply::status(408), Some(Unknown)),
        (Reply::status(409), Some(Unknown)),
        (Reply::status(500), Some(Unknown)),
        (Reply::status(503), Some(Unknown)),
        (lost(TransportErrorKind::Connect, Reached::NotSent), None),
        (lost(TransportErrorKind::Refused, Reached::NotSent), None),
        (
            lost(TransportErrorKind::Timeout, Reached::MaybeSent),
            Some(Unknown),
        ),
        (
            lost(TransportErrorKind::Interrupted, Reached::MaybeSent),
            Some(Unknown),
        ),
    ];
    for (reply, expected) in cases {
        let (harness, acme) = installed().await;
        let shown = format!("{reply:?}");
        script(&harness, reply);
        let _ = charge(&harness, &acme).send().await;
        assert_eq!(state(&harness, &acme).await, expected, "{shown}");
    }
}

// L-IDM-2, INV-12: unknown is refused with what is on file, and nothing is sent
#[tokio::test]
async fn an_unknown_outcome_is_refused_until_it_is_resolved() {
    let (harness, acme) = installed().await;
    script(&harness, Reply::status(502));
    let first = charge(&harness, &acme).send().await.unwrap_err();
    let error = charge(&harness, &acme).send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::KeyUnknown);
    let record = error.record().unwrap();
    assert_eq!(
        (record.status_code, record.request_id),
        (Some(502), first.request_id())
    );
    assert_eq!(harness.transport.sent().len(), 1);
}

// W-IDM-4, INV-12
#[tokio::test]
async fn another_request_under_the_key_is_a_mismatch() {
    let (harness, acme) = installed().await;
    script(&harness, Reply::status(201));
    charge(&harness, &acme).send().await.unwrap();
    let handle = harness.handle(&acme);
    let others = [
        handle.post("/charges").body(&json!({ "amount": 101 })),
        handle
            .post("/charges")
            .query("a", 1)
            .body(&json!({ "amount": 100 })),
        handle.put("/charges").body(&json!({ "amount": 100 })),
    ];
    for other in others {
        let error = other.idempotency_key("k1").send().await.unwrap_err();
        assert_eq!(error.kind(), &CallErrorKind::KeyMismatch);
    }
    assert_eq!(harness.transport.sent().len(), 1);
}

// IDM-01
#[tokio::test]
async fn keys_that_are_none_are_refused_before_anything() {
    let (harness, acme) = installed().await;
    for key in [String::new(), "k".repeat(192)] {
        let call = harness.handle(&acme).post("/charges").idempotency_key(key);
        let error = call.send().await.unwrap_err();
        assert_eq!(error.kind(), &CallErrorKind::Invalid);
    }
    script(&harness, Reply::status(201));
    let call = harness
        .handle(&acme)
        .post("/charges")
        .idempotency_key("k".repeat(191));
    call.send().await.unwrap();
}

// IDM-08, RET-01: the worst attempt decides, and a key that was certainly not used is free
#[tokio::test]
async fn a_key_is_held_across_attempts() {
    let (harness, acme) = installed().await;
    script(&harness, Reply::status(429));
    script(&harness, Reply::status(201));
    let call = charge(&harness, &acme).attempts(2).send();
    harness.clock.drive(call).await.unwrap();
    assert_eq!(
        state(&harness, &acme).await,
        Some(ReservationState::Succeeded)
    );
    let rows = harness.requests().await;
    assert!(rows.iter().all(|row| row.attempt.idempotency_key.is_some()));

    let (harness, acme) = installed().await;
    let put = |key: &str| {
        harness
            .handle(&acme)
            .put("/x")
            .attempts(2)
            .idempotency_key(key)
            .send()
    };
    for reply in [500, 429, 429, 429].map(Reply::status) {
        harness.transport.reply(Method::PUT, "/api/x", reply);
    }
    harness.clock.drive(put("k1")).await.unwrap_err();
    harness.clock.drive(put("k2")).await.unwrap_err();
    assert_eq!(
        state(&harness, &acme).await,
        Some(ReservationState::Unknown)
    );
    assert_eq!(on_file(&harness, &acme, "k2").await, None);
}

// IDM-06: refused by a gate, nothing happened
#[tokio::test]
async fn a_call_that_is_not_admitted_frees_its_key() {
    let settings = integrations_core::provider::ProviderSettings {
        budgets: Some(vec![integrations_core::gate::RateBudget::per_minute(1)]),
        ..Default::default()
    };
    let harness = Harness::with(|p| p, |b| b.provider_with(Acme, settings));
    let acme = install(&harness).await;
    harness
        .transport
        .reply(Method::GET, "/api/x", Reply::status(200));
    harness.handle(&acme).get("/x").send().await.unwrap();
    let error = charge(&harness, &acme).send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::RateLimited);
    assert_eq!(state(&harness, &acme).await, None);
}

// 200 at once: one is sent, the others learn what became of it
#[tokio::test]
async fn of_many_at_once_one_is_sent() {
    let (harness, acme) = installed().await;
    script(&harness, Reply::status(201).json(&json!({ "id": "ch_1" })));
    let all = join_all((0..200).map(|_| charge(&harness, &acme).json_once::<serde_json::Value>()));
    let (mut done, mut in_flight, mut recorded) = (0, 0, 0);
    for one in all.await {
        match one.unwrap() {
            Once::Done(_) => done += 1,
            Once::Recorded(_) => recorded += 1,
            Once::InFlight { retry_at } => {
                assert!(retry_at > harness.client.ports().clock.now());
                in_flight += 1;
            }
            Once::Unknown(record) => panic!("{record:?}"),
        }
    }
    assert_eq!((done, in_flight + recorded), (1, 199));
    assert_eq!(harness.transport.sent().len(), 1);
}

// DESIGN: the caller gone after the attempt began
#[tokio::test]
async fn a_caller_that_goes_away_leaves_a_row_and_an_unknown_key() {
    let (harness, acme) = installed().await;
    let call = harness.handle(&acme).sdk("charge").idempotency_key("k1");
    let (began, begins) = tokio::sync::oneshot::channel::<()>();
    let began = std::sync::Mutex::new(Some(began));
    let call = call.run(|_| {
        let began = began.lock().unwrap().take().unwrap();
        async move {
            let _ = began.send(());
            std::future::pending::<Result<(), std::io::Error>>().await
        }
    });
    tokio::select! {
        _ = call => panic!("it never answers"),
        _ = begins => {}
    }
    harness.client.shutdown().await;
    assert_eq!(
        state(&harness, &acme).await,
        Some(ReservationState::Unknown)
    );
    let row = harness.requests().await.remove(0).attempt;
    let error = "the caller went away before there was an answer";
    assert_eq!(row.error.as_deref(), Some(error));
}

// DESIGN: gone between attempts, after one that certainly did nothing
#[tokio::test]
async fn a_caller_that_goes_away_while_waiting_frees_the_key() {
    let (harness, acme) = installed().await;
    script(&harness, Reply::status(429).header("retry-after", "5"));
    let mut call = Box::pin(charge(&harness, &acme).attempts(2).send());
    let mut turns = 0;
    while harness.requests().await.is_empty() && turns < 1000 {
        assert!(futures::poll!(&mut call).is_pending());
        tokio::task::yield_now().await;
        turns += 1;
    }
    assert_eq!(
        state(&harness, &acme).await,
        Some(ReservationState::Reserved)
    );
    drop(call);
    harness.client.shutdown().await;
    assert_eq!(state(&harness, &acme).await, None);
    assert_eq!(harness.requests().await.len(), 1);
}

// A call that lasts longer than its reservation keeps it
#[tokio::test]
async fn a_reservation_outlives_a_long_attempt() {
    let (harness, acme) = installed().await;
    let clock = harness.clock.clone();
    let call = harness
        .handle(&acme)
        .sdk("slow")
        .idempotency_key("k1")
        .run(|_| {
            let clock = clock.clone();
            async move {
                use integrations_core::time::Clock as _;
                clock
                    .sleep_until(clock.now() + Duration::from_mins(10))
                    .await;
                Ok::<_, std::io::Error>(7)
            }
        });
    let watch = async {
        let mut seen = Vec::new();
        for _ in 0..9 {
            use integrations_core::time::Clock as _;
            harness
                .clock
                .sleep_until(harness.clock.now() + Duration::from_mins(1))
                .await;
            seen.push(state(&harness, &acme).await);
        }
        seen
    };
    let (value, seen) = harness
        .clock
        .drive(futures::future::join(call, watch))
        .await;
    assert_eq!(value.unwrap(), 7);
    assert!(
        seen.iter()
            .all(|one| *one == Some(ReservationState::Reserved)),
        "{seen:?}"
    );
    assert_eq!(
        state(&harness, &acme).await,
        Some(ReservationState::Succeeded)
    );
}

// IDM-09: what an SDK returned is not kept, and says so
#[tokio::test]
async fn an_sdk_call_is_made_once() {
    let (harness, acme) = installed().await;
    let call = |amount: i64| {
        let sdk = harness
            .handle(&acme)
            .sdk("charge")
            .request(&json!({ "amount": amount }));
        sdk.idempotency_key("k1")
            .run(|_| async { Ok::<_, std::io::Error>(1) })
    };
    call(100).await.unwrap();
    assert_eq!(call(100).await.unwrap_err().kind(), &CallErrorKind::KeyDone);
    assert_eq!(
        call(101).await.unwrap_err().kind(),
        &CallErrorKind::KeyMismatch
    );
    let rows = harness.requests().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        rows[0].attempt.request_data.as_deref(),
        Some(r#"{"amount":100}"#)
    );
}

// INV-01: a store that fails once the other side answered frees no key
#[tokio::test]
async fn an_answer_that_cannot_be_recorded_keeps_the_key() {
    let failing = |mut ports: Ports| {
        let mut journal = integrations_core::mock::MockCallJournal::new();
        journal.expect_record().returning(|_| {
            Err(StoreError::new(
                StoreErrorKind::Unavailable,
                "the database cannot be reached",
            ))
        });
        ports.journal = Arc::new(journal);
        ports
    };
    let harness = Harness::with(failing, |builder| builder.provider(Acme));
    let acme = install(&harness).await;
    script(&harness, Reply::status(201));
    charge(&harness, &acme).send().await.unwrap();
    assert_eq!(
        state(&harness, &acme).await,
        Some(ReservationState::Reserved)
    );
    harness.clock.advance(Duration::from_mins(2));
    assert_eq!(
        state(&harness, &acme).await,
        Some(ReservationState::Unknown)
    );
    let error = charge(&harness, &acme).send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::KeyUnknown);
}

/// Acme, deduplicating by a header.
struct Deduplicating;

impl Provider for Deduplicating {
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

    fn authenticate(&self, a: &Account<'_>, h: &mut HeaderMap) -> Result<(), ProviderError> {
        Acme.authenticate(a, h)
    }

    fn native_idempotency(&self) -> Option<&dyn NativeIdempotency> {
        Some(self)
    }
}

impl NativeIdempotency for Deduplicating {
    fn header(&self) -> HeaderName {
        HeaderName::from_static("idempotency-key")
    }
}

// IDM-10: not after the provider has forgotten the key
#[tokio::test]
async fn an_unknown_outcome_is_not_tried_again_once_the_provider_forgot() {
    let harness = Harness::new(Deduplicating);
    let acme = install(&harness).await;
    script(&harness, Reply::status(500));
    charge(&harness, &acme).send().await.unwrap_err();
    harness.clock.advance(Duration::from_hours(24));
    let error = charge(&harness, &acme).send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::KeyUnknown);
    assert_eq!(harness.transport.sent().len(), 1);
}

/// Acme, with a list of charges by key.
struct Searchable;

impl Provider for Searchable {
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

    fn authenticate(&self, a: &Account<'_>, h: &mut HeaderMap) -> Result<(), ProviderError> {
        Acme.authenticate(a, h)
    }

    fn key_probe(&self) -> Option<&dyn KeyProbe> {
        Some(self)
    }
}

impl KeyProbe for Searchable {
    fn request(&self, endpoint: &str, key: &IdempotencyKey) -> Option<Probe> {
        (endpoint == "/charges").then(|| Probe::get(format!("/charges?key={key}")))
    }

    fn verdict(&self, _key: &IdempotencyKey, outcome: &Outcome<'_>) -> Effect {
        match (outcome.status, outcome.body) {
            (Some(200), b"[]") => Effect::DidNotHappen,
            (Some(200), _) => Effect::Happened,
            _ => Effect::Unknown,
        }
    }
}

// DESIGN: an unknown key is resolved by the provider's own probe
#[tokio::test]
async fn a_provider_is_asked_what_became_of_an_unknown_call() {
    let harness = Harness::new(Searchable);
    let acme = install(&harness).await;
    let probe = |reply| harness.transport.reply(Method::GET, "/api/charges", reply);
    script(&harness, Reply::status(500));
    charge(&harness, &acme).send().await.unwrap_err();
    probe(Reply::status(404));
    let error = charge(&harness, &acme).send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::KeyUnknown);

    // It did not happen: it is made now, and is lost again.
    probe(Reply::status(200).bytes("[]"));
    script(&harness, Reply::status(502));
    charge(&harness, &acme).send().await.unwrap_err();
    assert_eq!(
        state(&harness, &acme).await,
        Some(ReservationState::Unknown)
    );

    // It happened: it is not made again.
    probe(Reply::status(200).bytes("[{}]"));
    let error = charge(&harness, &acme).send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::KeyDone);
    let sent = harness.transport.sent();
    let posted = sent.iter().filter(|request| request.method == Method::POST);
    assert_eq!(posted.count(), 2);
}

// IDM-10: the key is on the wire, so an unknown outcome may be tried again under it
#[tokio::test]
async fn a_provider_that_deduplicates_is_sent_the_key() {
    let harness = Harness::new(Deduplicating);
    let acme = install(&harness).await;
    script(&harness, Reply::status(500));
    script(&harness, Reply::status(201));
    let call = charge(&harness, &acme).attempts(2).send();
    harness.clock.drive(call).await.unwrap();
    let sent = harness.transport.sent();
    assert_eq!(sent.len(), 2);
    assert!(
        sent.iter()
            .all(|request| request.headers["idempotency-key"] == "k1")
    );
}

// IDM-10: also by a later call; what it is refused for then does not free the key
#[tokio::test]
async fn an_unknown_outcome_is_tried_again_where_the_provider_deduplicates() {
    let harness = Harness::new(Deduplicating);
    let acme = install(&harness).await;
    for status in [500, 429] {
        script(&harness, Reply::status(status));
        charge(&harness, &acme).send().await.unwrap_err();
        assert_eq!(
            state(&harness, &acme).await,
            Some(ReservationState::Unknown),
            "{status}"
        );
    }
    script(&harness, Reply::status(201).json(&json!({ "id": "ch_1" })));
    charge(&harness, &acme).send().await.unwrap();
    let again = charge(&harness, &acme).send().await.unwrap();
    assert_eq!(again.source, AnswerSource::Recorded);
    assert_eq!(again.body, r#"{"id":"ch_1"}"#);
}
