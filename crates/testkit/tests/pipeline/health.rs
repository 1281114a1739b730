//! What attempts make of health and authorization, and what is told of it.

use http::Method;
use integrations_core::{
    client::CallErrorKind,
    event::EventKind,
    gate::CircuitPolicy,
    integration::{AuthorizationStatus, HealthStatus, Refusal},
    transport::{Reached, TransportErrorKind},
};
use integrations_testkit::{harness::Harness, transport::Reply};

use crate::acme::{Acme, install, installed};

async fn call(harness: &Harness, acme: &integrations_core::integration::Integration, reply: Reply) {
    harness.transport.reply(Method::GET, "/api/x", reply);
    let _outcome = harness.handle(acme).get("/x").attempts(1).send().await;
}

async fn health(
    harness: &Harness,
    acme: &integrations_core::integration::Integration,
) -> (HealthStatus, i32) {
    let row = harness.handle(acme).find().await.unwrap().unwrap();
    (row.health.status, row.health.consecutive_failures)
}

// HLT-01, HLT-04, HLT-06
#[tokio::test]
async fn outages_degrade_fail_and_disable_and_then_nothing_is_sent() {
    let never_open = CircuitPolicy {
        enabled: false,
        ..CircuitPolicy::default()
    };
    let harness = Harness::with(
        |ports| ports,
        |builder| builder.provider(Acme).circuit_policy(never_open),
    );
    let acme = install(&harness).await;
    for n in 1..=50 {
        call(&harness, &acme, Reply::status(503)).await;
        let expected = match n {
            ..5 => HealthStatus::Healthy,
            5..20 => HealthStatus::Degraded,
            20..50 => HealthStatus::Failing,
            _ => HealthStatus::Disabled,
        };
        assert_eq!(health(&harness, &acme).await, (expected, n));
    }
    let error = harness.handle(&acme).get("/x").send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Refused(Refusal::Health));
    assert_eq!(harness.transport.sent().len(), 50);

    let row = harness.handle(&acme).enable().await.unwrap();
    assert_eq!(
        (row.health.status, row.health.consecutive_failures),
        (HealthStatus::Healthy, 0)
    );
    call(&harness, &acme, Reply::status(204)).await;
    assert_eq!(harness.transport.sent().len(), 51);

    harness.client.shutdown().await;
    let told: Vec<EventKind> = harness
        .events
        .kinds()
        .into_iter()
        .filter(|kind| {
            matches!(
                kind,
                EventKind::HealthChanged { .. } | EventKind::IntegrationDisabled { .. }
            )
        })
        .collect();
    let moved = |from, to, consecutive_failures| EventKind::HealthChanged {
        from,
        to,
        consecutive_failures,
    };
    assert_eq!(
        told,
        [
            moved(HealthStatus::Healthy, HealthStatus::Degraded, 5),
            moved(HealthStatus::Degraded, HealthStatus::Failing, 20),
            EventKind::IntegrationDisabled {
                consecutive_failures: 50
            },
            moved(HealthStatus::Failing, HealthStatus::Disabled, 50),
        ]
    );
}

// HLT-02
#[tokio::test]
async fn a_success_resets() {
    let (harness, acme) = installed().await;
    for _ in 0..6 {
        let reply = Reply::failure(TransportErrorKind::Timeout, Reached::MaybeSent);
        call(&harness, &acme, reply).await;
    }
    assert_eq!(health(&harness, &acme).await, (HealthStatus::Degraded, 6));
    call(&harness, &acme, Reply::status(200)).await;
    assert_eq!(health(&harness, &acme).await, (HealthStatus::Healthy, 0));
}

// L-HLT-1, RET-07
#[tokio::test]
async fn refusals_and_throttles_do_not_hurt() {
    let (harness, acme) = installed().await;
    for status in [400, 401, 403, 404, 409, 429, 501] {
        call(&harness, &acme, Reply::status(status)).await;
    }
    assert_eq!(health(&harness, &acme).await, (HealthStatus::Healthy, 0));
}

// W-HLT-3
#[tokio::test]
async fn refused_credentials_are_a_state_of_their_own_told_once() {
    let (harness, acme) = installed().await;
    for status in [401, 401, 403] {
        call(&harness, &acme, Reply::status(status)).await;
    }
    let status = async || {
        harness
            .handle(&acme)
            .find()
            .await
            .unwrap()
            .unwrap()
            .authorization_status
    };
    assert_eq!(status().await, AuthorizationStatus::NeedsReauthorization);
    call(&harness, &acme, Reply::status(200)).await;
    assert_eq!(status().await, AuthorizationStatus::Ok);
    harness.client.shutdown().await;
    let told = harness.events.kinds();
    assert_eq!(
        told.iter()
            .filter(|kind| **kind == EventKind::AuthorizationNeeded)
            .count(),
        1
    );
}

#[tokio::test]
async fn an_operators_switch_refuses_and_keeps_health() {
    let (harness, acme) = installed().await;
    harness.handle(&acme).disable().await.unwrap();
    let error = harness.handle(&acme).get("/x").send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Refused(Refusal::Operator));
    assert_eq!(health(&harness, &acme).await, (HealthStatus::Healthy, 0));
}
