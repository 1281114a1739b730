//! Batches that overlap: one first of its kind, entries that fail alone, no deadlock.

use integrations_core::{
    id::IntegrationId,
    integration::Scope,
    mapping::Claimed,
    request::RequestFilter,
    store::Rejected,
    sync::ItemSettled,
    webhook::{
        NewWebhook, OtherDigests, Received, WebhookOutcome, WebhookSettled, WebhookSettlement,
    },
};

use crate::conformance::{
    Subject,
    fixtures::{at, attempt, mapping, neutral, outage},
};

use super::{
    assert_all_once, claiming_items, claiming_webhooks, count, delivery, run_of, succeeded,
    together,
};

/// Thirty-two tasks receive one delivery: exactly one is new, the others name it.
pub async fn a_delivery_is_new_once(subject: &Subject) {
    let integration = subject.integration().await;

    let received = together(32, |_| {
        let ports = subject.ports.clone();
        async move {
            let batch = [delivery(integration.id, Some("d-1".to_owned()))];
            let received = ports.inbox.receive(&batch).await.unwrap();
            *received[0].as_ref().unwrap()
        }
    })
    .await;

    let new: Vec<_> = received
        .iter()
        .filter_map(|entry| match entry {
            Received::New(id) => Some(*id),
            Received::Duplicate { .. } => None,
        })
        .collect();
    assert_eq!(new.len(), 1, "{received:?}");
    let named = count(
        &received,
        |entry| matches!(entry, Received::Duplicate { of, .. } if *of == new[0]),
    );
    assert_eq!(named, 31);
}

/// Thirty-two tasks receive the same bytes twice, half of them with another key promoted: by
/// digest of the body and by digest as the key, exactly one is new.
pub async fn a_delivery_is_new_once_while_keys_are_promoted(subject: &Subject) {
    let integration = subject.integration().await;
    let keys = |n: usize| {
        if n.is_multiple_of(2) {
            ["old", "new"]
        } else {
            ["new", "old"]
        }
    };
    let by_body = |n: usize| {
        let [primary, other] =
            keys(n).map(|key| format!("{key}\0 the mac under {key}").into_bytes());
        NewWebhook {
            body_digest: Some(primary),
            digest_duplicate_since: Some(at(-100)),
            other_digests: OtherDigests {
                dedup_keys: Vec::new(),
                body_digests: vec![other],
            },
            ..delivery(integration.id, Some(format!("d-{n}")))
        }
    };
    let by_key = |n: usize| {
        let [primary, other] = keys(n).map(|key| format!("digest:{key}:the mac under {key}"));
        NewWebhook {
            other_digests: OtherDigests {
                dedup_keys: vec![other],
                body_digests: Vec::new(),
            },
            ..delivery(integration.id, Some(primary))
        }
    };

    for delivery in [&by_body as &(dyn Fn(usize) -> NewWebhook + Sync), &by_key] {
        let received = together(32, |n| {
            let (ports, batch) = (subject.ports.clone(), [delivery(n)]);
            async move {
                let received = ports.inbox.receive(&batch).await.unwrap();
                *received[0].as_ref().unwrap()
            }
        })
        .await;

        let new = count(&received, |one| matches!(one, Received::New(_)));
        assert_eq!(new, 1, "{received:?}");
    }
}

/// Batches that overlap, each in an order of its own: every key is new exactly once.
pub async fn overlapping_batches_receive_each_delivery_once(subject: &Subject) {
    let integration = subject.integration().await;

    let received = together(16, |n| {
        let ports = subject.ports.clone();
        async move {
            let mut keys: Vec<_> = (0..20).map(|key| (key + n) % 20).collect();
            if n % 2 == 1 {
                keys.reverse();
            }
            let batch: Vec<_> = keys
                .iter()
                .map(|key| delivery(integration.id, Some(format!("d-{key}"))))
                .collect();
            let received = ports.inbox.receive(&batch).await.unwrap();
            let results = received.into_iter().map(Result::unwrap);
            keys.into_iter().zip(results).collect::<Vec<_>>()
        }
    })
    .await;

    let new: Vec<_> = received
        .into_iter()
        .flatten()
        .filter(|(_, received)| matches!(received, Received::New(_)))
        .map(|(key, _)| key)
        .collect();
    assert_all_once(new, 20);
}

/// A batch with a bad entry, among other writers: only that entry fails.
pub async fn a_bad_entry_fails_alone(subject: &Subject) {
    let integration = subject.integration().await;
    let gone = IntegrationId(integration.id.0 + 1_000_000);

    let recorded = together(16, |_| {
        let ports = subject.ports.clone();
        async move {
            let batch = [integration.id, integration.id, gone, integration.id]
                .map(|id| neutral(attempt(id)));
            ports.journal.record(&batch).await.unwrap()
        }
    })
    .await;

    for batch in &recorded {
        let refused = batch[2].as_ref().err();
        assert_eq!(refused, Some(&Rejected::MissingReference));
        assert_eq!(count(batch, Result::is_ok), 3);
    }
    let log = &subject.ports.requests;
    let filter = RequestFilter::default();
    let rows = log.count(&filter, &Scope::Operator).await.unwrap();
    assert_eq!(rows, 48);
}

/// Batches about the same integrations in opposite orders: no deadlock, nothing lost.
pub async fn calls_in_opposite_orders_are_all_recorded(subject: &Subject) {
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(subject.integration().await.id);
    }

    together(16, |n| {
        let ports = subject.ports.clone();
        let mut ids = ids.clone();
        if n % 2 == 1 {
            ids.reverse();
        }
        async move {
            for _ in 0..3 {
                let batch: Vec<_> = ids.iter().map(|id| outage(*id)).collect();
                let recorded = ports.journal.record(&batch).await.unwrap();
                assert_eq!(count(&recorded, Result::is_ok), 8);
            }
        }
    })
    .await;

    for id in ids {
        let health = subject.read(id).await.health;
        assert_eq!(health.consecutive_failures, 48, "no outage was lost");
    }
}

/// Settlements of the same items in opposite orders: no deadlock, each item settled once.
pub async fn items_in_opposite_orders_are_settled_once(subject: &Subject) {
    let mut runs = Vec::new();
    for _ in 0..4 {
        let integration = subject.integration().await;
        runs.push(run_of(&subject.ports, integration.id, 10).await.id);
    }
    let claim = claiming_items(100);
    let items = subject.ports.syncs.claim_items(&claim).await.unwrap();
    assert_eq!(items.len(), 40);
    let settlements: Vec<_> = items
        .iter()
        .map(|item| succeeded(item.id, claim.token))
        .collect();

    let settled = together(12, |n| {
        let ports = subject.ports.clone();
        let mut settlements = settlements.clone();
        if n % 2 == 1 {
            settlements.reverse();
        }
        async move {
            let settled = ports.sync_settlement.settle_items(&settlements).await;
            let settled = settled.unwrap();
            count(&settled, |one| matches!(one, ItemSettled::Done { .. }))
        }
    })
    .await;

    assert_eq!(settled.into_iter().sum::<usize>(), 40);
    for run in runs {
        let run = subject.ports.syncs.find_run(run, &Scope::Operator).await;
        let counts = run.unwrap().unwrap().counts;
        assert_eq!((counts.open, counts.succeeded), (0, 10));
    }
}

/// Deliveries settled in opposite orders: no deadlock, each settled once.
pub async fn webhooks_in_opposite_orders_are_settled_once(subject: &Subject) {
    let integration = subject.integration().await;
    let batch = [(); 40].map(|()| delivery(integration.id, None));
    subject.ports.inbox.receive(&batch).await.unwrap();
    let claim = claiming_webhooks(100);
    let deliveries = subject.ports.inbox.claim(&claim).await.unwrap();
    let settlements: Vec<_> = deliveries
        .iter()
        .map(|row| WebhookSettlement {
            id: row.id,
            token: claim.token,
            outcome: WebhookOutcome::Processed,
            now: at(1),
        })
        .collect();

    let settled = together(12, |n| {
        let ports = subject.ports.clone();
        let mut settlements = settlements.clone();
        if n % 2 == 1 {
            settlements.reverse();
        }
        async move {
            let settled = ports.webhook_settlements.settle(&settlements).await;
            count(&settled.unwrap(), |one| *one == WebhookSettled::Done)
        }
    })
    .await;

    assert_eq!(settled.into_iter().sum::<usize>(), 40);
}

/// Batches of mapping claims in opposite orders: no deadlock, one owner each.
pub async fn mappings_in_opposite_orders_have_one_owner(subject: &Subject) {
    let integration = subject.integration().await;

    let answers = together(12, |n| {
        let ports = subject.ports.clone();
        async move {
            let entity = format!("ticket-{n}");
            let mut claims: Vec<_> = (0..20)
                .map(|record| mapping(integration.id, &format!("ext-{record}"), &entity))
                .collect();
            if n % 2 == 1 {
                claims.reverse();
            }
            let claimed = ports.mappings.claim(&claims).await.unwrap();
            count(&claimed, |one| matches!(one, Ok(Claimed::New(_))))
        }
    })
    .await;

    assert_eq!(answers.into_iter().sum::<usize>(), 20);
}
