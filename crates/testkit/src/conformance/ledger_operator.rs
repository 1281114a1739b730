//! Cases of `IdempotencyLedger`: what an operator sees and does (W-IDM-3).

use integrations_core::{
    id::IntegrationId,
    idempotency::{
        CompletionResult, KeyReleased, KeyResolution, KeyResolved, KeyedOutcome, NewReservation,
        ReservationFilter, ReservationState,
    },
    integration::Scope,
    store::PageRequest,
};

use super::{
    Subject,
    fixtures::{at, read_all, reservation, scope, whole},
    ledger::{succeeded, unknown},
};

const OPERATOR: Scope = Scope::Operator;

/// A live key, one past its time from `at(60)` on, one that succeeded and one that is unknown.
async fn one_of_each(subject: &Subject, id: IntegrationId) -> [NewReservation; 4] {
    let live = NewReservation {
        reserved_until: at(500),
        ..reservation(id, "live")
    };
    let expired = reservation(id, "expired");
    let done = reservation(id, "done");
    let doubtful = reservation(id, "doubtful");
    for claim in [&live, &expired, &done, &doubtful] {
        subject.acquire(claim).await;
    }
    subject.complete(&done, succeeded()).await;
    subject.complete(&doubtful, unknown()).await;
    [live, expired, done, doubtful]
}

pub async fn lists_count_expired_keys_as_unknown(subject: &Subject) {
    let row = subject.integration_of(1).await;
    let other = subject.integration().await;
    one_of_each(subject, row.id).await;
    subject.acquire(&reservation(other.id, "elsewhere")).await;
    let all = ReservationFilter::default;
    let in_state = |state| ReservationFilter {
        state: Some(state),
        ..all()
    };
    let of_row = ReservationFilter {
        integration_id: Some(row.id),
        ..all()
    };
    let everything = ["live", "expired", "done", "doubtful", "elsewhere"];
    let cases = [
        (all(), OPERATOR, &everything[..]),
        (of_row.clone(), OPERATOR, &everything[..4]),
        (all(), scope(1), &everything[..4]),
        (of_row, scope(2), &[]),
        (in_state(ReservationState::Reserved), OPERATOR, &["live"]),
        (in_state(ReservationState::Succeeded), OPERATOR, &["done"]),
        (
            in_state(ReservationState::Unknown),
            OPERATOR,
            &["expired", "doubtful", "elsewhere"],
        ),
    ];
    for (filter, scope, expected) in cases {
        let ledger = &subject.ports.ledger;
        let page = ledger.list(&filter, &scope, &whole(), at(100)).await;
        let records = page.unwrap().items;
        let keys: Vec<_> = records.iter().map(|record| record.key.as_str()).collect();
        assert_eq!(keys, expected, "{filter:?} within {scope:?}");
        for record in &records {
            let state = filter.state.as_ref().unwrap_or(&record.state);
            assert_eq!(record.state, *state);
        }
    }
}

pub async fn pages_hold_each_key_once(subject: &Subject) {
    let row = subject.integration().await;
    let mut expected = ["e", "a", "d", "b", "c"];
    for text in expected {
        subject.acquire(&reservation(row.id, text)).await;
    }
    let ledger = &subject.ports.ledger;
    let filter = ReservationFilter::default();
    let read = async |page: PageRequest| {
        let page = ledger.list(&filter, &OPERATOR, &page, at(1)).await;
        page.unwrap()
    };
    let oldest = read_all(PageRequest::oldest(2), read).await;
    let oldest: Vec<_> = oldest.iter().map(|record| record.key.as_str()).collect();
    assert_eq!(oldest, expected);
    expected.reverse();
    let newest = read_all(PageRequest::newest(2), read).await;
    let newest: Vec<_> = newest.iter().map(|record| record.key.as_str()).collect();
    assert_eq!(newest, expected);
}

fn resolution(claim: &NewReservation, happened: bool) -> KeyResolution {
    KeyResolution {
        integration_id: claim.reservation.integration_id,
        key: claim.reservation.key.clone(),
        scope: OPERATOR,
        happened,
        reason: "seen at the bank: größe 🧭".to_owned(),
        now: at(100),
    }
}

async fn resolve(subject: &Subject, resolution: &KeyResolution) -> KeyResolved {
    subject.ports.ledger.resolve(resolution).await.unwrap()
}

pub async fn an_unknown_key_is_resolved_as_happened(subject: &Subject) {
    let row = subject.integration().await;
    let [_, expired, _, doubtful] = one_of_each(subject, row.id).await;
    for claim in [expired, doubtful] {
        let word = resolution(&claim, true);
        assert_eq!(resolve(subject, &word).await, KeyResolved::Done);
        let record = subject.key_record(&claim, at(101)).await.expect("on file");
        assert_eq!(record.state, ReservationState::Succeeded);
        assert_eq!(record.settled_at, Some(at(100)));
        let kept = record.resolution.as_deref().unwrap_or_default();
        assert!(kept.contains(&word.reason), "{kept:?} holds the reason");
        let late = subject.complete(&claim, KeyedOutcome::DidNotHappen).await;
        assert_eq!(late, CompletionResult::NotHolder, "the old token is void");
        let record = subject.key_record(&claim, at(101)).await;
        assert!(record.is_some());
    }
}

pub async fn an_unknown_key_is_resolved_as_not_happened(subject: &Subject) {
    let row = subject.integration().await;
    let [_, expired, _, doubtful] = one_of_each(subject, row.id).await;
    for claim in [expired, doubtful] {
        let word = resolution(&claim, false);
        assert_eq!(resolve(subject, &word).await, KeyResolved::Done);
        assert_eq!(subject.key_record(&claim, at(101)).await, None);
        let late = subject.complete(&claim, succeeded()).await;
        assert_eq!(late, CompletionResult::NotHolder, "the old token is void");
        let text = claim.reservation.key.as_str();
        subject.acquire(&reservation(row.id, text)).await;
    }
}

pub async fn only_unknown_keys_are_resolved(subject: &Subject) {
    let row = subject.integration_of(1).await;
    let [live, _, done, doubtful] = one_of_each(subject, row.id).await;
    for happened in [true, false] {
        for (claim, state) in [
            (&live, ReservationState::Reserved),
            (&done, ReservationState::Succeeded),
        ] {
            let before = subject.key_record(claim, at(100)).await;
            let answer = resolve(subject, &resolution(claim, happened)).await;
            assert_eq!(answer, KeyResolved::NotUnknown(state));
            assert_eq!(subject.key_record(claim, at(100)).await, before);
        }
        let missing = reservation(row.id, "missing");
        let answer = resolve(subject, &resolution(&missing, happened)).await;
        assert_eq!(answer, KeyResolved::NotFound);
        let foreign = KeyResolution {
            scope: scope(2),
            ..resolution(&doubtful, happened)
        };
        let before = subject.key_record(&doubtful, at(100)).await;
        assert_eq!(resolve(subject, &foreign).await, KeyResolved::NotFound);
        assert_eq!(subject.key_record(&doubtful, at(100)).await, before);
    }
    let own = KeyResolution {
        scope: scope(1),
        ..resolution(&doubtful, true)
    };
    assert_eq!(resolve(subject, &own).await, KeyResolved::Done);
}

async fn release(
    subject: &Subject,
    claim: &NewReservation,
    scope: &Scope,
    force: bool,
) -> KeyReleased {
    let reserved = &claim.reservation;
    let ledger = &subject.ports.ledger;
    let released = ledger.release(
        reserved.integration_id,
        &reserved.key,
        scope,
        force,
        at(100),
    );
    released.await.unwrap()
}

pub async fn what_is_not_live_is_released(subject: &Subject) {
    let row = subject.integration().await;
    let [_, expired, done, doubtful] = one_of_each(subject, row.id).await;
    for claim in [expired, done, doubtful] {
        let released = release(subject, &claim, &OPERATOR, false).await;
        assert_eq!(released, KeyReleased::Done);
        assert_eq!(subject.key_record(&claim, at(100)).await, None);
        let late = subject.complete(&claim, succeeded()).await;
        assert_eq!(late, CompletionResult::NotHolder);
        let again = release(subject, &claim, &OPERATOR, true).await;
        assert_eq!(again, KeyReleased::NotFound);
    }
}

pub async fn a_live_key_is_released_by_force_only(subject: &Subject) {
    let row = subject.integration_of(1).await;
    let [live, ..] = one_of_each(subject, row.id).await;
    let refused = release(subject, &live, &scope(1), false).await;
    assert_eq!(refused, KeyReleased::Live { until: at(500) });
    let foreign = release(subject, &live, &scope(2), true).await;
    assert_eq!(foreign, KeyReleased::NotFound);
    assert!(subject.key_record(&live, at(100)).await.is_some());
    let forced = release(subject, &live, &scope(1), true).await;
    assert_eq!(forced, KeyReleased::Done);
    let late = subject.complete(&live, succeeded()).await;
    assert_eq!(late, CompletionResult::NotHolder, "the old token is void");
    assert_eq!(subject.key_record(&live, at(100)).await, None);
}
