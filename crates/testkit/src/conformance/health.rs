//! Cases of health: an operator's word, and what the journal makes of outages.

use integrations_core::{
    id::IntegrationId,
    integration::{
        HealthPolicy, HealthState, HealthStatus, HealthTransition, Integration, IntegrationChange,
        Scope,
    },
    request::{CallOutcome, NewRequest, Recorded},
};

use super::{
    Subject,
    fixtures::{at, at_micros, attempt, failed_attempt, neutral, outage, success},
};

const OPERATOR: Scope = Scope::Operator;

async fn record(subject: &Subject, outcomes: &[CallOutcome]) -> Vec<Recorded> {
    let recorded = subject.ports.journal.record(outcomes).await.unwrap();
    recorded.into_iter().map(Result::unwrap).collect()
}

/// Records so many outages at once; what became of the status.
async fn outages(subject: &Subject, id: IntegrationId, count: usize) -> Option<HealthTransition> {
    let batch = vec![outage(id); count];
    let mut recorded = record(subject, &batch).await;
    let last = recorded.pop().expect("an outcome was recorded");
    let earlier = recorded.iter().any(|recorded| recorded.health.is_some());
    assert!(!earlier, "the transition is on the last entry");
    last.health
}

async fn health(subject: &Subject, id: IntegrationId) -> HealthState {
    subject.read(id).await.health
}

fn state(status: HealthStatus, consecutive_failures: i32) -> HealthState {
    HealthState {
        status,
        consecutive_failures,
    }
}

fn transition(from: HealthStatus, to: HealthStatus, failures: i32) -> HealthTransition {
    HealthTransition {
        from,
        to,
        consecutive_failures: failures,
    }
}

// HLT-01, HLT-03, HLT-04
pub async fn outages_move_the_status_at_5_20_and_50(subject: &Subject) {
    use HealthStatus::{Degraded, Disabled, Failing, Healthy};
    let row = subject.integration().await;
    let steps = [
        (4, state(Healthy, 4), None),
        (
            1,
            state(Degraded, 5),
            Some(transition(Healthy, Degraded, 5)),
        ),
        (14, state(Degraded, 19), None),
        (
            1,
            state(Failing, 20),
            Some(transition(Degraded, Failing, 20)),
        ),
        (29, state(Failing, 49), None),
        (
            1,
            state(Disabled, 50),
            Some(transition(Failing, Disabled, 50)),
        ),
        (1, state(Disabled, 50), None),
    ];
    for (count, expected, moved) in steps {
        let reported = outages(subject, row.id, count).await;
        assert_eq!(health(subject, row.id).await, expected);
        assert_eq!(reported, moved, "on reaching {expected:?}");
    }
    assert!(
        subject.read(row.id).await.is_active,
        "the operator's switch is the operator's"
    );
}

pub async fn outages_are_judged_by_the_policy_they_bring(subject: &Subject) {
    let row = subject.integration().await;
    let strict = CallOutcome {
        health_policy: HealthPolicy {
            degraded_after: 1,
            failing_after: 2,
            disabled_after: None,
        },
        ..outage(row.id)
    };
    record(subject, std::slice::from_ref(&strict)).await;
    let expected = state(HealthStatus::Degraded, 1);
    assert_eq!(health(subject, row.id).await, expected);
    record(subject, &vec![strict; 60]).await;
    let expected = state(HealthStatus::Failing, 61);
    assert_eq!(health(subject, row.id).await, expected, "never disabled");
}

pub async fn a_batch_is_folded_in_its_order(subject: &Subject) {
    let row = subject.integration().await;
    let mut batch = vec![outage(row.id); 5];
    batch.push(success(row.id));
    batch.push(outage(row.id));
    let recorded = record(subject, &batch).await;
    let expected = state(HealthStatus::Healthy, 1);
    assert_eq!(health(subject, row.id).await, expected);
    assert!(
        recorded.iter().all(|recorded| recorded.health.is_none()),
        "it was healthy before the batch and is so after it"
    );

    let mut batch = vec![success(row.id)];
    batch.extend(vec![outage(row.id); 5]);
    let recorded = record(subject, &batch).await;
    let expected = state(HealthStatus::Degraded, 5);
    assert_eq!(health(subject, row.id).await, expected);
    let moved = transition(HealthStatus::Healthy, HealthStatus::Degraded, 5);
    assert_eq!(recorded.last().unwrap().health, Some(moved));
}

pub async fn integrations_of_one_batch_are_told_apart(subject: &Subject) {
    let first = subject.integration().await;
    let second = subject.integration().await;
    let third = subject.integration().await;
    let mut batch = Vec::new();
    for _ in 0..5 {
        // Descending ids: the store brings them into order, the caller need not.
        batch.extend([outage(third.id), success(second.id), outage(first.id)]);
    }
    let recorded = record(subject, &batch).await;
    let moved: Vec<_> = recorded.iter().map(|recorded| &recorded.health).collect();
    let degraded = Some(transition(HealthStatus::Healthy, HealthStatus::Degraded, 5));
    assert_eq!(moved[12..], [&degraded, &None, &degraded]);
    assert!(moved[..12].iter().all(|health| health.is_none()));
    let degraded = state(HealthStatus::Degraded, 5);
    assert_eq!(health(subject, first.id).await, degraded);
    assert_eq!(health(subject, second.id).await, HealthState::healthy());
    assert_eq!(health(subject, third.id).await, degraded);
}

// HLT-02, W-HLT-1
pub async fn a_success_heals(subject: &Subject) {
    for (count, from) in [(5, HealthStatus::Degraded), (20, HealthStatus::Failing)] {
        let row = subject.integration().await;
        outages(subject, row.id, count).await;
        let recorded = record(subject, &[success(row.id)]).await;
        let moved = transition(from, HealthStatus::Healthy, 0);
        assert_eq!(recorded[0].health, Some(moved));
        assert_eq!(health(subject, row.id).await, HealthState::healthy());
    }
}

// W-HLT-1
pub async fn a_success_resets_a_count_below_the_first_threshold(subject: &Subject) {
    let row = subject.integration().await;
    outages(subject, row.id, 4).await;
    let recorded = record(subject, &[success(row.id)]).await;
    assert_eq!(recorded[0].health, None, "the status is the same");
    assert_eq!(health(subject, row.id).await, HealthState::healthy());
}

// HLT-06
pub async fn a_success_does_not_enable_what_is_disabled(subject: &Subject) {
    let row = subject.integration().await;
    outages(subject, row.id, 50).await;
    let recorded = record(subject, &[success(row.id)]).await;
    assert_eq!(recorded[0].health, None);
    let expected = state(HealthStatus::Disabled, 50);
    assert_eq!(health(subject, row.id).await, expected);
}

// L-HLT-1
pub async fn neutral_attempts_do_not_write_the_row(subject: &Subject) {
    let row = subject.integration().await;
    outages(subject, row.id, 7).await;
    let before = subject.read(row.id).await;
    let later = NewRequest {
        created_at: at(99),
        ..failed_attempt(row.id)
    };
    record(subject, &[neutral(later)]).await;
    assert_eq!(subject.read(row.id).await, before);
}

// L-CRED-1
pub async fn a_success_does_not_write_a_healthy_row(subject: &Subject) {
    let row = subject.integration().await;
    let later = CallOutcome {
        attempt: NewRequest {
            created_at: at(99),
            ..attempt(row.id)
        },
        ..success(row.id)
    };
    record(subject, &[later]).await;
    assert_eq!(subject.read(row.id).await, row);
}

// HLT-03
pub async fn the_last_error_is_the_latest_outage(subject: &Subject) {
    let row = subject.integration().await;
    let outage_at = |created_at| CallOutcome {
        attempt: NewRequest {
            created_at,
            ..failed_attempt(row.id)
        },
        ..outage(row.id)
    };
    let latest = at_micros(30, 5);
    record(subject, &[outage_at(latest), outage_at(at(10))]).await;
    assert_eq!(subject.read(row.id).await.last_error_at, Some(latest));
    record(subject, &[outage_at(at(20))]).await;
    assert_eq!(
        subject.read(row.id).await.last_error_at,
        Some(latest),
        "an outage that was reported late is not the latest"
    );
    record(subject, &[success(row.id)]).await;
    assert_eq!(subject.read(row.id).await.last_error_at, Some(latest));
    outages(subject, row.id, 50).await;
    record(subject, &[outage_at(at(40))]).await;
    assert_eq!(
        subject.read(row.id).await.last_error_at,
        Some(at(40)),
        "of a disabled integration too"
    );
}

pub async fn a_status_of_a_newer_version_is_kept(subject: &Subject) {
    let row = subject.integration().await;
    let newer = HealthStatus::Unrecognised("resting".to_owned());
    let store = &subject.ports.integrations;
    let moved = store.move_health(row.id, &OPERATOR, &newer, at(1));
    moved.await.unwrap().expect("the status changed");
    outages(subject, row.id, 50).await;
    record(subject, &[success(row.id)]).await;
    assert_eq!(health(subject, row.id).await.status, newer);
}

pub async fn an_operator_moves_the_status(subject: &Subject) {
    let store = &subject.ports.integrations;
    let row = subject.integration().await;
    outages(subject, row.id, 5).await;
    let to = async |status: HealthStatus| {
        let moved = store.move_health(row.id, &OPERATOR, &status, at(2)).await;
        moved.unwrap()
    };
    let moved = to(HealthStatus::Failing).await;
    let expected = transition(HealthStatus::Degraded, HealthStatus::Failing, 5);
    assert_eq!(moved, Some(expected));
    assert_eq!(to(HealthStatus::Failing).await, None, "nothing changed");
    let moved = to(HealthStatus::Healthy).await;
    let expected = transition(HealthStatus::Failing, HealthStatus::Healthy, 0);
    assert_eq!(moved, Some(expected));
    assert_eq!(health(subject, row.id).await, HealthState::healthy());
}

// HLT-06
pub async fn a_reset_lifts_a_disabling(subject: &Subject) {
    let row = subject.integration().await;
    outages(subject, row.id, 50).await;
    let before = subject.read(row.id).await;
    let reset = IntegrationChange {
        reset_health: true,
        ..IntegrationChange::default()
    };
    let store = &subject.ports.integrations;
    let changed = store.update(row.id, &OPERATOR, &reset, at(5)).await;
    let expected = Integration {
        health: HealthState::healthy(),
        updated_at: at(5),
        ..before
    };
    assert_eq!(changed.unwrap(), Some(expected.clone()));
    assert_eq!(subject.read(row.id).await, expected);
}
