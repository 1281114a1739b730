//! Claims and runs: nothing is handed out twice, lost, or ended twice.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use integrations_core::{
    integration::{NewIntegration, Scope, SyncSelection},
    sync::{Finalised, ItemSettled, OpenRun, RunOpened, SyncItem},
    value::StreamName,
    webhook::{NewWebhook, Received, WebhookOutcome, WebhookSettled, WebhookSettlement},
};

use crate::conformance::{
    Subject,
    fixtures::{at, new_integration, operation, provider},
};

use super::{
    assert_all_once, claiming_items, claiming_sync, claiming_webhooks, count, delivery, finalising,
    run_of, succeeded, together,
};

/// Twelve workers claim two hundred items: none twice, none lost, each settled once.
pub async fn items_are_claimed_once(subject: &Subject) {
    let mut runs = Vec::new();
    for _ in 0..4 {
        let integration = subject.integration().await;
        runs.push(run_of(&subject.ports, integration.id, 50).await.id);
    }

    let claimed = together(12, |_| {
        let ports = subject.ports.clone();
        async move {
            let mut mine: Vec<SyncItem> = Vec::new();
            loop {
                let claim = claiming_items(7);
                let items = ports.syncs.claim_items(&claim).await.unwrap();
                assert!(items.len() <= 7, "more than was asked for");
                if items.is_empty() {
                    return mine;
                }
                let settlements: Vec<_> = items
                    .iter()
                    .map(|item| succeeded(item.id, claim.token))
                    .collect();
                let settled = ports.sync_settlement.settle_items(&settlements).await;
                let settled = settled.unwrap();
                assert!(!settled.contains(&ItemSettled::LeaseLost), "{settled:?}");
                mine.extend(items);
            }
        }
    })
    .await;

    let ids = claimed.into_iter().flatten().map(|item| item.id).collect();
    assert_all_once(ids, 200);
    for run in runs {
        let run = subject.ports.syncs.find_run(run, &Scope::Operator).await;
        let counts = run.unwrap().unwrap().counts;
        assert_eq!((counts.open, counts.succeeded), (0, 50));
    }
}

/// Twelve workers claim two hundred deliveries: none twice, none lost, each settled once.
pub async fn webhooks_are_claimed_once(subject: &Subject) {
    let integration = subject.integration().await;
    let batch = [(); 200].map(|()| delivery(integration.id, None));
    subject.ports.inbox.receive(&batch).await.unwrap();

    let claimed = together(12, |_| {
        let ports = subject.ports.clone();
        async move {
            let mut mine = Vec::new();
            loop {
                let claim = claiming_webhooks(7);
                let deliveries = ports.inbox.claim(&claim).await.unwrap();
                assert!(deliveries.len() <= 7, "more than was asked for");
                if deliveries.is_empty() {
                    return mine;
                }
                let settlements: Vec<_> = deliveries
                    .iter()
                    .map(|row| WebhookSettlement {
                        id: row.id,
                        token: claim.token,
                        outcome: WebhookOutcome::Processed,
                        now: at(1),
                    })
                    .collect();
                let settled = ports.webhook_settlements.settle(&settlements).await;
                let settled = settled.unwrap();
                assert!(!settled.contains(&WebhookSettled::LeaseLost));
                mine.extend(deliveries.iter().map(|row| row.id));
            }
        }
    })
    .await;

    assert_all_once(claimed.into_iter().flatten().collect(), 200);
}

/// Workers claim deliveries of one ordering key while somebody queues them again and again, in front
/// of what is being handled too: never are two of them handled at once.
pub async fn deliveries_of_a_key_are_handled_one_at_a_time(subject: &Subject) {
    let integration = subject.integration().await;
    let batch = [(); 6].map(|()| NewWebhook {
        ordering_key: Some("x".to_owned()),
        ..delivery(integration.id, None)
    });
    let received = subject.ports.inbox.receive(&batch).await.unwrap();
    let ids = received.into_iter().map(|one| match one.unwrap() {
        Received::New(id) | Received::Duplicate { id, .. } => id,
    });
    let ids: Vec<_> = ids.collect();
    let under_way = Arc::new(AtomicBool::new(false));

    together(8, |n| {
        let (ports, ids, under_way) = (subject.ports.clone(), ids.clone(), Arc::clone(&under_way));
        async move {
            for _ in 0..40 {
                if n < 2 {
                    let replayed = ports.inbox.replay(&ids, &Scope::Operator, at(0)).await;
                    replayed.unwrap();
                    continue;
                }
                let claim = claiming_webhooks(10);
                let deliveries = ports.inbox.claim(&claim).await.unwrap();
                let Some(row) = deliveries.first() else {
                    continue;
                };
                let beside = under_way.swap(true, Ordering::SeqCst);
                assert!(!beside && deliveries.len() == 1, "{deliveries:?}");
                tokio::task::yield_now().await;
                under_way.store(false, Ordering::SeqCst);
                let settlement = WebhookSettlement {
                    id: row.id,
                    token: claim.token,
                    outcome: WebhookOutcome::Processed,
                    now: at(1),
                };
                ports
                    .webhook_settlements
                    .settle(&[settlement])
                    .await
                    .unwrap();
            }
        }
    })
    .await;
}

/// Twelve workers claim the syncs of forty integrations: none twice, none lost.
pub async fn syncs_are_claimed_once(subject: &Subject) {
    let new = || NewIntegration {
        sync_interval_minutes: Some(60),
        next_sync_at: Some(at(0)),
        ..new_integration()
    };
    for _ in 0..40 {
        subject.create(&new()).await;
    }

    let claimed = together(12, |n| {
        let ports = subject.ports.clone();
        async move {
            let mut mine = Vec::new();
            loop {
                let due = SyncSelection::Due {
                    limit: 3,
                    providers: vec![provider("github")],
                };
                let claim = claiming_sync(due, n);
                let claimed = ports.integrations.claim_sync(&claim).await.unwrap();
                assert!(claimed.len() <= 3, "more than was asked for");
                if claimed.is_empty() {
                    return mine;
                }
                mine.extend(claimed.iter().map(|claimed| claimed.integration.id));
            }
        }
    })
    .await;

    assert_all_once(claimed.into_iter().flatten().collect(), 40);
}

/// Twenty workers claim the sync of one integration: one wins.
pub async fn one_sync_has_one_winner(subject: &Subject) {
    let integration = subject.integration().await;

    let claimed = together(20, |n| {
        let ports = subject.ports.clone();
        async move {
            let claim = claiming_sync(SyncSelection::Named(integration.id), n);
            ports.integrations.claim_sync(&claim).await.unwrap().len()
        }
    })
    .await;

    assert_eq!(claimed.into_iter().sum::<usize>(), 1);
}

/// Settlements that bring a run to zero, each followed by `finalise`: the run ends once (INV-07).
// SYN-30
pub async fn a_run_ends_once(subject: &Subject) {
    let integration = subject.integration().await;
    let run = run_of(&subject.ports, integration.id, 24).await.id;
    let claim = claiming_items(100);
    let items = subject.ports.syncs.claim_items(&claim).await.unwrap();
    let settlements: Vec<_> = items
        .iter()
        .map(|item| succeeded(item.id, claim.token))
        .collect();
    assert_eq!(settlements.len(), 24);

    let ends = together(24, |n| {
        let ports = subject.ports.clone();
        let settlement = settlements[n].clone();
        async move {
            let settled = ports.sync_settlement.settle_items(&[settlement]).await;
            let [
                ItemSettled::Done {
                    open, finalisable, ..
                },
            ] = settled.unwrap()[..]
            else {
                panic!("the claim should have held");
            };
            let finalised = ports.syncs.finalise(&finalising(run)).await.unwrap();
            (open, finalisable, finalised)
        }
    })
    .await;

    assert_eq!(
        count(&ends, |(_, finalisable, _)| *finalisable),
        1,
        "one settlement brought the run to zero"
    );
    let open = ends.iter().map(|(open, ..)| *open).collect();
    assert_all_once(open, 24);
    let ended = count(&ends, |(.., end)| matches!(end, Finalised::Ended(_)));
    assert_eq!(ended, 1, "the run ended once");
    let others = together(8, |_| {
        let ports = subject.ports.clone();
        async move { ports.syncs.finalise(&finalising(run)).await.unwrap() }
    })
    .await;
    let already = count(&others, |end| matches!(end, Finalised::AlreadyEnded { .. }));
    assert_eq!(already, 8);
}

/// Many calls open a run of one stream: one run, which everybody else resumes.
pub async fn a_stream_has_one_unfinished_run(subject: &Subject) {
    let integration = subject.integration().await;
    let claim = claiming_sync(SyncSelection::Named(integration.id), 0);
    let claimed = subject.ports.integrations.claim_sync(&claim).await.unwrap();
    let fence = claimed[0].fence;

    let opened = together(16, |_| {
        let ports = subject.ports.clone();
        async move {
            let opening = OpenRun {
                integration_id: integration.id,
                stream: StreamName::default(),
                fence,
                log: operation(integration.id),
                full_resync: false,
                sorted: false,
                now: at(0),
            };
            ports.syncs.open_run(&opening).await.unwrap()
        }
    })
    .await;

    assert_eq!(count(&opened, |one| matches!(one, RunOpened::New(_))), 1);
    let ids: BTreeSet<_> = opened
        .iter()
        .map(|one| match one {
            RunOpened::New(run) | RunOpened::Resumed(run) => run.id,
            RunOpened::FenceLost => panic!("the fence is the present one"),
        })
        .collect();
    assert_eq!(ids.len(), 1);
}
