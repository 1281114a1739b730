//! Attempts after the first: whether, when, and what they leave behind.

use std::time::Duration;

use http::Method;
use integrations_core::{
    client::{CallContext, CallErrorKind, RetryLimits, Retryable},
    request::FailureClass,
    time::Clock as _,
    transport::{Reached, TransportErrorKind},
};
use integrations_testkit::{harness::Harness, transport::Reply};

use crate::acme::{Acme, install, installed};

fn script(harness: &Harness, method: &Method, replies: impl IntoIterator<Item = Reply>) {
    for reply in replies {
        harness.transport.reply(method.clone(), "/api/x", reply);
    }
}

// RET-01, REQ-30, REQ-02: 500, 500, 200 is three rows and one answer
#[tokio::test]
async fn a_read_is_tried_three_times_and_each_attempt_is_a_row() {
    let (harness, acme) = installed().await;
    let replies = [500, 500, 200].map(Reply::status);
    script(&harness, &Method::GET, replies);
    let call = harness.handle(&acme).get("/x").send();
    let answer = harness.clock.drive(call).await.unwrap();
    let rows = harness.requests().await;
    assert_eq!(answer.request_id, Some(rows[2].id));
    let seen: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.attempt.attempt,
                row.attempt.retry_of,
                row.attempt.status_code,
            )
        })
        .collect();
    let first = Some(rows[0].id);
    assert_eq!(
        seen,
        [
            (1, None, Some(500)),
            (2, first, Some(500)),
            (3, first, Some(200))
        ]
    );
}

// REQ-31, REQ-02
#[tokio::test]
async fn the_last_error_is_the_callers_and_writes_are_tried_once() {
    let (harness, acme) = installed().await;
    script(&harness, &Method::GET, [500, 502, 503].map(Reply::status));
    script(&harness, &Method::POST, [Reply::status(500)]);
    let read = harness.handle(&acme).get("/x").send();
    let error = harness.clock.drive(read).await.unwrap_err();
    assert_eq!(error.answer().unwrap().status.as_u16(), 503);
    harness.handle(&acme).post("/x").send().await.unwrap_err();
    assert_eq!(harness.transport.sent().len(), 4);
}

// REQ-02
#[tokio::test]
async fn less_than_one_attempt_is_no_call() {
    let (harness, acme) = installed().await;
    let error = harness
        .handle(&acme)
        .get("/x")
        .attempts(0)
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Invalid);
    assert_eq!(error.to_string(), "a call needs at least 1 attempt");
    assert!(harness.transport.sent().is_empty());
}

// RET-01: only what may pass is tried again
#[tokio::test]
async fn refusals_are_not_tried_again() {
    let (harness, acme) = installed().await;
    for status in [400, 404, 422, 501] {
        script(&harness, &Method::GET, [Reply::status(status)]);
        harness.handle(&acme).get("/x").send().await.unwrap_err();
    }
    assert_eq!(harness.transport.sent().len(), 4);
}

// W-RET-6: what may have happened is not sent twice
#[tokio::test]
async fn an_uncertain_write_is_not_repeated_and_a_certain_one_is() {
    let (harness, acme) = installed().await;
    let post = || harness.handle(&acme).post("/x").attempts(3);
    script(&harness, &Method::POST, [Reply::status(500)]);
    harness.clock.drive(post().send()).await.unwrap_err();
    let lost = Reply::failure(TransportErrorKind::Timeout, Reached::MaybeSent);
    script(&harness, &Method::POST, [lost]);
    harness.clock.drive(post().send()).await.unwrap_err();
    assert_eq!(harness.transport.sent().len(), 2);

    let refused = Reply::failure(TransportErrorKind::Connect, Reached::NotSent);
    script(
        &harness,
        &Method::POST,
        [refused, Reply::status(429), Reply::status(201)],
    );
    harness.clock.drive(post().send()).await.unwrap();
    assert_eq!(harness.transport.sent().len(), 5);

    let put = harness.handle(&acme).put("/x").attempts(2).send();
    script(&harness, &Method::PUT, [500, 200].map(Reply::status));
    harness.clock.drive(put).await.unwrap();
}

// RET-03, L-RET-2: seconds and dates; never less than asked, a little more at most
#[tokio::test]
async fn retry_after_is_waited_for() {
    for value in ["2", "Thu, 01 Jan 2026 00:00:02 GMT"] {
        let (harness, acme) = installed().await;
        let start = harness.clock.now();
        let throttled = Reply::status(429).header("retry-after", value);
        script(&harness, &Method::GET, [throttled, Reply::status(200)]);
        let call = harness.handle(&acme).get("/x").send();
        harness.clock.drive(call).await.unwrap();
        let waited = (harness.clock.now() - start).num_milliseconds();
        assert!((2000..2300).contains(&waited), "{value}: {waited} ms");
    }
}

// W-RET-1, INV-15: what is too long to wait for is an error that says when
#[tokio::test]
async fn a_pause_beyond_the_deadline_ends_the_call_at_once() {
    let (harness, acme) = installed().await;
    let start = harness.clock.now();
    let throttled = Reply::status(429).header("retry-after", "30");
    script(&harness, &Method::GET, [throttled]);
    let call = harness
        .handle(&acme)
        .get("/x")
        .deadline(Duration::from_secs(20));
    let error = call.send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Failed(FailureClass::Throttle));
    assert_eq!(error.retry_at(), Some(start + Duration::from_secs(30)));
    assert_eq!(harness.clock.now(), start);
}

// INV-15: attempts and waits together never outlast the deadline
#[tokio::test]
async fn attempts_and_waits_end_with_the_deadline() {
    let (harness, acme) = installed().await;
    let start = harness.clock.now();
    let slow = Reply::status(503).taking(Duration::from_millis(700));
    harness
        .transport
        .reply_times(50, &Method::GET, "/api/x", &slow);
    let call = harness
        .handle(&acme)
        .get("/x")
        .attempts(50)
        .deadline(Duration::from_secs(3));
    let error = harness.clock.drive(call.send()).await.unwrap_err();
    let took = harness.clock.now() - start;
    assert!(took.num_milliseconds() <= 3700, "{took}");
    assert!(error.retry_at().is_some());
}

// INV-15: a closure that never comes back is left at the deadline, and recorded
#[tokio::test]
async fn a_deadline_ends_an_attempt_under_way() {
    let (harness, acme) = installed().await;
    let start = harness.clock.now();
    let call = harness
        .handle(&acme)
        .sdk("slow")
        .deadline(Duration::from_secs(5))
        .run(|_| std::future::pending::<Result<(), std::io::Error>>());
    let error = harness.clock.drive(call).await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Deadline);
    assert_eq!((harness.clock.now() - start).num_seconds(), 5);
    let row = harness.requests().await.remove(0).attempt;
    assert_eq!(row.error.as_deref(), Some("the call's deadline passed"));
    assert_eq!(row.duration_ms, Some(5000));
}

// W-RET-5: an outage is not multiplied
#[tokio::test]
async fn retries_of_an_integration_have_a_budget() {
    let limits = RetryLimits {
        budget: Some(4),
        ..RetryLimits::default()
    };
    let policy = integrations_core::gate::CircuitPolicy {
        enabled: false,
        ..Default::default()
    };
    let harness = Harness::with(
        |ports| ports,
        |builder| {
            builder
                .provider(Acme)
                .retry_limits(limits)
                .circuit_policy(policy)
        },
    );
    let acme = install(&harness).await;
    let down = Reply::failure(TransportErrorKind::Connect, Reached::NotSent);
    harness
        .transport
        .reply_times(60, &Method::GET, "/api/x", &down);
    let calls = (0..20).map(|_| harness.handle(&acme).get("/x").send());
    let all = futures::future::join_all(calls);
    let errors = harness.clock.drive(all).await;
    assert!(errors.iter().all(Result::is_err));
    assert_eq!(harness.transport.sent().len(), 24);
}

// RET-01, RET-03: a closure asks for another attempt itself
#[tokio::test]
async fn a_closure_may_ask_to_be_run_again() {
    let (harness, acme) = installed().await;
    let start = harness.clock.now();
    let call =
        harness
            .handle(&acme)
            .sdk("job.poll")
            .attempts(5)
            .run(|cx: CallContext| async move {
                if cx.attempt() < 3 {
                    return Err(Retryable::new("still running").after(Duration::from_secs(7)));
                }
                Ok(cx.attempt())
            });
    assert_eq!(harness.clock.drive(call).await.unwrap(), 3);
    assert!((harness.clock.now() - start).num_seconds() >= 14);
    let rows = harness.requests().await;
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0].attempt.error.as_deref(), Some("still running"));
}

// RET-01: the provider's verdict comes before the class
mod verdict {
    use http::HeaderMap;
    use integrations_core::{
        provider::{Account, Fields, Outcome, Provider, ProviderError, RetryPolicy, RetryVerdict},
        value::ProviderKey,
    };
    use url::Url;

    use super::*;

    struct Opinionated;

    impl Provider for Opinionated {
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

        fn retry_policy(&self) -> Option<&dyn RetryPolicy> {
            Some(self)
        }
    }

    impl RetryPolicy for Opinionated {
        fn verdict(&self, outcome: &Outcome<'_>) -> Option<RetryVerdict> {
            match outcome.status {
                Some(503) => Some(RetryVerdict::Stop),
                Some(423) => Some(RetryVerdict::Again {
                    after: Some(Duration::from_secs(4)),
                }),
                _ => None,
            }
        }
    }

    #[tokio::test]
    async fn a_provider_knows_better() {
        let harness = Harness::new(Opinionated);
        let acme = install(&harness).await;
        let start = harness.clock.now();
        script(&harness, &Method::GET, [Reply::status(503)]);
        harness.handle(&acme).get("/x").send().await.unwrap_err();
        script(&harness, &Method::GET, [423, 500, 200].map(Reply::status));
        let call = harness.handle(&acme).get("/x").send();
        harness.clock.drive(call).await.unwrap();
        assert_eq!(harness.transport.sent().len(), 4);
        assert!((harness.clock.now() - start).num_seconds() >= 4);
    }
}
