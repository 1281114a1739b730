//! What becomes of a delivery.

use std::{sync::Arc, time::Duration};

use http::Method;
use integrations_core::{
    client::CallError, event::EventKind, integration::Scope, operation_log::OperationStatus,
    webhook::WebhookStatus,
};
use integrations_testkit::transport::Reply;
use integrations_webhooks::{Delivery, Handled, HandlerError};

use crate::setup::{Seen, Setup, github, remembering};

// WH-20, WH-21, WH-22
#[tokio::test]
async fn an_event_goes_to_its_handler_else_to_the_fallback() {
    let setup = Setup::new().await;
    setup.receive("d-1", "issues").await;
    setup.receive("d-2", "push").await;
    let seen = Seen::default();
    let processor = setup
        .processor()
        .on(github(), "issues", remembering(&seen, "issues"))
        .fallback(github(), remembering(&seen, "other"))
        .build();
    assert_eq!(processor.run_until_idle().await.unwrap(), 2);
    let mut all = seen.all();
    all.sort();
    assert_eq!(all, ["issues d-1", "other d-2"]);
    for id in [1, 2] {
        assert_eq!(setup.row(id).await.status, WebhookStatus::Processed);
    }
    let operations = setup.operations().await;
    let logged = |operation: &integrations_core::operation_log::Operation| {
        (
            operation.entry.operation.clone(),
            operation.entry.status.clone(),
        )
    };
    let expected = ("webhook".to_owned(), OperationStatus::Success);
    assert_eq!(
        operations.iter().map(logged).collect::<Vec<_>>(),
        [expected.clone(), expected]
    );
    assert_eq!(processor.run_until_idle().await.unwrap(), 0);
}

#[tokio::test]
async fn without_a_handler_events_are_of_no_interest_and_other_providers_are_left_alone() {
    let setup = Setup::new().await;
    setup.receive("d-1", "push").await;
    let seen = Seen::default();
    let elsewhere = integrations_core::value::ProviderKey::new("stripe").unwrap();
    let idle = setup
        .processor()
        .fallback(elsewhere, remembering(&seen, "x"))
        .build();
    assert_eq!(idle.run_until_idle().await.unwrap(), 0);
    let processor = setup
        .processor()
        .on(github(), "issues", remembering(&seen, "x"))
        .build();
    assert_eq!(processor.run_until_idle().await.unwrap(), 1);
    assert_eq!(setup.row(1).await.status, WebhookStatus::Processed);
    assert!(seen.all().is_empty());
}

// CFG-04, L-WH-3, WH-24
#[tokio::test]
async fn attempts_wait_longer_each_time_and_end_as_a_dead_letter() {
    let setup = Setup::new().await;
    setup.receive("d-1", "issues").await;
    let fail = |_: Delivery| std::future::ready(Err(HandlerError::new("not today")));
    let processor = setup
        .processor()
        .fallback(github(), fail)
        .policy(|policy| policy.max_attempts = 3)
        .build();
    for (wait, attempt) in [(60, 1), (300, 2)] {
        assert_eq!(processor.run_until_idle().await.unwrap(), 1);
        let row = setup.row(1).await;
        assert_eq!(
            (row.status, row.attempts),
            (WebhookStatus::Pending, attempt)
        );
        assert_eq!(row.error.as_deref(), Some("not today"));
        setup.harness.clock.advance(Duration::from_secs(wait - 1));
        assert_eq!(processor.run_until_idle().await.unwrap(), 0);
        setup.harness.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(processor.run_until_idle().await.unwrap(), 1);
    assert_eq!(setup.row(1).await.status, WebhookStatus::Failed);
    let told = setup.told().await;
    let dead = |kind: &&EventKind| matches!(kind, EventKind::WebhookFailed { .. });
    assert_eq!(told.iter().filter(dead).count(), 1);
    // L-EVT-1: those that will be tried again say so.
    let retried = |kind: &&EventKind| {
        matches!(
            kind,
            EventKind::OperationFailed {
                attempt: Some(_),
                ..
            }
        )
    };
    assert_eq!(told.iter().filter(retried).count(), 2);
}

#[tokio::test]
async fn a_handler_says_whether_to_try_again() {
    let setup = Setup::new().await;
    for (id, event) in [
        ("d-1", "permanent"),
        ("d-2", "later"),
        ("d-3", "panic"),
        ("d-4", "?"),
    ] {
        setup.receive(id, event).await;
    }
    let at = setup.harness.client.ports().clock.now() + Duration::from_mins(10);
    let handler = move |delivery: Delivery| async move {
        match delivery.event_type() {
            Some("permanent") => Err(HandlerError::permanent("never")),
            Some("later") => Err(HandlerError::put_back(at, "slow down")),
            Some("panic") => panic!("a handler's mistake"),
            _ => {
                delivery.json::<Vec<u8>>()?;
                Ok(Handled::Done)
            }
        }
    };
    let processor = setup
        .processor()
        .fallback(github(), handler)
        .policy(|policy| policy.max_attempts = 2)
        .build();
    assert_eq!(processor.run_until_idle().await.unwrap(), 4);
    let permanent = setup.row(1).await;
    assert_eq!(
        (permanent.status, permanent.attempts),
        (WebhookStatus::Failed, 1)
    );
    let later = setup.row(2).await;
    assert_eq!(
        (later.status, later.attempts),
        (WebhookStatus::Pending, 0),
        "not counted"
    );
    assert_eq!(later.delivery.available_at, Some(at));
    let panicked = setup.row(3).await;
    assert_eq!(
        (panicked.status, panicked.attempts),
        (WebhookStatus::Pending, 1)
    );
    assert_eq!(panicked.error.as_deref(), Some("the handler panicked"));
    let malformed = setup.row(4).await;
    assert_eq!(malformed.status, WebhookStatus::Failed);
    let error = malformed.error.unwrap();
    assert!(
        !error.contains("d-4") && error.contains("line 1"),
        "{error}"
    );
}

// INV-09
#[tokio::test]
async fn a_put_back_has_a_floor_a_ceiling_and_an_end() {
    let setup = Setup::new().await;
    setup.receive("d-1", "issues").await;
    let clock = Arc::clone(&setup.harness.client.ports().clock);
    let received_at = clock.now();
    let handler = move |_: Delivery| {
        let now = clock.now();
        // At once, then never, then whenever.
        let at = match (now - received_at).num_seconds() {
            0 => Some(now),
            1 => Some(now + Duration::from_hours(1000)),
            _ => None,
        };
        std::future::ready(Err(HandlerError::put_back(at, "not now")))
    };
    let processor = setup
        .processor()
        .fallback(github(), handler)
        .policy(|policy| policy.put_back_window = Duration::from_secs(100))
        .build();
    for wait in [1, 100, 0] {
        assert_eq!(processor.run_until_idle().await.unwrap(), 1, "{wait}");
        setup.harness.clock.advance(Duration::from_secs(wait));
    }
    // The window ended before the last attempt, and there is one only.
    let row = setup.row(1).await;
    assert_eq!((row.status, row.attempts), (WebhookStatus::Failed, 1));
    assert_eq!(row.error.as_deref(), Some("put off for too long: not now"));

    // Replayed, it has the whole window again; without a time, a minute is waited.
    let now = setup.harness.client.ports().clock.now();
    let inbox = &setup.harness.client.ports().inbox;
    inbox
        .replay(&[row.id], &Scope::Operator, now)
        .await
        .unwrap();
    assert_eq!(processor.run_until_idle().await.unwrap(), 1);
    let row = setup.row(1).await;
    assert_eq!((row.status, row.attempts), (WebhookStatus::Pending, 0));
    let until = now + Duration::from_mins(1);
    assert_eq!(row.delivery.available_at, Some(until));
}

/// What an application makes of a call that failed.
#[derive(Debug, thiserror::Error)]
#[error("the issue could not be read")]
struct NotRead(#[source] CallError);

#[tokio::test]
async fn a_call_that_is_to_pause_puts_the_delivery_back_wherever_it_is_among_the_causes() {
    let setup = Setup::new().await;
    setup.receive("d-1", "issues").await;
    let transport = &setup.harness.transport;
    transport.reply(Method::GET, "/user", Reply::status(429));
    let handler = |delivery: Delivery| async move {
        let integration = delivery.integration().unwrap();
        let call = integration.get("/user").attempts(1).send().await;
        call.map_err(NotRead)?;
        Ok(Handled::Done)
    };
    let processor = setup.processor().fallback(github(), handler).build();
    assert_eq!(processor.run_until_idle().await.unwrap(), 1);
    let row = setup.row(1).await;
    assert_eq!((row.status, row.attempts), (WebhookStatus::Pending, 0));
    assert_eq!(row.error.as_deref(), Some("the issue could not be read"));
}

// W-WH-4
#[tokio::test]
async fn a_redelivery_of_one_that_failed_is_processed() {
    let setup = Setup::new().await;
    setup.receive("d-1", "issues").await;
    let fail = |_: Delivery| std::future::ready(Err(HandlerError::new("not today")));
    let failing = setup.processor().fallback(github(), fail).build();
    assert_eq!(failing.run_until_idle().await.unwrap(), 1);
    assert_eq!(setup.row(1).await.status, WebhookStatus::Failed);
    setup.receive("d-1", "issues").await;
    let seen = Seen::default();
    let mended = setup
        .processor()
        .fallback(github(), remembering(&seen, "again"))
        .build();
    assert_eq!(mended.run_until_idle().await.unwrap(), 1);
    assert_eq!(setup.row(1).await.status, WebhookStatus::Processed);
    assert_eq!(seen.all(), ["again d-1"]);
}

#[tokio::test]
async fn what_a_handler_logs_is_part_of_the_deliverys_operation() {
    let setup = Setup::new().await;
    setup.receive("d-1", "issues").await;
    let handler = |delivery: Delivery| async move {
        assert!(delivery.operation().await?.is_some());
        assert_eq!(delivery.operation().await?, delivery.operation().await?);
        Ok(Handled::Done)
    };
    let processor = setup.processor().fallback(github(), handler).build();
    processor.run_until_idle().await.unwrap();
    let operations = setup.operations().await;
    let [operation] = &operations[..] else {
        panic!("{operations:?}")
    };
    assert_eq!(operation.entry.status, OperationStatus::Success);
    assert_eq!(operation.entry.external_id.as_deref(), Some("d-1"));
}

// W-RED-3
#[tokio::test]
async fn what_a_handler_says_went_wrong_is_kept_without_secrets() {
    let setup = Setup::new().await;
    setup.receive("d-1", "issues").await;
    let fail = |_: Delivery| {
        let message = format!(
            "{} of it's a secret; Bearer abcdefgh12345678",
            "é".repeat(5)
        );
        std::future::ready(Err(HandlerError::permanent(message)))
    };
    let processor = setup.processor().fallback(github(), fail).build();
    processor.run_until_idle().await.unwrap();
    let expected = Some("ééééé of [REDACTED]; Bearer [REDACTED]");
    assert_eq!(setup.row(1).await.error.as_deref(), expected);
    let operations = setup.operations().await;
    assert_eq!(operations[0].entry.error.as_deref(), expected);
}
