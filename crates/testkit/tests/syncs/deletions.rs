//! Records that a full run does not find any more (W-SYN-12).

use std::sync::{Arc, Mutex};

use integrations_core::sync::{
    RunState,
    engine::{Handled, RoundReport, StreamOutcome, SyncEngineBuilder, handler_fn},
};

use crate::{
    feed::Fault,
    world::{Act, World},
};

type Told = Arc<Mutex<Vec<String>>>;

/// Records `a`, `b` and `c`, all handled; and a handler that is told of deletions.
async fn synced() -> (World, Told) {
    let told = Told::default();
    let taken = Arc::clone(&told);
    let handler = handler_fn(move |attempt| {
        let taken = Arc::clone(&taken);
        async move {
            assert_eq!(attempt.payload(), b"null");
            let id = attempt.external_id().unwrap().to_string();
            taken.lock().unwrap().push(id);
            Ok(Handled::Done)
        }
    });
    let deletions = |builder: SyncEngineBuilder| builder.handler("issue.deleted", handler);
    let world = World::with(&["issues"], deletions).await;
    world
        .feed
        .stream("issues", |stream| stream.exhaustive = true);
    for (id, version) in [("a", 1), ("b", 2), ("c", 3)] {
        world.feed.put("issues", id, version);
    }
    world.whole_sync().await;
    (world, told)
}

fn delete(world: &World, id: &str) {
    world.feed.stream("issues", |stream| {
        stream.records.retain(|(other, _)| other != id);
    });
}

async fn full(world: &World) -> RoundReport {
    let report = world
        .sync_by(|request| integrations_core::sync::engine::SyncRequest {
            full: true,
            ..request
        })
        .await;
    world.drain_all().await;
    report
}

fn take(told: &Told) -> Vec<String> {
    std::mem::take(&mut told.lock().unwrap())
}

#[tokio::test]
async fn a_full_sync_tells_of_deletions_once() {
    let (world, told) = synced().await;
    delete(&world, "a");
    delete(&world, "c");

    world.whole_sync().await;
    assert_eq!(take(&told), [""; 0], "an incremental sync cannot know");
    let report = full(&world).await;
    assert_eq!(report.streams[0].counts.deleted, 2);
    assert_eq!(take(&told), ["a", "c"]);
    assert_eq!(world.last_run().await.state, RunState::Success);
    full(&world).await;
    assert_eq!(take(&told), [""; 0]);
}

#[tokio::test]
async fn a_record_that_comes_back_is_handled_again() {
    let (world, told) = synced().await;
    delete(&world, "b");
    full(&world).await;
    assert_eq!(take(&told), ["b"]);
    let before = world.script.handled().len();

    world.feed.put("issues", "b", 3);
    world.whole_sync().await;
    assert_eq!(world.script.handled()[before..], [("b".to_owned(), 3)]);
    delete(&world, "b");
    full(&world).await;
    assert_eq!(take(&told), ["b"]);
}

#[tokio::test]
async fn an_enumeration_that_failed_tells_of_none() {
    let (world, told) = synced().await;
    delete(&world, "a");
    world.feed.fail_next("issues", Fault::Fails);

    full(&world).await;
    assert_eq!(take(&told), [""; 0]);

    full(&world).await;
    assert_eq!(take(&told), ["a"]);
}

/// After a full sync in which a record was told that no store takes.
async fn assert_tells_of_none(world: &World, told: &Told) {
    assert_eq!(take(told), [""; 0]);
    let run = world.last_run().await;
    assert!(run.full_resync && run.enumeration_error.is_some());
    world.feed.stream("issues", |stream| stream.unfit.clear());
    full(world).await;
    assert_eq!(take(told), ["a"]);
}

// A record that was told and not stored was not deleted.
#[tokio::test]
async fn an_enumeration_that_missed_a_record_tells_of_none() {
    let (world, told) = synced().await;
    delete(&world, "a");
    world.feed.stream("issues", |stream| {
        stream.unfit.insert("b".to_owned());
    });

    let report = full(&world).await;

    let outcome = &report.streams[0].outcome;
    assert!(matches!(outcome, StreamOutcome::Failed(_)), "{outcome:?}");
    assert_tells_of_none(&world, &told).await;
}

// The same for whoever goes on with the run.
#[tokio::test]
async fn a_record_that_was_missed_before_a_pause_was_not_deleted() {
    let (world, told) = synced().await;
    delete(&world, "a");
    world.feed.state().page_size = 1;
    world.feed.stream("issues", |stream| {
        stream.unfit.insert("b".to_owned());
        stream.faults.extend([None, Some(Fault::Throttles)]);
    });

    full(&world).await;
    world.pass(60);
    world.engine.sync_due(1, &world.stop).await.unwrap();
    world.drain_all().await;

    assert_tells_of_none(&world, &told).await;
}

#[tokio::test]
async fn a_stream_that_promises_nothing_tells_of_none() {
    let (world, told) = synced().await;
    world
        .feed
        .stream("issues", |stream| stream.exhaustive = false);
    delete(&world, "a");

    full(&world).await;

    assert_eq!(take(&told), [""; 0]);
}

// L-SYN-7: a record that cannot be read is there all the same.
#[tokio::test]
async fn a_record_without_an_id_may_be_any() {
    let (world, told) = synced().await;
    delete(&world, "a");
    world.feed.put("issues", "", 1);

    full(&world).await;

    assert_eq!(take(&told), [""; 0]);
    assert_eq!(world.last_run().await.state, RunState::Success);
}

#[tokio::test]
async fn a_provider_without_cursors_tells_of_deletions_at_each_sync() {
    let (world, told) = synced().await;
    world.feed.state().incremental = false;
    delete(&world, "c");

    world.whole_sync().await;

    assert_eq!(take(&told), ["c"]);
}

// INV-07: whoever takes over looks for deletions too.
#[tokio::test]
async fn a_run_that_was_cut_off_before_its_last_page_tells_of_deletions() {
    let (world, told) = synced().await;
    delete(&world, "a");
    world.feed.state().page_size = 1;
    world.feed.stream("issues", |stream| {
        stream.faults.extend([None, Some(Fault::Throttles)]);
    });

    let report = full(&world).await;
    assert!(matches!(
        report.streams[0].outcome,
        StreamOutcome::Paused(_)
    ));
    assert_eq!(take(&told), [""; 0]);
    world.pass(60);
    world.engine.sync_due(1, &world.stop).await.unwrap();
    world.drain_all().await;

    assert_eq!(take(&told), ["a"]);
}

#[tokio::test]
async fn a_deleted_record_is_not_tried_any_more() {
    let (world, told) = synced().await;
    world.feed.put("issues", "b", 4);
    world.script.on("b", [Act::Hopeless]);
    world.whole_sync().await;
    delete(&world, "b");

    full(&world).await;

    assert_eq!(take(&told), ["b"]);
    let items = world.items().await;
    let poison = items.iter().find(|item| item.error.is_some()).unwrap();
    assert_eq!(poison.status.as_str(), "skipped");
    assert_eq!(
        world.cursor("issues").await,
        Some(serde_json::json!(4)),
        "and holds the cursor no longer"
    );
}
