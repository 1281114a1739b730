//! Cases of `IdempotencyLedger`: claims on keys.

use chrono::{DateTime, Utc};
use integrations_core::{
    idempotency::{
        CompletionResult, KeyedOutcome, NewReservation, Reservation, ReservationRecord,
        ReservationRef, ReservationState,
    },
    integration::Scope,
};

use super::{
    Subject,
    fixtures::{at, at_micros, completion, key, reservation, scope, sealed, uid},
};

/// A claim of the same key by another caller, at another time.
fn again(claim: &NewReservation, now: DateTime<Utc>) -> NewReservation {
    NewReservation {
        uid: uid(),
        reservation: ReservationRef {
            token: uid(),
            ..claim.reservation.clone()
        },
        reserved_until: now + chrono::Duration::seconds(60),
        now,
        ..claim.clone()
    }
}

impl Subject {
    /// Claims a key.
    pub(super) async fn reserve(&self, claim: &NewReservation) -> Reservation {
        self.ports.ledger.reserve(claim).await.unwrap()
    }

    /// Claims a key that is free.
    pub(super) async fn acquire(&self, claim: &NewReservation) {
        let reserved = self.reserve(claim).await;
        let acquired = matches!(reserved, Reservation::Acquired(_));
        assert!(acquired, "the key was free, but: {reserved:?}");
    }

    /// Ends a reservation.
    pub(super) async fn complete(
        &self,
        claim: &NewReservation,
        outcome: KeyedOutcome,
    ) -> CompletionResult {
        let completions = [completion(claim, outcome)];
        let completed = self.ports.journal.complete(&completions).await;
        completed.unwrap().remove(0)
    }

    /// What is on file for the key of a claim.
    pub(super) async fn key_record(
        &self,
        claim: &NewReservation,
        now: DateTime<Utc>,
    ) -> Option<ReservationRecord> {
        let reserved = &claim.reservation;
        let ledger = &self.ports.ledger;
        let found = ledger.find(
            reserved.integration_id,
            &reserved.key,
            &Scope::Operator,
            now,
        );
        found.await.unwrap()
    }
}

pub(super) fn succeeded() -> KeyedOutcome {
    KeyedOutcome::Succeeded {
        status_code: Some(201),
        answer: Some(sealed("answer")),
    }
}

pub(super) const fn unknown() -> KeyedOutcome {
    KeyedOutcome::Unknown {
        status_code: None,
        answer: None,
    }
}

// IDM-02
pub async fn a_free_key_is_acquired(subject: &Subject) {
    let row = subject.integration().await;
    let claim = NewReservation {
        fingerprints: vec![vec![1, 0, 255], vec![2]],
        reserved_until: at_micros(60, 1),
        now: at_micros(0, 1),
        ..reservation(row.id, &"ß".repeat(191))
    };
    let Reservation::Acquired(id) = subject.reserve(&claim).await else {
        panic!("the key was free");
    };
    let expected = ReservationRecord {
        id,
        uid: claim.uid,
        integration_id: row.id,
        key: claim.reservation.key.clone(),
        state: ReservationState::Reserved,
        reserved_until: claim.reserved_until,
        fingerprint: Some(vec![1, 0, 255]),
        request_id: None,
        status_code: None,
        sealed_answer: None,
        settled_at: None,
        resolution: None,
        created_at: claim.now,
    };
    assert_eq!(subject.key_record(&claim, at(1)).await, Some(expected));
}

// INV-12
pub async fn a_key_in_progress_is_held(subject: &Subject) {
    let row = subject.integration().await;
    let claim = reservation(row.id, "charge-1");
    subject.acquire(&claim).await;
    let before = subject.key_record(&claim, at(1)).await;
    let held = Reservation::Held { until: at(60) };
    for retry_unknown in [false, true] {
        let rival = NewReservation {
            retry_unknown,
            ..again(&claim, at_micros(59, 999_999))
        };
        assert_eq!(subject.reserve(&rival).await, held, "{retry_unknown}");
        let own = NewReservation {
            retry_unknown,
            ..claim.clone()
        };
        assert_eq!(subject.reserve(&own).await, held, "its holder too");
    }
    assert_eq!(subject.key_record(&claim, at(1)).await, before);
}

// IDM-02
pub async fn one_key_of_two_integrations_is_two_keys(subject: &Subject) {
    let first = subject.integration().await;
    let second = subject.integration().await;
    let claim = reservation(first.id, "charge-1");
    subject.acquire(&claim).await;
    let other = reservation(second.id, "charge-1");
    subject.acquire(&other).await;
    let freed = subject.complete(&claim, KeyedOutcome::DidNotHappen).await;
    assert_eq!(freed, CompletionResult::Done);
    assert_eq!(subject.key_record(&claim, at(1)).await, None);
    assert!(subject.key_record(&other, at(1)).await.is_some());
}

pub async fn keys_differ_by_every_character(subject: &Subject) {
    let row = subject.integration().await;
    for text in ["key", "Key", "key ", "kéy", "ke\u{301}y"] {
        subject.acquire(&reservation(row.id, text)).await;
    }
}

// INV-12, W-IDM-2
pub async fn a_reservation_past_its_time_is_unknown(subject: &Subject) {
    let row = subject.integration().await;
    let claim = reservation(row.id, "charge-1");
    subject.acquire(&claim).await;
    let record = subject.key_record(&claim, at(60)).await.expect("on file");
    assert_eq!(record.state, ReservationState::Unknown);
    let rival = again(&claim, at(60));
    let unknown = Reservation::Unknown(Box::new(record));
    assert_eq!(subject.reserve(&rival).await, unknown);
    assert_eq!(
        subject.complete(&rival, KeyedOutcome::DidNotHappen).await,
        CompletionResult::NotHolder,
        "who was told so does not hold it"
    );
}

// INV-12
pub async fn a_key_that_is_done_answers_its_result(subject: &Subject) {
    let row = subject.integration().await;
    let claim = reservation(row.id, "charge-1");
    subject.acquire(&claim).await;
    subject.complete(&claim, succeeded()).await;
    let record = subject.key_record(&claim, at(1)).await.expect("on file");
    assert_eq!(record.state, ReservationState::Succeeded);
    assert_eq!(record.status_code, Some(201));
    assert_eq!(record.sealed_answer, Some(sealed("answer")));
    let done = Reservation::Succeeded(Box::new(record));
    for retry_unknown in [false, true] {
        let later = NewReservation {
            retry_unknown,
            ..again(&claim, at(1_000))
        };
        assert_eq!(subject.reserve(&later).await, done, "{retry_unknown}");
    }
}

// INV-12, W-IDM-1
pub async fn a_key_of_unknown_outcome_says_so(subject: &Subject) {
    let row = subject.integration().await;
    let claim = reservation(row.id, "charge-1");
    subject.acquire(&claim).await;
    subject.complete(&claim, unknown()).await;
    let record = subject.key_record(&claim, at(1)).await.expect("on file");
    assert_eq!(record.state, ReservationState::Unknown);
    let reserved = subject.reserve(&again(&claim, at(2))).await;
    assert_eq!(reserved, Reservation::Unknown(Box::new(record)));
}

// INV-12, W-IDM-4
pub async fn another_request_is_a_mismatch_in_every_state(subject: &Subject) {
    let row = subject.integration().await;
    let states: [(&str, Option<KeyedOutcome>, i64); 4] = [
        ("live", None, 1),
        ("expired", None, 60),
        ("succeeded", Some(succeeded()), 1),
        ("unknown", Some(unknown()), 1),
    ];
    for (name, outcome, seconds) in states {
        let claim = NewReservation {
            fingerprints: vec![vec![1]],
            ..reservation(row.id, name)
        };
        subject.acquire(&claim).await;
        if let Some(outcome) = outcome {
            subject.complete(&claim, outcome).await;
        }
        let record = subject.key_record(&claim, at(seconds)).await;
        let mismatch = Reservation::Mismatch(Box::new(record.clone().expect("on file")));
        for retry_unknown in [false, true] {
            let other = NewReservation {
                fingerprints: vec![vec![2], vec![1, 0]],
                retry_unknown,
                ..again(&claim, at(seconds))
            };
            assert_eq!(subject.reserve(&other).await, mismatch, "{name}");
        }
        assert_eq!(subject.key_record(&claim, at(seconds)).await, record);
    }
}

// W-IDM-4
pub async fn any_fingerprint_of_the_ring_matches(subject: &Subject) {
    let row = subject.integration().await;
    let claim = NewReservation {
        fingerprints: vec![b"old key".to_vec()],
        ..reservation(row.id, "charge-1")
    };
    subject.acquire(&claim).await;
    subject.complete(&claim, succeeded()).await;
    let later = NewReservation {
        fingerprints: vec![b"new key".to_vec(), b"old key".to_vec()],
        ..again(&claim, at(5))
    };
    let reserved = subject.reserve(&later).await;
    assert!(
        matches!(reserved, Reservation::Succeeded(_)),
        "{reserved:?}"
    );
}

pub async fn a_key_without_fingerprint_is_not_compared(subject: &Subject) {
    let row = subject.integration().await;
    let claim = reservation(row.id, "charge-1");
    subject.acquire(&claim).await;
    let later = NewReservation {
        fingerprints: vec![vec![1]],
        ..again(&claim, at(1))
    };
    let held = Reservation::Held { until: at(60) };
    assert_eq!(subject.reserve(&later).await, held);
}

// IDM-10
pub async fn an_unknown_key_is_taken_over_to_retry(subject: &Subject) {
    let row = subject.integration().await;
    for (name, outcome) in [("settled", Some(unknown())), ("expired", None)] {
        let claim = NewReservation {
            fingerprints: vec![vec![1]],
            ..reservation(row.id, name)
        };
        subject.acquire(&claim).await;
        if let Some(outcome) = outcome {
            subject.complete(&claim, outcome).await;
        }
        let retry = NewReservation {
            fingerprints: vec![vec![2], vec![1]],
            retry_unknown: true,
            ..again(&claim, at(100))
        };
        subject.acquire(&retry).await;
        let record = subject.key_record(&claim, at(101)).await.expect("on file");
        assert_eq!(record.state, ReservationState::Reserved, "{name}");
        assert_eq!(record.reserved_until, at(160));
        assert_eq!(record.uid, claim.uid, "the answer is sealed for it");
        assert_eq!(record.fingerprint, Some(vec![1]));
        assert_eq!(record.created_at, claim.now);

        let late = subject.complete(&claim, KeyedOutcome::DidNotHappen).await;
        assert_eq!(late, CompletionResult::NotHolder, "the old token is void");
        let held = Reservation::Held { until: at(160) };
        let third = NewReservation {
            retry_unknown: true,
            ..again(&claim, at(102))
        };
        assert_eq!(subject.reserve(&third).await, held, "it is live again");
        let done = subject.complete(&retry, succeeded()).await;
        assert_eq!(done, CompletionResult::Done);
    }
}

pub async fn a_live_reservation_is_renewed_by_its_token(subject: &Subject) {
    let row = subject.integration().await;
    let claim = reservation(row.id, "charge-1");
    subject.acquire(&claim).await;
    let ledger = &subject.ports.ledger;
    let stranger = again(&claim, at(1)).reservation;
    let renewed = ledger.renew(&stranger, at(500), at(1)).await;
    assert!(!renewed.unwrap(), "another token");
    let renewed = ledger.renew(&claim.reservation, at(500), at(1)).await;
    assert!(renewed.unwrap());
    let record = subject.key_record(&claim, at(400)).await.expect("on file");
    assert_eq!(record.state, ReservationState::Reserved);
    assert_eq!(record.reserved_until, at(500));

    let renewed = ledger.renew(&claim.reservation, at(900), at(500)).await;
    assert!(!renewed.unwrap(), "it is past its time");
    subject.complete(&claim, succeeded()).await;
    let renewed = ledger.renew(&claim.reservation, at(900), at(2)).await;
    assert!(!renewed.unwrap(), "it has ended");
    let never = reservation(row.id, "never-reserved").reservation;
    assert!(!ledger.renew(&never, at(900), at(1)).await.unwrap());
}

// W-IDM-3
pub async fn keys_of_another_owner_are_absent(subject: &Subject) {
    let row = subject.integration_of(1).await;
    let claim = reservation(row.id, "charge-1");
    subject.acquire(&claim).await;
    let ledger = &subject.ports.ledger;
    let find = async |text: &str, owner| {
        let found = ledger.find(row.id, &key(text), &scope(owner), at(1)).await;
        found.unwrap()
    };
    assert_eq!(find("charge-1", 2).await, None);
    assert!(find("charge-1", 1).await.is_some());
    assert_eq!(find("charge-2", 1).await, None);
}
