//! What a store has to keep while many tasks use it at once, for stores with real connections.
//!
//! Every check runs its tasks together on several threads.
//! [`concurrency_suite!`](crate::concurrency_suite) stamps a test for each.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a check fails by panicking"
)]

use std::{collections::BTreeSet, future::Future, sync::Arc};

use futures::future::join_all;
use integrations_core::{
    gate::{Admission, AdmitRequest, Budget, CircuitOutcome, Lane},
    id::{IntegrationId, SyncItemId, SyncRunId, Uid},
    idempotency::Reservation,
    integration::{
        AuthorizationStatus, CredentialReplacement, Integration, NewIntegration, Replaced, Scope,
        SyncClaim, SyncSelection,
    },
    lease::{LeaseAnswer, LeaseRequest},
    mapping::Claimed,
    request::{CallOutcome, NewRequest, RequestFilter},
    store::{Ports, Rejected},
    sync::{
        Checkpoint, CursorRule, Finalise, Finalised, ItemClaim, ItemOutcome, ItemSettled,
        ItemSettlement, KindSelection, NewItem, OpenRun, PageAdded, PageEnd, Payload, RunOpened,
        RunPage, SyncItem, SyncRun, SyncSchedule,
    },
    token::{NewToken, TokenKind},
    value::{ItemKind, LeaseName, StreamName},
    webhook::{
        NewWebhook, Received, WebhookClaim, WebhookOutcome, WebhookPayload, WebhookSettled,
        WebhookSettlement,
    },
};

use crate::conformance::{
    Subject,
    fixtures::{
        at, attempt, circuit_outage, external, holder, internal, mapping, neutral, new_integration,
        operation, opens_after, outage, provider, reservation, sealed, uid,
    },
};

/// Stamps a test for every check of [`concurrency`](crate::concurrency).
///
/// The expression is evaluated and awaited once for each check, and yields a fresh store: anything
/// that converts into a [`Subject`]. Tests run on tokio with four threads.
#[macro_export]
macro_rules! concurrency_suite {
    ($make:expr) => {
        #[cfg(test)]
        async fn concurrency_subject() -> $crate::conformance::Subject {
            ::core::convert::Into::into($make.await)
        }

        #[cfg(test)]
        mod concurrency {
            $crate::__concurrency_checks!(tests);
        }
    };
}

/// The list. `tests` stamps the checks, `names` names them.
#[doc(hidden)]
#[macro_export]
macro_rules! __concurrency_checks {
    (tests) => {
        $crate::__concurrency_checks!(list tests);
    };
    (names) => {
        $crate::__concurrency_checks!(list names)
    };
    (list $what:ident) => {
        $crate::__concurrency_checks! { @$what
            items_are_claimed_once
            webhooks_are_claimed_once
            syncs_are_claimed_once
            one_sync_has_one_winner
            a_key_has_one_winner
            a_delivery_is_new_once
            overlapping_batches_receive_each_delivery_once
            a_bad_entry_fails_alone
            calls_in_opposite_orders_are_all_recorded
            items_in_opposite_orders_are_settled_once
            webhooks_in_opposite_orders_are_settled_once
            a_run_ends_once
            a_stream_has_one_unfinished_run
            a_record_has_one_owner
            mappings_in_opposite_orders_have_one_owner
            a_lease_has_one_winner_and_growing_fences
            a_token_is_used_once
            a_budget_is_never_exceeded
            a_circuit_sends_one_probe
            many_writers_meet_no_busy_error
            credentials_are_replaced_once_per_generation
            writers_survive_a_removal
            purging_leaves_other_writers_alone
        }
    };
    (@tests $($check:ident)*) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $check() {
                let subject = super::concurrency_subject().await;
                $crate::concurrency::$check(&subject).await;
            }
        )*
    };
    (@names $($check:ident)*) => {
        [$(stringify!($check)),*]
    };
}

/// Runs so many tasks at once and answers what they did, in their order.
async fn together<T, F>(tasks: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(tokio::sync::Barrier::new(tasks));
    let running = (0..tasks).map(|n| {
        let (start, work) = (Arc::clone(&start), task(n));
        tokio::spawn(async move {
            start.wait().await;
            work.await
        })
    });
    let ended = join_all(running.collect::<Vec<_>>()).await;
    ended.into_iter().map(Result::unwrap).collect()
}

fn count<T>(answers: &[T], is: impl Fn(&T) -> bool) -> usize {
    answers.iter().filter(|answer| is(answer)).count()
}

fn delivery(integration_id: IntegrationId, key: Option<String>) -> NewWebhook {
    NewWebhook {
        uid: uid(),
        integration_id: Some(integration_id),
        provider: provider("github"),
        event_type: None,
        delivery_id: key.clone(),
        dedup_key: key,
        body_digest: None,
        digest_duplicate_since: None,
        payload: WebhookPayload::Plain(Payload::Text("{}".to_owned())),
        headers: Vec::new(),
        method: "POST".to_owned(),
        path: "/webhook".to_owned(),
        query: None,
        remote_addr: None,
        ordering_key: None,
        available_at: Some(at(0)),
        now: at(0),
    }
}

fn claiming_webhooks(limit: u32) -> WebhookClaim {
    WebhookClaim {
        providers: vec![provider("github")],
        limit,
        token: uid(),
        lease_until: at(60),
        now: at(0),
    }
}

fn item(name: &str) -> NewItem {
    NewItem {
        kind: ItemKind::new("issue").unwrap(),
        external_id: Some(external(name)),
        checkpoint: Some(Checkpoint::Number(1)),
        payload: Payload::Text("{}".to_owned()),
        digest: None,
        batch_id: None,
    }
}

fn claiming_items(limit: u32) -> ItemClaim {
    ItemClaim {
        kinds: KindSelection::All,
        limit,
        token: uid(),
        lease_until: at(60),
        integration_id: None,
        now: at(0),
    }
}

fn claiming_sync(selection: SyncSelection, by: usize) -> SyncClaim {
    SyncClaim {
        selection,
        holder: holder(&format!("worker-{by}")),
        lease_until: at(60),
        now: at(0),
    }
}

/// Opens a run of an integration whose sync nobody holds; the run and its fence.
async fn open_run(ports: &Ports, integration_id: IntegrationId) -> SyncRun {
    let claim = claiming_sync(SyncSelection::Named(integration_id), 0);
    let claimed = ports.integrations.claim_sync(&claim).await.unwrap();
    let opening = OpenRun {
        integration_id,
        stream: StreamName::default(),
        fence: claimed[0].fence,
        log: operation(integration_id),
        full_resync: false,
        sorted: false,
        now: at(0),
    };
    match ports.syncs.open_run(&opening).await.unwrap() {
        RunOpened::New(run) => run,
        other => panic!("a new run should have been opened, not {other:?}"),
    }
}

/// A run of so many records, completely enumerated.
async fn run_of(ports: &Ports, integration_id: IntegrationId, records: usize) -> SyncRun {
    let run = open_run(ports, integration_id).await;
    let page = RunPage {
        run_id: run.id,
        fence: run.fence,
        items: (0..records).map(|n| item(&format!("r{n}"))).collect(),
        next: PageEnd::Complete,
        now: at(0),
    };
    let added = ports.syncs.add_items(&page).await.unwrap();
    assert!(matches!(added, PageAdded::Done { .. }), "{added:?}");
    run
}

fn finalising(run_id: SyncRunId) -> Finalise {
    Finalise {
        run_id,
        cursor: CursorRule::Watermark,
        schedule: SyncSchedule::default(),
        stuck_after_runs: 5,
        now: at(1),
    }
}

fn succeeded(id: SyncItemId, token: Uid) -> ItemSettlement {
    ItemSettlement {
        id,
        token,
        outcome: ItemOutcome::Succeeded,
        now: at(1),
    }
}

/// Asserts that the ids are `expected` different ones.
fn assert_all_once<T: Ord + std::fmt::Debug>(ids: Vec<T>, expected: usize) {
    let handed_out = ids.len();
    let different: BTreeSet<_> = ids.into_iter().collect();
    assert_eq!(handed_out, different.len(), "something was handed out twice");
    assert_eq!(different.len(), expected, "something was lost");
}

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
    let batch = vec![delivery(integration.id, None); 200];
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

/// Forty tasks reserve one key: exactly one acquires it (INV-12).
pub async fn a_key_has_one_winner(subject: &Subject) {
    let integration = subject.integration().await;

    let answers = together(40, |_| {
        let ports = subject.ports.clone();
        async move {
            let claim = reservation(integration.id, "charge-7");
            ports.ledger.reserve(&claim).await.unwrap()
        }
    })
    .await;

    let acquired = count(&answers, |a| matches!(a, Reservation::Acquired(_)));
    let held = count(&answers, |a| matches!(a, Reservation::Held { .. }));
    assert_eq!((acquired, held), (1, 39));
}

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
    let batch = vec![delivery(integration.id, None); 40];
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

/// Settlements that bring a run to zero, each followed by `finalise`: the run ends once (INV-07).
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

/// Twenty tasks claim one record for different entities: one wins, the others learn who (INV-13).
pub async fn a_record_has_one_owner(subject: &Subject) {
    let integration = subject.integration().await;

    let answers = together(20, |n| {
        let ports = subject.ports.clone();
        async move {
            let claim = mapping(integration.id, "ext-1", &format!("ticket-{n}"));
            let claimed = ports.mappings.claim(&[claim]).await.unwrap();
            claimed.into_iter().next().unwrap().unwrap()
        }
    })
    .await;

    let winner = answers
        .iter()
        .position(|answer| matches!(answer, Claimed::New(_)))
        .expect("somebody won");
    let winner = internal(&format!("ticket-{winner}"));
    assert_eq!(count(&answers, |a| matches!(a, Claimed::New(_))), 1);
    let named = count(
        &answers,
        |a| matches!(a, Claimed::Conflict { claimed_by, .. } if *claimed_by == winner),
    );
    assert_eq!(named, 19);
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

/// Twenty tasks ask for one lease, again and again: one wins each time, with a growing fence.
pub async fn a_lease_has_one_winner_and_growing_fences(subject: &Subject) {
    let mut last = i64::MIN;
    for round in 0..5 {
        let answers = together(20, |n| {
            let ports = subject.ports.clone();
            async move {
                let request = LeaseRequest {
                    name: LeaseName::new("prune").unwrap(),
                    holder: holder(&format!("worker-{n}")),
                    until: at((round + 1) * 60),
                    now: at(round * 60),
                };
                ports.leases.acquire(&request).await.unwrap()
            }
        })
        .await;

        let won: Vec<_> = answers
            .iter()
            .filter_map(|answer| match answer {
                LeaseAnswer::Acquired(lease) => Some(lease.fence),
                LeaseAnswer::Held { .. } => None,
            })
            .collect();
        assert_eq!(won.len(), 1, "round {round}: {answers:?}");
        assert!(won[0] > last, "fence {} after {last}", won[0]);
        last = won[0];
    }
}

/// Twenty tasks use one token: one gets it (INV-14).
pub async fn a_token_is_used_once(subject: &Subject) {
    let token = NewToken {
        uid: uid(),
        digest: b"digest".to_vec(),
        kind: TokenKind::OAuthState,
        provider: provider("github"),
        integration_id: None,
        data: None,
        until: at(60),
        now: at(0),
    };
    subject.ports.tokens.issue(&token).await.unwrap();

    let used = together(20, |_| {
        let ports = subject.ports.clone();
        async move {
            let digests = [b"digest".to_vec()];
            let tokens = &ports.tokens;
            tokens
                .consume(&TokenKind::OAuthState, &digests, at(0))
                .await
                .unwrap()
        }
    })
    .await;

    assert_eq!(count(&used, Option::is_some), 1);
}

fn asking(integration_id: IntegrationId, budgets: Vec<Budget>, now: i64) -> AdmitRequest {
    AdmitRequest {
        integration_id,
        scope: Scope::Operator,
        circuit: opens_after(1),
        budgets,
        permits: 1,
        lane: Lane::Interactive,
        token: uid(),
        now: at(now),
    }
}

async fn admissions(
    subject: &Subject,
    tasks: usize,
    integration_id: IntegrationId,
    budgets: Vec<Budget>,
    now: i64,
) -> Vec<Admission> {
    together(tasks, |_| {
        let ports = subject.ports.clone();
        let request = asking(integration_id, budgets.clone(), now);
        async move {
            let admitted = ports.gate.admit(&request).await.unwrap();
            admitted.unwrap().admission
        }
    })
    .await
}

/// Sixty-four tasks against ten a minute: exactly ten pass (INV-05).
pub async fn a_budget_is_never_exceeded(subject: &Subject) {
    let integration = subject.integration().await;
    let budget = Budget::fixed("minute", 10, 60).unwrap();

    let admissions = admissions(subject, 64, integration.id, vec![budget], 0).await;

    let admitted = count(&admissions, |a| matches!(a, Admission::Admitted { .. }));
    assert_eq!(admitted, 10);
}

/// Thirty-two tasks once the cool-down of a circuit is over: exactly one is the probe (INV-02).
pub async fn a_circuit_sends_one_probe(subject: &Subject) {
    let integration = subject.integration().await;
    let opening = CallOutcome {
        circuit: Some(CircuitOutcome {
            policy: opens_after(1),
            ..circuit_outage(1, 0)
        }),
        ..neutral(attempt(integration.id))
    };
    subject.ports.journal.record(&[opening]).await.unwrap();

    let admissions = admissions(subject, 32, integration.id, vec![], 60).await;

    let probes = count(&admissions, |a| {
        matches!(a, Admission::Admitted { probe: Some(_), .. })
    });
    let rejected = count(&admissions, |a| matches!(a, Admission::CircuitOpen { .. }));
    assert_eq!((probes, rejected), (1, 31));
}

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

/// Twenty tasks replace credentials of each generation: one succeeds, the others are stale.
pub async fn credentials_are_replaced_once_per_generation(subject: &Subject) {
    let integration = subject.integration().await;

    for generation in 0..5 {
        let answers = together(20, |n| {
            let ports = subject.ports.clone();
            async move {
                let replacement = CredentialReplacement {
                    id: integration.id,
                    scope: Scope::Operator,
                    expected_generation: generation,
                    credentials: Some(sealed(&format!("{generation}-{n}"))),
                    authorization_status: AuthorizationStatus::Ok,
                    now: at(1),
                };
                let integrations = &ports.integrations;
                integrations.replace_credentials(&replacement).await.unwrap()
            }
        })
        .await;

        let generation = generation + 1;
        let done = count(&answers, |a| *a == Replaced::Done { generation });
        let stale = count(&answers, |a| *a == Replaced::Stale { generation });
        assert_eq!((done, stale), (1, 19));
        let winner = answers.iter().position(|a| *a == Replaced::Done { generation });
        let stored = subject.read(integration.id).await;
        assert_eq!(stored.credentials_generation, generation);
        let expected = format!("{}-{}", generation - 1, winner.unwrap());
        assert_eq!(stored.credentials, Some(sealed(&expected)));
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
                ports.inbox.receive(&[delivery(id, Some(name.clone()))]).await.unwrap();
                let claims = [mapping(id, &name, "one")];
                ports.mappings.claim(&claims).await.unwrap();
            }
        }
    })
    .await;

    while subject.ports.retention.purge_removed(100).await.unwrap() > 0 {}
    assert!(subject.read_removed(id).await.is_none());
    let filter = RequestFilter::default();
    let left = subject.ports.requests.count(&filter, &Scope::Operator).await;
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
    let rows = subject.ports.requests.count(&filter, &Scope::Operator).await;
    assert_eq!(rows.unwrap(), 160);
    assert_eq!(subject.ports.retention.purge_removed(25).await.unwrap(), 0);
}

#[cfg(test)]
mod tests {
    // A check that nobody stamps would look like one that passes.
    #[test]
    fn every_check_is_listed() {
        let written: Vec<_> = include_str!("concurrency.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub async fn "))
            .filter_map(|rest| rest.split('(').next())
            .collect();
        assert_eq!(written, crate::__concurrency_checks!(names));
    }
}
