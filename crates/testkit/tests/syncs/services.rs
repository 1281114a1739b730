//! The engine as a service: wake-ups, draining, the roll of workers.

use std::time::Duration;

use integrations_core::{
    sync::{
        ItemStatus,
        engine::{EngineBuildError, Handled, HandledCounts, SyncEngine, handler_fn},
    },
    time::Clock as _,
};
use tokio::task::JoinHandle;

use crate::world::{Act, World, eventually, policy};

#[tokio::test]
async fn a_running_engine_syncs_what_is_due_and_handles_it() {
    let world = World::new(&["issues"]).await;
    for n in 1..=50 {
        world.feed.put("issues", &format!("r{n}"), n);
    }
    world.pass(600);
    let running = tokio::spawn({
        let (engine, stop) = (world.engine.clone(), world.stop.clone());
        async move { engine.run(stop).await }
    });
    // No time passes: workers are woken.
    eventually(async || world.row().await.last_synced_at.is_some()).await;
    world.stop.stop();

    let counts = running.await.unwrap();
    assert_eq!(counts.succeeded, 50);
    assert_eq!(world.script.handled().len(), 50);
}

#[tokio::test]
async fn no_more_items_are_handled_at_once_than_allowed() {
    let world = World::with(&["issues"], |builder| builder.concurrency(3)).await;
    for n in 1..=20 {
        let id = format!("r{n}");
        world.feed.put("issues", &id, n);
        world.script.on(&id, [Act::Hangs]);
    }
    world.sync().await;
    let running = tokio::spawn({
        let (engine, stop) = (world.engine.clone(), world.stop.clone());
        async move { engine.run_workers(stop).await }
    });
    eventually(async || world.script.attempts().len() == 3).await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.script.attempts().len(), 3);
    running.abort();
}

// SYN-25, CONTRACT "drains on SIGTERM"
#[tokio::test]
async fn a_stop_lets_work_end_within_the_limit_and_gives_back_the_rest() {
    let world = World::with(&["issues"], |builder| builder.concurrency(2)).await;
    let running = workers_over_hanging(&world, 8).await;
    eventually(async || world.script.attempts().len() == 2).await;
    world.stop.stop();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!running.is_finished(), "work under way may end");
    world.pass(30);

    let counts = running.await.unwrap();

    assert_eq!((counts.put_back, counts.lost), (2, 0));
    let items = world.items().await;
    assert!(
        items
            .iter()
            .all(|item| item.status == ItemStatus::Pending && item.attempts == 0),
        "{items:?}"
    );
}

/// Workers that run over so many items whose handlers never end.
async fn workers_over_hanging(world: &World, items: i64) -> JoinHandle<HandledCounts> {
    for n in 1..=items {
        let id = format!("r{n}");
        world.feed.put("issues", &id, n);
        world.script.on(&id, [Act::Hangs]);
    }
    world.sync().await;
    let (engine, stop) = (world.engine.clone(), world.stop.clone());
    tokio::spawn(async move { engine.run_workers(stop).await })
}

/// Five items whose handlers run out of their time at once, while the store is away.
async fn with_the_store_away() -> (World, JoinHandle<HandledCounts>) {
    let world = World::new(&["issues"]).await;
    let running = workers_over_hanging(&world, 5).await;
    eventually(async || world.script.attempts().len() == 5).await;
    world.settling.go_away();
    drive(&world, policy().item_time_limit + Duration::from_secs(1)).await;
    (world, running)
}

async fn drive(world: &World, time: Duration) {
    let clock = &world.harness.clock;
    clock.drive(clock.sleep_until(clock.now() + time)).await;
}

// CONTRACT "drains on SIGTERM"
#[tokio::test]
async fn a_stop_ends_while_the_store_is_away() {
    let (world, running) = with_the_store_away().await;
    let clock = &world.harness.clock;
    let stopped_at = clock.now();
    world.stop.stop();

    let counts = clock.drive(running).await.unwrap();

    assert_eq!(clock.now() - stopped_at, chrono::Duration::seconds(30));
    assert_eq!(counts, HandledCounts::default());
}

#[tokio::test]
async fn a_batch_is_not_tried_one_by_one_while_the_store_is_away() {
    let (world, running) = with_the_store_away().await;

    drive(&world, policy().item_lease + Duration::from_secs(1)).await;

    let calls = world.settling.calls();
    assert!(
        calls.len() > 1 && calls.iter().all(|items| *items == 5),
        "{calls:?}"
    );
    running.abort();
}

#[tokio::test]
async fn a_running_engine_is_on_the_roll_with_its_kinds() {
    let world = World::new(&["issues"]).await;
    let engine = SyncEngine::builder(&world.harness.client)
        .policy(policy())
        .handler("issue", handler_fn(|_| async { Ok(Handled::Done) }))
        .build()
        .unwrap();
    let running = tokio::spawn({
        let stop = world.stop.clone();
        async move { engine.run(stop).await }
    });
    let workers = &world.harness.client.ports().workers;
    let since = world.harness.clock.now() - Duration::from_secs(1);
    let alive = async || workers.alive(since).await.unwrap();
    eventually(async || !alive().await.is_empty()).await;

    let kinds = alive().await.remove(0).kinds.unwrap();
    assert_eq!(kinds, ["issue".parse().unwrap()]);
    world.stop.stop();
    running.await.unwrap();
    assert_eq!(alive().await, []);
}

#[tokio::test]
async fn an_engine_that_cannot_be_built_says_why() {
    let world = World::new(&["issues"]).await;
    let nothing = || handler_fn(|_| async { Ok(Handled::Done) });
    let builder = || SyncEngine::builder(&world.harness.client);

    let twice = builder().handler("a", nothing()).ignore("a").build();
    assert_eq!(
        twice.unwrap_err(),
        EngineBuildError::DuplicateHandler("a".parse().unwrap())
    );
    let nameless = builder().handler("", nothing()).build();
    assert!(matches!(nameless.unwrap_err(), EngineBuildError::Kind(_)));
    let idle = builder().concurrency(0).build();
    assert_eq!(
        idle.unwrap_err().to_string(),
        "sync policy: concurrency must be at least 1"
    );
}
