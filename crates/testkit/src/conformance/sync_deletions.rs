//! Cases of the `SyncStore` port about records that a full run does not see any more (W-SYN-12).

use integrations_core::{
    id::SyncRunId,
    integration::Scope,
    sync::{
        ItemAdded, ItemFilter, ItemOutcome, ItemStatus, NewItem, PageEnd, Payload, RunState, Sweep,
        Swept, SyncItem, SyncRun,
    },
};
use serde_json::json;

use super::{
    Subject,
    feed::{Feed, LEASE_SECONDS, digested, refused, stored, version},
    fixtures::{at, external, whole},
};

fn versions(names: &[&str]) -> Vec<NewItem> {
    names.iter().map(|name| version(name, 1)).collect()
}

/// Has the next records looked at.
async fn sweep(feed: &Feed<'_>, sweep: &Sweep) -> Swept {
    let swept = feed.subject.ports.syncs.sweep_records(sweep).await;
    swept.unwrap()
}

fn sweeping(feed: &Feed<'_>, run: SyncRunId, now: i64) -> Sweep {
    Sweep {
        run_id: run,
        fence: feed.fence,
        after: None,
        limit: 100,
        now: at(now),
    }
}

/// A full run that is told these versions, before anything is handled; its items of deletions.
async fn full(feed: &mut Feed<'_>, items: Vec<NewItem>, now: i64) -> (SyncRun, Vec<ItemAdded>) {
    feed.win_lease(now).await;
    let run = feed.open_full(now).await;
    let next = PageEnd::Continue(json!("sweeps"));
    feed.add(run.id, items, next, now).await;
    match sweep(feed, &sweeping(feed, run.id, now)).await {
        Swept::Done {
            items, last: None, ..
        } => (run, items),
        other => panic!("all records should have been looked at: {other:?}"),
    }
}

/// The same, with everything handled but the records named, and brought to its end.
async fn full_sync(
    feed: &mut Feed<'_>,
    items: Vec<NewItem>,
    failing: &[&str],
    now: i64,
) -> Vec<ItemAdded> {
    let (run, told) = full(feed, items, now).await;
    feed.work_but(failing, now).await;
    feed.end(run.id, now).await;
    told
}

/// The items that tell of deletions, oldest first.
async fn deletions(feed: &Feed<'_>) -> Vec<SyncItem> {
    let filter = ItemFilter {
        integration_id: Some(feed.integration_id),
        ..ItemFilter::default()
    };
    let syncs = &feed.subject.ports.syncs;
    let page = whole();
    let items = syncs.list_items(&filter, &Scope::Operator, &page, at(0));
    let mut items = items.await.unwrap().items;
    items.retain(|item| item.kind.is_deletion());
    items.sort_unstable_by_key(|item| item.id);
    items
}

fn names(items: &[SyncItem]) -> Vec<&str> {
    let ids = items.iter().filter_map(|item| item.external_id.as_ref());
    ids.map(integrations_core::value::ExternalId::as_str)
        .collect()
}

// W-SYN-12, W-MAP-5
pub async fn a_full_run_tells_of_the_records_it_did_not_see(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(versions(&["a", "b", "c"]), &[], 0).await;
    let mut comments = feed.other_stream("comments");
    comments.sync(versions(&["z"]), &[], 3600).await;
    let mut elsewhere = Feed::new(subject).await;
    elsewhere.sync(versions(&["y"]), &[], 0).await;

    let (run, told) = full(&mut feed, versions(&["b", "d"]), 7200).await;

    assert!(
        matches!(told[..], [ItemAdded::Stored(_), ItemAdded::Stored(_)]),
        "{told:?}"
    );
    let items = deletions(&feed).await;
    assert_eq!(names(&items), ["a", "c"]);
    let item = &items[0];
    assert_eq!(item.kind.as_str(), "issue.deleted");
    assert_eq!((item.run_id, item.sync_log_id), (run.id, run.log_id));
    assert_eq!(item.stream, feed.stream);
    assert_eq!(item.payload, Some(Payload::Text("null".to_owned())));
    assert_eq!(item.checkpoint_value, None);
    assert_eq!(deletions(&elsewhere).await, []);
}

pub async fn a_run_is_complete_only_after_its_deletions(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(versions(&["a"]), &[], 0).await;

    let (run, _) = full(&mut feed, vec![], 3600).await;

    let open = feed.run(run.id).await;
    assert!(open.enumerated);
    assert_eq!((open.enumeration_error, open.page_token), (None, None));
    assert_eq!((open.counts.open, open.counts.total), (1, 1));
    let work = feed.claim(10, 3600).await;
    assert_eq!(work.records(), ["a"]);
    let id = work.only().id;
    feed.settle(id, work.token, ItemOutcome::Succeeded, 3601)
        .await;
    assert_eq!(feed.end(run.id, 3602).await.run.state, RunState::Success);
}

pub async fn records_are_looked_at_part_by_part(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(versions(&["a", "b", "c", "d"]), &[], 0).await;
    feed.win_lease(3600).await;
    let run = feed.open_full(3600).await;
    let next = PageEnd::Continue(json!("sweeps"));
    feed.add(run.id, versions(&["b"]), next, 3600).await;
    let mut look = Sweep {
        limit: 2,
        ..sweeping(&feed, run.id, 3600)
    };

    let mut found = Vec::new();
    loop {
        let Swept::Done { items, last, .. } = sweep(&feed, &look).await else {
            panic!("the run has not ended");
        };
        found.push(items.len());
        let enumerating = feed.run(run.id).await;
        assert_eq!(enumerating.enumerated, last.is_none());
        if last.is_none() {
            break;
        }
        assert_eq!(enumerating.page_token, Some(json!("sweeps")));
        look.after = last;
    }

    assert_eq!(found.iter().sum::<usize>(), 3);
    assert!(
        found.len() >= 2 && found.iter().all(|n| *n <= 2),
        "{found:?}"
    );
    assert_eq!(names(&deletions(&feed).await), ["a", "c", "d"]);
}

pub async fn a_run_that_is_not_full_tells_of_no_deletion(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(versions(&["a"]), &[], 0).await;
    feed.win_lease(3600).await;
    let run = feed.open(3600).await;

    let swept = sweep(&feed, &sweeping(&feed, run.id, 3600)).await;

    assert_eq!(
        swept,
        Swept::Done {
            items: vec![],
            last: None,
            open: 0,
            finalisable: true
        }
    );
    assert_eq!(deletions(&feed).await, []);
}

pub async fn a_sweep_under_a_lost_fence_or_after_the_end_stores_nothing(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(versions(&["a"]), &[], 0).await;
    feed.win_lease(3600).await;
    let run = feed.open_full(3600).await;

    for fence in [feed.fence - 1, feed.fence + 1] {
        let late = Sweep {
            fence,
            ..sweeping(&feed, run.id, 3600)
        };
        assert_eq!(sweep(&feed, &late).await, Swept::FenceLost);
    }
    let error = PageEnd::Failed("cut off".to_owned());
    feed.add(run.id, vec![], error, 3600).await;
    let failed = sweep(&feed, &sweeping(&feed, run.id, 3601)).await;
    assert_eq!(failed, Swept::FenceLost, "not all was told");
    feed.end(run.id, 3602).await;
    let ended = sweep(&feed, &sweeping(&feed, run.id, 3603)).await;
    assert_eq!(ended, Swept::FenceLost);
    assert_eq!(deletions(&feed).await, []);
}

// What was told and not stored is there all the same.
pub async fn a_run_that_missed_an_item_tells_of_no_deletion(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(versions(&["a", "b"]), &[], 0).await;

    let (run, told) = full(&mut feed, vec![refused("a", 2)], 3600).await;

    assert_eq!(told, []);
    assert_eq!(deletions(&feed).await, []);
    assert!(feed.run(run.id).await.enumerated, "it ends all the same");
    assert_eq!(feed.end(run.id, 3600).await.run.state, RunState::Failed);
    let told = full_sync(&mut feed, versions(&["a"]), &[], 7200).await;
    assert_eq!(told.len(), 1, "`b` was deleted");
}

pub async fn a_deletion_is_told_once(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(versions(&["a", "b"]), &[], 0).await;
    let first = full_sync(&mut feed, versions(&["b"]), &[], 3600).await;

    let again = full_sync(&mut feed, versions(&["b"]), &[], 7200).await;
    let incremental = feed.sync(versions(&["b"]), &[], 10_800).await;
    let later = full_sync(&mut feed, versions(&["b"]), &[], 14_400).await;

    assert_eq!((first.len(), again, later), (1, vec![], vec![]));
    assert_eq!(incremental.run.counts.total, 0);
    assert_eq!(names(&deletions(&feed).await), ["a"]);
}

pub async fn a_deletion_that_failed_is_queued_again_by_the_next_full_run(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(versions(&["a"]), &[], 0).await;
    let first = full_sync(&mut feed, vec![], &["a"], 3600).await;
    let [ItemAdded::Stored(id)] = first[..] else {
        panic!("one deletion should be told: {first:?}");
    };
    assert_eq!(feed.item(id, 3600).await.status, ItemStatus::Failed);

    let second = full_sync(&mut feed, vec![], &[], 7200).await;
    let third = full_sync(&mut feed, vec![], &[], 10_800).await;

    assert_eq!(second, [ItemAdded::Requeued(id)]);
    assert_eq!(third, [], "it is done now");
    assert_eq!(feed.item(id, 10_800).await.status, ItemStatus::Success);
}

pub async fn a_record_that_comes_back_is_news_and_may_be_deleted_again(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let told = || vec![version("a", 1), digested("d", b"x")];
    feed.sync(told(), &[], 0).await;
    full_sync(&mut feed, vec![], &[], 3600).await;

    let back = feed.sync(told(), &[], 7200).await;
    let deleted = full_sync(&mut feed, vec![], &[], 10_800).await;

    assert_eq!(back.run.counts.succeeded, 2, "the very versions it had");
    assert_eq!(deleted.len(), 2);
    assert_eq!(names(&deletions(&feed).await), ["a", "d", "a", "d"]);
}

pub async fn a_record_that_comes_back_lets_go_of_its_deletion(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(versions(&["a", "b"]), &[], 0).await;
    full_sync(&mut feed, vec![], &["a", "b"], 3600).await;

    feed.sync(versions(&["a"]), &[], 7200).await;

    let items = deletions(&feed).await;
    assert_eq!(names(&items), ["a", "b"]);
    assert_eq!(items[0].status, ItemStatus::Skipped);
    let reason = items[0].error.as_deref();
    assert_eq!(reason, Some("the record is there again"));
    assert_eq!(items[1].status, ItemStatus::Failed);
    let counts = feed.run(items[0].run_id).await.counts;
    assert_eq!((counts.failed, counts.skipped), (1, 1));
}

pub async fn a_deletion_lets_go_of_older_versions(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let failed = feed.sync(versions(&["a", "b"]), &["a", "b"], 0).await.run;

    full_sync(&mut feed, versions(&["b"]), &["b"], 3600).await;

    let counts = feed.run(failed.id).await.counts;
    assert_eq!((counts.failed, counts.skipped, counts.open), (0, 1, 0));
    let filter = ItemFilter {
        run_id: Some(failed.id),
        ..ItemFilter::default()
    };
    let syncs = &subject.ports.syncs;
    let page = whole();
    let items = syncs.list_items(&filter, &Scope::Operator, &page, at(0));
    let items = items.await.unwrap().items;
    assert_eq!(items.len(), 1, "`b` went to the later run");
    assert_eq!(items[0].status, ItemStatus::Skipped);
    let reason = items[0].error.as_deref();
    assert_eq!(reason, Some("the record was deleted"));
}

pub async fn a_record_that_is_worked_on_is_left_to_the_next_full_run(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let added = feed
        .add(run.id, versions(&["a"]), PageEnd::Complete, 0)
        .await;
    feed.work_but(&["a"], 0).await;
    feed.end(run.id, 0).await;
    feed.retry(stored(&added)[0], 3600).await;
    let work = feed.claim(1, 3600).await;
    assert_eq!(work.only().external_id, Some(external("a")));

    let meanwhile = full_sync(&mut feed, vec![], &[], 3601).await;
    let later = 3601 + LEASE_SECONDS;
    let afterwards = full_sync(&mut feed, vec![], &[], later).await;

    assert_eq!(meanwhile, []);
    assert_eq!(afterwards.len(), 1);
}
