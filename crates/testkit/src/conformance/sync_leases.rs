//! Cases of `IntegrationStore`: who may sync an integration.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::IntegrationId,
    integration::{
        ClaimedIntegration, HealthStatus, Integration, IntegrationChange, NewIntegration, Scope,
        SyncClaim, SyncLease, SyncSelection,
    },
    value::ProviderKey,
};

use super::{
    Subject,
    fixtures::{at, at_micros, holder, new_integration, provider},
};

const OPERATOR: Scope = Scope::Operator;

fn due(limit: u32) -> SyncSelection {
    due_of(limit, &["github"])
}

fn due_of(limit: u32, providers: &[&str]) -> SyncSelection {
    let providers: Vec<ProviderKey> = providers.iter().map(|key| provider(key)).collect();
    SyncSelection::Due { limit, providers }
}

/// Claims for a minute.
async fn claim(
    subject: &Subject,
    selection: SyncSelection,
    now: DateTime<Utc>,
) -> Vec<ClaimedIntegration> {
    let claim = SyncClaim {
        selection,
        holder: holder("worker-1"),
        lease_until: now + chrono::Duration::seconds(60),
        now,
    };
    subject.ports.integrations.claim_sync(&claim).await.unwrap()
}

fn ids(claimed: &[ClaimedIntegration]) -> Vec<IntegrationId> {
    claimed
        .iter()
        .map(|claimed| claimed.integration.id)
        .collect()
}

async fn due_at(subject: &Subject, next_sync_at: Option<DateTime<Utc>>) -> Integration {
    let new = NewIntegration {
        next_sync_at,
        ..new_integration()
    };
    subject.create(&new).await
}

// INT-02
pub async fn those_due_are_claimed_the_longest_due_first(subject: &Subject) {
    let second = due_at(subject, Some(at(20))).await;
    let third = due_at(subject, Some(at(30))).await;
    let first = due_at(subject, Some(at(10))).await;
    let claimed = claim(subject, due(2), at(100)).await;
    assert_eq!(ids(&claimed), [first.id, second.id]);
    let claimed = claim(subject, due(2), at(100)).await;
    assert_eq!(ids(&claimed), [third.id], "the others are leased");
}

pub async fn the_claim_answers_the_row_after_it(subject: &Subject) {
    let row = due_at(subject, Some(at(0))).await;
    let claimed = claim(subject, due(1), at_micros(5, 1)).await;
    let [claimed] = claimed.as_slice() else {
        panic!("one integration is due, {} were claimed", claimed.len());
    };
    assert_eq!(claimed.integration, subject.read(row.id).await);
    assert_eq!(claimed.fence, claimed.integration.sync_fence);
    let lease = SyncLease {
        holder: "worker-1".to_owned(),
        until: at_micros(65, 1),
    };
    assert_eq!(claimed.integration.sync_lease, Some(lease));
    assert_eq!(claimed.integration.next_sync_at, Some(at(0)));
}

pub async fn one_is_due_from_its_instant_on(subject: &Subject) {
    let row = due_at(subject, Some(at_micros(10, 1))).await;
    let unscheduled = due_at(subject, None).await;
    assert_eq!(ids(&claim(subject, due(9), at(10)).await), []);
    let claimed = claim(subject, due(9), at_micros(10, 1)).await;
    assert_eq!(ids(&claimed), [row.id]);
    assert_eq!(subject.read(unscheduled.id).await, unscheduled);
}

pub async fn only_those_of_the_providers_are_due(subject: &Subject) {
    let github = due_at(subject, Some(at(0))).await;
    let stripe = subject
        .create(&NewIntegration {
            provider: provider("stripe"),
            next_sync_at: Some(at(0)),
            ..new_integration()
        })
        .await;
    assert_eq!(ids(&claim(subject, due_of(9, &[]), at(1)).await), []);
    let claimed = claim(subject, due_of(9, &["stripe", "other"]), at(1)).await;
    assert_eq!(ids(&claimed), [stripe.id]);
    let claimed = claim(subject, due_of(9, &["stripe", "github"]), at(1)).await;
    assert_eq!(ids(&claimed), [github.id]);
}

pub async fn a_named_one_is_claimed_due_or_not(subject: &Subject) {
    for next_sync_at in [None, Some(at(1_000))] {
        let row = due_at(subject, next_sync_at).await;
        let claimed = claim(subject, SyncSelection::Named(row.id), at(1)).await;
        assert_eq!(ids(&claimed), [row.id]);
        let again = claim(subject, SyncSelection::Named(row.id), at(2)).await;
        assert_eq!(ids(&again), [], "it is leased, to the same holder too");
    }
    let missing = SyncSelection::Named(IntegrationId(i64::MAX));
    assert_eq!(ids(&claim(subject, missing, at(1)).await), []);
}

pub async fn one_that_is_off_is_not_claimed(subject: &Subject) {
    let store = &subject.ports.integrations;
    let switched_off = due_at(subject, Some(at(0))).await;
    let off = IntegrationChange {
        is_active: Some(false),
        ..IntegrationChange::default()
    };
    let changed = store.update(switched_off.id, &OPERATOR, &off, at(0));
    changed.await.unwrap().expect("it is there");
    let disabled = due_at(subject, Some(at(0))).await;
    let moved = store.move_health(disabled.id, &OPERATOR, &HealthStatus::Disabled, at(0));
    moved.await.unwrap().expect("the status changed");
    let removed = due_at(subject, Some(at(0))).await;
    subject.remove(removed.id).await;

    assert_eq!(ids(&claim(subject, due(9), at(1)).await), []);
    for id in [switched_off.id, disabled.id, removed.id] {
        let claimed = claim(subject, SyncSelection::Named(id), at(1)).await;
        assert_eq!(ids(&claimed), [], "named as well");
    }
}

// INV-08
pub async fn a_lease_that_ran_out_is_taken_over_with_a_greater_fence(subject: &Subject) {
    let row = due_at(subject, Some(at(0))).await;
    let first = claim(subject, due(1), at(1)).await.remove(0);
    assert_eq!(ids(&claim(subject, due(1), at(60)).await), []);
    let mut second = claim(subject, due(1), at(61)).await;
    assert_eq!(ids(&second), [row.id], "the lease ended at that instant");
    assert!(second.remove(0).fence > first.fence);
}

pub async fn a_lease_is_renewed_by_its_fence(subject: &Subject) {
    let row = due_at(subject, Some(at(0))).await;
    let fence = claim(subject, due(1), at(0)).await.remove(0).fence;
    let store = &subject.ports.integrations;
    let renewed = store.renew_sync_lease(row.id, fence, at(200)).await;
    assert!(renewed.unwrap());
    let lease = subject.read(row.id).await.sync_lease.expect("a lease");
    assert_eq!((lease.holder.as_str(), lease.until), ("worker-1", at(200)));
    assert_eq!(ids(&claim(subject, due(1), at(100)).await), []);

    let second = claim(subject, due(1), at(200)).await.remove(0);
    let late = store.renew_sync_lease(row.id, fence, at(900)).await;
    assert!(!late.unwrap(), "another worker has taken over");
    assert_eq!(subject.read(row.id).await, second.integration);
}

pub async fn a_lease_given_back_is_free_and_keeps_the_fence(subject: &Subject) {
    let row = due_at(subject, Some(at(0))).await;
    let store = &subject.ports.integrations;
    let fence = claim(subject, due(1), at(0)).await.remove(0).fence;
    let released = store.release_sync_lease(row.id, fence, None).await;
    assert!(released.unwrap());
    let stored = subject.read(row.id).await;
    assert_eq!(stored.sync_lease, None);
    assert_eq!(stored.sync_fence, fence);
    assert_eq!(stored.next_sync_at, Some(at(0)), "none was given");

    let second = claim(subject, due(1), at(1)).await.remove(0).fence;
    assert!(second > fence);
    let late = store.release_sync_lease(row.id, fence, Some(at(999))).await;
    assert!(!late.unwrap(), "another worker has taken over");
    let stored = subject.read(row.id).await;
    assert!(stored.sync_lease.is_some(), "the other worker's lease");
    assert_eq!(stored.next_sync_at, Some(at(0)));

    let released = store
        .release_sync_lease(row.id, second, Some(at(300)))
        .await;
    assert!(released.unwrap());
    assert_eq!(subject.read(row.id).await.next_sync_at, Some(at(300)));
}

pub async fn a_lease_is_given_back_once(subject: &Subject) {
    let row = due_at(subject, Some(at(0))).await;
    let store = &subject.ports.integrations;
    let fence = claim(subject, due(1), at(0)).await.remove(0).fence;
    let first = store.release_sync_lease(row.id, fence, Some(at(300))).await;
    assert!(first.unwrap());

    let again = store.release_sync_lease(row.id, fence, Some(at(5))).await;

    assert!(!again.unwrap());
    assert_eq!(subject.read(row.id).await.next_sync_at, Some(at(300)));
}

pub async fn a_removed_one_loses_its_lease(subject: &Subject) {
    let row = due_at(subject, Some(at(0))).await;
    let fence = claim(subject, due(1), at(0)).await.remove(0).fence;
    subject.remove(row.id).await;
    let store = &subject.ports.integrations;
    let renewed = store.renew_sync_lease(row.id, fence, at(200)).await;
    assert!(!renewed.unwrap());
    let released = store.release_sync_lease(row.id, fence, Some(at(5))).await;
    assert!(!released.unwrap());
    let kept = subject.read_removed(row.id).await.expect("it is listed");
    assert!(kept.sync_fence > fence, "running syncs are refused");
    assert_eq!(kept.sync_lease, None);
    assert_eq!(kept.next_sync_at, None);
}
