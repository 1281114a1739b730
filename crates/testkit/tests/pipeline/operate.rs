//! What an operator does with one integration, from the library.

use std::time::Duration;

use integrations_core::{
    client::ControlError,
    event::EventKind,
    gate::{Budget, CircuitPhase, CircuitReason},
    idempotency::{
        KeyReleased, KeyResolved, NewReservation, Reservation, ReservationRef, ReservationState,
    },
    integration::{Integration, Owner},
    store::PageRequest,
    time::{Clock as _, later},
    value::IdempotencyKey,
};
use integrations_testkit::harness::Harness;

use crate::acme::installed;

fn circuit_events(harness: &Harness) -> Vec<EventKind> {
    let of_circuit = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::CircuitOpened { .. } | EventKind::CircuitClosed { .. }
        )
    };
    harness
        .events
        .kinds()
        .into_iter()
        .filter(of_circuit)
        .collect()
}

// CB-10, CB-15
#[tokio::test]
async fn a_circuit_is_held_and_let_go_and_each_is_told() {
    let (harness, acme) = installed().await;
    let circuit = harness.handle(&acme).circuit();
    let phase = async || circuit.status().await.unwrap().phase(harness.clock.now());
    assert_eq!(phase().await, CircuitPhase::Closed);
    let until = later(harness.clock.now(), Duration::from_mins(1));
    circuit.open(Some(until)).await.unwrap();
    assert_eq!(phase().await, CircuitPhase::Open);
    harness.clock.advance(Duration::from_mins(1));
    assert_eq!(phase().await, CircuitPhase::Closed, "the override ran out");
    circuit.close(None).await.unwrap();
    circuit.auto().await.unwrap();
    assert_eq!(circuit.status().await.unwrap().circuit_override, None);

    harness.client.shutdown().await;
    assert_eq!(
        circuit_events(&harness),
        [
            EventKind::CircuitOpened {
                reason: CircuitReason::ForcedOpen
            },
            EventKind::CircuitClosed {
                reason: CircuitReason::ForcedClosed
            },
            EventKind::CircuitClosed {
                reason: CircuitReason::OverrideCleared
            },
        ]
    );
}

// CLI-08, DESIGN: a foreign id is NotFound
#[tokio::test]
async fn what_cannot_be_overridden_is_refused_and_changes_nothing() {
    let (harness, acme) = installed().await;
    let now = harness.clock.now();
    let handle = harness.handle(&acme);
    let past = handle.circuit().open(Some(now)).await.unwrap_err();
    assert!(matches!(past, ControlError::UntilPassed), "{past}");
    let budget = Budget::fixed("override", 5, 60).unwrap();
    let past = handle
        .rate_limit()
        .set(budget.clone(), Some(now))
        .await
        .unwrap_err();
    assert!(matches!(past, ControlError::UntilPassed), "{past}");
    let stranger = Owner::new("team", 9).unwrap();
    let foreign = harness.client.for_owner(&stranger).integration(acme.id);
    for refused in [
        foreign.circuit().open(None).await,
        foreign.circuit().auto().await,
        foreign.rate_limit().set(budget, None).await,
        foreign.rate_limit().clear().await,
        foreign.idempotency().find(&key("k")).await.map(drop),
    ] {
        assert!(
            matches!(refused, Err(ControlError::NotFound)),
            "{refused:?}"
        );
    }
    let gate = handle.circuit().status().await.unwrap();
    assert_eq!((gate.circuit_override, gate.rate_override), (None, None));
}

// RL-11
#[tokio::test]
async fn a_budget_is_set_and_cleared() {
    let (harness, acme) = installed().await;
    let rate_limit = harness.handle(&acme).rate_limit();
    let budget = Budget::fixed("override", 5, 60).unwrap().sliding();
    rate_limit.set(budget.clone(), None).await.unwrap();
    let set = rate_limit.show().await.unwrap().rate_override.unwrap();
    assert_eq!((set.budget, set.until), (budget, None));
    rate_limit.clear().await.unwrap();
    assert_eq!(rate_limit.show().await.unwrap().rate_override, None);
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).unwrap()
}

async fn reserve(harness: &Harness, acme: &Integration, text: &str) {
    let now = harness.clock.now();
    let claim = NewReservation {
        uid: acme.uid,
        reservation: ReservationRef {
            integration_id: acme.id,
            key: key(text),
            token: acme.uid,
        },
        fingerprints: Vec::new(),
        reserved_until: later(now, Duration::from_mins(1)),
        retry_unknown: false,
        now,
    };
    let reserved = harness.client.ports().ledger.reserve(&claim).await.unwrap();
    assert!(matches!(reserved, Reservation::Acquired(_)));
}

// W-IDM-3
#[tokio::test]
async fn keys_nobody_knows_the_outcome_of_are_settled() {
    let (harness, acme) = installed().await;
    let keys = harness.handle(&acme).idempotency();
    reserve(&harness, &acme, "lost").await;
    harness.clock.advance(Duration::from_secs(61));
    let unknown = Some(ReservationState::Unknown);
    let listed = keys.list(unknown, &PageRequest::newest(10)).await.unwrap();
    assert_eq!(listed.items[0].key, key("lost"));
    let resolved = keys
        .resolve(&key("lost"), true, "seen there")
        .await
        .unwrap();
    assert_eq!(resolved, KeyResolved::Done);
    let record = keys.find(&key("lost")).await.unwrap().unwrap();
    assert_eq!(record.state, ReservationState::Succeeded);
    assert_eq!(record.resolution.as_deref(), Some("seen there"));
    assert_eq!(
        keys.release(&key("lost"), false).await.unwrap(),
        KeyReleased::Done
    );
    assert_eq!(keys.find(&key("lost")).await.unwrap(), None);
    let none = keys.resolve(&key("lost"), false, "").await.unwrap();
    assert_eq!(none, KeyResolved::NotFound);
}
