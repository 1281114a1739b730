//! Cases of the `Leases` port.

use integrations_core::{
    lease::{Lease, LeaseAnswer, LeaseRequest},
    value::LeaseName,
};

use super::{
    Subject,
    fixtures::{at, holder},
};

fn asking(name: &str, by: &str, now: i64) -> LeaseRequest {
    LeaseRequest {
        name: LeaseName::new(name).unwrap(),
        holder: holder(by),
        until: at(now + 60),
        now: at(now),
    }
}

async fn acquire(subject: &Subject, request: &LeaseRequest) -> Lease {
    match subject.ports.leases.acquire(request).await.unwrap() {
        LeaseAnswer::Acquired(lease) => lease,
        held @ LeaseAnswer::Held { .. } => panic!("the lease should have been free: {held:?}"),
    }
}

async fn is_held(subject: &Subject, request: &LeaseRequest) -> bool {
    let answer = subject.ports.leases.acquire(request).await.unwrap();
    matches!(answer, LeaseAnswer::Held { .. })
}

pub async fn a_free_lease_is_won(subject: &Subject) {
    let request = asking("prune", "one", 0);

    let lease = acquire(subject, &request).await;

    assert_eq!(lease.name, request.name);
    assert_eq!(lease.holder, request.holder);
    assert_eq!(lease.until, at(60));
}

pub async fn a_held_lease_names_its_holder_even_to_the_holder(subject: &Subject) {
    acquire(subject, &asking("prune", "one", 0)).await;

    for by in ["one", "two"] {
        let answer = subject.ports.leases.acquire(&asking("prune", by, 59)).await;
        assert_eq!(
            answer.unwrap(),
            LeaseAnswer::Held {
                by: holder("one"),
                until: at(60)
            }
        );
    }
}

pub async fn a_lease_that_ran_out_is_free(subject: &Subject) {
    let first = acquire(subject, &asking("prune", "one", 0)).await;

    let second = acquire(subject, &asking("prune", "two", 60)).await;

    assert!(second.fence > first.fence);
}

pub async fn names_are_leased_independently(subject: &Subject) {
    acquire(subject, &asking("prune", "one", 0)).await;

    acquire(subject, &asking("refresh:7", "one", 0)).await;
    acquire(subject, &asking("Prune", "one", 0)).await;
}

pub async fn fences_grow_past_released_leases(subject: &Subject) {
    let mut last = i64::MIN;
    for now in 0..4 {
        let lease = acquire(subject, &asking("prune", "one", now)).await;
        assert!(lease.fence > last, "{} after {last}", lease.fence);
        last = lease.fence;
        let released = subject.ports.leases.release(&lease, at(now)).await;
        assert!(released.unwrap());
    }
}

pub async fn renewing_moves_the_end(subject: &Subject) {
    let lease = acquire(subject, &asking("prune", "one", 0)).await;

    let renewed = subject.ports.leases.renew(&lease, at(600), at(59)).await;

    assert!(renewed.unwrap());
    assert!(is_held(subject, &asking("prune", "two", 599)).await);
    acquire(subject, &asking("prune", "two", 600)).await;
}

pub async fn only_a_lease_that_is_held_is_renewed(subject: &Subject) {
    let leases = &subject.ports.leases;
    let ran_out = acquire(subject, &asking("prune", "one", 0)).await;
    assert!(!leases.renew(&ran_out, at(600), at(60)).await.unwrap());
    let present = acquire(subject, &asking("prune", "two", 60)).await;

    assert!(!leases.renew(&ran_out, at(600), at(61)).await.unwrap());
    assert!(leases.release(&present, at(62)).await.unwrap());
    assert!(!leases.renew(&present, at(600), at(63)).await.unwrap());
}

pub async fn only_the_present_fence_releases(subject: &Subject) {
    let leases = &subject.ports.leases;
    let first = acquire(subject, &asking("prune", "one", 0)).await;
    let second = acquire(subject, &asking("prune", "one", 60)).await;

    assert!(!leases.release(&first, at(61)).await.unwrap());
    assert!(is_held(subject, &asking("prune", "two", 61)).await);
    assert!(leases.release(&second, at(62)).await.unwrap());
    assert!(!leases.release(&second, at(62)).await.unwrap());
    acquire(subject, &asking("prune", "two", 62)).await;
}
