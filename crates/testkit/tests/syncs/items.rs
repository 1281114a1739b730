//! Items: attempts, waits, panics, limits, leases.

use std::time::Duration;

use integrations_core::{
    event::EventKind,
    sync::{
        ItemStatus, RunState,
        engine::{Handled, HandledCounts, SyncEngine, WorkScope, handler_fn},
    },
};
use serde_json::json;

use crate::world::{Act, World, eventually, policy};

async fn with_one_record() -> World {
    let world = World::new(&["issues"]).await;
    world.feed.put("issues", "a", 1);
    world.sync().await;
    world
}

// SYN-22, SYN-23, SYN-27
#[tokio::test]
async fn a_failing_item_is_tried_five_times_with_growing_waits() {
    let world = with_one_record().await;
    world.script.on("a", vec![Act::Fails; 9]);
    let mut waits = Vec::new();
    for _ in 0..5 {
        world.drain().await;
        let item = world.item("a").await;
        let wait = (item.available_at - item.updated_at).num_seconds();
        if item.status == ItemStatus::Pending {
            waits.push(wait);
            world.pass(u64::try_from(wait - 1).unwrap());
            assert_eq!(
                world.drain().await,
                HandledCounts::default(),
                "before its time"
            );
            world.pass(1);
        }
    }

    assert_eq!(waits, [10, 30, 120, 300]);
    let item = world.item("a").await;
    assert_eq!((item.status, item.attempts), (ItemStatus::Failed, 5));
    assert_eq!(item.error.as_deref(), Some("no room"));
    let attempts: Vec<_> = world
        .script
        .attempts()
        .into_iter()
        .map(|(_, attempt, last)| (attempt, last))
        .collect();
    assert_eq!(
        attempts,
        [(1, false), (2, false), (3, false), (4, false), (5, true)]
    );
    assert_eq!(world.last_run().await.state, RunState::Failed);
    let failures = world.events().await.into_iter();
    let failures = failures.filter(|kind| matches!(kind, EventKind::SyncItemFailed { .. }));
    assert_eq!(failures.count(), 1);
}

// SYN-24, L-SYN-3, L-RL-2
#[tokio::test]
async fn a_rate_limited_item_is_put_back_and_costs_no_attempt() {
    let world = with_one_record().await;
    world
        .script
        .on("a", vec![Act::Later(Duration::from_secs(40)); 7]);
    for _ in 0..7 {
        let counts = world.drain().await;
        assert_eq!((counts.put_back, counts.failed), (1, 0));
        let item = world.item("a").await;
        assert_eq!((item.status, item.attempts), (ItemStatus::Pending, 0));
        world.pass(39);
        assert_eq!(world.drain().await.put_back, 0, "before its time");
        world.pass(1);
    }

    world.drain().await;

    assert_eq!(world.script.handled(), [("a".to_owned(), 1)]);
    assert_eq!(world.last_run().await.state, RunState::Success);
}

// SYN-24
#[tokio::test]
async fn an_item_is_not_put_back_for_ever() {
    let world = with_one_record().await;
    world
        .script
        .on("a", vec![Act::Later(Duration::from_mins(1)); 40]);
    world.drain().await;
    world.pass(6 * 3600);

    for _ in 0..5 {
        world.drain().await;
        world.pass(900);
    }

    let item = world.item("a").await;
    assert_eq!((item.status, item.attempts), (ItemStatus::Failed, 5));
    assert_eq!(item.error.as_deref(), Some("put off for too long"));
}

// SYN-21
#[tokio::test]
async fn a_panic_is_the_failure_of_that_item_only() {
    let world = World::new(&["issues"]).await;
    for (id, version) in [("a", 1), ("b", 2), ("c", 3)] {
        world.feed.put("issues", id, version);
    }
    world.script.on("b", [Act::Panics]);
    world.sync().await;

    let counts = world.drain().await;

    assert_eq!((counts.succeeded, counts.retried), (2, 1));
    let item = world.item("b").await;
    assert_eq!(item.error.as_deref(), Some("the handler panicked"));
    world.pass(10);
    assert_eq!(world.drain().await.succeeded, 1);
    assert_eq!(world.cursor("issues").await, Some(json!(3)));
}

#[tokio::test]
async fn a_hopeless_item_fails_at_once_and_a_skipped_one_is_let_go() {
    let world = World::new(&["issues"]).await;
    world.feed.put("issues", "a", 1);
    world.feed.put("issues", "b", 2);
    world.script.on("a", [Act::Skips]);
    world.script.on("b", [Act::Hopeless]);
    world.sync().await;

    let counts = world.drain().await;

    assert_eq!((counts.skipped, counts.failed), (1, 1));
    assert_eq!(world.item("a").await.error.as_deref(), Some("not ours"));
    assert_eq!(world.item("b").await.status, ItemStatus::Failed);
    assert_eq!(world.cursor("issues").await, Some(json!(1)));
}

#[tokio::test]
async fn a_handler_that_takes_too_long_has_failed() {
    let world = with_one_record().await;
    world.script.on("a", [Act::Hangs]);
    let draining = tokio::spawn({
        let (engine, stop) = (world.engine.clone(), world.stop.clone());
        async move { engine.drain(&WorkScope::default(), &stop).await }
    });
    eventually(async || world.script.attempts().len() == 1).await;
    // The claim is renewed on the way, so the limit is what ends it.
    for _ in 0..16 {
        world.pass(20);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    let counts = draining.await.unwrap();

    assert_eq!((counts.retried, counts.lost), (1, 0));
    let item = world.item("a").await;
    assert_eq!(
        item.error.as_deref(),
        Some("the handler took longer than 300 s")
    );
}

// INV-08, W-SYN-4, W-SYN-5
#[tokio::test]
async fn items_of_a_killed_worker_are_handled_by_another_within_the_lease() {
    let world = with_one_record().await;
    world.script.on("a", [Act::Hangs]);
    let killed = tokio::spawn({
        let (engine, stop) = (world.engine.clone(), world.stop.clone());
        async move { engine.drain(&WorkScope::default(), &stop).await }
    });
    eventually(async || world.script.attempts().len() == 1).await;
    killed.abort();
    assert!(killed.await.unwrap_err().is_cancelled());
    eventually(async || {
        tokio::task::yield_now().await;
        true
    })
    .await;

    assert_eq!(world.drain().await.succeeded, 0, "the lease lasts");
    world.pass(60);
    assert_eq!(world.drain().await.succeeded, 1);

    assert_eq!(world.script.attempts().last().unwrap().1, 2);
    assert_eq!(world.last_run().await.state, RunState::Success);
}

#[tokio::test]
async fn an_item_that_kills_its_workers_is_given_up() {
    let world = with_one_record().await;
    world.script.on("a", vec![Act::Hangs; 5]);
    for n in 1..=5 {
        let killed = tokio::spawn({
            let (engine, stop) = (world.engine.clone(), world.stop.clone());
            async move { engine.drain(&WorkScope::default(), &stop).await }
        });
        eventually(async || world.script.attempts().len() == n).await;
        killed.abort();
        assert!(killed.await.is_err());
        world.pass(60);
    }

    let counts = world.drain().await;

    assert_eq!(counts.failed, 1);
    let error = world.item("a").await.error.unwrap();
    assert!(error.starts_with("given up"), "{error}");
}

// DESIGN: "A worker claims only kinds it has a handler for."
#[tokio::test]
async fn kinds_without_a_handler_are_left_and_hold_the_cursor() {
    let world = World::new(&["comments", "issues"]).await;
    world.feed.put("issues", "a", 1);
    world.feed.put("comments", "c", 2);
    world.sync().await;
    let issues_only = SyncEngine::builder(&world.harness.client)
        .policy(policy())
        .handler("issue", handler_fn(|_| async { Ok(Handled::Done) }))
        .build()
        .unwrap();

    issues_only.drain(&WorkScope::default(), &world.stop).await;

    assert_eq!(world.item("c").await.status, ItemStatus::Pending);
    assert_eq!(world.item("a").await.status, ItemStatus::Success);
    assert_eq!(world.cursor("comments").await, None);

    let ignoring = SyncEngine::builder(&world.harness.client)
        .policy(policy())
        .ignore("comment")
        .build()
        .unwrap();
    ignoring.drain(&WorkScope::default(), &world.stop).await;
    assert_eq!(world.item("c").await.status, ItemStatus::Skipped);
    assert_eq!(world.cursor("comments").await, Some(json!(2)));
}

// W-SYN-3
#[tokio::test]
async fn a_poison_item_holds_the_cursor_just_below_it_and_nothing_else() {
    let world = World::new(&["issues"]).await;
    for n in 1..=4 {
        world.feed.put("issues", &format!("r{n}"), n);
    }
    world.script.on("r3", vec![Act::Hopeless; 3]);

    world.whole_sync().await;
    assert_eq!(world.cursor("issues").await, Some(json!(2)));
    world.feed.put("issues", "r5", 5);
    world.whole_sync().await;

    assert_eq!(world.cursor("issues").await, Some(json!(2)));
    let handled = world.script.handled_sorted();
    let expected = [("r1", 1), ("r2", 2), ("r4", 4), ("r5", 5)];
    assert_eq!(handled, expected.map(|(id, v)| (id.to_owned(), v)));
}

// SYN-37, W-SYN-8
#[tokio::test]
async fn a_record_that_fails_run_after_run_is_reported_once() {
    let world = with_one_record().await;
    world.script.on("a", vec![Act::Hopeless; 20]);
    world.drain().await;
    for _ in 0..7 {
        world.whole_sync().await;
    }

    let stuck: Vec<_> = world
        .events()
        .await
        .into_iter()
        .filter_map(|kind| match kind {
            EventKind::SyncItemStuck { runs, .. } => Some(runs),
            _ => None,
        })
        .collect();
    assert_eq!(stuck, [5]);
}

// SYN-38, L-EVT-2
#[tokio::test]
async fn a_run_is_told_of_once() {
    let world = with_one_record().await;
    world.drain().await;
    world
        .engine
        .items()
        .advance_cursor(world.integration.id, true)
        .await
        .unwrap();

    let run_id = world.last_run().await.id;
    let events = world.events().await;
    let count = |wanted: EventKind| events.iter().filter(|kind| **kind == wanted).count();
    assert_eq!(
        count(EventKind::SyncCompleted {
            run_id,
            succeeded: 1,
            failed: 0,
            skipped: 0
        }),
        1
    );
    assert_eq!(count(EventKind::IntegrationSynced { run_id }), 1);
}

// SYN-35, SYN-38: a run is that of a stream, a sync that of an integration.
#[tokio::test]
async fn a_clean_sync_of_several_streams_is_told_of_once() {
    let world = World::new(&["comments", "issues"]).await;
    world.feed.put("issues", "a", 1);
    world.script.on("a", [Act::Hopeless]);
    world.whole_sync().await;
    world.whole_sync().await;

    let runs = world.runs().await;
    let clean: Vec<_> = runs.iter().map(|run| run.state.as_str()).collect();
    assert_eq!(clean, ["success", "failed", "success", "success"]);
    let events = world.events().await;
    let completed = |kind: &&EventKind| matches!(kind, EventKind::SyncCompleted { .. });
    assert_eq!(events.iter().filter(completed).count(), 4);
    let synced = events.iter().filter_map(|kind| match kind {
        EventKind::IntegrationSynced { run_id } => Some(*run_id),
        _ => None,
    });
    let ended_last = runs[2..].iter().max_by_key(|run| run.ended_at).unwrap().id;
    assert_eq!(synced.collect::<Vec<_>>(), [ended_last]);
}
