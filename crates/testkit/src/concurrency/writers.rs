//! Many writers at once, and rows that are deleted under them.

use integrations_core::{
    id::IntegrationId,
    idempotency::Reservation,
    integration::{Integration, Scope},
    lease::{LeaseAnswer, LeaseRequest},
    request::{NewRequest, RequestFilter},
    store::Ports,
    sync::ItemSettled,
    value::LeaseName,
};

use crate::conformance::{
    Subject,
    fixtures::{at, attempt, holder, mapping, neutral, operation, outage, reservation},
};

use super::{asking, claiming_items, count, delivery, run_of, succeeded, together};

/// Fifty tasks write through different ports at once: no call fails for being one of many.
pub async fn many_writers_meet_no_busy_error(subject: &Subject) {
    let integration = subject.integration().await;
    let run = run_of(&subject.ports, integration.id, 100).await;

    together(50, |n| {
        let ports = subject.ports.clone();
        async move {
            for round in 0..4 {
                write_somewhere(&ports, integration.id, n, round).await;
            }
        }
    })
    .await;

    let run = subject.ports.syncs.find_run(run.id, &Scope::Operator).await;
    let counts = run.unwrap().unwrap().counts;
    assert_eq!(counts.open + counts.succeeded, 100);
}

/// One write, through the port that `n` falls on.
async fn write_somewhere(ports: &Ports, id: IntegrationId, n: usize, round: usize) {
    let name = format!("{n}-{round}");
    match n % 8 {
        0 => {
            let recorded = ports.journal.record(&[outage(id)]).await.unwrap();
            assert!(recorded[0].is_ok());
        }
        1 => {
            let received = [delivery(id, Some(name))];
            let received = ports.inbox.receive(&received).await.unwrap();
            assert!(received[0].is_ok());
        }
        2 => {
            let claims = [mapping(id, &name, "one")];
            let claimed = ports.mappings.claim(&claims).await.unwrap();
            assert!(claimed[0].is_ok());
        }
        3 => {
            let claim = reservation(id, &name);
            let answer = ports.ledger.reserve(&claim).await.unwrap();
            assert!(matches!(answer, Reservation::Acquired(_)));
        }
        4 => {
            let claim = claiming_items(1);
            let items = ports.syncs.claim_items(&claim).await.unwrap();
            let settlements: Vec<_> = items
                .iter()
                .map(|item| succeeded(item.id, claim.token))
                .collect();
            let settled = ports.sync_settlement.settle_items(&settlements).await;
            assert!(!settled.unwrap().contains(&ItemSettled::LeaseLost));
        }
        5 => {
            let request = asking(id, vec![], 0);
            let admitted = ports.gate.admit(&request).await.unwrap();
            assert!(admitted.is_some());
        }
        6 => {
            let entries = [operation(id)];
            let appended = ports.operations.append(&entries).await.unwrap();
            assert!(appended[0].is_ok());
        }
        _ => {
            let request = LeaseRequest {
                name: LeaseName::new(name).unwrap(),
                holder: holder("worker"),
                until: at(60),
                now: at(0),
            };
            let answer = ports.leases.acquire(&request).await.unwrap();
            assert!(matches!(answer, LeaseAnswer::Acquired(_)));
        }
    }
}

/// An integration is removed while others write for it: writes succeed or are refused, none fails,
/// and nothing is left in the end.
pub async fn writers_survive_a_removal(subject: &Subject) {
    let integration = subject.integration().await;
    let id = integration.id;

    together(17, |n| {
        let ports = subject.ports.clone();
        async move {
            if n == 16 {
                let removal = ports.integrations.remove(id, &Scope::Operator, true, at(1));
                removal.await.unwrap();
                while ports.retention.purge_removed(5).await.unwrap() > 0 {}
                return;
            }
            for round in 0..8 {
                let name = format!("{n}-{round}");
                let requests = [neutral(attempt(id))];
                ports.journal.record(&requests).await.unwrap();
                ports
                    .inbox
                    .receive(&[delivery(id, Some(name.clone()))])
                    .await
                    .unwrap();
                let claims = [mapping(id, &name, "one")];
                ports.mappings.claim(&claims).await.unwrap();
            }
        }
    })
    .await;

    while subject.ports.retention.purge_removed(100).await.unwrap() > 0 {}
    assert!(subject.read_removed(id).await.is_none());
    let filter = RequestFilter::default();
    let left = subject
        .ports
        .requests
        .count(&filter, &Scope::Operator)
        .await;
    assert_eq!(left.unwrap(), 0);
}

/// Rows of removed integrations are purged in batches while sixteen writers go on for another:
/// nothing of theirs is lost, and none of them fails.
pub async fn purging_leaves_other_writers_alone(subject: &Subject) {
    let kept = subject.integration().await.id;
    for _ in 0..4 {
        let removed: Integration = subject.integration().await;
        let requests = vec![neutral(attempt(removed.id)); 40];
        subject.ports.journal.record(&requests).await.unwrap();
        run_of(&subject.ports, removed.id, 20).await;
        subject.remove(removed.id).await;
    }

    let written = together(17, |n| {
        let ports = subject.ports.clone();
        async move {
            if n == 16 {
                while ports.retention.purge_removed(25).await.unwrap() > 0 {}
                return 0;
            }
            let mut written = 0;
            for _ in 0..10 {
                let request = NewRequest {
                    created_at: at(1),
                    ..attempt(kept)
                };
                let recorded = ports.journal.record(&[neutral(request)]).await.unwrap();
                written += count(&recorded, Result::is_ok);
            }
            written
        }
    })
    .await;

    assert_eq!(written.into_iter().sum::<usize>(), 160);
    let filter = RequestFilter::default();
    let rows = subject
        .ports
        .requests
        .count(&filter, &Scope::Operator)
        .await;
    assert_eq!(rows.unwrap(), 160);
    assert_eq!(subject.ports.retention.purge_removed(25).await.unwrap(), 0);
}
