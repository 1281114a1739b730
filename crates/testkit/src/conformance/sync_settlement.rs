//! Cases of the `SyncSettlement` port.

use integrations_core::sync::{
    ItemOutcome, ItemSettled, ItemSettlement, ItemStatus, NewItem, PageEnd,
};

use super::{
    Subject,
    feed::{Feed, LEASE_SECONDS, digested, failed, retry_at, skipped, stored, version},
    fixtures::{at, uid},
};

pub async fn a_success_resolves_the_item(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.run_of(vec![version("a", 1), version("b", 2)], 0).await;
    let work = feed.claim(1, 0).await;
    let id = work.only().id;

    let settled = feed.settle(id, work.token, ItemOutcome::Succeeded, 5).await;

    assert_eq!(
        settled,
        ItemSettled::Done {
            run_id: run.id,
            open: 1,
            finalisable: false
        }
    );
    let item = feed.item(id, 5).await;
    assert_eq!(item.status, ItemStatus::Success);
    assert_eq!(item.completed_at, Some(at(5)));
    assert_eq!(item.lease_until, None);
    let counts = feed.run(run.id).await.counts;
    assert_eq!((counts.open, counts.succeeded), (1, 1));
}

pub async fn a_failure_and_a_skip_resolve_the_item_with_their_reason(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.run_of(vec![version("a", 1), version("b", 2)], 0).await;
    let work = feed.claim(2, 0).await;
    let [first, second] = work.ids()[..] else {
        panic!("two items should have been claimed");
    };

    feed.settle(first, work.token, failed(), 5).await;
    feed.settle(second, work.token, skipped(), 6).await;

    let first = feed.item(first, 6).await;
    assert_eq!(first.status, ItemStatus::Failed);
    assert_eq!(first.error.as_deref(), Some("refused by the handler"));
    assert_eq!(first.completed_at, Some(at(5)));
    let second = feed.item(second, 6).await;
    assert_eq!(second.status, ItemStatus::Skipped);
    assert_eq!(second.error.as_deref(), Some("not wanted"));
    let counts = feed.run(run.id).await.counts;
    assert_eq!((counts.open, counts.failed, counts.skipped), (0, 1, 1));
}

// SYN-22
pub async fn a_retry_waits_and_counts_the_attempt(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.run_of(vec![version("a", 1)], 0).await;
    let work = feed.claim(1, 0).await;
    let id = work.only().id;

    let settled = feed.settle(id, work.token, retry_at(100), 5).await;

    assert_eq!(
        settled,
        ItemSettled::Done {
            run_id: run.id,
            open: 1,
            finalisable: false
        }
    );
    let item = feed.item(id, 5).await;
    assert_eq!(item.status, ItemStatus::Pending);
    assert_eq!(item.attempts, 1);
    assert_eq!(item.error.as_deref(), Some("try again"));
    assert_eq!(item.available_at, at(100));
    assert_eq!(item.completed_at, None);
    assert_eq!(feed.claim(1, 99).await.ids(), []);
    assert_eq!(feed.claim(1, 100).await.only().attempts, 2);
}

// SYN-24, L-SYN-3
pub async fn putting_an_item_back_gives_the_attempt_back(subject: &Subject) {
    let feed = Feed::new(subject).await;
    feed.run_of(vec![version("a", 1)], 0).await;
    let work = feed.claim(1, 0).await;
    let id = work.only().id;

    let outcome = ItemOutcome::PutBack { at: at(100) };
    feed.settle(id, work.token, outcome, 5).await;

    let item = feed.item(id, 5).await;
    assert_eq!((item.status, item.attempts), (ItemStatus::Pending, 0));
    assert_eq!(feed.claim(1, 99).await.ids(), []);
    assert_eq!(feed.claim(1, 100).await.only().attempts, 1);
}

pub async fn the_last_open_item_says_finalise_once_enumeration_ended(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let next = PageEnd::Continue(2.into());
    feed.add(run.id, vec![version("a", 1)], next, 0).await;
    let work = feed.claim(1, 0).await;
    let early = feed.settle(work.only().id, work.token, ItemOutcome::Succeeded, 1);
    let early = early.await;
    feed.add(run.id, vec![version("b", 2)], PageEnd::Complete, 2)
        .await;
    let work = feed.claim(1, 2).await;

    let last = feed.settle(work.only().id, work.token, failed(), 3).await;

    assert_eq!(
        early,
        ItemSettled::Done {
            run_id: run.id,
            open: 0,
            finalisable: false
        }
    );
    assert_eq!(
        last,
        ItemSettled::Done {
            run_id: run.id,
            open: 0,
            finalisable: true
        }
    );
}

// W-SYN-5, INV-08
pub async fn a_late_settlement_changes_nothing(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.run_of(vec![version("a", 1)], 0).await;
    let late = feed.claim(1, 0).await;
    let id = late.only().id;
    let present = feed.claim(1, LEASE_SECONDS).await;
    let now = LEASE_SECONDS + 1;

    for outcome in [ItemOutcome::Succeeded, failed(), skipped(), retry_at(500)] {
        let settled = feed.settle(id, late.token, outcome, now).await;
        assert_eq!(settled, ItemSettled::LeaseLost);
    }

    assert_eq!(&feed.item(id, now).await, present.only());
    assert_eq!(feed.run(run.id).await.counts.open, 1);
    let settled = feed.settle(id, present.token, ItemOutcome::Succeeded, now);
    assert!(matches!(settled.await, ItemSettled::Done { .. }));
}

pub async fn a_lease_that_ran_out_settles_nothing(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.run_of(vec![version("a", 1)], 0).await;
    let work = feed.claim(1, 0).await;
    let id = work.only().id;

    let now = LEASE_SECONDS;
    let settled = feed.settle(id, work.token, ItemOutcome::Succeeded, now);

    assert_eq!(settled.await, ItemSettled::LeaseLost);
    assert_eq!(feed.run(run.id).await.counts.open, 1);
    assert_eq!(feed.claim(1, now).await.ids(), [id]);
}

pub async fn an_item_is_settled_once(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.run_of(vec![version("a", 1)], 0).await;
    let work = feed.claim(1, 0).await;
    let id = work.only().id;
    feed.settle(id, work.token, ItemOutcome::Succeeded, 1).await;

    let again = feed.settle(id, work.token, failed(), 2).await;
    let stranger = feed.settle(id, uid(), failed(), 2).await;

    assert_eq!(again, ItemSettled::LeaseLost);
    assert_eq!(stranger, ItemSettled::LeaseLost);
    let counts = feed.run(run.id).await.counts;
    assert_eq!((counts.open, counts.succeeded, counts.failed), (0, 1, 0));
}

pub async fn settlements_are_answered_in_the_order_given(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let page = ["a", "b", "c"].map(|name| version(name, 1)).to_vec();
    feed.run_of(page, 0).await;
    let work = feed.claim(3, 0).await;
    let ids = work.ids();
    let settle = |id, token| ItemSettlement {
        id,
        token,
        outcome: ItemOutcome::Succeeded,
        now: at(1),
    };

    let settled = subject
        .ports
        .sync_settlement
        .settle_items(&[
            settle(ids[2], work.token),
            settle(ids[1], uid()),
            settle(ids[0], work.token),
        ])
        .await
        .unwrap();

    assert!(
        matches!(
            settled[..],
            [
                ItemSettled::Done { .. },
                ItemSettled::LeaseLost,
                ItemSettled::Done { .. }
            ]
        ),
        "{settled:?}"
    );
    let empty = subject.ports.sync_settlement.settle_items(&[]).await;
    assert_eq!(empty.unwrap(), []);
}

// INV-08: the answer goes by the token, not by the item.
pub async fn a_late_settlement_beside_the_present_one_is_told_apart(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.run_of(vec![version("a", 1)], 0).await;
    let late = feed.claim(1, 0).await;
    let present = feed.claim(1, LEASE_SECONDS).await;
    let settle = |token| ItemSettlement {
        id: present.only().id,
        token,
        outcome: ItemOutcome::Succeeded,
        now: at(LEASE_SECONDS + 1),
    };

    let settlements = [late.token, present.token, present.token].map(settle);
    let settled = subject.ports.sync_settlement.settle_items(&settlements);

    let done = ItemSettled::Done {
        run_id: run.id,
        open: 0,
        finalisable: true,
    };
    assert_eq!(
        settled.await.unwrap(),
        [ItemSettled::LeaseLost, done, ItemSettled::LeaseLost]
    );
}

pub async fn a_success_settles_older_failed_versions_as_skipped(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let added = feed
        .add(run.id, vec![version("a", 1)], PageEnd::Complete, 0)
        .await;
    let older = stored(&added)[0];
    feed.work_but(&["a"], 0).await;
    feed.end(run.id, 0).await;

    let newer = feed.sync(vec![version("a", 2)], &[], 3600).await.run;

    let older = feed.item(older, 3600).await;
    assert_eq!(older.status, ItemStatus::Skipped);
    assert_eq!(older.completed_at, Some(at(3600)));
    let counts = feed.run(run.id).await.counts;
    assert_eq!((counts.failed, counts.skipped), (0, 1));
    assert_eq!(newer.counts.succeeded, 1);
}

pub async fn a_success_settles_older_waiting_versions_as_skipped(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let page = vec![version("a", 1), version("a", 2), version("a", 3)];
    let added = feed.add(run.id, page, PageEnd::Complete, 0).await;
    let ids = stored(&added);
    let first = feed.claim(1, 0).await;
    feed.settle(ids[0], first.token, failed(), 0).await;
    let second = feed.claim(1, 0).await;
    feed.retry(ids[0], 1).await;

    let settled = feed
        .settle(ids[1], second.token, ItemOutcome::Succeeded, 2)
        .await;

    assert_eq!(
        settled,
        ItemSettled::Done {
            run_id: run.id,
            open: 1,
            finalisable: false
        }
    );
    assert_eq!(feed.item(ids[0], 2).await.status, ItemStatus::Skipped);
    assert_eq!(
        feed.item(ids[2], 2).await.status,
        ItemStatus::Pending,
        "a newer version is left alone"
    );
    let counts = feed.run(run.id).await.counts;
    assert_eq!((counts.open, counts.succeeded), (1, 1));
    assert_eq!((counts.failed, counts.skipped), (0, 1));
}

pub async fn a_success_leaves_other_records_alone(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let nameless = NewItem {
        external_id: None,
        ..version("a", 1)
    };
    let page = vec![version("b", 1), nameless, version("a", 2)];
    let added = feed.add(run.id, page, PageEnd::Complete, 0).await;
    let ids = stored(&added);
    let work = feed.claim(3, 0).await;
    feed.settle(ids[0], work.token, failed(), 1).await;
    feed.settle(ids[1], work.token, failed(), 1).await;

    feed.settle(ids[2], work.token, ItemOutcome::Succeeded, 2)
        .await;

    assert_eq!(feed.item(ids[0], 2).await.status, ItemStatus::Failed);
    assert_eq!(feed.item(ids[1], 2).await.status, ItemStatus::Failed);
}

pub async fn the_last_succeeded_version_only_moves_forwards(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(vec![version("a", 5)], &[], 0).await;
    feed.win_lease(3600).await;
    let full = feed.open_full(3600).await;
    feed.add(full.id, vec![version("a", 3)], PageEnd::Complete, 3600)
        .await;
    feed.work_but(&[], 3600).await;
    feed.end(full.id, 3600).await;

    let next = feed.sync(vec![version("a", 4)], &[], 7200).await.run;

    assert_eq!(next.counts.duplicates, 1, "5 succeeded before");
    assert_eq!(next.counts.total, 0);
}

pub async fn the_last_succeeded_digest_is_the_latest(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(vec![digested("a", b"one")], &[], 0).await;
    feed.sync(vec![digested("a", b"two")], &[], 3600).await;

    let again = feed.sync(vec![digested("a", b"two")], &[], 7200).await.run;
    let back = feed
        .sync(vec![digested("a", b"one")], &[], 10_800)
        .await
        .run;

    assert_eq!(again.counts.duplicates, 1);
    assert_eq!(back.counts.succeeded, 1, "what changed back is news");
}
