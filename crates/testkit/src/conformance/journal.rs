//! Cases of `CallJournal`: rows, reservations, authorization and circuits.

use integrations_core::{
    gate::{
        CircuitMode, CircuitOutcome, CircuitOverride, CircuitPhase, CircuitReason,
        CircuitTransition, CircuitVerdict, GateState,
    },
    id::{IntegrationId, LogId, RequestId},
    idempotency::{
        CompletionResult, KeyedOutcome, NewReservation, ReservationRecord, ReservationRef,
        ReservationState,
    },
    integration::{AuthorizationStatus, HealthState, HealthVerdict, Scope},
    request::{CallOutcome, FailureClass, NewRequest, Recorded, Related, RelatedId},
    store::Rejected,
};

use super::{
    Subject,
    fixtures::{
        at, at_micros, attempt, circuit_outage, completion, failed_attempt, key, neutral,
        reservation, sealed, success, uid,
    },
};

const OPERATOR: Scope = Scope::Operator;

async fn record(subject: &Subject, outcomes: &[CallOutcome]) -> Vec<Result<Recorded, Rejected>> {
    subject.ports.journal.record(outcomes).await.unwrap()
}

/// Records one outcome that is not refused.
async fn record_one(subject: &Subject, outcome: CallOutcome) -> Recorded {
    record(subject, &[outcome]).await.remove(0).unwrap()
}

async fn stored(subject: &Subject, id: Option<RequestId>) -> NewRequest {
    let id = id.expect("a row was appended");
    let found = subject.ports.requests.find(id, &OPERATOR).await.unwrap();
    found.expect("the row is there").attempt
}

pub async fn results_follow_the_order_of_the_entries(subject: &Subject) {
    let first = subject.integration().await;
    let second = subject.integration().await;
    let attempts = [&second, &first, &second, &first].map(|row| NewRequest {
        endpoint: format!("/{}", uid()),
        ..attempt(row.id)
    });
    let batch: Vec<_> = attempts.iter().cloned().map(neutral).collect();
    let recorded = record(subject, &batch).await;
    assert_eq!(recorded.len(), attempts.len());
    for (recorded, attempt) in recorded.into_iter().zip(attempts) {
        let recorded = recorded.unwrap();
        assert_eq!(stored(subject, recorded.id).await, attempt);
        let expected = Recorded {
            id: recorded.id,
            health: None,
            circuit: None,
            authorization_changed: false,
            completion: None,
        };
        assert_eq!(recorded, expected, "nothing else was asked for");
    }
}

pub async fn an_empty_batch_is_nothing(subject: &Subject) {
    assert_eq!(record(subject, &[]).await, []);
    let completed = subject.ports.journal.complete(&[]).await.unwrap();
    assert_eq!(completed, []);
}

// LOG-01
pub async fn every_column_round_trips(subject: &Subject) {
    let row = subject.integration().await;
    let first = record_one(subject, neutral(attempt(row.id))).await.id;
    let log_id = LogId(i64::from(i32::MAX) + 1);
    let full = NewRequest {
        integration_id: row.id,
        endpoint: "ü".repeat(255),
        method: "🧭".repeat(10),
        path: Some("/größe?a=%20&b=\"'\\".to_owned()),
        status_code: Some(599),
        request_data: Some("\u{1f600}".repeat(16_384)),
        response_data: Some("x".repeat(65_536)),
        headers: Some(r#"{"request":{},"response":{"etag":["\"1\""]}}"#.to_owned()),
        error: Some("line one\nline two\t\u{202e}".to_owned()),
        failure_class: Some(FailureClass::Unrecognised("quota".to_owned())),
        idempotency_key: Some(key(&"ß".repeat(191))),
        provider_request_id: Some("é".repeat(128)),
        duration_ms: Some(i32::MAX),
        retry_of: first,
        attempt: i16::MAX,
        related: Some(Related {
            related_type: "Ticket".to_owned(),
            id: RelatedId::Number(i64::MIN),
        }),
        sync_log_id: Some(log_id),
        created_at: at_micros(0, 1),
    };
    let by_text = NewRequest {
        related: Some(Related {
            related_type: "Ticket".to_owned(),
            id: RelatedId::Text("ü".repeat(191)),
        }),
        // Empty is not the same as absent.
        request_data: Some(String::new()),
        duration_ms: Some(0),
        ..attempt(row.id)
    };
    let bare = NewRequest {
        status_code: None,
        ..attempt(row.id)
    };
    for written in [full, by_text, bare] {
        let id = record_one(subject, neutral(written.clone())).await.id;
        assert_eq!(stored(subject, id).await, written);
    }
}

type Spoil = fn(&mut NewRequest);

// INV-01: an attempt that was made is recorded, whatever stands beside it in the batch.
pub async fn a_bad_entry_fails_alone(subject: &Subject) {
    let bad: [(Spoil, Rejected); 5] = [
        (
            |attempt| attempt.integration_id = IntegrationId(i64::MAX),
            Rejected::MissingReference,
        ),
        (
            |attempt| attempt.method = "x".repeat(11),
            Rejected::DoesNotFit,
        ),
        (
            |attempt| attempt.endpoint = "ü".repeat(256),
            Rejected::DoesNotFit,
        ),
        (
            |attempt| attempt.provider_request_id = Some("x".repeat(129)),
            Rejected::DoesNotFit,
        ),
        // What PostgreSQL cannot store is refused everywhere (INV-16).
        (
            |attempt| attempt.error = Some("a\0b".to_owned()),
            Rejected::DoesNotFit,
        ),
    ];
    for (spoil, reason) in bad {
        for position in 0..3 {
            let row = subject.integration().await;
            let mut batch = [0, 1, 2].map(|n| {
                neutral(NewRequest {
                    endpoint: format!("/{n}"),
                    ..attempt(row.id)
                })
            });
            spoil(&mut batch[position].attempt);
            let recorded = record(subject, &batch).await;
            assert_eq!(recorded.len(), 3);
            for (n, recorded) in recorded.iter().enumerate() {
                match recorded {
                    Err(rejected) => {
                        assert_eq!((n, rejected), (position, &reason), "at {position}");
                    }
                    Ok(recorded) => {
                        assert_ne!(n, position, "{reason:?} was taken");
                        assert_eq!(stored(subject, recorded.id).await, batch[n].attempt);
                    }
                }
            }
        }
    }
}

pub async fn a_bad_entry_leaves_no_trace(subject: &Subject) {
    let row = subject.integration().await;
    let claim = reserve(subject, row.id).await;
    let spoilt = CallOutcome {
        attempt: NewRequest {
            method: "x".repeat(11),
            ..failed_attempt(row.id)
        },
        health: HealthVerdict::Outage,
        authorization: Some((0, AuthorizationStatus::NeedsReauthorization)),
        circuit: Some(circuit_outage(1, 0)),
        completion: Some(completion(&claim, KeyedOutcome::DidNotHappen)),
        ..neutral(attempt(row.id))
    };
    let good = success(row.id);
    let recorded = record(subject, &[good.clone(), spoilt.clone(), good]).await;
    assert_eq!(recorded[1], Err(Rejected::DoesNotFit));
    assert!(recorded[0].is_ok() && recorded[2].is_ok());
    let only_bad = record(subject, &[spoilt]).await;
    assert_eq!(only_bad, [Err(Rejected::DoesNotFit)]);

    assert_eq!(subject.read(row.id).await, row);
    assert_eq!(
        gate(subject, row.id).await.circuit.phase,
        CircuitPhase::Closed
    );
    let record = on_file(subject, &claim).await.expect("the key is reserved");
    assert_eq!(record.state, ReservationState::Reserved);
}

async fn reserve(subject: &Subject, id: IntegrationId) -> NewReservation {
    let claim = reservation(id, &format!("charge-{}", uid()));
    subject.acquire(&claim).await;
    claim
}

async fn on_file(subject: &Subject, claim: &NewReservation) -> Option<ReservationRecord> {
    subject.key_record(claim, at(2)).await
}

// W-IDM-2, W-IDM-5
pub async fn a_completion_keeps_the_answer_and_its_request(subject: &Subject) {
    let row = subject.integration().await;
    let (status_code, answer) = (Some(201), Some(sealed(&"x".repeat(65_536))));
    let ends = [
        (
            KeyedOutcome::Succeeded {
                status_code,
                answer: answer.clone(),
            },
            ReservationState::Succeeded,
        ),
        (
            KeyedOutcome::Unknown {
                status_code,
                answer: answer.clone(),
            },
            ReservationState::Unknown,
        ),
    ];
    for (outcome, state) in ends {
        let claim = reserve(subject, row.id).await;
        let completing = CallOutcome {
            completion: Some(completion(&claim, outcome)),
            ..neutral(attempt(row.id))
        };
        let recorded = record_one(subject, completing).await;
        assert_eq!(recorded.completion, Some(CompletionResult::Done));
        let record = on_file(subject, &claim).await.expect("the key is on file");
        let expected = ReservationRecord {
            id: record.id,
            uid: claim.uid,
            integration_id: row.id,
            key: claim.reservation.key.clone(),
            state,
            reserved_until: claim.reserved_until,
            fingerprint: None,
            request_id: recorded.id,
            status_code,
            sealed_answer: answer.clone(),
            settled_at: Some(at(1)),
            resolution: None,
            created_at: claim.now,
        };
        assert_eq!(record, expected);
    }
}

// W-IDM-1
pub async fn a_call_that_did_not_happen_frees_its_key(subject: &Subject) {
    let row = subject.integration().await;
    let claim = reserve(subject, row.id).await;
    let freeing = CallOutcome {
        completion: Some(completion(&claim, KeyedOutcome::DidNotHappen)),
        ..neutral(failed_attempt(row.id))
    };
    let recorded = record_one(subject, freeing).await;
    assert_eq!(recorded.completion, Some(CompletionResult::Done));
    assert_eq!(on_file(subject, &claim).await, None);
    let again = reservation(row.id, claim.reservation.key.as_str());
    subject.acquire(&again).await;
}

// INV-08
pub async fn a_completion_with_another_token_changes_nothing(subject: &Subject) {
    let row = subject.integration().await;
    let claim = reserve(subject, row.id).await;
    let before = on_file(subject, &claim).await;
    let stranger = NewReservation {
        reservation: ReservationRef {
            token: uid(),
            ..claim.reservation.clone()
        },
        ..claim.clone()
    };
    let outcomes = [
        KeyedOutcome::DidNotHappen,
        KeyedOutcome::Succeeded {
            status_code: Some(200),
            answer: None,
        },
        KeyedOutcome::Unknown {
            status_code: None,
            answer: None,
        },
    ];
    for outcome in outcomes {
        let late = completion(&stranger, outcome);
        let completed = subject.ports.journal.complete(std::slice::from_ref(&late));
        assert_eq!(completed.await.unwrap(), [CompletionResult::NotHolder]);
        let recorded = CallOutcome {
            completion: Some(late),
            ..neutral(attempt(row.id))
        };
        let recorded = record_one(subject, recorded).await;
        assert_eq!(recorded.completion, Some(CompletionResult::NotHolder));
        assert_eq!(
            stored(subject, recorded.id).await,
            attempt(row.id),
            "the attempt was made and is recorded"
        );
        assert_eq!(on_file(subject, &claim).await, before);
    }
}

pub async fn completions_without_an_attempt_are_answered_in_order(subject: &Subject) {
    let row = subject.integration().await;
    let held = reserve(subject, row.id).await;
    let freed = reserve(subject, row.id).await;
    let never_reserved = reservation(row.id, "never-reserved");
    let outcome = KeyedOutcome::Unknown {
        status_code: None,
        answer: None,
    };
    let completions = [
        completion(&never_reserved, KeyedOutcome::DidNotHappen),
        completion(&held, outcome),
        completion(&freed, KeyedOutcome::DidNotHappen),
    ];
    let completed = subject.ports.journal.complete(&completions).await.unwrap();
    let expected = [
        CompletionResult::NotHolder,
        CompletionResult::Done,
        CompletionResult::Done,
    ];
    assert_eq!(completed, expected);
    let record = on_file(subject, &held).await.expect("the key is on file");
    assert_eq!(record.state, ReservationState::Unknown);
    assert_eq!(record.request_id, None);
    assert_eq!(record.settled_at, Some(at(1)));
    assert_eq!(on_file(subject, &freed).await, None);
}

// The holder came back late, and still is the only one who knows.
pub async fn a_late_completion_by_the_holder_counts(subject: &Subject) {
    let row = subject.integration().await;
    let claim = reserve(subject, row.id).await;
    let mut late = completion(
        &claim,
        KeyedOutcome::Succeeded {
            status_code: Some(200),
            answer: None,
        },
    );
    late.now = at(1_000);
    let completed = subject.ports.journal.complete(&[late]).await.unwrap();
    assert_eq!(completed, [CompletionResult::Done]);
    let record = on_file(subject, &claim).await.expect("the key is on file");
    assert_eq!(record.state, ReservationState::Succeeded);
}

// W-HLT-3
pub async fn authorization_changes_once(subject: &Subject) {
    let row = subject.integration().await;
    let refused = |generation| CallOutcome {
        authorization: Some((generation, AuthorizationStatus::NeedsReauthorization)),
        ..neutral(NewRequest {
            status_code: Some(401),
            failure_class: Some(FailureClass::Client),
            ..attempt(row.id)
        })
    };
    let recorded = record_one(subject, refused(1)).await;
    assert!(!recorded.authorization_changed, "of another generation");
    assert_eq!(subject.read(row.id).await, row);

    let recorded = record(subject, &[refused(0), refused(0)]).await;
    let changed = recorded.into_iter().map(Result::unwrap);
    let changed = changed.filter(|recorded| recorded.authorization_changed);
    assert_eq!(changed.count(), 1, "one entry reports the change");
    let after = subject.read(row.id).await;
    assert_eq!(
        after.authorization_status,
        AuthorizationStatus::NeedsReauthorization
    );
    assert_eq!(after.health, HealthState::healthy());
    let recorded = record_one(subject, refused(0)).await;
    assert!(!recorded.authorization_changed, "it is known");
    assert_eq!(subject.read(row.id).await, after, "and written no more");
}

async fn gate(subject: &Subject, id: IntegrationId) -> GateState {
    let view = subject.ports.gate.view(id, &OPERATOR).await.unwrap();
    view.expect("the integration is there").state
}

fn about_circuit(id: IntegrationId, circuit: CircuitOutcome) -> CallOutcome {
    CallOutcome {
        circuit: Some(circuit),
        ..neutral(failed_attempt(id))
    }
}

// CB-08
pub async fn outages_open_the_circuit(subject: &Subject) {
    let row = subject.integration().await;
    let batch = vec![about_circuit(row.id, circuit_outage(2, 0)); 3];
    let recorded = record(subject, &batch).await;
    let moved: Vec<_> = recorded
        .into_iter()
        .map(|recorded| recorded.unwrap().circuit)
        .collect();
    let opened = CircuitTransition {
        from: CircuitPhase::Closed,
        to: CircuitPhase::Open,
        reason: CircuitReason::ThresholdReached,
    };
    assert_eq!(moved, [None, Some(opened), None], "on the entry that did");
    let circuit = gate(subject, row.id).await.circuit;
    assert_eq!(circuit.phase, CircuitPhase::Open);
    assert_eq!(circuit.opened_at, Some(at(0)));
    assert_eq!(circuit.epoch, 1);
}

pub async fn a_circuit_counts_across_batches(subject: &Subject) {
    let row = subject.integration().await;
    let first = record_one(subject, about_circuit(row.id, circuit_outage(2, 0))).await;
    assert_eq!(first.circuit, None);
    let second = record_one(subject, about_circuit(row.id, circuit_outage(2, 0))).await;
    assert!(second.circuit.is_some(), "the second outage opens it");
}

// INV-03
pub async fn circuit_outcomes_of_an_earlier_epoch_are_ignored(subject: &Subject) {
    let row = subject.integration().await;
    record_one(subject, about_circuit(row.id, circuit_outage(1, 0))).await;
    let open = gate(subject, row.id).await;
    assert_eq!(open.circuit.epoch, 1);
    for verdict in [CircuitVerdict::Success, CircuitVerdict::Outage] {
        let late = CircuitOutcome {
            verdict,
            now: at(5),
            ..circuit_outage(1, 0)
        };
        let recorded = record_one(subject, about_circuit(row.id, late)).await;
        assert_eq!(recorded.circuit, None);
        assert_eq!(gate(subject, row.id).await, open);
    }
}

// CB-10
pub async fn nothing_is_counted_while_an_override_holds(subject: &Subject) {
    let row = subject.integration().await;
    let closed = CircuitOverride {
        mode: CircuitMode::ForcedClosed,
        until: Some(at(60)),
    };
    let gates = &subject.ports.gate;
    let set = gates.override_circuit(row.id, &OPERATOR, Some(closed), at(0));
    assert!(set.await.unwrap());
    let epoch = gate(subject, row.id).await.circuit.epoch;
    let outage = about_circuit(row.id, circuit_outage(1, epoch));
    assert_eq!(record_one(subject, outage.clone()).await.circuit, None);
    let after = CircuitOutcome {
        now: at(60),
        ..circuit_outage(1, epoch)
    };
    let recorded = record_one(subject, about_circuit(row.id, after)).await;
    assert!(recorded.circuit.is_some(), "the override has run out");
}

pub async fn everything_an_attempt_means_is_recorded_together(subject: &Subject) {
    let row = subject.integration().await;
    let claim = reserve(subject, row.id).await;
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
    let recorded = record_one(subject, outcome).await;
    assert!(recorded.authorization_changed);
    assert!(recorded.circuit.is_some());
    assert_eq!(recorded.completion, Some(CompletionResult::Done));
    let after = subject.read(row.id).await;
    assert_eq!(after.health.consecutive_failures, 1);
    assert_eq!(after.last_error_at, Some(at(0)));
    assert_eq!(
        gate(subject, row.id).await.circuit.phase,
        CircuitPhase::Open
    );
    let record = on_file(subject, &claim).await.expect("the key is on file");
    assert_eq!(record.request_id, recorded.id);
}
