//! Cases of the `WebhookInbox` port about claims, replay and recovery, and of
//! `WebhookSettlements`.

use integrations_core::{
    id::{Uid, WebhookId},
    integration::{HealthStatus, IntegrationChange, Scope},
    webhook::{
        NewWebhook, Received, Webhook, WebhookClaim, WebhookOutcome, WebhookSettled,
        WebhookSettlement, WebhookStatus,
    },
};

use super::{
    Subject,
    fixtures::{at, delivery, provider, scope, uid},
    inbox::{receive, receive_new},
};

/// Seconds a claim of these cases lasts.
const LEASE_SECONDS: i64 = 60;

/// Deliveries that one claim won.
pub(super) struct Work {
    pub(super) token: Uid,
    pub(super) deliveries: Vec<Webhook>,
}

impl Work {
    pub(super) fn ids(&self) -> Vec<WebhookId> {
        self.deliveries.iter().map(|row| row.id).collect()
    }
}

/// The same delivery once more, as another row.
pub(super) fn again(delivery: &NewWebhook) -> NewWebhook {
    NewWebhook {
        uid: uid(),
        ..delivery.clone()
    }
}

fn claiming(limit: u32, now: i64) -> WebhookClaim {
    WebhookClaim {
        providers: vec![provider("github")],
        except: Vec::new(),
        per_integration: u32::MAX,
        limit,
        token: uid(),
        lease_until: at(now + LEASE_SECONDS),
        now: at(now),
    }
}

async fn claim_as(subject: &Subject, claim: &WebhookClaim) -> Work {
    Work {
        token: claim.token,
        deliveries: subject.ports.inbox.claim(claim).await.unwrap(),
    }
}

/// Claims deliveries of `github` for a minute.
pub(super) async fn claim(subject: &Subject, limit: u32, now: i64) -> Work {
    claim_as(subject, &claiming(limit, now)).await
}

/// Settles one delivery of a claim.
pub(super) async fn settle(
    subject: &Subject,
    work: &Work,
    id: WebhookId,
    outcome: WebhookOutcome,
    now: i64,
) -> WebhookSettled {
    let settlement = WebhookSettlement {
        id,
        token: work.token,
        outcome,
        now: at(now),
    };
    let settlements = &subject.ports.webhook_settlements;
    let settled = settlements.settle(&[settlement]).await.unwrap();
    assert_eq!(settled.len(), 1, "one result per settlement");
    settled[0]
}

/// Reads a delivery that is there.
pub(super) async fn find(subject: &Subject, id: WebhookId, now: i64) -> Webhook {
    let found = subject.ports.inbox.find(id, &Scope::Operator, at(now));
    found.await.unwrap().expect("the delivery is there")
}

fn failed() -> WebhookOutcome {
    WebhookOutcome::Failed {
        error: "refused by the handler".to_owned(),
    }
}

fn retry(at_seconds: i64, counts: bool) -> WebhookOutcome {
    WebhookOutcome::Retry {
        at: at(at_seconds),
        error: "try again".to_owned(),
        counts,
    }
}

async fn several(subject: &Subject, count: usize) -> Vec<WebhookId> {
    let integration = subject.integration().await;
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(receive_new(subject, &delivery(Some(integration.id), None)).await);
    }
    ids
}

pub async fn a_claim_takes_due_deliveries_oldest_first_and_counts_the_attempt(subject: &Subject) {
    let ids = several(subject, 3).await;

    assert_eq!(claim(subject, 10, -1).await.ids(), [], "not due yet");
    assert_eq!(claim(subject, 0, 0).await.ids(), []);
    let first = claim(subject, 2, 0).await;
    let second = claim(subject, 2, 0).await;

    assert_eq!(first.ids(), ids[..2]);
    assert_eq!(second.ids(), ids[2..]);
    let row = &first.deliveries[0];
    assert_eq!(row.status, WebhookStatus::Processing);
    assert_eq!(row.attempts, 1);
    assert_eq!(row.lease_until, Some(at(LEASE_SECONDS)));
    assert_eq!(&find(subject, ids[0], 0).await, row);
}

// INV-08
pub async fn a_delivery_is_claimed_again_once_its_lease_ran_out(subject: &Subject) {
    let ids = several(subject, 1).await;
    claim(subject, 1, 0).await;

    assert_eq!(claim(subject, 1, LEASE_SECONDS - 1).await.ids(), []);
    let second = claim(subject, 1, LEASE_SECONDS).await;

    assert_eq!(second.ids(), ids);
    assert_eq!(second.deliveries[0].attempts, 2);
}

pub async fn a_claim_takes_only_the_providers_asked_for(subject: &Subject) {
    let stripe = NewWebhook {
        provider: provider("stripe"),
        ..delivery(None, None)
    };
    let github = receive_new(subject, &delivery(None, None)).await;
    let stripe = receive_new(subject, &stripe).await;
    let of = |providers| WebhookClaim {
        providers,
        ..claiming(10, 0)
    };

    assert_eq!(claim_as(subject, &of(vec![])).await.ids(), []);
    let postmark = of(vec![provider("postmark")]);
    assert_eq!(claim_as(subject, &postmark).await.ids(), []);
    let both = of(vec![provider("stripe"), provider("postmark")]);
    assert_eq!(claim_as(subject, &both).await.ids(), [stripe]);
    assert_eq!(claim(subject, 10, 0).await.ids(), [github]);
}

// W-WH-3: what an integration that its own health disabled received is processed.
pub async fn switched_off_and_removed_integrations_are_passed_over(subject: &Subject) {
    let mut rows = Vec::new();
    for _ in 0..3 {
        let integration = subject.integration().await;
        let id = receive_new(subject, &delivery(Some(integration.id), None)).await;
        rows.push((integration.id, id));
    }
    let integrations = &subject.ports.integrations;
    let off = IntegrationChange {
        is_active: Some(false),
        ..IntegrationChange::default()
    };
    integrations
        .update(rows[0].0, &Scope::Operator, &off, at(0))
        .await
        .unwrap();
    integrations
        .move_health(rows[1].0, &Scope::Operator, &HealthStatus::Disabled, at(0))
        .await
        .unwrap();
    subject.remove(rows[2].0).await;

    assert_eq!(claim(subject, 10, 0).await.ids(), [rows[1].1]);
}

pub async fn duplicates_are_never_claimed(subject: &Subject) {
    let received = delivery(None, Some("k"));
    let first = receive_new(subject, &received).await;
    receive(subject, &[again(&received), again(&received)]).await;

    let work = claim(subject, 10, 0).await;
    assert_eq!(work.ids(), [first]);
    settle(subject, &work, first, WebhookOutcome::Processed, 1).await;
    assert_eq!(claim(subject, 10, 1).await.ids(), []);
}

// W-WH-12
pub async fn deliveries_with_an_ordering_key_are_handled_one_after_the_other(subject: &Subject) {
    let one = subject.integration().await;
    let two = subject.integration().await;
    let ordered = |id, key: &str| NewWebhook {
        ordering_key: Some(key.to_owned()),
        ..delivery(Some(id), None)
    };
    let first = receive_new(subject, &ordered(one.id, "x")).await;
    let second = receive_new(subject, &ordered(one.id, "x")).await;
    let other_key = receive_new(subject, &ordered(one.id, "y")).await;
    let elsewhere = receive_new(subject, &ordered(two.id, "x")).await;
    let keyless = receive_new(subject, &delivery(Some(one.id), None)).await;

    let work = claim(subject, 10, 0).await;
    assert_eq!(work.ids(), [first, other_key, elsewhere, keyless]);
    assert_eq!(claim(subject, 10, 1).await.ids(), [], "the first is out");
    settle(subject, &work, first, retry(30, true), 1).await;
    assert_eq!(claim(subject, 10, 2).await.ids(), [], "the first waits");
    let again = claim(subject, 10, 30).await;
    assert_eq!(again.ids(), [first]);
    settle(subject, &again, first, failed(), 31).await;
    assert_eq!(claim(subject, 10, 32).await.ids(), [second]);
}

/// Replays one delivery; which was queued.
async fn replay(subject: &Subject, id: WebhookId, now: i64) -> Vec<WebhookId> {
    let inbox = &subject.ports.inbox;
    let replayed = inbox.replay(&[id], &Scope::Operator, at(now)).await;
    replayed.unwrap()
}

/// Deliveries with one ordering key, received so many seconds after the beginning.
async fn ordered<const N: usize>(subject: &Subject, received_at: [i64; N]) -> [WebhookId; N] {
    let integration = subject.integration().await;
    let mut ids = [WebhookId(0); N];
    for (id, now) in ids.iter_mut().zip(received_at) {
        let delivery = NewWebhook {
            ordering_key: Some("x".to_owned()),
            now: at(now),
            ..delivery(Some(integration.id), Some(&format!("d-{now}")))
        };
        *id = receive_new(subject, &delivery).await;
    }
    ids
}

// W-WH-12
pub async fn the_order_of_a_key_is_that_of_receipt(subject: &Subject) {
    // Ids are given out in blocks: a later one may be the smaller.
    let [second, third, first] = ordered(subject, [1, 2, 0]).await;

    for id in [first, second, third] {
        let work = claim(subject, 10, 10).await;
        assert_eq!(work.ids(), [id]);
        settle(subject, &work, id, WebhookOutcome::Processed, 11).await;
    }
    assert_eq!(claim(subject, 10, 12).await.ids(), []);
}

// W-WH-12
pub async fn one_that_comes_back_waits_for_what_is_handled_of_its_key(subject: &Subject) {
    let [first, second, third] = ordered(subject, [0, 1, 2]).await;
    let work = claim(subject, 10, 2).await;
    settle(subject, &work, first, failed(), 3).await;
    let under_way = claim(subject, 10, 4).await;
    assert_eq!(under_way.ids(), [second]);

    assert_eq!(replay(subject, first, 5).await, [first]);
    assert_eq!(claim(subject, 10, 6).await.ids(), [], "the second is out");
    settle(subject, &under_way, second, WebhookOutcome::Processed, 7).await;
    let replayed = claim(subject, 10, 8).await;
    assert_eq!(replayed.ids(), [first]);
    settle(subject, &replayed, first, failed(), 9).await;

    let under_way = claim(subject, 10, 10).await;
    assert_eq!(under_way.ids(), [third]);
    let redelivered = subject
        .ports
        .inbox
        .find(first, &Scope::Operator, at(10))
        .await;
    let redelivered = redelivered.unwrap().unwrap().delivery;
    receive(subject, &[again(&redelivered)]).await;
    assert_eq!(
        find(subject, first, 10).await.status,
        WebhookStatus::Pending
    );
    assert_eq!(claim(subject, 10, 10).await.ids(), [], "the third is out");
    // Its lease runs out; the first is the first again.
    let late = 10 + LEASE_SECONDS;
    assert_eq!(claim(subject, 10, late).await.ids(), [first]);
}

// W-WH-12
pub async fn claims_get_to_every_key_and_to_what_has_none(subject: &Subject) {
    let integration = subject.integration().await;
    let keyed = |key: usize| NewWebhook {
        ordering_key: Some(format!("k-{key}")),
        ..delivery(Some(integration.id), None)
    };
    for _ in 0..2 {
        for key in 0..5 {
            receive_new(subject, &keyed(key)).await;
        }
    }
    receive_new(subject, &delivery(Some(integration.id), None)).await;

    // A claim is smaller than there are keys, and what comes back at once takes nobody's turn.
    let mut seen = Vec::new();
    for now in 0..6 {
        let work = claim(subject, 2, now).await;
        for row in &work.deliveries {
            settle(subject, &work, row.id, retry(now, false), now).await;
            seen.push(row.id);
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 6, "the first of five keys, and the one without");

    let mut claimed = Vec::new();
    for now in 6..12 {
        let work = claim(subject, 2, now).await;
        assert!(work.deliveries.len() <= 2, "{now}");
        for id in work.ids() {
            settle(subject, &work, id, WebhookOutcome::Processed, now).await;
            claimed.push(id);
        }
    }

    claimed.sort_unstable();
    claimed.dedup();
    assert_eq!(claimed.len(), 11);
}

pub async fn a_parked_delivery_waits_until_its_integration_is_active(subject: &Subject) {
    let integration = subject.integration().await;
    let parked = NewWebhook {
        available_at: None,
        ..delivery(Some(integration.id), None)
    };
    let id = receive_new(subject, &parked).await;
    let switch = |is_active| async move {
        let change = IntegrationChange {
            is_active: Some(is_active),
            ..IntegrationChange::default()
        };
        let integrations = &subject.ports.integrations;
        let changed = integrations
            .update(integration.id, &Scope::Operator, &change, at(1))
            .await;
        changed.unwrap();
    };
    let recover = |now| async move { subject.ports.inbox.recover(at(now), 10).await.unwrap() };

    assert_eq!(claim(subject, 10, 1000).await.ids(), []);
    assert_eq!(find(subject, id, 0).await.delivery.available_at, None);
    switch(false).await;
    assert_eq!(recover(1000).await, 0);
    assert_eq!(claim(subject, 10, 1000).await.ids(), []);
    switch(true).await;
    let health = |status: HealthStatus| async move {
        let integrations = &subject.ports.integrations;
        let moved = integrations.move_health(integration.id, &Scope::Operator, &status, at(1));
        moved.await.unwrap();
    };
    health(HealthStatus::Disabled).await;
    assert_eq!(recover(1500).await, 0, "its health keeps it parked");
    health(HealthStatus::Healthy).await;
    assert_eq!(recover(2000).await, 1);
    assert_eq!(recover(2000).await, 0);
    assert_eq!(find(subject, id, 2000).await.queued_at, at(2000));
    assert_eq!(claim(subject, 10, 2000).await.ids(), [id]);
}

// W-WH-12
pub async fn a_claim_is_shared_between_integrations(subject: &Subject) {
    let busy = subject.integration().await;
    let quiet = subject.integration().await;
    for _ in 0..10 {
        receive_new(subject, &delivery(Some(busy.id), None)).await;
    }
    let of_quiet = receive_new(subject, &delivery(Some(quiet.id), None)).await;
    let of_nobody = receive_new(subject, &delivery(None, None)).await;
    receive_new(subject, &delivery(None, None)).await;
    receive_new(subject, &delivery(None, None)).await;
    let count = |work: &Work, id| {
        let of = |row: &&Webhook| row.delivery.integration_id == id;
        work.deliveries.iter().filter(of).count()
    };

    let limited = WebhookClaim {
        per_integration: 2,
        ..claiming(8, 0)
    };
    let first = claim_as(subject, &limited).await;
    assert_eq!(count(&first, Some(busy.id)), 2);
    assert_eq!(count(&first, None), 2);
    assert!(first.ids().contains(&of_quiet) && first.ids().contains(&of_nobody));

    let elsewhere = WebhookClaim {
        except: vec![Some(busy.id), None],
        ..claiming(8, 1)
    };
    assert_eq!(claim_as(subject, &elsewhere).await.ids(), []);
    let rest = claim(subject, 20, 2).await;
    assert_eq!((count(&rest, Some(busy.id)), count(&rest, None)), (8, 1));
}

// L-WH-1, WH-24
pub async fn recovery_ends_leases_that_ran_out_and_no_others(subject: &Subject) {
    let ids = several(subject, 4).await;
    claim(subject, 3, 0).await;
    claim(subject, 1, 30).await;
    let recover = |limit| async move {
        let now = at(LEASE_SECONDS);
        subject.ports.inbox.recover(now, limit).await.unwrap()
    };

    assert_eq!(recover(2).await, 2);
    assert_eq!(recover(2).await, 1);
    assert_eq!(recover(2).await, 0);

    for id in &ids[..3] {
        let row = find(subject, *id, LEASE_SECONDS).await;
        assert_eq!(row.status, WebhookStatus::Pending);
        assert_eq!(row.lease_until, None);
        assert_eq!(row.attempts, 1, "the attempt counts");
    }
    let live = find(subject, ids[3], LEASE_SECONDS).await;
    assert_eq!(live.status, WebhookStatus::Processing);
}

pub async fn settling_ends_the_attempt(subject: &Subject) {
    let ids = several(subject, 4).await;
    let work = claim(subject, 10, 0).await;
    let outcomes = [
        WebhookOutcome::Processed,
        failed(),
        retry(100, true),
        retry(100, false),
    ];
    for (id, outcome) in ids.iter().zip(outcomes) {
        let settled = settle(subject, &work, *id, outcome, 5).await;
        assert_eq!(settled, WebhookSettled::Done);
    }

    let processed = find(subject, ids[0], 5).await;
    assert_eq!(processed.status, WebhookStatus::Processed);
    assert_eq!(processed.processed_at, Some(at(5)));
    assert_eq!(processed.lease_until, None);
    let failed = find(subject, ids[1], 5).await;
    assert_eq!(failed.status, WebhookStatus::Failed);
    assert_eq!(failed.error.as_deref(), Some("refused by the handler"));
    assert_eq!(failed.processed_at, Some(at(5)));
    let counted = find(subject, ids[2], 5).await;
    assert_eq!(counted.status, WebhookStatus::Pending);
    assert_eq!(counted.attempts, 1);
    assert_eq!(counted.error.as_deref(), Some("try again"));
    assert_eq!(counted.queued_at, at(0), "it was not queued anew");
    let free = find(subject, ids[3], 5).await;
    assert_eq!((free.status, free.attempts), (WebhookStatus::Pending, 0));
    assert_eq!(claim(subject, 10, 99).await.ids(), []);
    assert_eq!(claim(subject, 10, 100).await.ids(), ids[2..]);
}

// L-WH-2, INV-08, WH-23
pub async fn a_late_settlement_changes_nothing(subject: &Subject) {
    let ids = several(subject, 1).await;
    let late = claim(subject, 1, 0).await;
    let present = claim(subject, 1, LEASE_SECONDS).await;
    let now = LEASE_SECONDS + 1;

    for outcome in [WebhookOutcome::Processed, failed(), retry(500, true)] {
        let settled = settle(subject, &late, ids[0], outcome, now).await;
        assert_eq!(settled, WebhookSettled::LeaseLost);
    }

    assert_eq!(find(subject, ids[0], now).await, present.deliveries[0]);
    let processed = WebhookOutcome::Processed;
    let settled = settle(subject, &present, ids[0], processed.clone(), now).await;
    assert_eq!(settled, WebhookSettled::Done);
    let again = settle(subject, &present, ids[0], processed, now).await;
    assert_eq!(again, WebhookSettled::LeaseLost);
}

pub async fn settlements_are_answered_in_the_order_given(subject: &Subject) {
    let ids = several(subject, 2).await;
    let work = claim(subject, 2, 0).await;
    let settle = |id, token| WebhookSettlement {
        id,
        token,
        outcome: WebhookOutcome::Processed,
        now: at(1),
    };

    let settled = subject
        .ports
        .webhook_settlements
        .settle(&[
            settle(ids[1], work.token),
            settle(ids[0], uid()),
            settle(ids[0], work.token),
        ])
        .await
        .unwrap();

    assert_eq!(
        settled,
        [
            WebhookSettled::Done,
            WebhookSettled::LeaseLost,
            WebhookSettled::Done
        ]
    );
}

pub async fn renewing_moves_leases_and_names_those_that_are_lost(subject: &Subject) {
    let ids = several(subject, 2).await;
    let first = claim(subject, 1, 0).await;
    let second = claim(subject, 1, 0).await;

    let lost = subject.ports.inbox.renew(second.token, &ids, at(600)).await;

    assert_eq!(lost.unwrap(), first.ids());
    assert_eq!(claim(subject, 10, 599).await.ids(), first.ids());
    let renewed = find(subject, ids[1], 1).await;
    assert_eq!(renewed.lease_until, Some(at(600)));
    assert_eq!(claim(subject, 1, 600).await.ids(), second.ids());
}

pub async fn a_replay_queues_anything_but_duplicates_and_live_leases(subject: &Subject) {
    let ids = several(subject, 4).await;
    let [processed, dead, waiting, leased] = ids[..] else {
        unreachable!("there are four");
    };
    let work = claim(subject, 3, 0).await;
    settle(subject, &work, processed, WebhookOutcome::Processed, 1).await;
    settle(subject, &work, dead, failed(), 1).await;
    settle(subject, &work, waiting, retry(5000, true), 1).await;
    assert_eq!(claim(subject, 1, 1).await.ids(), [leased]);
    let keyed = delivery(None, Some("k"));
    let received = receive(subject, &[again(&keyed), again(&keyed)]).await;
    let Received::Duplicate { id: duplicate, .. } = received[1] else {
        panic!("the second should have been a duplicate: {received:?}");
    };
    let all = [processed, dead, waiting, leased, duplicate];

    let replay = |scope: Scope| async move {
        let replayed = subject.ports.inbox.replay(&all, &scope, at(2)).await;
        let mut replayed = replayed.unwrap();
        replayed.sort_unstable();
        replayed
    };

    assert_eq!(replay(scope(7)).await, [], "not theirs");
    assert_eq!(replay(Scope::Operator).await, [processed, dead, waiting]);
    let row = find(subject, processed, 2).await;
    assert_eq!((row.status, row.attempts), (WebhookStatus::Pending, 0));
    assert!(row.replayed, "its handler is told");
    assert_eq!(row.queued_at, at(2));
    let left = find(subject, leased, 2).await;
    assert_eq!((left.replayed, left.queued_at), (false, at(0)));
    assert_eq!(row.processed_at, None);
    let again = claim(subject, 4, 2).await.ids();
    assert_eq!(again[..3], [processed, dead, waiting]);
    assert_eq!(self::replay(subject, dead, 200).await, [dead]);
    assert_eq!(find(subject, dead, 200).await.queued_at, at(200));
}
