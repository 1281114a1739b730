//! Cases of `CallJournal` for attempts that leave no row, because successes are sampled.

use integrations_core::{
    gate::CircuitPhase,
    idempotency::{CompletionResult, KeyedOutcome, ReservationState},
    integration::{AuthorizationStatus, HealthStatus, HealthVerdict, Scope},
    request::{CallOutcome, NewRequest, Recorded, RequestFilter},
};

use super::{
    Subject,
    fixtures::{
        at, attempt, circuit_outage, completion, failed_attempt, neutral, outage, reservation,
        success,
    },
};

const OPERATOR: Scope = Scope::Operator;

fn unlogged(outcome: CallOutcome) -> CallOutcome {
    CallOutcome {
        logged: false,
        ..outcome
    }
}

async fn record(subject: &Subject, outcomes: &[CallOutcome]) -> Vec<Recorded> {
    let recorded = subject.ports.journal.record(outcomes).await.unwrap();
    recorded.into_iter().map(Result::unwrap).collect()
}

async fn rows(subject: &Subject) -> u64 {
    let all = RequestFilter::default();
    subject.ports.requests.count(&all, &OPERATOR).await.unwrap()
}

pub async fn a_success_leaves_no_row(subject: &Subject) {
    let row = subject.integration().await;
    let before = rows(subject).await;
    let recorded = record(subject, &[unlogged(success(row.id))]).await;
    assert_eq!(recorded[0].id, None);
    assert_eq!(rows(subject).await, before);
    assert_eq!(subject.read(row.id).await.updated_at, row.updated_at);
}

pub async fn a_success_heals(subject: &Subject) {
    let row = subject.integration().await;
    record(subject, &vec![outage(row.id); 5]).await;
    let before = rows(subject).await;
    let recorded = record(subject, &[unlogged(success(row.id))]).await;
    let moved = recorded[0].health.as_ref().expect("it is healthy again");
    assert_eq!(moved.to, HealthStatus::Healthy);
    assert_eq!(subject.read(row.id).await.health.consecutive_failures, 0);
    assert_eq!(rows(subject).await, before);
}

pub async fn those_beside_it_keep_their_order(subject: &Subject) {
    let row = subject.integration().await;
    let of = |endpoint: &str| {
        neutral(NewRequest {
            endpoint: endpoint.to_owned(),
            ..attempt(row.id)
        })
    };
    let batch = [of("/a"), unlogged(success(row.id)), of("/b")];
    let recorded = record(subject, &batch).await;
    for (recorded, outcome) in recorded.iter().zip(&batch) {
        assert_eq!(recorded.id.is_some(), outcome.logged);
        let Some(id) = recorded.id else { continue };
        let found = subject.ports.requests.find(id, &OPERATOR).await.unwrap();
        let found = found.expect("the row is there");
        assert_eq!(found.attempt.endpoint, outcome.attempt.endpoint);
    }
}

pub async fn everything_else_it_means_is_recorded(subject: &Subject) {
    let row = subject.integration().await;
    let claim = reservation(row.id, "unlogged");
    subject.ports.ledger.reserve(&claim).await.unwrap();
    let before = rows(subject).await;
    let outcome = CallOutcome {
        health: HealthVerdict::Outage,
        authorization: Some((0, AuthorizationStatus::NeedsReauthorization)),
        circuit: Some(circuit_outage(1, 0)),
        completion: Some(completion(
            &claim,
            KeyedOutcome::Unknown {
                status_code: Some(503),
                answer: None,
            },
        )),
        ..neutral(failed_attempt(row.id))
    };
    let recorded = record(subject, &[unlogged(outcome)]).await.remove(0);
    assert_eq!(recorded.id, None);
    assert!(recorded.authorization_changed);
    let moved = recorded.circuit.expect("the circuit opened");
    assert_eq!(moved.to, CircuitPhase::Open);
    assert_eq!(recorded.completion, Some(CompletionResult::Done));
    assert_eq!(subject.read(row.id).await.health.consecutive_failures, 1);
    assert_eq!(rows(subject).await, before);
    let key = &claim.reservation.key;
    let found = subject
        .ports
        .ledger
        .find(row.id, key, &OPERATOR, at(1))
        .await;
    let record = found.unwrap().expect("the key is on file");
    assert_eq!(record.state, ReservationState::Unknown);
    assert_eq!(record.request_id, None);
}
