//! Enumeration: pages, versions, cursors, failures, take-over.

use async_trait::async_trait;
use integrations_core::{
    client::IntegrationClient,
    encryptor::{
        DigestPurpose, EncryptionError, Encryptor, KeyCheck, KeyedDigest, SealContext, Sealed,
    },
    entropy::{Entropy, EntropyError},
    operation_log::OperationStatus,
    sync::{
        RunState,
        engine::{RoundReport, StreamOutcome, SyncEngine},
    },
    value::KeyId,
};
use integrations_testkit::{canary::Said, encryptor::TestKeys, transport::Reply};
use secrecy::SecretSlice;
use serde_json::json;

use crate::{
    feed::Fault,
    world::{Act, World},
};

fn ids(handled: &[(String, i64)]) -> Vec<&str> {
    handled.iter().map(|(id, _)| id.as_str()).collect()
}

// SYN-06, SYN-35, L-SYN-1
#[tokio::test]
async fn a_sync_hands_every_record_over_and_then_moves_the_cursor() {
    let world = World::new(&["issues"]).await;
    for (id, version) in [("a", 1), ("b", 2), ("c", 3)] {
        world.feed.put("issues", id, version);
    }

    let report = world.sync().await;

    assert_eq!(report.streams[0].outcome, StreamOutcome::Enumerated);
    assert_eq!(report.streams[0].counts.stored, 3);
    assert_eq!(world.feed.asked("issues"), [(None, 1), (None, 2)]);
    assert_eq!(world.cursor("issues").await, None, "nothing is handled yet");

    world.drain().await;

    assert_eq!(ids(&world.script.handled_sorted()), ["a", "b", "c"]);
    assert_eq!(world.cursor("issues").await, Some(json!(3)));
    let run = world.last_run().await;
    assert_eq!(run.state, RunState::Success);
    assert_eq!((run.counts.total, run.counts.succeeded), (3, 3));
    assert!(world.row().await.last_synced_at.is_some());
}

// SYN-07, SYN-41
#[tokio::test]
async fn the_next_sync_begins_at_the_cursor_and_hands_over_what_is_new() {
    let world = World::new(&["issues"]).await;
    world.feed.put("issues", "a", 1);
    world.feed.put("issues", "b", 2);
    world.whole_sync().await;

    world.feed.put("issues", "a", 3);
    let report = world.sync().await;
    world.drain().await;

    assert_eq!(world.feed.asked("issues").last(), Some(&(Some(2), 1)));
    assert_eq!(report.streams[0].counts.duplicates, 1, "b is done");
    assert_eq!(world.script.handled().len(), 3);
    assert_eq!(world.script.handled().last(), Some(&("a".to_owned(), 3)));
    assert_eq!(world.cursor("issues").await, Some(json!(3)));
}

// SYN-07, W-SYN-10
#[tokio::test]
async fn a_version_told_twice_is_dropped_and_counted() {
    let world = World::new(&["issues"]).await;
    world.feed.stream("issues", |stream| {
        let told = [("a", 1), ("b", 2), ("a", 1), ("a", 4)];
        stream.records = told.map(|(id, v)| (id.to_owned(), v)).to_vec();
    });

    world.whole_sync().await;

    let run = world.last_run().await;
    assert_eq!((run.counts.total, run.counts.duplicates), (3, 1));
    let log = world.operations().await.remove(0);
    assert_eq!(log.entry.metadata.unwrap()["duplicates"], json!(1));
}

// SYN-11: counted over pauses, and said once.
#[tokio::test]
async fn a_run_with_many_items_is_warned_of_once() {
    let said = Said::default();
    let _hearing = said.hear_traces();
    let warnings = || {
        let all = said.all().into_iter();
        all.filter(|text| text.contains("many items")).count()
    };
    let world = World::with(&["issues"], |builder| {
        let mut policy = crate::world::policy();
        policy.many_items = 4;
        builder.policy(policy)
    })
    .await;
    for n in 1..=4 {
        world.feed.put("issues", &format!("r{n}"), n);
    }
    world.whole_sync().await;
    assert_eq!(warnings(), 0);

    for n in 11..=18 {
        world.feed.put("issues", &format!("r{n}"), n);
    }
    world.feed.stream("issues", |stream| {
        stream.faults.extend([None, None, Some(Fault::Throttles)]);
    });
    world.sync().await;
    assert_eq!(warnings(), 0);
    world.pass(60);
    world.engine.sync_due(1, &world.stop).await.unwrap();

    assert_eq!(warnings(), 1);
}

// SYN-09
#[tokio::test]
async fn a_sync_without_records_ends_at_once() {
    let world = World::new(&["issues"]).await;

    let report = world.sync().await;

    assert!(report.streams[0].ended);
    let row = world.row().await;
    assert_eq!(row.last_synced_at, Some(row.updated_at));
    assert_eq!(world.last_run().await.state, RunState::Success);
    assert_eq!(row.sync_lease, None);
}

// SYN-08
#[tokio::test]
async fn calls_of_an_enumeration_are_those_of_its_run() {
    let world = World::new(&["issues"]).await;
    world.feed.state().calls = true;
    let reply = Reply::status(200).json(&json!([]));
    let transport = &world.harness.transport;
    transport.reply(http::Method::GET, "/records", reply);

    world.sync().await;

    let log_id = world.last_run().await.log_id;
    assert!(log_id.is_some());
    let requests = world.harness.requests().await;
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].attempt.sync_log_id, log_id);
}

// W-SYN-1, INV-07, SYN-34, SYN-36
#[tokio::test]
async fn a_failed_enumeration_ends_its_run_and_moves_the_next_sync() {
    let world = World::new(&["issues"]).await;
    let mut waits = Vec::new();
    for fault in [Fault::Fails, Fault::Panics, Fault::Fails] {
        world.feed.fail_next("issues", fault);
        let report = world.sync().await;
        assert!(matches!(
            report.streams[0].outcome,
            StreamOutcome::Failed(_)
        ));
        let row = world.row().await;
        waits.push((row.next_sync_at.unwrap() - row.updated_at).num_minutes());
        world.pass(60);
    }

    assert_eq!(waits, [10, 20, 40]);
    let runs = world.runs().await;
    assert!(runs.iter().all(|run| run.state == RunState::Failed));
    assert_eq!(
        runs[0].enumeration_error.as_deref(),
        Some("the feed is down")
    );
    assert_eq!(
        runs[1].enumeration_error.as_deref(),
        Some("the provider panicked")
    );
    let log = world.operations().await.remove(0);
    assert_eq!(log.entry.status, OperationStatus::Failed);
    assert_eq!(world.row().await.last_synced_at, None);
}

// INV-06
#[tokio::test]
async fn an_enumeration_that_failed_moves_no_cursor_and_loses_nothing() {
    let world = World::new(&["issues"]).await;
    for (id, version) in [("c", 3), ("b", 2), ("a", 1)] {
        world.feed.put("issues", id, version);
    }
    world.feed.stream("issues", |stream| {
        stream.faults.extend([None, Some(Fault::Fails)]);
    });

    world.whole_sync().await;

    assert_eq!(world.last_run().await.state, RunState::Partial);
    assert_eq!(ids(&world.script.handled_sorted()), ["b", "c"]);
    assert_eq!(world.cursor("issues").await, None);

    world.whole_sync().await;

    assert_eq!(ids(&world.script.handled_sorted()), ["a", "b", "c"]);
    assert_eq!(world.cursor("issues").await, Some(json!(3)));
}

/// One page with a record that no store takes, before one that is stored.
async fn refused_on_the_only_page(sorted: bool) -> World {
    let world = World::new(&["issues"]).await;
    world.feed.stream("issues", |stream| stream.sorted = sorted);
    world.feed.put("issues", "a", 10);
    world.whole_sync().await;
    world.feed.stream("issues", |stream| {
        stream.records = [("b", 12), ("c", 15)]
            .map(|(id, v)| (id.to_owned(), v))
            .to_vec();
        stream.unfit.insert("b".to_owned());
    });
    world
}

#[track_caller]
fn assert_missed_one(report: &RoundReport) {
    let stream = &report.streams[0];
    assert!(
        matches!(&stream.outcome, StreamOutcome::Failed(error) if error.contains("could not be stored")),
        "{stream:?}"
    );
    assert_eq!(stream.counts.rejected, 1);
}

// INV-06, INV-07
#[tokio::test]
async fn a_record_that_is_refused_holds_the_cursor_and_is_read_again() {
    for sorted in [false, true] {
        let world = refused_on_the_only_page(sorted).await;

        let report = world.sync().await;
        world.drain_all().await;

        assert_missed_one(&report);
        assert_eq!(world.cursor("issues").await, Some(json!(10)), "{sorted}");
        let run = world.last_run().await;
        assert_eq!(run.state, RunState::Partial);
        assert_eq!(run.counts.succeeded, 1);
        assert!(run.enumeration_error.is_some());
        let log = world.operations().await.pop().unwrap();
        assert_eq!(log.entry.error, run.enumeration_error);

        world.feed.stream("issues", |stream| stream.unfit.clear());
        world.whole_sync().await;

        assert_eq!(world.feed.asked("issues").last(), Some(&(Some(10), 1)));
        assert_eq!(ids(&world.script.handled_sorted()), ["a", "b", "c"]);
        assert_eq!(world.cursor("issues").await, Some(json!(15)), "{sorted}");
        assert_eq!(world.last_run().await.state, RunState::Success);
    }
}

// INV-06: whoever goes on with a run knows what it missed.
#[tokio::test]
async fn a_refusal_is_remembered_over_a_pause() {
    let world = refused_on_the_only_page(false).await;
    world.feed.state().page_size = 1;
    world.feed.stream("issues", |stream| {
        stream.faults.extend([None, Some(Fault::Throttles)]);
    });

    world.sync().await;
    world.pass(60);
    let reports = world.engine.sync_due(1, &world.stop).await.unwrap();
    world.drain_all().await;

    let stream = &reports[0].streams[0];
    assert!(stream.resumed);
    assert!(
        matches!(stream.outcome, StreamOutcome::Failed(_)),
        "{stream:?}"
    );
    assert_eq!(world.last_run().await.state, RunState::Partial);
    assert_eq!(world.cursor("issues").await, Some(json!(10)));
}

// W-SYN-2
#[tokio::test]
async fn a_backfill_that_was_cut_off_goes_on_at_its_page_and_cursor() {
    let world = World::new(&["issues"]).await;
    for n in 1..=6 {
        world.feed.put("issues", &format!("r{n}"), n);
    }
    world.feed.stream("issues", |stream| {
        stream.faults.extend([None, Some(Fault::Hangs)]);
    });
    let killed = tokio::spawn({
        let (engine, request) = (
            world.engine.clone(),
            integrations_core::sync::engine::SyncRequest::of(world.integration.id),
        );
        let stop = world.stop.clone();
        async move { engine.sync_now(&request, &stop).await }
    });
    let asked = async || world.feed.asked("issues").len() == 2;
    crate::world::eventually(asked).await;
    killed.abort();
    assert!(killed.await.unwrap_err().is_cancelled());

    let busy = world.engine.sync_due(10, &world.stop).await.unwrap();
    assert_eq!(busy, [], "the lease lasts");
    world.pass(61);
    let reports = world.engine.sync_due(10, &world.stop).await.unwrap();

    let report = &reports[0].streams[0];
    assert!(report.resumed && report.outcome == StreamOutcome::Enumerated);
    assert_eq!(
        world.feed.asked("issues"),
        [(None, 1), (None, 2), (None, 2), (None, 3)]
    );
    world.drain().await;
    assert_eq!(world.script.handled().len(), 6);
    assert_eq!(world.runs().await.len(), 1);
}

// L-SYN-3
#[tokio::test]
async fn a_throttled_enumeration_waits_and_goes_on() {
    let world = World::new(&["issues"]).await;
    for n in 1..=4 {
        world.feed.put("issues", &format!("r{n}"), n);
    }
    world.feed.stream("issues", |stream| {
        stream.faults.extend([None, Some(Fault::Throttles)]);
    });

    let report = world.sync().await;

    let until = world.harness.client.ports().clock.now() + chrono::Duration::minutes(1);
    assert_eq!(report.streams[0].outcome, StreamOutcome::Paused(until));
    let row = world.row().await;
    assert_eq!((row.next_sync_at, row.sync_lease), (Some(until), None));
    assert_eq!(row.consecutive_sync_failures, 0);

    world.pass(60);
    world.engine.sync_due(10, &world.stop).await.unwrap();
    world.drain().await;
    assert_eq!(world.last_run().await.state, RunState::Success);
    assert_eq!(world.script.handled().len(), 4);
}

// SYN-05, INV-07
#[tokio::test]
async fn nothing_is_enumerated_while_items_of_the_last_run_are_open() {
    let world = World::new(&["issues"]).await;
    world.feed.put("issues", "a", 1);
    world.sync().await;

    let again = world.sync().await;

    assert_eq!(again.streams[0].outcome, StreamOutcome::InFlight);
    assert_eq!(world.feed.asked("issues").len(), 1);
    assert_eq!(world.runs().await.len(), 1);
    let row = world.row().await;
    assert!(row.next_sync_at.unwrap() > row.updated_at);
    world.drain().await;
    assert_eq!(world.last_run().await.state, RunState::Success);
}

// INV-06
#[tokio::test]
async fn a_sorted_stream_moves_its_cursor_while_it_is_enumerated() {
    let world = World::with(&["issues"], |builder| {
        let mut policy = crate::world::policy();
        policy.cursor_every = std::time::Duration::ZERO;
        builder.policy(policy)
    })
    .await;
    world.feed.stream("issues", |stream| {
        stream.sorted = true;
        stream.records = (1..=6).map(|n| (format!("r{n}"), n)).collect();
        stream.faults.extend([None, Some(Fault::Throttles)]);
    });

    world.sync().await;
    world.drain().await;
    assert_eq!(world.cursor("issues").await, None);
    world.pass(60);
    world.feed.stream("issues", |stream| {
        stream.faults.extend([None, Some(Fault::Fails)]);
    });
    world.engine.sync_due(1, &world.stop).await.unwrap();

    assert_eq!(
        world.cursor("issues").await,
        Some(json!(2)),
        "the first page is handled; the second is stored"
    );
    world.drain().await;
    assert_eq!(world.last_run().await.state, RunState::Partial);
    assert_eq!(
        world.cursor("issues").await,
        Some(json!(4)),
        "what a sorted enumeration reached before it failed stays reached"
    );
}

// SYN-32, SYN-33
#[tokio::test]
async fn a_cursor_only_the_provider_can_tell_waits_for_everything() {
    let world = World::new(&["issues"]).await;
    world.feed.put("issues", "a", 1);
    world.feed.put("issues", "b", 2);
    world.feed.put("issues", "c", 3);
    world
        .feed
        .stream("issues", |stream| stream.cursor = Some(json!("opaque")));
    world.script.on("b", [Act::Hopeless]);

    world.whole_sync().await;
    assert_eq!(world.cursor("issues").await, None);

    let failed = world.item("b").await.id;
    world.engine.items().retry(&[failed]).await.unwrap();
    world.drain_all().await;
    assert_eq!(world.cursor("issues").await, Some(json!("opaque")));
}

// SYN-06
#[tokio::test]
async fn a_full_sync_looks_at_everything_again() {
    let world = World::new(&["issues"]).await;
    world.feed.put("issues", "a", 1);
    world.feed.put("issues", "b", 2);
    world.whole_sync().await;

    world
        .sync_by(|request| integrations_core::sync::engine::SyncRequest {
            full: true,
            ..request
        })
        .await;

    assert_eq!(world.feed.asked("issues").last(), Some(&(None, 1)));
    assert_eq!(world.script.handled().len(), 2, "nothing changed");
}

// SYN-06
#[tokio::test]
async fn a_provider_without_cursors_is_enumerated_whole_each_time() {
    let world = World::new(&["issues"]).await;
    world.feed.state().incremental = false;
    world.feed.put("issues", "a", 1);
    world.whole_sync().await;
    world.feed.put("issues", "b", 1);

    world.whole_sync().await;

    assert_eq!(world.feed.asked("issues"), [(None, 1), (None, 1)]);
    assert_eq!(ids(&world.script.handled()), ["a", "b"]);
    assert!(world.last_run().await.full_resync);
}

// W-SYN-12
#[tokio::test]
async fn each_stream_has_a_run_and_a_cursor_of_its_own() {
    let world = World::new(&["comments", "issues"]).await;
    world.feed.put("issues", "a", 1);
    world.feed.put("comments", "c", 7);
    world.script.on("c", [Act::Hopeless]);

    world.whole_sync().await;

    assert_eq!(world.cursor("issues").await, Some(json!(1)));
    assert_eq!(world.cursor("comments").await, None);
    let states: Vec<_> = world
        .runs()
        .await
        .into_iter()
        .map(|run| run.state)
        .collect();
    assert_eq!(states, [RunState::Failed, RunState::Success]);

    let issues = "issues".parse().unwrap();
    world
        .sync_by(|request| integrations_core::sync::engine::SyncRequest {
            streams: Some(vec![issues]),
            ..request
        })
        .await;
    assert_eq!(world.feed.asked("comments").len(), 1);
    assert_eq!(world.feed.asked("issues").len(), 2);
}

/// Keys after a rotation: another primary one, and the one before it.
struct Rotated(TestKeys);

#[async_trait]
impl Encryptor for Rotated {
    async fn seal(
        &self,
        context: &SealContext,
        plaintext: &SecretSlice<u8>,
    ) -> Result<Sealed, EncryptionError> {
        self.0.seal(context, plaintext).await
    }

    async fn open(
        &self,
        context: &SealContext,
        sealed: &Sealed,
    ) -> Result<SecretSlice<u8>, EncryptionError> {
        self.0.open(context, sealed).await
    }

    async fn digests(
        &self,
        purpose: DigestPurpose,
        data: &[u8],
    ) -> Result<Vec<KeyedDigest>, EncryptionError> {
        let old = self.0.digests(purpose, data).await?.remove(0);
        let key_id = KeyId::new("rotated").unwrap();
        let mac = old.mac.map(|byte| !byte);
        Ok(vec![KeyedDigest { key_id, mac }, old])
    }

    async fn key_checks(&self) -> Result<Vec<KeyCheck>, EncryptionError> {
        self.0.key_checks().await
    }
}

impl Entropy for Rotated {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        self.0.fill(bytes)
    }
}

// DESIGN: "a digest under any key still in the ring verifies"
#[tokio::test]
async fn records_without_a_version_are_not_handled_again_after_a_rotation() {
    let mut world = World::new(&["issues"]).await;
    world
        .feed
        .stream("issues", |stream| stream.unversioned = true);
    world.feed.put("issues", "a", 1);
    world.whole_sync().await;
    let keys = Rotated(TestKeys::new(7));
    let client = IntegrationClient::builder(world.harness.store.clone(), keys)
        .transport(world.harness.transport.clone())
        .provider(world.feed.clone())
        .build()
        .unwrap();
    let builder = SyncEngine::builder(&client).any_handler(world.script.clone());
    world.engine = builder.build().unwrap();

    let report = world.sync().await;
    world.drain().await;

    assert_eq!(report.streams[0].counts.duplicates, 1);
    assert_eq!(world.script.handled().len(), 1);
}
