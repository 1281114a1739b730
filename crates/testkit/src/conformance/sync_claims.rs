//! Cases of the `SyncStore` port about claims: what is handed out, to whom, and for how long.

use std::collections::BTreeMap;

use integrations_core::{
    integration::{HealthStatus, IntegrationChange, Scope},
    sync::{ItemClaim, ItemOutcome, ItemStatus, KindSelection, NewItem, PageEnd},
};

use super::{
    Subject,
    feed::{Feed, LEASE_SECONDS, Work, digested, failed, kind, retry_at, stored, version},
    fixtures::{at, uid},
};

fn numbered(count: i64) -> Vec<NewItem> {
    (0..count).map(|n| version(&format!("r{n}"), n)).collect()
}

pub async fn a_claim_takes_due_items_and_counts_the_attempt(subject: &Subject) {
    let feed = Feed::new(subject).await;
    feed.run_of(vec![version("a", 1)], 10).await;

    assert_eq!(feed.claim(10, 9).await.ids(), [], "not due yet");
    let work = feed.claim(10, 10).await;

    let item = work.only();
    assert_eq!(item.status, ItemStatus::Processing);
    assert_eq!(item.attempts, 1);
    assert_eq!(item.lease_until, Some(at(10 + LEASE_SECONDS)));
    assert_eq!(&feed.item(item.id, 10).await, item);
}

pub async fn a_claim_takes_no_more_than_its_limit_oldest_first(subject: &Subject) {
    let feed = Feed::new(subject).await;
    feed.run_of(numbered(5), 0).await;

    assert_eq!(feed.claim(0, 0).await.records(), [""; 0]);
    assert_eq!(feed.claim(2, 0).await.records(), ["r0", "r1"]);
    assert_eq!(feed.claim(2, 0).await.records(), ["r2", "r3"]);
    assert_eq!(feed.claim(2, 0).await.records(), ["r4"]);
    assert_eq!(feed.claim(2, 0).await.records(), [""; 0]);
}

// INV-08
pub async fn an_item_is_claimed_again_once_its_lease_ran_out(subject: &Subject) {
    let feed = Feed::new(subject).await;
    feed.run_of(vec![version("a", 1)], 0).await;
    let first = feed.claim(1, 0).await;

    assert_eq!(feed.claim(1, LEASE_SECONDS - 1).await.ids(), []);
    let second = feed.claim(1, LEASE_SECONDS).await;

    assert_eq!(second.ids(), first.ids());
    assert_eq!(second.only().attempts, 2);
}

pub async fn a_claim_takes_only_the_kinds_asked_for(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let comment = NewItem {
        kind: kind("comment"),
        ..version("b", 1)
    };
    let event = NewItem {
        kind: kind("event"),
        ..version("c", 1)
    };
    feed.run_of(vec![version("a", 1), comment, event], 0).await;
    let only = |kinds| ItemClaim {
        kinds: KindSelection::Only(kinds),
        ..feed.claiming(10, 0)
    };

    let none = feed.claim_as(&only(vec![])).await;
    let unknown = feed.claim_as(&only(vec![kind("release")])).await;
    let two = feed
        .claim_as(&only(vec![kind("event"), kind("issue")]))
        .await;

    assert_eq!(none.ids(), []);
    assert_eq!(unknown.ids(), []);
    assert_eq!(two.records(), ["a", "c"]);
    assert_eq!(feed.claim(10, 0).await.records(), ["b"]);
}

pub async fn a_claim_may_name_an_integration(subject: &Subject) {
    let one = Feed::new(subject).await;
    let two = Feed::new(subject).await;
    one.run_of(vec![version("a", 1)], 0).await;
    two.run_of(vec![version("b", 1)], 0).await;

    assert_eq!(two.claim(10, 0).await.records(), ["b"]);
    let any = ItemClaim {
        integration_id: None,
        ..one.claiming(10, 0)
    };
    assert_eq!(one.claim_as(&any).await.records(), ["a"]);
}

pub async fn integrations_that_take_no_syncs_are_passed_over(subject: &Subject) {
    let mut feeds = Vec::new();
    for _ in 0..4 {
        let feed = Feed::new(subject).await;
        feed.run_of(vec![version("a", 1)], 0).await;
        feeds.push(feed);
    }
    let integrations = &subject.ports.integrations;
    let off = IntegrationChange {
        is_active: Some(false),
        ..IntegrationChange::default()
    };
    integrations
        .update(feeds[0].integration_id, &Scope::Operator, &off, at(1))
        .await
        .unwrap();
    integrations
        .move_health(
            feeds[1].integration_id,
            &Scope::Operator,
            &HealthStatus::Disabled,
            at(1),
        )
        .await
        .unwrap();
    subject.remove(feeds[2].integration_id).await;
    let any = ItemClaim {
        integration_id: None,
        ..feeds[3].claiming(10, 1)
    };

    let work = feeds[3].claim_as(&any).await;

    assert_eq!(work.only().integration_id, feeds[3].integration_id);
    for feed in &feeds[..3] {
        assert_eq!(feed.claim(10, 1).await.ids(), []);
    }
}

// Whatever a store remembers of the claim before.
pub async fn removing_an_integration_stops_claims_at_once(subject: &Subject) {
    let feed = Feed::new(subject).await;
    feed.run_of(numbered(4), 0).await;
    let any = ItemClaim {
        integration_id: None,
        ..feed.claiming(2, 1)
    };
    assert_eq!(feed.claim_as(&any).await.ids().len(), 2);

    subject.remove(feed.integration_id).await;

    let again = ItemClaim {
        token: uid(),
        ..any
    };
    assert_eq!(feed.claim_as(&again).await.ids(), []);
}

// W-SYN-12: a large backlog of one integration does not hold up another.
pub async fn a_claim_shares_its_limit_among_integrations(subject: &Subject) {
    let large = Feed::new(subject).await;
    let small = Feed::new(subject).await;
    large.run_of(numbered(100), 0).await;
    small.run_of(numbered(2), 0).await;
    let any = |limit| ItemClaim {
        integration_id: None,
        ..large.claiming(limit, 0)
    };
    let shares = |work: &Work| {
        let mut shares = BTreeMap::new();
        for item in &work.items {
            *shares.entry(item.integration_id).or_insert(0) += 1;
        }
        shares
    };

    let first = large.claim_as(&any(4)).await;
    let second = large.claim_as(&any(10)).await;

    let equal = BTreeMap::from([(large.integration_id, 2), (small.integration_id, 2)]);
    assert_eq!(shares(&first), equal);
    let rest = BTreeMap::from([(large.integration_id, 10)]);
    assert_eq!(
        shares(&second),
        rest,
        "what is left goes to whoever has work"
    );
}

// Not even as many as a claim looks at.
pub async fn integrations_whose_items_all_wait_do_not_hold_up_others(subject: &Subject) {
    let mut held = Vec::new();
    for _ in 0..26 {
        let feed = Feed::new(subject).await;
        feed.run_of(vec![version("a", 1), version("a", 2)], 0).await;
        feed.claim(1, 0).await;
        held.push(feed);
    }
    let free = Feed::new(subject).await;
    free.run_of(vec![version("b", 1)], 0).await;
    let any = ItemClaim {
        integration_id: None,
        ..free.claiming(25, 1)
    };

    assert_eq!(free.claim_as(&any).await.records(), ["b"]);
    assert_eq!(held[0].claim(1, 1).await.ids(), []);
}

// A statement sees nothing of what is committed while it runs.
pub async fn an_older_version_added_meanwhile_is_not_handed_out_too(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let next = || PageEnd::Continue(2.into());
    for round in 0..20 {
        let name = format!("r{round}");
        feed.add(run.id, vec![version(&name, 2)], next(), 0).await;
        let (_, one, two, three) = tokio::join!(
            feed.add(run.id, vec![version(&name, 1)], next(), 0),
            feed.claim(5, 1),
            feed.claim(5, 1),
            feed.claim(5, 1),
        );
        let claimed = [one, two, three];
        let out: usize = claimed.iter().map(|work| work.items.len()).sum();
        assert!(out <= 1, "both versions of {name} are handled at once");
        // Round after round only one record is about.
        for work in &claimed {
            for item in &work.items {
                feed.settle(item.id, work.token, ItemOutcome::Succeeded, 1)
                    .await;
            }
        }
        feed.work_but(&[], 1).await;
    }
}

pub async fn two_versions_of_a_record_are_handed_out_older_first(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let page = vec![version("a", 2), version("a", 1), version("b", 9)];
    feed.run_of(page, 0).await;
    let checkpoint = |work: &Work| work.only().checkpoint_value.clone();

    let older = feed.claim(10, 0).await;
    let mut records = older.records();
    records.sort_unstable();
    assert_eq!(records, ["a", "b"]);
    let item = older
        .items
        .iter()
        .find(|item| item.external_id == Some("a".parse().unwrap()));
    let item = item.unwrap();
    assert_eq!(item.checkpoint_value, Some(1.into()));
    assert_eq!(feed.claim(10, 1).await.ids(), [], "the older one is out");

    feed.settle(item.id, older.token, retry_at(30), 1).await;
    assert_eq!(feed.claim(10, 2).await.ids(), [], "the older one waits");

    let again = feed.claim(10, 30).await;
    assert_eq!(checkpoint(&again), Some(1.into()));
    feed.settle(item.id, again.token, ItemOutcome::Succeeded, 30)
        .await;
    assert_eq!(checkpoint(&feed.claim(10, 31).await), Some(2.into()));
}

pub async fn a_failed_older_version_does_not_block_a_newer_one(subject: &Subject) {
    let feed = Feed::new(subject).await;
    feed.run_of(vec![version("a", 1), version("a", 2)], 0).await;
    let older = feed.claim(10, 0).await;
    feed.settle(older.only().id, older.token, failed(), 0).await;

    let newer = feed.claim(10, 0).await;

    assert_eq!(newer.only().checkpoint_value, Some(2.into()));
}

pub async fn an_older_version_waits_while_a_newer_one_is_under_a_lease(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let page = vec![version("a", 1), version("a", 2)];
    let added = feed.add(run.id, page, PageEnd::Complete, 0).await;
    let older = feed.claim(10, 0).await;
    feed.settle(older.only().id, older.token, failed(), 0).await;
    let newer = feed.claim(10, 0).await;
    feed.retry(stored(&added)[0], 1).await;

    assert_eq!(feed.claim(10, 1).await.ids(), []);
    feed.settle(newer.only().id, newer.token, failed(), 2).await;
    assert_eq!(feed.claim(10, 2).await.ids(), older.ids());
}

pub async fn two_digests_of_a_record_are_not_handled_at_once(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let page = vec![digested("a", b"one"), digested("a", b"two")];
    feed.run_of(page, 0).await;

    let first = feed.claim(10, 0).await;
    assert_eq!(first.items.len(), 1);
    feed.settle(first.only().id, first.token, ItemOutcome::Succeeded, 0)
        .await;
    let second = feed.claim(10, 0).await;

    assert_eq!(second.items.len(), 1);
    assert_ne!(first.ids(), second.ids());
}

pub async fn records_of_different_streams_do_not_wait_for_each_other(subject: &Subject) {
    let feed = Feed::new(subject).await;
    feed.run_of(vec![version("a", 1)], 0).await;
    let comments = feed.other_stream("comments");
    comments.run_of(vec![version("a", 2)], 0).await;

    assert_eq!(feed.claim(10, 0).await.records(), ["a", "a"]);
}

pub async fn renewing_moves_the_end_of_the_lease(subject: &Subject) {
    let feed = Feed::new(subject).await;
    feed.run_of(vec![version("a", 1)], 0).await;
    let work = feed.claim(1, 0).await;

    let syncs = &subject.ports.syncs;
    let lost = syncs.renew_items(work.token, &work.ids(), at(600)).await;

    assert_eq!(lost.unwrap(), []);
    assert_eq!(
        feed.item(work.only().id, 1).await.lease_until,
        Some(at(600))
    );
    assert_eq!(feed.claim(1, 599).await.ids(), []);
    assert_eq!(feed.claim(1, 600).await.ids(), work.ids());
}

pub async fn renewing_names_the_items_that_are_lost(subject: &Subject) {
    let feed = Feed::new(subject).await;
    feed.run_of(vec![version("a", 1), version("b", 2)], 0).await;
    let first = feed.claim(1, 0).await;
    let second = feed.claim(1, 0).await;
    let both = [first.ids(), second.ids()].concat();

    let syncs = &subject.ports.syncs;
    let lost = syncs.renew_items(second.token, &both, at(600)).await;
    let stranger = syncs.renew_items(uid(), &both, at(900)).await.unwrap();

    assert_eq!(lost.unwrap(), first.ids());
    assert_eq!(stranger, both);
    let untouched = feed.item(first.only().id, 1).await;
    assert_eq!(untouched.lease_until, Some(at(LEASE_SECONDS)));
}

// SYN-04, SYN-39, W-SYN-4
pub async fn reclaiming_ends_leases_that_ran_out_and_no_others(subject: &Subject) {
    let feed = Feed::new(subject).await;
    feed.run_of(numbered(4), 0).await;
    let lost = feed.claim(3, 0).await;
    let live = feed.claim(1, 30).await;
    let reclaim = |limit| async move {
        let now = at(LEASE_SECONDS);
        subject.ports.syncs.reclaim_items(now, limit).await.unwrap()
    };

    assert_eq!(reclaim(2).await, 2);
    assert_eq!(reclaim(2).await, 1);
    assert_eq!(reclaim(2).await, 0);

    for id in lost.ids() {
        let item = feed.item(id, LEASE_SECONDS).await;
        assert_eq!(item.status, ItemStatus::Pending);
        assert_eq!(item.lease_until, None);
        assert_eq!(item.attempts, 1, "the attempt counts");
    }
    let live = feed.item(live.only().id, LEASE_SECONDS).await;
    assert_eq!(live.status, ItemStatus::Processing);
}
