//! What the log keeps of a call, when the call goes on, and how it is traced.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::{HeaderName, Method};
use integrations_core::{
    client::{CallContext, LogMode, SampleRate, UnrecordedPolicy},
    event::EventKind,
    idempotency::{Completion, CompletionResult},
    integration::HealthStatus,
    redact::{JsonPath, SecretNames},
    request::{CallJournal, CallOutcome, Recorded},
    store::{Batch, Ports, StoreError, StoreErrorKind},
    trace::{TraceContext, TracePropagation},
};
use integrations_testkit::{harness::Harness, transport::Reply};
use serde_json::json;

use crate::acme::{Acme, TOKEN, install, installed};

fn get(harness: &Harness, statuses: &[u16]) {
    for status in statuses {
        let reply = Reply::status(*status);
        harness.transport.reply(Method::GET, "/api/x", reply);
    }
}

// DESIGN: durable by default, in the background where the call or the client says so
#[tokio::test]
async fn a_call_in_the_background_does_not_wait_for_its_row() {
    let harness = Harness::with(
        |ports| ports,
        |builder| builder.provider(Acme).log_mode(LogMode::Background),
    );
    let acme = install(&harness).await;
    get(&harness, &[200, 200]);
    let handle = harness.handle(&acme);
    let answer = handle.get("/x").send().await.unwrap();
    assert_eq!(answer.request_id, None);
    let durable = handle.get("/x").log(LogMode::Durable).send().await.unwrap();
    assert!(durable.request_id.is_some());
    harness.client.shutdown().await;
    assert_eq!(harness.requests().await.len(), 2);
    assert_eq!(harness.client.log_counts().written, 2);
}

// REQ-30: a retry's row points at the first one's, so that one is waited for
#[tokio::test]
async fn attempts_in_the_background_are_a_chain_all_the_same() {
    let (harness, acme) = installed().await;
    get(&harness, &[500, 200]);
    let call = harness.handle(&acme).get("/x").log(LogMode::Background);
    harness.clock.drive(call.send()).await.unwrap();
    harness.client.shutdown().await;
    let rows = harness.requests().await;
    assert_eq!(rows[1].attempt.retry_of, Some(rows[0].id));
}

#[tokio::test]
async fn a_keyed_call_waits_for_its_row_whatever_was_asked() {
    let (harness, acme) = installed().await;
    let reply = Reply::status(201);
    harness.transport.reply(Method::POST, "/api/x", reply);
    let call = harness.handle(&acme).post("/x").idempotency_key("k");
    let answer = call.log(LogMode::Background).send().await.unwrap();
    assert!(answer.request_id.is_some());
}

/// A journal that is away until it is told to be back.
struct Away(Ports, Arc<AtomicBool>);

#[async_trait]
impl CallJournal for Away {
    async fn record(&self, outcomes: &[CallOutcome]) -> Batch<Recorded> {
        if self.1.load(Ordering::SeqCst) {
            let why = "the database cannot be reached";
            return Err(StoreError::new(StoreErrorKind::Unavailable, why));
        }
        self.0.journal.record(outcomes).await
    }

    async fn complete(&self, ends: &[Completion]) -> Result<Vec<CompletionResult>, StoreError> {
        self.0.journal.complete(ends).await
    }
}

// INV-01, DESIGN: `answer_and_report` answers, tells, and writes the row once the store is back
#[tokio::test]
async fn a_row_that_could_not_be_written_is_written_once_the_store_is_back() {
    for policy in [
        UnrecordedPolicy::AnswerAndReport,
        UnrecordedPolicy::FailCall,
    ] {
        let away = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&away);
        let journal = move |mut ports: Ports| {
            ports.journal = Arc::new(Away(ports.clone(), flag));
            ports
        };
        let harness = Harness::with(journal, |builder| {
            builder.provider(Acme).when_unrecorded(policy)
        });
        let acme = install(&harness).await;
        get(&harness, &[200, 200]);
        away.store(true, Ordering::SeqCst);
        for _ in 0..2 {
            let end = harness.handle(&acme).get("/x").send().await;
            let answer = match policy {
                UnrecordedPolicy::AnswerAndReport => end.unwrap(),
                UnrecordedPolicy::FailCall => end.unwrap_err().into_answer().unwrap(),
            };
            assert_eq!((answer.status.as_u16(), answer.request_id), (200, None));
        }
        assert_eq!(harness.transport.sent().len(), 2, "each was made once");
        assert_eq!(harness.client.log_counts().kept, 2);
        away.store(false, Ordering::SeqCst);
        harness.client.shutdown().await;
        assert_eq!(harness.requests().await.len(), 2);
        let told = harness.events.kinds();
        let count = |is_one: fn(&EventKind) -> bool| told.iter().filter(|k| is_one(k)).count();
        assert_eq!(
            count(|k| matches!(k, EventKind::RequestUnrecorded { .. })),
            2
        );
        assert_eq!(
            count(|k| matches!(k, EventKind::RequestCompleted { .. })),
            2
        );
    }
}

// Sampling: errors are always kept, and a success that leaves no row counts all the same
#[tokio::test]
async fn successes_that_are_left_out_still_heal() {
    let harness = Harness::with(
        |ports| ports,
        |builder| {
            let none = SampleRate::new(0.0).unwrap();
            builder.provider(Acme).sample_successes(none)
        },
    );
    let acme = install(&harness).await;
    get(&harness, &[503, 503, 503, 503, 503, 200]);
    for _ in 0..6 {
        let call = harness.handle(&acme).get("/x").attempts(1);
        let _ = call.send().await;
    }
    let rows = harness.requests().await;
    assert_eq!(rows.len(), 5, "the failures");
    let row = harness.handle(&acme).find().await.unwrap().unwrap();
    assert_eq!(row.health.status, HealthStatus::Healthy);
    assert_eq!(row.health.consecutive_failures, 0);
    let reply = Reply::status(201);
    harness.transport.reply(Method::POST, "/api/x", reply);
    let keyed = harness.handle(&acme).post("/x").idempotency_key("k");
    let answer = keyed.send().await.unwrap();
    assert!(answer.request_id.is_some(), "the key's row is looked for");
}

// A cached answer points at the row that brought it
#[tokio::test]
async fn the_row_behind_a_cached_answer_is_there_whatever_is_left_out() {
    let harness = Harness::with(
        |ports| ports,
        |builder| {
            let none = SampleRate::new(0.0).unwrap();
            let builder = builder.provider(Acme).sample_successes(none);
            builder.log_mode(LogMode::Background)
        },
    );
    let acme = install(&harness).await;
    get(&harness, &[200]);
    for _ in 0..2 {
        let call = harness
            .handle(&acme)
            .get("/x")
            .cache(Duration::from_mins(1));
        call.send().await.unwrap();
    }
    harness.client.shutdown().await;
    let rows = harness.requests().await;
    assert_eq!((rows.len(), rows[0].cache_hits), (1, 1));
}

#[tokio::test]
async fn headers_on_the_list_are_logged() {
    let names = ["etag", "authorization", "traceparent"].map(HeaderName::from_static);
    let harness = Harness::with(
        |ports| ports,
        |builder| {
            let quiet = TracePropagation::Off;
            let builder = builder.provider(Acme).log_headers(names);
            builder.trace_propagation(quiet)
        },
    );
    let acme = install(&harness).await;
    let reply = Reply::status(200).header("etag", "\"1\"");
    let reply = reply.header("x-other", "not on the list");
    harness.transport.reply(Method::GET, "/api/x", reply);
    harness.handle(&acme).get("/x").send().await.unwrap();
    let row = harness.requests().await.remove(0);
    assert_eq!(
        row.attempt.headers.unwrap(),
        r#"{"request":{"authorization":["[REDACTED]"]},"response":{"etag":["\"1\""]}}"#
    );
}

// RED-09, W-RED-2: what a call brings under secret names goes wherever it turns up
#[tokio::test]
async fn a_calls_own_secrets_are_redacted_like_the_accounts() {
    let harness = Harness::with(
        |ports| ports,
        |builder| {
            let names = SecretNames::default().with("pin").unwrap();
            let path = JsonPath::parse("$.customer.phone").unwrap();
            let builder = builder.provider(Acme).redact_names(names);
            builder.redact_paths([path])
        },
    );
    let acme = install(&harness).await;
    let canaries = [
        "canary-in-path",
        "canary-in-query",
        "canary-in-header",
        TOKEN,
    ];
    let echo = json!({
        "echo": canaries.join(" "),
        "customer": { "phone": "canary-phone" },
        "pin": "canary-pin",
    });
    let path = "/api/sessions/canary-in-path";
    let reply = Reply::status(422).json(&echo);
    harness.transport.reply(Method::POST, path, reply);
    let call = harness.handle(&acme).post("/sessions/{session_token}");
    let error = call
        .param("session_token", "canary-in-path")
        .query("api_key", "canary-in-query")
        .header("x-api-key", "canary-in-header")
        .body(&json!({ "note": "is canary-in-header" }))
        .send()
        .await
        .unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"));
    let row = harness.requests().await.remove(0);
    let kept = format!("{:?}", row.attempt);
    assert!(!kept.contains("canary"), "{kept}");
    assert!(
        kept.contains("/api/sessions/[REDACTED]?api_key=[REDACTED]"),
        "{kept}"
    );
}

fn traceparents(harness: &Harness) -> Vec<TraceContext> {
    let sent = harness.transport.sent().into_iter();
    let sent = sent.filter_map(|request| {
        let value = request
            .headers
            .get("traceparent")?
            .to_str()
            .ok()?
            .to_owned();
        Some(TraceContext::parse(&value, None).unwrap())
    });
    sent.collect()
}

#[tokio::test]
async fn each_attempt_is_a_step_of_the_calls_trace() {
    let (harness, acme) = installed().await;
    get(&harness, &[500, 500, 200, 200]);
    let handle = harness.handle(&acme);
    harness.clock.drive(handle.get("/x").send()).await.unwrap();
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let context = TraceContext::parse(given, Some("vendor=1")).unwrap();
    let call = handle.get("/x").trace_context(context.clone());
    call.send().await.unwrap();
    let seen = traceparents(&harness);
    assert_eq!(seen.len(), 4);
    let ids = |of: &[TraceContext], id: fn(&TraceContext) -> String| {
        of.iter().map(id).collect::<BTreeSet<_>>().len()
    };
    assert_eq!(ids(&seen[..3], TraceContext::trace_id), 1, "one trace");
    assert_eq!(ids(&seen, TraceContext::parent_id), 4, "a step each");
    assert_eq!(seen[3].trace_id(), context.trace_id());
    assert_ne!(seen[3].parent_id(), context.parent_id());
    let sent = harness.transport.sent();
    assert_eq!(sent[3].headers["tracestate"], "vendor=1");
}

#[tokio::test]
async fn an_sdk_is_given_the_step_to_pass_on() {
    let (harness, acme) = installed().await;
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let context = TraceContext::parse(given, None).unwrap();
    let handle = harness.handle(&acme);
    let call = handle.sdk("x").trace_context(context.clone());
    let seen = call
        .run(|cx: CallContext| async move { Ok::<_, std::io::Error>(cx.trace_context().cloned()) })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(seen.trace_id(), context.trace_id());
}
