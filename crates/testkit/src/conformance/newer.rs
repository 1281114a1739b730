//! Items in a state of a newer version. No port puts one there, so this is no case of the suite.

#![expect(
    clippy::future_not_send,
    reason = "an `AsyncFn` cannot say that its futures are"
)]

use integrations_core::{
    id::SyncItemId,
    sync::{ItemAdded, ItemStatus, PageEnd, Sweep, Swept, SyncRun},
};
use serde_json::json;

use super::{
    Subject,
    feed::{Feed, failed, stored, version},
    fixtures::at,
};

fn parked() -> ItemStatus {
    ItemStatus::Unrecognised("parked".to_owned())
}

/// A store leaves items in a state it does not know alone, and no cursor passes them. `put` writes
/// such a state, its second argument, into the row of an item that failed.
pub async fn leaves_newer_states_alone(subject: &Subject, put: impl AsyncFn(SyncItemId, &str)) {
    let park = async |id| put(id, parked().as_str()).await;
    cursors_wait(subject, &park).await;
    pages_and_claims(subject, &park).await;
    sweeps(subject, &park).await;
}

async fn cursors_wait(subject: &Subject, park: &impl AsyncFn(SyncItemId)) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let page = vec![version("a", 10), version("b", 20), version("c", 30)];
    let added = feed.add(run.id, page, PageEnd::Complete, 0).await;
    feed.work_but(&["b"], 0).await;
    park(stored(&added)[1]).await;
    feed.end(run.id, 0).await;
    assert_eq!(feed.cursor().await, Some(json!(10)));

    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let page = vec![version("a", 10)];
    feed.complete_at(run.id, page, json!("told"), 0).await;
    let work = feed.claim(1, 0).await;
    let id = work.only().id;
    feed.settle(id, work.token, failed(), 0).await;
    park(id).await;
    feed.end(run.id, 0).await;
    assert_eq!(feed.cursor().await, None);
}

/// A run whose only item was parked.
async fn with_one_parked<'a>(
    subject: &'a Subject,
    park: &impl AsyncFn(SyncItemId),
) -> (Feed<'a>, SyncRun, SyncItemId) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let page = vec![version("a", 10)];
    let id = stored(&feed.add(run.id, page, PageEnd::Complete, 0).await)[0];
    feed.work_but(&["a"], 0).await;
    park(id).await;
    feed.end(run.id, 0).await;
    (feed, run, id)
}

/// The very version that is parked, on a later page.
async fn pages_and_claims(subject: &Subject, park: &impl AsyncFn(SyncItemId)) {
    let (mut feed, first, id) = with_one_parked(subject, park).await;
    feed.win_lease(3600).await;
    let run = feed.run_of(vec![version("a", 10)], 3600).await;

    let item = feed.item(id, 3600).await;
    assert_eq!((item.status, item.run_id), (parked(), first.id));
    assert_eq!(feed.run(run.id).await.counts.open, 1, "a row of its own");
    let work = feed.claim(1, 3600).await;
    assert_eq!(work.ids(), [], "a newer version may be at work on it");
}

/// A sweep that finds its record deleted, and a page on which a record is back whose deletion is
/// parked.
async fn sweeps(subject: &Subject, park: &impl AsyncFn(SyncItemId)) {
    let (mut feed, _, id) = with_one_parked(subject, park).await;
    feed.win_lease(3600).await;
    let full = feed.open_full(3600).await;
    let next = PageEnd::Continue(json!("sweeps"));
    feed.add(full.id, vec![], next, 3600).await;
    let sweep = Sweep {
        run_id: full.id,
        fence: feed.fence,
        after: None,
        limit: 100,
        now: at(3600),
    };
    let swept = subject.ports.syncs.sweep_records(&sweep).await.unwrap();
    let Swept::Done { items, .. } = swept else {
        panic!("the sweep should have been made: {swept:?}");
    };
    let [ItemAdded::Stored(deletion)] = items[..] else {
        panic!("one record should be deleted: {items:?}");
    };
    assert_eq!(feed.item(id, 3600).await.status, parked());

    feed.work_but(&["a"], 3600).await;
    park(deletion).await;
    feed.end(full.id, 3600).await;
    feed.win_lease(7200).await;
    feed.run_of(vec![version("a", 10)], 7200).await;
    assert_eq!(feed.item(deletion, 7200).await.status, parked());
}
