//! Cases of the `SyncStore` port about runs: opening, pages, and what runs are found by.

use integrations_core::{
    id::SyncRunId,
    integration::Scope,
    operation_log::OperationStatus,
    store::PageRequest,
    sync::{
        Finalised, ItemAdded, OpenRun, PageAdded, PageEnd, RunCounts, RunOpened, RunState, SyncRun,
    },
};
use serde_json::json;

use super::{
    Subject,
    feed::{Feed, version},
    fixtures::{at, read_all, scope, whole},
};

async fn runs_of(feed: &Feed<'_>) -> Vec<SyncRun> {
    let syncs = &feed.subject.ports.syncs;
    let page = syncs.list_runs(feed.integration_id, &whole()).await;
    page.unwrap().items
}

pub async fn opening_a_run_stores_it_with_its_operation(subject: &Subject) {
    let feed = Feed::new(subject).await;

    let run = feed.open(5).await;

    assert_eq!(
        run,
        SyncRun {
            id: run.id,
            integration_id: feed.integration_id,
            stream: feed.stream.clone(),
            log_id: run.log_id,
            fence: feed.fence,
            state: RunState::Running,
            page_token: None,
            enumerated: false,
            enumeration_error: None,
            full_resync: false,
            sorted: false,
            reached: None,
            covered: None,
            next_cursor: None,
            counts: RunCounts::default(),
            started_at: at(5),
            ended_at: None,
        }
    );
    assert_eq!(feed.run(run.id).await, run);
    let log_id = run.log_id.expect("a run has an operation");
    let tree = subject.ports.operations.tree(log_id, &Scope::Operator);
    let tree = tree.await.unwrap();
    assert_eq!(tree.len(), 1);
    assert_eq!(tree[0].entry.operation, "sync");
    assert_eq!(tree[0].entry.status, OperationStatus::Processing);
}

pub async fn a_run_keeps_how_it_was_opened(subject: &Subject) {
    let feed = Feed::new(subject).await;

    let full = feed.open_full(0).await;
    let sorted = feed.other_stream("comments").open_sorted(0).await;

    assert!(full.full_resync && !full.sorted);
    assert!(sorted.sorted && !sorted.full_resync);
}

pub async fn a_fence_that_is_not_the_present_one_opens_nothing(subject: &Subject) {
    let feed = Feed::new(subject).await;

    for fence in [feed.fence - 1, feed.fence + 1] {
        let opening = OpenRun {
            fence,
            ..feed.opening(0)
        };
        let opened = subject.ports.syncs.open_run(&opening).await.unwrap();
        assert_eq!(opened, RunOpened::FenceLost, "fence {fence}");
    }

    assert_eq!(runs_of(&feed).await, []);
}

// W-SYN-2: an enumeration goes on where it stopped.
pub async fn an_unfinished_run_is_resumed_under_the_new_fence(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let next = PageEnd::Continue(json!({ "page": 2 }));
    feed.add(run.id, vec![version("a", 1)], next, 1).await;
    feed.win_lease(7200).await;

    let opened = subject.ports.syncs.open_run(&feed.opening(7200)).await;

    let RunOpened::Resumed(resumed) = opened.unwrap() else {
        panic!("the unfinished run should have been resumed");
    };
    assert_eq!(resumed.id, run.id);
    assert_eq!(resumed.fence, feed.fence);
    assert_eq!(resumed.page_token, Some(json!({ "page": 2 })));
    assert_eq!(resumed.counts.open, 1);
    assert_eq!(runs_of(&feed).await, [resumed]);
}

pub async fn an_ended_run_is_followed_by_a_new_one(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let first = feed.sync(vec![version("a", 1)], &[], 0).await.run;
    feed.win_lease(3600).await;

    let second = feed.open(3600).await;

    assert_ne!(second.id, first.id);
}

pub async fn streams_have_runs_of_their_own(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let issues = feed.open(0).await;

    let comments = feed.other_stream("comments").open(0).await;

    assert_ne!(issues.id, comments.id);
}

pub async fn a_page_stores_items_token_and_counts_together(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let next = PageEnd::Continue(json!("cursor-2"));

    let added = feed
        .page(run.id, vec![version("a", 1), version("b", 2)], next, 1)
        .await;

    let PageAdded::Done {
        items,
        open,
        finalisable,
        sorted,
    } = added
    else {
        panic!("the page should have been taken");
    };
    assert!(matches!(
        items[..],
        [Ok(ItemAdded::Stored(_)), Ok(ItemAdded::Stored(_))]
    ));
    assert_eq!((open, finalisable, sorted), (2, false, false));
    let run = feed.run(run.id).await;
    assert_eq!(run.page_token, Some(json!("cursor-2")));
    assert!(!run.enumerated);
    assert_eq!(
        run.counts,
        RunCounts {
            open: 2,
            total: 2,
            ..RunCounts::default()
        }
    );
}

pub async fn the_last_page_ends_enumeration(subject: &Subject) {
    let feed = Feed::new(subject).await;

    let complete = feed.open(0).await;
    feed.add(complete.id, vec![], PageEnd::Complete, 1).await;
    let other = feed.other_stream("comments");
    let broken = other.open(0).await;
    let error = "the provider refused page 3".to_owned();
    other
        .add(broken.id, vec![], PageEnd::Failed(error.clone()), 1)
        .await;

    let complete = feed.run(complete.id).await;
    assert!(complete.enumerated);
    assert_eq!(complete.enumeration_error, None);
    let broken = feed.run(broken.id).await;
    assert!(broken.enumerated);
    assert_eq!(broken.enumeration_error, Some(error));
}

pub async fn a_last_page_with_nothing_open_says_finalise(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let empty = feed.open(0).await;
    let other = feed.other_stream("comments");
    let busy = other.open(0).await;

    let empty = feed.page(empty.id, vec![], PageEnd::Complete, 1).await;
    let busy = other
        .page(busy.id, vec![version("a", 1)], PageEnd::Complete, 1)
        .await;

    assert_eq!(
        empty,
        PageAdded::Done {
            items: vec![],
            open: 0,
            finalisable: true,
            sorted: false
        }
    );
    assert!(
        matches!(
            busy,
            PageAdded::Done {
                open: 1,
                finalisable: false,
                ..
            }
        ),
        "{busy:?}"
    );
}

// W-SYN-5
pub async fn a_page_under_a_lost_fence_stores_nothing(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let late = feed.clone();
    feed.win_lease(7200).await;

    let added = late
        .page(run.id, vec![version("a", 1)], PageEnd::Complete, 7201)
        .await;

    assert_eq!(added, PageAdded::FenceLost);
    assert_eq!(feed.run(run.id).await, run);
}

pub async fn a_page_of_an_ended_run_stores_nothing(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.run_of(vec![], 0).await;
    let ended = feed.end(run.id, 1).await.run;

    let added = feed
        .page(run.id, vec![version("a", 1)], PageEnd::Complete, 2)
        .await;

    assert_eq!(added, PageAdded::FenceLost);
    assert_eq!(feed.run(run.id).await, ended);
}

pub async fn a_removed_integration_takes_neither_runs_nor_pages(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    subject.remove(feed.integration_id).await;

    let page = feed
        .page(run.id, vec![version("a", 1)], PageEnd::Complete, 1)
        .await;
    let opening = feed.other_stream("comments").opening(1);
    let opened = subject.ports.syncs.open_run(&opening).await.unwrap();

    assert_eq!(page, PageAdded::FenceLost);
    assert_eq!(opened, RunOpened::FenceLost);
}

pub async fn finalisable_runs_are_those_at_zero_oldest_first(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let second = Feed::new(subject).await;
    let third = Feed::new(subject).await;
    let first_run = feed.run_of(vec![], 0).await;
    let still_enumerating = feed.other_stream("comments").open(0).await;
    let busy = second.run_of(vec![version("a", 1)], 1).await;
    let last_run = third.run_of(vec![version("a", 1)], 2).await;
    third.work_but(&["a"], 3).await;

    let found = |limit| async move {
        let runs = subject.ports.syncs.finalisable_runs(limit).await.unwrap();
        runs.into_iter().map(|run| run.id).collect::<Vec<_>>()
    };
    let all = found(10).await;
    let limited = found(1).await;
    feed.end(first_run.id, 4).await;
    let rest = found(10).await;

    assert_eq!(all, [first_run.id, last_run.id]);
    assert!(!all.contains(&still_enumerating.id) && !all.contains(&busy.id));
    assert_eq!(limited, [first_run.id]);
    assert_eq!(rest, [last_run.id]);
}

pub async fn runs_are_found_within_their_scope(subject: &Subject) {
    let owned = subject.integration_of(1).await;
    let feed = Feed::of(subject, owned.id).await;
    let run = feed.open(0).await;
    let find = |scope| async move { subject.ports.syncs.find_run(run.id, &scope).await.unwrap() };

    assert!(find(scope(1)).await.is_some());
    assert!(find(Scope::Operator).await.is_some());
    assert_eq!(find(scope(2)).await, None);
    let unknown = SyncRunId(run.id.0 + 1_000_000);
    let unknown = subject.ports.syncs.find_run(unknown, &Scope::Operator);
    assert_eq!(unknown.await.unwrap(), None);
}

pub async fn runs_are_listed_page_by_page_from_either_end(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let other = Feed::new(subject).await;
    other.open(0).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(feed.sync(vec![], &[], n * 3600).await.run.id);
    }
    let integration_id = feed.integration_id;
    let read = |page| async move {
        let runs = subject.ports.syncs.list_runs(integration_id, &page);
        runs.await.unwrap()
    };
    let oldest: Vec<_> = read_all(PageRequest::oldest(2), read).await;
    let newest: Vec<_> = read_all(PageRequest::newest(2), read).await;

    let oldest: Vec<_> = oldest.iter().map(|run| run.id).collect();
    let newest: Vec<_> = newest.iter().map(|run| run.id).collect();
    assert_eq!(oldest, ids);
    ids.reverse();
    assert_eq!(newest, ids);
}

pub async fn finalising_an_unknown_run_finds_none(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;

    let unknown = feed.finalise(SyncRunId(run.id.0 + 1_000_000), 1).await;

    assert_eq!(unknown, Finalised::NotFound);
}
