//! Cases of the `Retention` port.

use integrations_core::{
    cache::{CacheKey, CachedAnswer, NewCacheEntry},
    id::{IntegrationId, RequestId, WebhookId},
    idempotency::{KeyedOutcome, ReservationState},
    integration::Scope,
    operation_log::NewOperation,
    request::{NewRequest, RequestFilter},
    retention::{Prunable, PruneBatch, Pruned},
    sync::{ItemFilter, ItemStatus, PageEnd},
    token::{NewToken, TokenKind},
    webhook::{NewWebhook, Received, WebhookFilter, WebhookOutcome, WebhookStatus},
};

use super::{
    Subject,
    feed::{Feed, version},
    fixtures::{
        at, attempt, completion, delivery, key, mapping, neutral, operation, provider, reservation,
        uid, whole,
    },
    inbox::{receive, receive_new},
    inbox_claims::{again, claim, settle},
    tokens::{consume, issue, ticket},
};

/// A batch of everything older than `before`.
fn older(what: Prunable, before: i64) -> PruneBatch {
    PruneBatch {
        what,
        before: at(before),
        after: 0,
        limit: 1000,
        dry_run: false,
    }
}

async fn prune(subject: &Subject, batch: &PruneBatch) -> Pruned {
    subject.ports.retention.prune(batch).await.unwrap()
}

/// Prunes batch after batch; how many rows went.
async fn prune_all(subject: &Subject, what: Prunable, before: i64) -> u64 {
    let mut batch = older(what, before);
    let mut deleted = 0;
    loop {
        let pruned = prune(subject, &batch).await;
        deleted += pruned.deleted;
        match pruned.resume_after {
            Some(after) => {
                assert!(after > batch.after, "a walk goes forwards");
                batch.after = after;
            }
            None => return deleted,
        }
    }
}

/// Appends a request at each of these seconds.
async fn requests_at(
    subject: &Subject,
    integration_id: IntegrationId,
    seconds: &[i64],
) -> Vec<RequestId> {
    let outcomes: Vec<_> = seconds
        .iter()
        .map(|second| {
            neutral(NewRequest {
                created_at: at(*second),
                ..attempt(integration_id)
            })
        })
        .collect();
    let recorded = subject.ports.journal.record(&outcomes).await.unwrap();
    let ids = recorded.into_iter().map(|row| row.unwrap().id);
    ids.map(|id| id.expect("a row was appended")).collect()
}

async fn requests(subject: &Subject) -> Vec<RequestId> {
    let (filter, page) = (RequestFilter::default(), whole());
    let log = &subject.ports.requests;
    let page = log.query(&filter, &Scope::Operator, &page).await.unwrap();
    page.items.iter().map(|row| row.id).collect()
}

async fn webhooks(subject: &Subject) -> Vec<WebhookId> {
    let (filter, page) = (WebhookFilter::default(), whole());
    let inbox = &subject.ports.inbox;
    let page = inbox.query(&filter, &Scope::Operator, &page, at(0)).await;
    page.unwrap().items.iter().map(|row| row.id).collect()
}

pub async fn rows_older_than_the_age_go(subject: &Subject) {
    let integration = subject.integration().await;
    let ids = requests_at(subject, integration.id, &[0, 10, 20]).await;

    let pruned = prune(subject, &older(Prunable::Requests, 20)).await;

    assert_eq!(
        pruned,
        Pruned {
            deleted: 2,
            resume_after: None
        }
    );
    assert_eq!(requests(subject).await, ids[2..]);
}

// W-PRU-2
pub async fn a_first_attempt_that_goes_leaves_its_retries_as_they_were(subject: &Subject) {
    let integration = subject.integration().await;
    let first = requests_at(subject, integration.id, &[0]).await[0];
    let retry = |second| {
        neutral(NewRequest {
            retry_of: Some(first),
            created_at: at(second),
            ..attempt(integration.id)
        })
    };
    let retries = [retry(100), retry(200)];
    subject.ports.journal.record(&retries).await.unwrap();
    let chain = RequestFilter {
        chain: Some(first),
        ..RequestFilter::default()
    };
    let read = async || {
        let (log, page) = (&subject.ports.requests, whole());
        let rows = log.query(&chain, &Scope::Operator, &page).await.unwrap();
        rows.items
    };
    let before = read().await;

    let pruned = prune(subject, &older(Prunable::Requests, 50)).await;

    assert_eq!(pruned.deleted, 1);
    assert_eq!(before.len(), 3);
    assert_eq!(read().await, before[1..], "and they are still its chain");
}

// W-PRU-3
pub async fn a_dry_run_counts_and_deletes_nothing(subject: &Subject) {
    let integration = subject.integration().await;
    let ids = requests_at(subject, integration.id, &[0, 10, 20]).await;
    let batch = PruneBatch {
        dry_run: true,
        ..older(Prunable::Requests, 20)
    };

    let pruned = prune(subject, &batch).await;

    assert_eq!(pruned.deleted, 2);
    assert_eq!(requests(subject).await, ids);
}

// PRU-03
pub async fn a_batch_looks_at_no_more_rows_than_its_limit(subject: &Subject) {
    let integration = subject.integration().await;
    let ids = requests_at(subject, integration.id, &[0, 1, 2, 3, 4]).await;
    let batch = |after| PruneBatch {
        limit: 2,
        after,
        ..older(Prunable::Requests, 100)
    };

    let first = prune(subject, &batch(0)).await;
    let left = requests(subject).await;
    let second = prune(subject, &batch(first.resume_after.unwrap())).await;

    assert_eq!(first.deleted, 2);
    assert_eq!(left, ids[2..]);
    assert_eq!(second.deleted, 2);
    assert_eq!(requests(subject).await, ids[4..]);
}

pub async fn a_batch_goes_on_behind_its_beginning(subject: &Subject) {
    let integration = subject.integration().await;
    let ids = requests_at(subject, integration.id, &[0, 1, 2]).await;
    let batch = PruneBatch {
        after: ids[0].0,
        ..older(Prunable::Requests, 100)
    };

    assert_eq!(prune(subject, &batch).await.deleted, 2);
    assert_eq!(requests(subject).await, ids[..1]);
}

// W-PRU-1
pub async fn a_walk_stops_at_the_first_row_that_is_young(subject: &Subject) {
    let integration = subject.integration().await;
    let ids = requests_at(subject, integration.id, &[0, 50, 1]).await;

    let pruned = prune(subject, &older(Prunable::Requests, 20)).await;

    assert_eq!(
        pruned,
        Pruned {
            deleted: 1,
            resume_after: None
        }
    );
    assert_eq!(requests(subject).await, ids[1..], "the walk saw no further");
}

pub async fn a_row_that_has_to_stay_does_not_stop_the_walk(subject: &Subject) {
    let integration = subject.integration().await;
    let ledger = &subject.ports.ledger;
    let claims = ["reserved", "unknown", "succeeded"].map(|key| reservation(integration.id, key));
    for claim in &claims {
        ledger.reserve(claim).await.unwrap();
    }
    let unknown = KeyedOutcome::Unknown {
        status_code: None,
        answer: None,
    };
    let succeeded = KeyedOutcome::Succeeded {
        status_code: None,
        answer: None,
    };
    let completions = [
        completion(&claims[1], unknown),
        completion(&claims[2], succeeded),
    ];
    subject.ports.journal.complete(&completions).await.unwrap();

    // The reservation is past its time by then, and counts as unknown.
    assert_eq!(
        prune_all(subject, Prunable::IdempotencyKeys, 100_000).await,
        1
    );

    let state = |name: &'static str| async move {
        let key = key(name);
        let found = ledger.find(integration.id, &key, &Scope::Operator, at(1));
        found.await.unwrap().map(|record| record.state)
    };
    assert_eq!(state("reserved").await, Some(ReservationState::Reserved));
    assert_eq!(state("unknown").await, Some(ReservationState::Unknown));
    assert_eq!(state("succeeded").await, None);
}

// SYN-42, PRU-01, PRU-04
pub async fn only_resolved_items_go(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let page = ["a", "b", "c", "d"].map(|name| version(name, 1)).to_vec();
    feed.run_of(page, 0).await;
    let work = feed.claim(3, 0).await;
    let ids = work.ids();
    let outcomes = [
        integrations_core::sync::ItemOutcome::Succeeded,
        super::feed::skipped(),
        super::feed::failed(),
    ];
    for (id, outcome) in ids.iter().zip(outcomes) {
        feed.settle(*id, work.token, outcome, 1).await;
    }

    assert_eq!(prune_all(subject, Prunable::SyncItems, 100).await, 2);

    let (filter, page) = (ItemFilter::default(), whole());
    let syncs = &subject.ports.syncs;
    let left = syncs.list_items(&filter, &Scope::Operator, &page, at(1));
    let left: Vec<_> = left.await.unwrap().items;
    let left: Vec<_> = left.iter().map(|item| item.status.clone()).collect();
    assert_eq!(left, [ItemStatus::Failed, ItemStatus::Pending]);
}

pub async fn an_item_that_went_is_still_known_to_be_done(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(vec![version("a", 1)], &[], 0).await;
    prune_all(subject, Prunable::SyncItems, 100).await;

    let again = feed.sync(vec![version("a", 1)], &[], 3600).await.run;

    assert_eq!(again.counts.duplicates, 1);
}

pub async fn only_ended_runs_without_items_go(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let empty = feed.sync(vec![], &[], 0).await.run;
    let with_items = feed.sync(vec![version("a", 1)], &[], 3600).await.run;
    feed.win_lease(7200).await;
    let running = feed.open(7200).await;

    assert_eq!(prune_all(subject, Prunable::SyncRuns, 100_000).await, 1);

    let page = whole();
    let left = subject.ports.syncs.list_runs(feed.integration_id, &page);
    let left: Vec<_> = left.await.unwrap().items.iter().map(|run| run.id).collect();
    assert_eq!(left, [with_items.id, running.id]);
    assert!(!left.contains(&empty.id));
    prune_all(subject, Prunable::SyncItems, 100_000).await;
    assert_eq!(prune_all(subject, Prunable::SyncRuns, 100_000).await, 1);
}

pub async fn operations_of_unresolved_items_stay(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let other = NewOperation {
        now: at(0),
        ..operation(feed.integration_id)
    };
    let other = subject.ports.operations.append(&[other]).await.unwrap();
    let other = other[0].clone().unwrap();
    let done = feed.sync(vec![version("a", 1)], &[], 0).await.run;
    let stuck = feed.sync(vec![version("b", 2)], &["b"], 3600).await.run;

    assert_eq!(prune_all(subject, Prunable::Operations, 100_000).await, 2);

    let is_there = |id| async move {
        let tree = subject.ports.operations.tree(id, &Scope::Operator).await;
        !tree.unwrap().is_empty()
    };
    assert!(!is_there(other).await);
    assert!(!is_there(done.log_id.unwrap()).await);
    assert!(is_there(stuck.log_id.unwrap()).await);
}

pub async fn operations_of_running_runs_stay(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let running = feed.open(0).await;

    assert_eq!(prune_all(subject, Prunable::Operations, 100_000).await, 0);
    feed.add(running.id, vec![], PageEnd::Complete, 1).await;
    feed.end(running.id, 2).await;
    assert_eq!(prune_all(subject, Prunable::Operations, 100_000).await, 1);
}

// W-PRU-3
pub async fn bodies_of_requests_go_and_the_rows_stay(subject: &Subject) {
    let integration = subject.integration().await;
    let with_bodies = |second| {
        neutral(NewRequest {
            created_at: at(second),
            request_data: Some("asked".to_owned()),
            response_data: Some("answered".to_owned()),
            ..attempt(integration.id)
        })
    };
    let outcomes = [with_bodies(0), with_bodies(50)];
    let recorded = subject.ports.journal.record(&outcomes).await.unwrap();
    assert!(recorded.iter().all(Result::is_ok));

    let (filter, page) = (RequestFilter::default(), whole());
    let dry_run = PruneBatch {
        dry_run: true,
        ..older(Prunable::RequestBodies, 20)
    };
    assert_eq!(prune(subject, &dry_run).await.deleted, 1);
    for emptied in [1, 0] {
        assert_eq!(
            prune_all(subject, Prunable::RequestBodies, 20).await,
            emptied
        );
        let log = &subject.ports.requests;
        let rows = log.query(&filter, &Scope::Operator, &page).await.unwrap();
        let bodies: Vec<_> = (rows.items.iter())
            .map(|row| (&row.attempt.request_data, &row.attempt.response_data))
            .map(|(request, response)| (request.is_some(), response.is_some()))
            .collect();
        assert_eq!(bodies, [(false, false), (true, true)]);
    }
}

pub async fn payloads_of_resolved_items_go_and_the_rows_stay(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let items = vec![version("done", 1), version("stuck", 2)];
    feed.sync(items, &["stuck"], 0).await;

    assert_eq!(prune_all(subject, Prunable::ItemPayloads, 100_000).await, 1);
    assert_eq!(prune_all(subject, Prunable::ItemPayloads, 100_000).await, 0);

    let (filter, page) = (ItemFilter::default(), whole());
    let syncs = &subject.ports.syncs;
    let rows = syncs
        .list_items(&filter, &Scope::Operator, &page, at(0))
        .await;
    let has_payload = |status: ItemStatus| {
        let rows = &rows.as_ref().unwrap().items;
        let row = rows.iter().find(|row| row.status == status);
        row.unwrap().payload.is_some()
    };
    assert!(!has_payload(ItemStatus::Success));
    assert!(has_payload(ItemStatus::Failed));
}

// W-WH-8
pub async fn only_processed_webhooks_go_and_duplicates_with_them(subject: &Subject) {
    let keyed = |name| delivery(None, Some(name));
    let received = receive(
        subject,
        &[
            keyed("processed"),
            keyed("failed"),
            keyed("pending"),
            keyed("processed"),
            keyed("failed"),
            keyed("pending"),
        ],
    )
    .await;
    let ids: Vec<_> = received
        .iter()
        .map(|entry| match entry {
            Received::New(id) | Received::Duplicate { id, .. } => *id,
        })
        .collect();
    let work = claim(subject, 2, 0).await;
    settle(subject, &work, ids[0], WebhookOutcome::Processed, 1).await;
    let error = "refused".to_owned();
    settle(subject, &work, ids[1], WebhookOutcome::Failed { error }, 1).await;

    assert!(prune_all(subject, Prunable::ProcessedWebhooks, 100).await >= 1);

    assert_eq!(webhooks(subject).await, [ids[1], ids[2], ids[4], ids[5]]);
    assert!(prune_all(subject, Prunable::FailedWebhooks, 100).await >= 1);
    assert_eq!(webhooks(subject).await, [ids[2], ids[5]]);
}

pub async fn a_key_whose_first_delivery_went_is_new_again(subject: &Subject) {
    let keyed = delivery(None, Some("k"));
    let first = receive_new(subject, &keyed).await;
    let work = claim(subject, 1, 0).await;
    settle(subject, &work, first, WebhookOutcome::Processed, 1).await;
    let duplicate = NewWebhook {
        now: at(50),
        ..again(&keyed)
    };
    receive(subject, std::slice::from_ref(&duplicate)).await;
    prune_all(subject, Prunable::ProcessedWebhooks, 20).await;

    assert_eq!(webhooks(subject).await, [], "the duplicate went along");
    let anew = receive_new(subject, &again(&keyed)).await;
    let found = super::inbox_claims::find(subject, anew, 50).await;
    assert_eq!(found.status, WebhookStatus::Pending);
}

pub async fn cached_answers_go_once_they_may_not_be_served(subject: &Subject) {
    let integration = subject.integration().await;
    let entry = |digest: &[u8], expires_at, stale_until: Option<i64>| NewCacheEntry {
        uid: uid(),
        key: CacheKey {
            integration_id: integration.id,
            credentials_generation: 0,
            digest: digest.to_vec(),
        },
        method: "GET".to_owned(),
        endpoint: "/items".to_owned(),
        request_id: None,
        status_code: 200,
        answer: CachedAnswer::Plain("{}".to_owned()),
        etag: None,
        last_modified: None,
        expires_at: at(expires_at),
        stale_until: stale_until.map(at),
        now: at(0),
    };
    let entries = [
        entry(b"expired", 10, Some(10)),
        entry(b"stale", 10, Some(200)),
        entry(b"fresh", 200, Some(50)),
    ];
    for entry in &entries {
        subject.ports.cache.put(entry).await.unwrap();
    }

    prune_all(subject, Prunable::CachedResponses, 100).await;

    let mut there = Vec::new();
    for entry in &entries {
        let keys = std::slice::from_ref(&entry.key);
        there.push(subject.ports.cache.find(keys).await.unwrap().is_some());
    }
    assert_eq!(there, [false, true, true]);
}

pub async fn tokens_go_once_they_ran_out(subject: &Subject) {
    let token = |digest: &[u8], until| NewToken {
        uid: uid(),
        digest: digest.to_vec(),
        kind: TokenKind::OAuthState,
        provider: provider("github"),
        integration_id: None,
        data: None,
        until: at(until),
        now: at(0),
    };
    let tokens = &subject.ports.tokens;
    tokens.issue(&token(b"old", 10)).await.unwrap();
    tokens.issue(&token(b"new", 200)).await.unwrap();

    assert_eq!(prune_all(subject, Prunable::Tokens, 100).await, 1);

    let consume = |digest: &'static [u8]| async move {
        let kind = TokenKind::OAuthState;
        let used = tokens.consume(&kind, &[digest.to_vec()], at(0)).await;
        used.unwrap().is_some()
    };
    assert!(!consume(b"old").await);
    assert!(consume(b"new").await);
}

// L-PRU-2
pub async fn every_prunable_can_be_pruned_empty(subject: &Subject) {
    for what in Prunable::ALL {
        let pruned = prune(subject, &older(what, 100)).await;
        assert_eq!(
            pruned,
            Pruned {
                deleted: 0,
                resume_after: None
            },
            "{what:?}"
        );
    }
}

pub async fn purging_deletes_removed_integrations_in_bounded_batches(subject: &Subject) {
    let kept = Feed::new(subject).await;
    kept.run_of(vec![version("a", 1)], 0).await;
    let kept_request = requests_at(subject, kept.integration_id, &[0]).await;
    let mut removed = Feed::new(subject).await;
    removed.sync(vec![version("a", 1)], &[], 0).await;
    removed
        .sync(vec![version("a", 2), version("b", 1)], &["b"], 3600)
        .await;
    let integration_id = removed.integration_id;
    requests_at(subject, integration_id, &[0, 1, 2, 3, 4]).await;
    let keyed = delivery(Some(integration_id), Some("k"));
    receive(subject, &[again(&keyed), again(&keyed)]).await;
    let claims = [mapping(integration_id, "1", "one")];
    subject.ports.mappings.claim(&claims).await.unwrap();
    let claim = reservation(integration_id, "k");
    subject.ports.ledger.reserve(&claim).await.unwrap();
    assert_eq!(
        subject.ports.retention.purge_removed(10).await.unwrap(),
        0,
        "nothing is removed yet"
    );
    subject.remove(integration_id).await;

    let mut batches = 0;
    loop {
        let deleted = subject.ports.retention.purge_removed(3).await.unwrap();
        assert!(deleted <= 3, "{deleted} rows in a batch of 3");
        if deleted == 0 {
            break;
        }
        batches += 1;
    }

    assert!(batches > 3, "{batches} batches");
    assert_eq!(subject.read_removed(integration_id).await, None);
    assert_eq!(requests(subject).await, kept_request);
    assert_eq!(webhooks(subject).await, []);
    assert_eq!(kept.claim(10, 0).await.records(), ["a"]);
    assert_eq!(kept.integration().await.id, kept.integration_id);
}

pub async fn a_token_of_a_removed_integration_is_purged_with_it(subject: &Subject) {
    let integration = subject.integration().await;
    let token = NewToken {
        integration_id: Some(integration.id),
        ..ticket(b"one")
    };
    issue(subject, &token).await;
    subject.remove(integration.id).await;

    while subject.ports.retention.purge_removed(10).await.unwrap() > 0 {}

    assert_eq!(consume(subject, &[b"one"], 0).await, None);
}
