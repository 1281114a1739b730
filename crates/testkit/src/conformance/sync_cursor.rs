//! Cases of the `SyncStore` port about cursors (INV-06).

use chrono::{FixedOffset, TimeZone};
use integrations_core::{
    integration::Scope,
    store::Rejected,
    sync::{
        Checkpoint, CursorMove, Finalised, ItemOutcome, NewItem, PageAdded, PageEnd, RunOpened,
        RunState, SyncRun,
    },
};
use serde_json::{Value as Json, json};

use super::{
    Subject,
    feed::{Feed, LEASE_SECONDS, refused, stored, version},
    fixtures::{at, scope},
};

pub(super) async fn set_cursor(feed: &Feed<'_>, cursor: &Json) {
    let syncs = &feed.subject.ports.syncs;
    let set = syncs.set_cursor(
        feed.integration_id,
        &Scope::Operator,
        &feed.stream,
        cursor,
        at(0),
    );
    assert!(set.await.unwrap());
}

async fn advance(feed: &Feed<'_>, run: &SyncRun, fence: i64) -> Option<CursorMove> {
    let syncs = &feed.subject.ports.syncs;
    syncs.advance_cursor(run.id, fence, at(1)).await.unwrap()
}

pub async fn the_cursor_moves_to_the_greatest_resolved_checkpoint(subject: &Subject) {
    let mut feed = Feed::new(subject).await;

    let page = vec![version("b", 20), version("c", 30), version("a", 10)];
    let first = feed.sync(page, &[], 0).await;
    let second = feed.sync(vec![version("d", 40)], &[], 3600).await;

    assert_eq!(
        first.cursor,
        Some(CursorMove {
            from: None,
            to: json!(30)
        })
    );
    assert_eq!(
        second.cursor,
        Some(CursorMove {
            from: Some(json!(30)),
            to: json!(40)
        })
    );
    assert_eq!(feed.cursor().await, Some(json!(40)));
}

// W-SYN-3
pub async fn the_cursor_stops_below_what_failed(subject: &Subject) {
    let mut feed = Feed::new(subject).await;

    let page = vec![version("a", 10), version("b", 20), version("c", 30)];
    let end = feed.sync(page, &["b"], 0).await;

    assert_eq!(end.cursor.map(|moved| moved.to), Some(json!(10)));
    assert_eq!(feed.cursor().await, Some(json!(10)));
}

pub async fn the_cursor_stays_strictly_below_what_failed(subject: &Subject) {
    let mut feed = Feed::new(subject).await;

    let page = vec![version("a", 10), version("b", 20), version("c", 20)];
    feed.sync(page, &["c"], 0).await;

    assert_eq!(feed.cursor().await, Some(json!(10)));
}

pub async fn nothing_resolved_below_a_failure_moves_nothing(subject: &Subject) {
    let mut feed = Feed::new(subject).await;

    let end = feed
        .sync(vec![version("a", 10), version("b", 20)], &["a"], 0)
        .await;

    assert_eq!(end.cursor, None);
    assert_eq!(feed.cursor().await, None);
}

// W-SYN-7, INV-06
pub async fn the_cursor_never_passes_what_failed_in_an_earlier_run(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let page = vec![version("a", 10), version("b", 20), version("c", 30)];
    feed.sync(page, &["b"], 0).await;

    let later = feed.sync(vec![version("d", 40)], &[], 3600).await;

    assert_eq!(later.run.counts.failed, 0, "the later run is clean");
    assert_eq!(later.cursor, None);
    assert_eq!(feed.cursor().await, Some(json!(10)));
}

pub async fn a_success_after_the_end_moves_the_cursor(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let page = vec![version("a", 10), version("b", 20), version("c", 30)];
    let added = feed.add(run.id, page, PageEnd::Complete, 0).await;
    feed.work_but(&["b"], 0).await;
    feed.end(run.id, 0).await;

    feed.retry(stored(&added)[1], 1).await;
    let waiting = feed.finalise(run.id, 1).await;
    feed.work_but(&[], 2).await;
    let resolved = feed.finalise(run.id, 2).await;
    let again = feed.finalise(run.id, 3).await;

    let answer = |cursor_moved| Finalised::AlreadyEnded { cursor_moved };
    assert_eq!(waiting, answer(false));
    assert_eq!(resolved, answer(true));
    assert_eq!(again, answer(false));
    assert_eq!(feed.cursor().await, Some(json!(30)));
}

// INV-06: what a later run has not enumerated yet is not passed on behalf of an earlier one.
pub async fn a_run_finalised_again_passes_no_gap_of_a_later_one(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let page = vec![version("a", 10), version("b", 20)];
    let added = feed.add(run.id, page, PageEnd::Complete, 0).await;
    feed.work_but(&["b"], 0).await;
    feed.end(run.id, 0).await;
    feed.win_lease(3600).await;
    let later = feed.open(3600).await;
    let next = PageEnd::Continue(2.into());
    feed.add(later.id, vec![version("c", 100)], next, 3600)
        .await;
    feed.work_but(&[], 3600).await;

    feed.skip(stored(&added)[1], 3601).await;
    let moved = feed.finalise(run.id, 3601).await;

    assert_eq!(moved, Finalised::AlreadyEnded { cursor_moved: true });
    assert_eq!(feed.cursor().await, Some(json!(20)), "50 is to come");
    feed.add(later.id, vec![version("d", 50)], PageEnd::Complete, 3602)
        .await;
    feed.work_but(&[], 3602).await;
    feed.end(later.id, 3602).await;
    assert_eq!(feed.cursor().await, Some(json!(100)));
}

pub async fn a_run_finalised_again_passes_no_gap_of_one_that_was_cut_off(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let run = feed.sync(vec![version("a", 10)], &[], 0).await.run;
    feed.win_lease(3600).await;
    let cut_off = feed.open(3600).await;
    let error = PageEnd::Failed("no answer".to_owned());
    feed.add(cut_off.id, vec![version("c", 100)], error, 3600)
        .await;
    feed.work_but(&[], 3600).await;
    feed.end(cut_off.id, 3600).await;

    for run in [run.id, cut_off.id] {
        let again = feed.finalise(run, 3601).await;
        assert_eq!(
            again,
            Finalised::AlreadyEnded {
                cursor_moved: false
            }
        );
    }
    assert_eq!(feed.cursor().await, Some(json!(10)));
}

// What was done before is enumerated as a duplicate, and still carries the cursor.
pub async fn the_cursor_goes_on_over_what_an_earlier_run_did(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let page = || vec![version("a", 10), version("b", 20), version("c", 30)];
    feed.sync(page(), &["a"], 0).await;
    assert_eq!(feed.cursor().await, None);

    let end = feed.sync(page(), &[], 3600).await;

    assert_eq!(end.run.counts.total, 1);
    assert_eq!(feed.cursor().await, Some(json!(30)));
}

pub async fn a_cursor_that_was_put_back_is_not_led_forwards_by_an_old_run(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let page = vec![version("a", 10), version("b", 20)];
    let run = feed.sync(page, &[], 0).await.run;

    set_cursor(&feed, &json!(10)).await;
    let again = feed.finalise(run.id, 1).await;

    assert_eq!(
        again,
        Finalised::AlreadyEnded {
            cursor_moved: false
        }
    );
    assert_eq!(feed.cursor().await, Some(json!(10)));
}

// SYN-40
pub async fn a_skip_after_the_end_moves_the_cursor(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let page = vec![version("a", 10), version("b", 20), version("c", 30)];
    let added = feed.add(run.id, page, PageEnd::Complete, 0).await;
    feed.work_but(&["b"], 0).await;
    feed.end(run.id, 0).await;

    feed.skip(stored(&added)[1], 1).await;
    let resolved = feed.finalise(run.id, 1).await;

    assert_eq!(resolved, Finalised::AlreadyEnded { cursor_moved: true });
    assert_eq!(feed.cursor().await, Some(json!(30)));
}

pub async fn a_newer_success_lets_the_cursor_pass_older_failures(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    feed.sync(vec![version("a", 10), version("b", 20)], &["b"], 0)
        .await;

    feed.sync(vec![version("b", 40)], &[], 3600).await;

    assert_eq!(feed.cursor().await, Some(json!(40)));
}

pub async fn streams_have_cursors_of_their_own(subject: &Subject) {
    let mut issues = Feed::new(subject).await;
    issues
        .sync(vec![version("a", 10), version("b", 20)], &["a", "b"], 0)
        .await;
    let mut comments = issues.other_stream("comments");

    comments.sync(vec![version("a", 5)], &[], 3600).await;

    assert_eq!(issues.cursor().await, None);
    assert_eq!(comments.cursor().await, Some(json!(5)));
}

pub async fn a_failed_enumeration_moves_no_cursor(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    let error = PageEnd::Failed("no answer".to_owned());
    feed.add(run.id, vec![version("a", 10)], error, 0).await;
    feed.work_but(&[], 0).await;

    let end = feed.end(run.id, 0).await;

    assert_eq!(end.cursor, None);
    assert_eq!(feed.cursor().await, None);
}

pub async fn the_cursor_never_moves_backwards(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    set_cursor(&feed, &json!(100)).await;

    let end = feed.sync(vec![version("a", 50)], &[], 0).await;

    assert_eq!(end.cursor, None);
    assert_eq!(feed.cursor().await, Some(json!(100)));
}

// W-SYN-9: the same instant in another offset is not a later one.
pub async fn cursors_of_instants_compare_as_instants(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let east = FixedOffset::east_opt(9 * 3600).unwrap();
    let earlier = east.with_ymd_and_hms(2026, 3, 2, 8, 0, 0).unwrap();
    let later = earlier.to_utc() + chrono::Duration::microseconds(1);
    let of = |name: &str, instant| NewItem {
        checkpoint: Some(Checkpoint::Instant(instant)),
        ..version(name, 0)
    };

    let page = vec![of("a", later), of("b", earlier.to_utc())];
    feed.sync(page, &[], 0).await;

    let cursor = feed.cursor().await.expect("the cursor moved");
    assert_eq!(
        Checkpoint::from_json(&cursor),
        Some(Checkpoint::Instant(later))
    );
}

pub async fn checkpoints_of_text_compare_by_their_bytes(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let of = |text: &str| NewItem {
        checkpoint: Some(Checkpoint::Text(text.to_owned())),
        ..version(text, 0)
    };

    // By most locales' rules `Z` follows `a` and `\u{e9}` follows `e`; by bytes it is otherwise.
    let page = vec![of("Z"), of("a"), of("f"), of("\u{e9}")];
    feed.sync(page, &["\u{e9}"], 0).await;

    assert_eq!(feed.cursor().await, Some(json!({ "text": "f" })));
}

pub async fn a_sorted_run_advances_the_cursor_while_it_enumerates(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open_sorted(0).await;
    let next = PageEnd::Continue(2.into());
    let page = vec![version("a", 10), version("b", 20), version("c", 30)];
    let added = feed.add(run.id, page, next, 0).await;
    let ids = stored(&added);
    assert_eq!(advance(&feed, &run, feed.fence).await, None);
    let work = feed.claim(3, 0).await;
    for id in [ids[0], ids[2]] {
        feed.settle(id, work.token, ItemOutcome::Succeeded, 1).await;
    }

    let moved = advance(&feed, &run, feed.fence).await;

    assert_eq!(
        moved,
        Some(CursorMove {
            from: None,
            to: json!(10)
        })
    );
    assert_eq!(feed.cursor().await, Some(json!(10)));
    assert_eq!(advance(&feed, &run, feed.fence).await, None);
}

pub async fn an_unsorted_run_or_a_lost_fence_advances_nothing(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let comments = feed.other_stream("comments");
    let unsorted = feed.open(0).await;
    let sorted = comments.open_sorted(0).await;
    let next = || PageEnd::Continue(2.into());
    feed.add(unsorted.id, vec![version("a", 10)], next(), 0)
        .await;
    comments
        .add(sorted.id, vec![version("a", 10)], next(), 0)
        .await;
    feed.work_but(&[], 0).await;

    assert_eq!(advance(&feed, &unsorted, feed.fence).await, None);
    for fence in [feed.fence - 1, feed.fence + 1] {
        assert_eq!(advance(&comments, &sorted, fence).await, None);
    }
    assert_eq!(feed.cursor().await, None);
    assert_eq!(comments.cursor().await, None);
    assert!(advance(&comments, &sorted, feed.fence).await.is_some());
}

pub async fn a_sorted_run_does_not_move_the_cursor_backwards(subject: &Subject) {
    let feed = Feed::new(subject).await;
    set_cursor(&feed, &json!(100)).await;
    let run = feed.open_sorted(0).await;
    let next = PageEnd::Continue(2.into());
    feed.add(run.id, vec![version("a", 10)], next, 0).await;
    feed.work_but(&[], 0).await;

    assert_eq!(advance(&feed, &run, feed.fence).await, None);
    assert_eq!(feed.cursor().await, Some(json!(100)));
}

/// Adds a page of a run that goes on, and handles what it brought.
async fn turn(feed: &Feed<'_>, run: &SyncRun, page: Vec<NewItem>) -> Vec<Json> {
    let next = PageEnd::Continue(2.into());
    let added = feed.page(run.id, page, next, 0).await;
    assert!(matches!(added, PageAdded::Done { .. }), "{added:?}");
    feed.work_but(&[], 0).await;
    advance(feed, run, feed.fence).await;
    feed.cursor().await.into_iter().collect()
}

// INV-06: what a stream leaves out of its order may lie anywhere.
pub async fn a_run_that_is_out_of_order_is_sorted_no_longer(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open_sorted(0).await;

    let kept = turn(&feed, &run, vec![version("a", 10), version("b", 20)]).await;
    let broken = turn(&feed, &run, vec![version("d", 40), version("c", 30)]).await;
    let later = turn(&feed, &run, vec![version("e", 50)]).await;

    assert_eq!(kept, [json!(20)]);
    assert_eq!(broken, [json!(20)]);
    assert_eq!(later, [json!(20)], "a promise is broken once");
    assert!(!feed.run(run.id).await.sorted);
    let error = PageEnd::Failed("no answer".to_owned());
    feed.add(run.id, vec![], error, 1).await;
    assert_eq!(feed.end(run.id, 1).await.cursor, None, "it may have gaps");
}

pub async fn a_run_that_was_out_of_order_moves_the_cursor_at_its_end(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open_sorted(0).await;
    turn(&feed, &run, vec![version("b", 20), version("a", 10)]).await;

    let page = vec![version("c", 30)];
    feed.add(run.id, page, PageEnd::Complete, 1).await;
    feed.work_but(&[], 1).await;
    feed.end(run.id, 1).await;

    assert_eq!(feed.cursor().await, Some(json!(30)));
}

// A process that was killed between the parts of a page reads it again.
pub async fn a_page_that_is_told_again_is_still_in_order(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open_sorted(0).await;
    let page = || vec![version("a", 10), version("b", 20)];
    let next = || PageEnd::Continue(2.into());
    feed.add(run.id, page(), next(), 0).await;
    feed.work_but(&["a"], 0).await;

    feed.add(run.id, page(), next(), 1).await;

    assert!(feed.run(run.id).await.sorted);
}

// INV-06: a record that was refused is in no row that could hold the cursor.
pub async fn a_run_with_an_item_that_was_refused_is_sorted_no_longer(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open_sorted(0).await;
    let before = turn(&feed, &run, vec![version("a", 10)]).await;
    let after = turn(&feed, &run, vec![refused("b", 20), version("c", 30)]).await;

    assert_eq!((before, after), (vec![json!(10)], vec![json!(10)]));
    feed.add(run.id, vec![], PageEnd::Complete, 1).await;
    feed.end(run.id, 1).await;
    assert_eq!(feed.cursor().await, Some(json!(10)));
}

// INV-06: the last page may be the one with the refusal, and the only one.
pub async fn the_cursor_never_passes_an_item_that_was_refused(subject: &Subject) {
    for sorted in [false, true] {
        let mut feed = Feed::new(subject).await;
        feed.sync(vec![version("a", 10)], &[], 0).await;
        feed.win_lease(3600).await;
        let run = if sorted {
            feed.open_sorted(3600).await
        } else {
            feed.open(3600).await
        };

        let page = vec![refused("b", 12), version("c", 15)];
        let added = feed.add(run.id, page, PageEnd::Complete, 3600).await;
        assert_eq!(added[0], Err(Rejected::DoesNotFit));
        feed.work_but(&[], 3600).await;
        let end = feed.end(run.id, 3600).await;

        assert!(end.run.enumeration_error.is_some());
        assert_eq!((end.run.state, end.cursor), (RunState::Partial, None));
        assert_eq!(feed.cursor().await, Some(json!(10)), "sorted: {sorted}");
        let again = vec![version("b", 12), version("c", 15)];
        let end = feed.sync(again, &[], 7200).await;
        assert_eq!(
            (end.run.counts.succeeded, end.run.counts.duplicates),
            (1, 1)
        );
        assert_eq!(feed.cursor().await, Some(json!(15)), "sorted: {sorted}");
    }
}

// INV-06: a refusal is the run's, not that of whoever enumerates it.
pub async fn a_refusal_stays_with_a_run_that_is_taken_over(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let opened = feed.open(0).await;
    let next = PageEnd::Continue(2.into());
    feed.add(opened.id, vec![refused("a", 1)], next, 0).await;
    feed.win_lease(3600).await;
    let opening = feed.opening(3600);
    let run = match feed.subject.ports.syncs.open_run(&opening).await.unwrap() {
        RunOpened::Resumed(run) => run,
        other => panic!("the run should have been resumed, not {other:?}"),
    };

    assert!(run.enumeration_error.is_some());
    let last = vec![version("b", 2)];
    feed.add(run.id, last, PageEnd::Complete, 3600).await;
    feed.work_but(&[], 3600).await;
    let end = feed.end(run.id, 3600).await;

    assert_eq!((end.run.state, end.synced), (RunState::Partial, false));
    assert_eq!(end.run.enumeration_error, run.enumeration_error);
    assert_eq!(feed.cursor().await, None);
}

// INV-06: a late job moves no cursor.
pub async fn a_late_settlement_lets_no_cursor_pass(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed
        .run_of(vec![version("a", 10), version("b", 20)], 0)
        .await;
    let late = feed.claim(1, 0).await;
    let now = LEASE_SECONDS;
    feed.work_but(&["a"], now).await;
    let id = late.only().id;
    feed.settle(id, late.token, ItemOutcome::Succeeded, now + 1)
        .await;

    feed.end(run.id, now + 2).await;

    assert_eq!(feed.cursor().await, None, "`a` failed, whatever was late");
}

pub async fn an_operator_sets_the_cursor_of_one_stream(subject: &Subject) {
    let owned = subject.integration_of(1).await;
    let issues = Feed::of(subject, owned.id).await;
    let comments = issues.other_stream("comments");
    set_cursor(&issues, &json!(100)).await;
    set_cursor(&comments, &json!({ "text": "b" })).await;
    let set = |scope: Scope, cursor: Json| async move {
        let syncs = &subject.ports.syncs;
        let stream = super::feed::stream("issues");
        let set = syncs.set_cursor(owned.id, &scope, &stream, &cursor, at(1));
        set.await.unwrap()
    };

    assert!(!set(scope(2), json!(1)).await);
    assert_eq!(issues.cursor().await, Some(json!(100)));
    assert!(
        set(scope(1), json!(50)).await,
        "backwards is the operator's right"
    );
    assert_eq!(issues.cursor().await, Some(json!(50)));
    assert_eq!(comments.cursor().await, Some(json!({ "text": "b" })));
}
