//! When integrations are synced, and by whom.

use std::time::Duration;

use integrations_core::{
    client::AccountUpdate,
    event::EventKind,
    integration::{HealthStatus, Scope},
    sync::engine::{StreamOutcome, SyncEngine, SyncError, SyncRequest},
};

use crate::{
    feed::Fault,
    world::{Act, World, eventually, policy},
};

// SYN-01, SYN-35
#[tokio::test]
async fn an_integration_is_synced_when_it_is_due_and_not_before() {
    let world = World::new(&["issues"]).await;
    let first = world.row().await.next_sync_at.unwrap();
    let now = world.harness.client.ports().clock.now();
    assert!(first >= now && first < now + chrono::Duration::minutes(10));

    assert_eq!(world.engine.sync_due(9, &world.stop).await.unwrap(), []);
    world.pass(600);
    assert_eq!(
        world.engine.sync_due(9, &world.stop).await.unwrap().len(),
        1
    );
    assert_eq!(world.engine.sync_due(9, &world.stop).await.unwrap(), []);

    let row = world.row().await;
    let wait = row.next_sync_at.unwrap() - row.last_synced_at.unwrap();
    assert_eq!(wait.num_minutes(), 10);
}

// W-SYN-13
#[tokio::test]
async fn the_next_sync_is_jittered() {
    let world = World::with(&["issues"], |builder| {
        let mut policy = policy();
        policy.max_jitter = Duration::from_mins(1);
        builder.policy(policy)
    })
    .await;
    let mut waits = Vec::new();
    for _ in 0..4 {
        world.sync().await;
        let row = world.row().await;
        waits.push(row.next_sync_at.unwrap() - row.updated_at);
    }

    let interval = chrono::Duration::minutes(10);
    let most = chrono::Duration::minutes(11);
    assert!(waits.iter().all(|wait| (interval..=most).contains(wait)));
    waits.dedup();
    assert!(waits.len() > 1, "{waits:?}");
}

// SYN-12
#[tokio::test]
async fn without_an_interval_nothing_is_scheduled_and_a_sync_can_be_asked_for() {
    let world = World::new(&["issues"]).await;
    let update = AccountUpdate {
        sync_interval_minutes: Some(None),
        ..AccountUpdate::default()
    };
    let handle = world.harness.handle(&world.integration);
    handle.update(update).await.unwrap();
    world.pass(1_000_000);
    assert_eq!(world.engine.sync_due(9, &world.stop).await.unwrap(), []);

    world.feed.put("issues", "a", 1);
    world.sync().await;
    assert!(world.row().await.next_sync_at.is_some(), "looked after");
    world.drain().await;

    assert_eq!(world.row().await.next_sync_at, None);
}

// SYN-02, SYN-03
#[tokio::test]
async fn an_integration_that_is_synced_or_switched_off_is_left_alone() {
    let world = World::new(&["issues"]).await;
    world.feed.fail_next("issues", Fault::Hangs);
    let syncing = tokio::spawn({
        let (engine, stop) = (world.engine.clone(), world.stop.clone());
        let request = SyncRequest::of(world.integration.id);
        async move { engine.sync_now(&request, &stop).await }
    });
    eventually(async || !world.feed.asked("issues").is_empty()).await;

    let request = SyncRequest::of(world.integration.id);
    let other = world.engine.sync_now(&request, &world.stop).await;
    assert!(matches!(other, Err(SyncError::Busy)));

    world.pass(300);
    let report = syncing.await.unwrap().unwrap();
    assert_eq!(report.streams.len(), 1, "the lease was kept: {report:?}");

    let handle = world.harness.handle(&world.integration);
    handle.disable().await.unwrap();
    world.pass(100_000);
    assert_eq!(world.engine.sync_due(9, &world.stop).await.unwrap(), []);
    let refused = world.engine.sync_now(&request, &world.stop).await;
    assert!(matches!(refused, Err(SyncError::Refused(_))));
}

#[tokio::test]
async fn a_request_for_what_is_not_there_says_so() {
    let world = World::new(&["issues"]).await;
    let of = |change: fn(SyncRequest) -> SyncRequest| change(SyncRequest::of(world.integration.id));
    let unknown_stream = of(|request| SyncRequest {
        streams: Some(vec!["other".parse().unwrap()]),
        ..request
    });
    let result = world.engine.sync_now(&unknown_stream, &world.stop).await;
    assert_eq!(
        result.unwrap_err().to_string(),
        "the provider `feed` has no stream `other`"
    );
    let nobody = SyncRequest::of(integrations_core::id::IntegrationId(999));
    let result = world.engine.sync_now(&nobody, &world.stop).await;
    assert!(matches!(result, Err(SyncError::NotFound)));
}

// HLT-07, W-HLT-6
#[tokio::test]
async fn an_integration_that_is_not_well_is_synced_less_often() {
    let world = World::new(&["issues"]).await;
    for (health, spacing) in [(HealthStatus::Degraded, 20), (HealthStatus::Failing, 100)] {
        world.sync().await;
        let synced = world.row().await.last_synced_at.unwrap();
        let ports = world.harness.client.ports();
        let now = ports.clock.now();
        ports
            .integrations
            .move_health(world.integration.id, &Scope::Operator, &health, now)
            .await
            .unwrap();

        world.pass(600);
        assert_eq!(world.engine.sync_due(9, &world.stop).await.unwrap(), []);
        let next = world.row().await.next_sync_at.unwrap();
        assert_eq!((next - synced).num_minutes(), spacing);

        world.pass(60 * (u64::try_from(spacing).unwrap() - 10));
        let due = world.engine.sync_due(9, &world.stop).await.unwrap();
        assert_eq!(due.len(), 1);
    }
}

// HLT-14, L-HLT-2
#[tokio::test]
async fn overdue_syncs_are_told_of_once_and_so_is_their_recovery() {
    let world = World::new(&["issues"]).await;
    world.feed.put("issues", "a", 1);
    world.script.on("a", vec![Act::Hopeless; 3]);
    world.whole_sync().await;
    let scheduler = tokio::spawn({
        let (engine, stop) = (world.engine.clone(), world.stop.clone());
        async move { engine.run_scheduler(stop).await }
    });
    for _ in 0..20 {
        world.pass(600);
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }
    eventually(async || world.row().await.sync_stale_at.is_some()).await;
    world.script.forget("a");
    let id = world.item("a").await.id;
    world.engine.items().retry(&[id]).await.unwrap();
    world.drain().await;
    for _ in 0..40 {
        world.pass(600);
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        world.drain().await;
    }
    eventually(async || world.row().await.sync_stale_at.is_none()).await;
    world.stop.stop();
    scheduler.await.unwrap();

    let told: Vec<_> = world
        .events()
        .await
        .into_iter()
        .filter_map(|kind| match kind {
            EventKind::SyncBecameStale { .. } => Some("stale"),
            EventKind::SyncStalenessRecovered => Some("recovered"),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["stale", "recovered"]);
}

// INV-07
#[tokio::test]
async fn a_run_at_zero_that_nobody_ended_is_ended_by_the_scheduler() {
    let world = World::new(&["issues"]).await;
    world.feed.put("issues", "a", 1);
    world.sync().await;
    let item = world.item("a").await;
    // A worker that settles and is killed before it can end the run.
    let ports = world.harness.client.ports();
    let token = integrations_core::id::Uid::from_bits(9);
    let now = ports.clock.now();
    let claim = integrations_core::sync::ItemClaim {
        kinds: integrations_core::sync::KindSelection::All,
        limit: 1,
        token,
        lease_until: now + chrono::Duration::minutes(1),
        integration_id: None,
        now,
    };
    ports.syncs.claim_items(&claim).await.unwrap();
    let settlement = integrations_core::sync::ItemSettlement {
        id: item.id,
        token,
        outcome: integrations_core::sync::ItemOutcome::Succeeded,
        now,
    };
    ports
        .sync_settlement
        .settle_items(&[settlement])
        .await
        .unwrap();
    assert!(!world.last_run().await.state.is_final());

    let scheduler = tokio::spawn({
        let (engine, stop) = (world.engine.clone(), world.stop.clone());
        async move { engine.run_scheduler(stop).await }
    });
    eventually(async || world.last_run().await.state.is_final()).await;
    world.stop.stop();
    scheduler.await.unwrap();
}

// SYN-02
#[tokio::test]
async fn engines_side_by_side_never_sync_one_integration_twice_at_once() {
    let world = World::new(&["issues"]).await;
    world.pass(600);
    let other = SyncEngine::builder(&world.harness.client)
        .policy(policy())
        .build()
        .unwrap();
    let (one, two) = tokio::join!(
        world.engine.sync_due(9, &world.stop),
        other.sync_due(9, &world.stop)
    );
    assert_eq!(one.unwrap().len() + two.unwrap().len(), 1);
}

// L-SYN-2: a lease lasts as long as the work does.
#[tokio::test]
async fn a_slow_page_keeps_its_integration() {
    let world = World::new(&["issues"]).await;
    world.pass(600);
    world.feed.fail_next("issues", Fault::Hangs);
    let slow = tokio::spawn({
        let (engine, stop) = (world.engine.clone(), world.stop.clone());
        async move { engine.sync_due(1, &stop).await.unwrap() }
    });
    eventually(async || !world.feed.asked("issues").is_empty()).await;

    // Several times the lease, and less than a page may take.
    for n in 1..=12 {
        let before = world.row().await.sync_lease.unwrap().until;
        world.pass(20);
        eventually(async || world.row().await.sync_lease.unwrap().until > before).await;
        let other = world.engine.sync_due(1, &world.stop).await.unwrap();
        assert_eq!(other, [], "after {} s", n * 20);
    }
    assert_eq!(world.feed.asked("issues").len(), 1);

    world.pass(60);
    let report = slow.await.unwrap().pop().unwrap();
    assert!(matches!(
        report.streams[0].outcome,
        StreamOutcome::Failed(_)
    ));
}

// INV-07, SYN-04: the round of a process that was killed is taken over, at the page it was at.
#[tokio::test]
async fn a_killed_scheduler_is_taken_over_once_its_lease_ran_out() {
    let world = World::new(&["issues"]).await;
    for n in 1..=4 {
        world.feed.put("issues", &format!("r{n}"), n);
    }
    world.pass(600);
    world.feed.stream("issues", |stream| {
        stream.faults.extend([None, Some(Fault::Hangs)]);
    });
    let killed = tokio::spawn({
        let (engine, stop) = (world.engine.clone(), world.stop.clone());
        async move { engine.sync_due(1, &stop).await }
    });
    eventually(async || world.feed.asked("issues").len() == 2).await;
    killed.abort();
    assert!(killed.await.unwrap_err().is_cancelled());

    world.pass(59);
    let early = world.engine.sync_due(1, &world.stop).await.unwrap();
    assert_eq!(early, [], "it may still be alive");
    world.pass(2);
    let report = world.engine.sync_due(1, &world.stop).await.unwrap();
    world.drain_all().await;

    assert!(report[0].streams[0].resumed);
    assert_eq!(
        world.feed.asked("issues"),
        [(None, 1), (None, 2), (None, 2)]
    );
    assert_eq!(world.script.handled().len(), 4);
    assert_eq!(world.runs().await.len(), 1);
    assert!(world.last_run().await.state.is_final());
}
