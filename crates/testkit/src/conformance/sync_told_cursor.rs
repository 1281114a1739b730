//! Cases of the `SyncStore` port about cursors that only the provider can tell.

use integrations_core::sync::{CursorMove, Finalised, NewItem, PageEnd, RunPage, SyncRun};
use serde_json::{Value as Json, json};

use super::{
    Subject,
    feed::{Feed, failed, refused, stored, version},
    fixtures::at,
    sync_cursor::set_cursor,
};

/// A run whose last page tells where to go on.
async fn run_to(feed: &Feed<'_>, items: Vec<NewItem>, cursor: Json, now: i64) -> SyncRun {
    let run = feed.open(now).await;
    feed.complete_at(run.id, items, cursor, now).await;
    run
}

pub async fn a_cursor_that_was_told_is_taken_when_nothing_is_unresolved(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let told = json!({ "page": "opaque", "seen": [1, 2] });
    let run = run_to(&feed, vec![version("a", 10)], told.clone(), 0).await;
    assert_eq!(feed.run(run.id).await.next_cursor, Some(told.clone()));
    feed.work_but(&[], 0).await;

    let moved = feed.end(run.id, 1).await.cursor;

    assert_eq!(
        moved,
        Some(CursorMove {
            from: None,
            to: told.clone()
        })
    );
    assert_eq!(feed.cursor().await, Some(told));
}

pub async fn the_last_cursor_that_was_told_in_a_run_counts(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = feed.open(0).await;
    for (n, cursor) in [
        (1, Some(json!("first"))),
        (2, Some(json!("second"))),
        (3, None),
    ] {
        let page = RunPage {
            run_id: run.id,
            fence: feed.fence,
            items: vec![],
            next: if n == 3 {
                PageEnd::Complete
            } else {
                PageEnd::Continue(n.into())
            },
            cursor,
            now: at(0),
        };
        feed.subject.ports.syncs.add_items(&page).await.unwrap();
    }

    feed.end(run.id, 0).await;

    assert_eq!(feed.cursor().await, Some(json!("second")));
}

pub async fn a_cursor_of_a_run_that_was_followed_is_not_taken(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let first = feed.open(0).await;
    let page = vec![version("a", 10)];
    feed.complete_at(first.id, page, json!("first"), 0).await;
    feed.work_but(&["a"], 0).await;
    feed.end(first.id, 0).await;
    feed.win_lease(3600).await;
    let second = run_to(&feed, vec![version("a", 10)], json!("second"), 3600).await;
    feed.work_but(&[], 3600).await;

    let early = feed.finalise(first.id, 3600).await;
    feed.end(second.id, 3600).await;
    let late = feed.finalise(first.id, 3601).await;

    let unmoved = Finalised::AlreadyEnded {
        cursor_moved: false,
    };
    assert_eq!((&early, &late), (&unmoved, &unmoved));
    assert_eq!(feed.cursor().await, Some(json!("second")));
}

// SYN-33
pub async fn a_cursor_that_was_told_waits_for_everything(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let unnamed = NewItem {
        external_id: None,
        checkpoint: None,
        ..version("unnamed", 0)
    };
    let first = feed.open(0).await;
    let page = vec![unnamed, version("a", 10)];
    let next = PageEnd::Failed("no answer".to_owned());
    let added = feed.add(first.id, page, next, 0).await;
    feed.work(0, |_| failed()).await;
    feed.end(first.id, 0).await;
    feed.win_lease(3600).await;
    let run = run_to(&feed, vec![version("b", 20)], json!("told"), 3600).await;
    feed.work_but(&[], 3600).await;

    let mut moves = vec![feed.end(run.id, 3600).await.cursor.is_some()];
    for id in stored(&added) {
        feed.skip(id, 3601).await;
        let again = feed.finalise(run.id, 3601).await;
        moves.push(again == Finalised::AlreadyEnded { cursor_moved: true });
    }

    assert_eq!(moves, [false, false, true], "an earlier run holds it too");
    assert_eq!(feed.cursor().await, Some(json!("told")));
}

// INV-06
// INV-06
pub async fn a_cursor_told_beside_an_item_that_was_refused_is_not_taken(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let page = vec![refused("a", 10), version("b", 20)];
    let run = run_to(&feed, page, json!("told"), 0).await;
    feed.work_but(&[], 0).await;

    feed.end(run.id, 0).await;

    assert_eq!(feed.cursor().await, None);
}

pub async fn a_cursor_told_before_enumeration_failed_is_not_taken(subject: &Subject) {
    let mut feed = Feed::new(subject).await;
    let first = run_to(&feed, vec![version("a", 10)], json!("first"), 0).await;
    feed.work_but(&[], 0).await;
    feed.end(first.id, 0).await;
    feed.win_lease(3600).await;
    let run = feed.open(3600).await;
    let page = RunPage {
        run_id: run.id,
        fence: feed.fence,
        items: vec![version("b", 20)],
        next: PageEnd::Failed("no answer".to_owned()),
        cursor: Some(json!("second")),
        now: at(3600),
    };
    feed.subject.ports.syncs.add_items(&page).await.unwrap();
    feed.work_but(&[], 3600).await;

    let moved = feed.end(run.id, 3600).await.cursor;

    assert_eq!(moved, None);
    assert_eq!(
        feed.cursor().await,
        Some(json!("first")),
        "and no checkpoint"
    );
}

// SYN-32
pub async fn a_cursor_that_was_told_never_moves_backwards(subject: &Subject) {
    let feed = Feed::new(subject).await;
    set_cursor(&feed, &json!(100)).await;
    let run = run_to(&feed, vec![version("a", 50)], json!(50), 0).await;
    feed.work_but(&[], 0).await;

    let moved = feed.end(run.id, 1).await.cursor;

    assert_eq!(moved, None);
    assert_eq!(feed.cursor().await, Some(json!(100)));
}

pub async fn a_cursor_an_operator_put_is_kept_from_what_was_told_before(subject: &Subject) {
    let feed = Feed::new(subject).await;
    let run = run_to(&feed, vec![version("a", 10)], json!("told"), 0).await;
    feed.work_but(&[], 0).await;
    feed.end(run.id, 0).await;

    set_cursor(&feed, &json!("chosen")).await;
    let again = feed.finalise(run.id, 1).await;

    let unmoved = Finalised::AlreadyEnded {
        cursor_moved: false,
    };
    assert_eq!(again, unmoved);
    assert_eq!(feed.cursor().await, Some(json!("chosen")));
}
