//! Calls through an SDK.

use std::{io, panic::AssertUnwindSafe};

use futures::FutureExt as _;
use integrations_core::{
    client::{CallContext, CallErrorKind, Reported},
    integration::HealthStatus,
    request::FailureClass,
    transport::{Reached, TransportError, TransportErrorKind},
};
use secrecy::ExposeSecret as _;

use crate::acme::{TOKEN, installed};

#[derive(Debug, thiserror::Error)]
#[error("the balance could not be read")]
struct SdkError(#[source] TransportError);

// DESIGN: `run` is logged and tracked as a request is
#[tokio::test]
async fn a_closure_gets_its_context_and_leaves_a_row() {
    let (harness, acme) = installed().await;
    let balance = harness
        .handle(&acme)
        .run("balance.get", |cx: CallContext| async move {
            assert_eq!(cx.token().unwrap().expose_secret(), TOKEN);
            assert_eq!((cx.setting("subdomain"), cx.attempt()), (Some("north"), 1));
            cx.report(Reported {
                status: Some(200),
                provider_request_id: Some("req-7".to_owned()),
                ..Reported::default()
            });
            cx.report(Reported::default());
            Ok::<_, SdkError>(42)
        })
        .await
        .unwrap();
    assert_eq!(balance, 42);
    let row = harness.requests().await.remove(0).attempt;
    assert_eq!(
        (row.endpoint.as_str(), row.method.as_str()),
        ("balance.get", "SDK")
    );
    // REQ-11: a report of nothing leaves an earlier one standing.
    assert_eq!(
        (row.status_code, row.provider_request_id.as_deref()),
        (Some(200), Some("req-7"))
    );
}

// RET-06, REQ-45
#[tokio::test]
async fn an_sdks_error_survives_and_is_classified_by_its_cause() {
    let (harness, acme) = installed().await;
    let error = harness
        .handle(&acme)
        .run("balance.get", |_| async {
            let kind = TransportErrorKind::Timeout;
            let cause =
                TransportError::new(kind, Reached::MaybeSent, format!("no answer to {TOKEN}"));
            Err::<(), _>(SdkError(cause))
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Sdk(FailureClass::Upstream));
    assert_eq!(error.sdk().unwrap().0.kind, TransportErrorKind::Timeout);
    let row = harness.requests().await.remove(0);
    assert_eq!(error.request_id(), Some(row.id));
    let text = row.attempt.error.unwrap();
    assert_eq!(
        text,
        "the balance could not be read: no answer to [REDACTED]"
    );
    let health = harness.handle(&acme).find().await.unwrap().unwrap().health;
    assert_eq!(
        (health.status, health.consecutive_failures),
        (HealthStatus::Healthy, 1)
    );
}

// L-RET-1: errors nobody can classify do not hurt
#[tokio::test]
async fn an_error_nobody_knows_is_unknown() {
    let (harness, acme) = installed().await;
    let work = |_| async { Err::<(), _>(io::Error::other("own bug")) };
    let error = harness.handle(&acme).run("x", work).await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Sdk(FailureClass::Unknown));
    assert_eq!(error.into_sdk().unwrap().to_string(), "own bug");
    let health = harness.handle(&acme).find().await.unwrap().unwrap().health;
    assert_eq!(health.consecutive_failures, 0);
}

// LOG-04, INV-10: what is cut holds no half of a secret
#[tokio::test]
async fn long_errors_are_redacted_before_they_are_cut() {
    let (harness, acme) = installed().await;
    let text = format!("{}{TOKEN}", "x".repeat(2000 - TOKEN.len() / 2));
    let work = |_| async { Err::<(), _>(io::Error::other(text.clone())) };
    let label = format!("balance of {TOKEN}");
    let error = harness.handle(&acme).run(&label, work).await.unwrap_err();
    assert_eq!(error.to_string(), "the call `balance of [REDACTED]` failed");
    let recorded = harness.requests().await.remove(0).attempt.error.unwrap();
    assert_eq!(recorded.chars().count(), 2000);
    assert!(recorded.ends_with("x[REDACTE"), "{recorded}");
}

#[tokio::test]
async fn a_panic_is_recorded_and_goes_on() {
    let (harness, acme) = installed().await;
    let handle = harness.handle(&acme);
    let work = |_| async {
        if true {
            panic!("own bug")
        } else {
            Ok::<(), io::Error>(())
        }
    };
    let panic = AssertUnwindSafe(handle.run("x", work))
        .catch_unwind()
        .await
        .unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"own bug"));
    let row = harness.requests().await.remove(0).attempt;
    assert_eq!(row.error.as_deref(), Some("the closure panicked"));
}
