//! The recorder over a journal that a test opens, closes and reads.

use std::{
    collections::VecDeque,
    sync::{Mutex, atomic::AtomicI64},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::{Semaphore, watch};

use super::*;
use crate::{
    event::{Event, EventKind, EventSink},
    id::{IntegrationId, RequestId},
    idempotency::{Completion, CompletionResult},
    integration::{HealthPolicy, HealthVerdict},
    request::NewRequest,
    store::{Batch, Rejected, StoreError, StoreErrorKind},
    time::later,
};

/// What the store does with the next batch.
enum Fault {
    Away,
    /// Only before the second of the batch.
    AwayHalfway,
    Panic,
}

/// Remembers batches; each waits for a permit.
struct Journal {
    batches: Mutex<Vec<Vec<String>>>,
    faults: Mutex<VecDeque<Fault>>,
    permits: Semaphore,
    under_way: watch::Sender<usize>,
    next_id: AtomicI64,
}

#[async_trait]
impl CallJournal for Journal {
    async fn record(&self, outcomes: &[CallOutcome]) -> Batch<Recorded> {
        self.under_way.send_modify(|n| *n += 1);
        self.permits.acquire().await.unwrap().forget();
        self.under_way.send_modify(|n| *n -= 1);
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            Some(Fault::Panic) => panic!("a store that panics"),
            Some(Fault::Away) => {
                let why = "the database cannot be reached";
                return Err(StoreError::new(StoreErrorKind::Unavailable, why));
            }
            Some(Fault::AwayHalfway) | None => {}
        }
        let stored = match fault {
            Some(Fault::AwayHalfway) => 1,
            _ => outcomes.len(),
        };
        let (outcomes, rest) = outcomes.split_at(stored);
        let names = outcomes.iter().map(|o| o.attempt.endpoint.clone());
        self.batches.lock().unwrap().push(names.collect());
        let answer = |outcome: &CallOutcome| {
            if outcome.attempt.endpoint == "bad" {
                return Err(Rejected::DoesNotFit);
            }
            let id = self
                .next_id
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(Recorded {
                id: Some(RequestId(id)),
                health: None,
                circuit: None,
                authorization_changed: false,
                completion: None,
            })
        };
        let rest = rest.iter().map(|_| Err(Rejected::Unavailable));
        Ok(outcomes.iter().map(answer).chain(rest).collect())
    }

    async fn complete(&self, _: &[Completion]) -> Result<Vec<CompletionResult>, StoreError> {
        unreachable!("the recorder settles attempts only")
    }
}

/// Time that a test moves.
struct Hand(watch::Sender<Duration>);

impl Hand {
    fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now += by);
    }

    /// Waits until somebody waits for time to pass.
    async fn is_awaited(&self) {
        while self.0.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl Clock for Hand {
    fn now(&self) -> DateTime<Utc> {
        later(DateTime::UNIX_EPOCH, *self.0.borrow())
    }

    fn monotonic(&self) -> Duration {
        *self.0.borrow()
    }

    async fn sleep_until(&self, at: DateTime<Utc>) {
        let is_there = |now: &Duration| later(DateTime::UNIX_EPOCH, *now) >= at;
        let _ = self.0.subscribe().wait_for(is_there).await;
    }
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<EventKind>>>);

impl EventSink for Heard {
    fn emit(&self, event: &Event) {
        self.0.lock().unwrap().push(event.kind.clone());
    }
}

struct World {
    journal: Arc<Journal>,
    clock: Arc<Hand>,
    events: Arc<Events>,
    heard: Heard,
    recorder: Arc<Recorder>,
}

fn world(queue: LogQueue) -> World {
    let journal = Arc::new(Journal {
        batches: Mutex::default(),
        faults: Mutex::default(),
        permits: Semaphore::new(0),
        under_way: watch::Sender::new(0),
        next_id: AtomicI64::new(1),
    });
    let clock = Arc::new(Hand(watch::Sender::new(Duration::ZERO)));
    let heard = Heard::default();
    let events = Arc::new(Events::start(vec![Arc::new(heard.clone())]));
    let recorder = Recorder::new(
        Arc::<Journal>::clone(&journal),
        Arc::<Hand>::clone(&clock),
        Arc::clone(&events),
        Arc::default(),
        queue,
    );
    World {
        journal,
        clock,
        events,
        heard,
        recorder: Arc::new(recorder),
    }
}

fn named(name: &str) -> Left {
    let attempt = NewRequest {
        integration_id: IntegrationId(1),
        endpoint: name.to_owned(),
        method: "GET".to_owned(),
        path: None,
        status_code: Some(200),
        request_data: None,
        response_data: None,
        headers: None,
        error: None,
        failure_class: None,
        idempotency_key: None,
        provider_request_id: None,
        duration_ms: None,
        retry_of: None,
        attempt: 1,
        related: None,
        sync_log_id: None,
        created_at: DateTime::UNIX_EPOCH,
    };
    Left {
        provider: ProviderKey::new("acme").unwrap(),
        outcome: Box::new(CallOutcome {
            attempt,
            logged: true,
            health: HealthVerdict::Success,
            health_policy: HealthPolicy::default(),
            authorization: None,
            circuit: None,
            completion: None,
        }),
    }
}

type Outcome = Result<Option<Recorded>, Unrecorded>;

impl World {
    fn record(&self, name: &str, mode: LogMode) -> tokio::task::JoinHandle<Outcome> {
        let (recorder, left) = (Arc::clone(&self.recorder), named(name));
        tokio::spawn(async move { recorder.record(left, mode).await })
    }

    /// Lets so many batches through.
    fn let_through(&self, batches: usize) {
        self.journal.permits.add_permits(batches);
    }

    /// Waits until as many batches were tried as may be.
    async fn all_let_through(&self) {
        while self.journal.permits.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
    }

    fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.journal.faults.lock().unwrap().extend(faults);
    }

    /// Waits until so many batches are with the store.
    async fn under_way(&self, batches: usize) {
        let mut under_way = self.journal.under_way.subscribe();
        under_way.wait_for(|n| *n == batches).await.unwrap();
    }

    /// Waits until so many outcomes wait or are under way.
    async fn waiting(&self, outcomes: usize) {
        while self.recorder.counts().waiting != outcomes {
            tokio::task::yield_now().await;
        }
    }

    fn batches(&self) -> Vec<Vec<String>> {
        self.journal.batches.lock().unwrap().clone()
    }

    /// What was told so far; nothing is told afterwards.
    async fn told(&self) -> Vec<EventKind> {
        self.events.drain().await;
        self.heard.0.lock().unwrap().clone()
    }
}

// DESIGN: a writer takes what waits, and answers all
#[tokio::test]
async fn those_who_come_while_a_batch_is_under_way_share_the_next() {
    let world = world(LogQueue::default());
    let first = world.record("first", LogMode::Durable);
    world.under_way(1).await;
    let others: Vec<_> = (0..31)
        .map(|_| world.record("x", LogMode::Durable))
        .collect();
    world.waiting(32).await;
    world.let_through(2);
    let mut ids = vec![first.await.unwrap().unwrap().unwrap().id];
    for other in others {
        ids.push(other.await.unwrap().unwrap().unwrap().id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 32, "everybody has a row of their own");
    let sizes: Vec<_> = world.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 31]);
    assert_eq!(world.recorder.counts().written, 32);
}

#[tokio::test]
async fn several_batches_are_under_way_where_there_are_writers() {
    let world = world(LogQueue {
        writers: 2,
        ..LogQueue::default()
    });
    let mut calls = Vec::new();
    for (name, under_way) in [("a", 1), ("b", 2)] {
        calls.push(world.record(name, LogMode::Durable));
        world.under_way(under_way).await;
    }
    calls.push(world.record("c", LogMode::Durable));
    world.waiting(3).await;
    assert_eq!(*world.journal.under_way.borrow(), 2, "and no third");
    world.let_through(3);
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_batch_has_a_bounded_size() {
    let world = world(LogQueue::default());
    let first = world.record("first", LogMode::Durable);
    world.under_way(1).await;
    for _ in 0..3 {
        let mut large = named("large");
        large.outcome.attempt.response_data = Some("x".repeat(2_000_000));
        let recorder = Arc::clone(&world.recorder);
        tokio::spawn(async move { recorder.record(large, LogMode::Background).await });
    }
    world.waiting(4).await;
    world.let_through(3);
    first.await.unwrap().unwrap();
    assert_eq!(world.recorder.drain().await, 0);
    let sizes: Vec<_> = world.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 2, 1]);
}

// INV-01
#[tokio::test]
async fn a_row_that_is_refused_is_refused_alone() {
    let world = world(LogQueue::default());
    let first = world.record("first", LogMode::Durable);
    world.under_way(1).await;
    let calls = ["a", "bad", "b"].map(|name| world.record(name, LogMode::Durable));
    world.waiting(4).await;
    world.let_through(2);
    first.await.unwrap().unwrap();
    let mut ends = Vec::new();
    for call in calls {
        ends.push(call.await.unwrap().is_ok());
    }
    assert_eq!(ends, [true, false, true]);
    let counts = world.recorder.counts();
    assert_eq!((counts.written, counts.refused, counts.kept), (3, 1, 0));
}

// INV-01
#[tokio::test]
async fn rows_the_store_had_not_taken_when_it_failed_are_kept() {
    let world = world(LogQueue::default());
    let first = world.record("first", LogMode::Durable);
    world.under_way(1).await;
    let calls = ["a", "b", "c"].map(|name| world.record(name, LogMode::Durable));
    world.waiting(4).await;
    world.let_through(1);
    first.await.unwrap().unwrap();
    world.fail_next([Fault::AwayHalfway]);
    world.let_through(1);
    let mut ends = Vec::new();
    for call in calls {
        ends.push(call.await.unwrap().is_ok());
    }
    assert_eq!(ends, [true, false, false]);
    let counts = world.recorder.counts();
    assert_eq!((counts.written, counts.refused, counts.kept), (2, 0, 2));
    world.let_through(1);
    assert_eq!(world.recorder.drain().await, 0);
    assert_eq!(world.batches()[2], ["b", "c"]);
}

#[tokio::test]
async fn the_row_of_a_caller_who_is_gone_is_written() {
    let world = world(LogQueue::default());
    let call = world.record("gone", LogMode::Durable);
    world.under_way(1).await;
    let behind = world.record("gone too", LogMode::Durable);
    world.waiting(2).await;
    call.abort();
    behind.abort();
    world.let_through(2);
    world.recorder.drain().await;
    assert_eq!(world.batches(), [["gone"], ["gone too"]]);
}

#[tokio::test]
async fn background_calls_go_on_until_the_line_is_full() {
    let world = world(LogQueue {
        waiting: Bound {
            rows: 2,
            bytes: usize::MAX,
        },
        ..LogQueue::default()
    });
    for name in ["a", "b", "c"] {
        let outcome = world.record(name, LogMode::Background).await.unwrap();
        assert_eq!(outcome, Ok(None), "{name} goes on");
        // The first is with the store, and the line empty again.
        world.under_way(1).await;
    }
    let pushed_back = world.record("d", LogMode::Background);
    world.waiting(4).await;
    assert!(!pushed_back.is_finished());
    world.let_through(2);
    let recorded = pushed_back.await.unwrap().unwrap();
    assert!(recorded.is_some_and(|recorded| recorded.id.is_some()));
    assert_eq!(world.batches(), [vec!["a"], vec!["b", "c", "d"]]);
}

fn unrecorded(told: &[EventKind]) -> usize {
    let is_one = |kind: &&EventKind| matches!(kind, EventKind::RequestUnrecorded { .. });
    told.iter().filter(is_one).count()
}

// DESIGN: the row is kept until the store is back
#[tokio::test]
async fn rows_are_kept_while_the_store_is_away_and_written_in_order_once_it_is_back() {
    let world = world(LogQueue::default());
    world.fail_next([Fault::Away, Fault::Away]);
    let first = world.record("first", LogMode::Durable);
    world.under_way(1).await;
    let behind = world.record("behind", LogMode::Durable);
    world.waiting(2).await;
    world.let_through(1);
    let away = Err(Unrecorded {
        reason: "the database cannot be reached".to_owned(),
    });
    assert_eq!(first.await.unwrap(), away);
    assert_eq!(
        behind.await.unwrap(),
        away,
        "whoever is in line need not wait"
    );
    let later = world.record("later", LogMode::Durable).await.unwrap();
    assert_eq!(later, away, "nor who comes later");
    let counts = world.recorder.counts();
    assert_eq!((counts.kept, counts.unrecorded), (3, 3));

    // The second try fails too, the third does not.
    for pause in [100, 200] {
        world.clock.is_awaited().await;
        world.let_through(1);
        world.clock.advance(Duration::from_millis(pause));
        world.all_let_through().await;
    }
    while world.recorder.counts().kept > 0 {
        tokio::task::yield_now().await;
    }
    world.waiting(0).await;
    assert_eq!(world.batches(), [["first", "behind", "later"]]);
    world.let_through(1);
    let after = world.record("after", LogMode::Durable).await.unwrap();
    assert!(after.unwrap().is_some());
    world.recorder.drain().await;
    let told = world.told().await;
    assert_eq!(unrecorded(&told), 3);
    assert_eq!(told.len(), 3 + 4, "and each is told once it is on record");
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_and_counted() {
    let world = world(LogQueue {
        kept: Bound {
            rows: 2,
            bytes: usize::MAX,
        },
        ..LogQueue::default()
    });
    world.fail_next([Fault::Away, Fault::Away]);
    world.let_through(2);
    for name in ["a", "b", "c", "d"] {
        world
            .record(name, LogMode::Durable)
            .await
            .unwrap()
            .unwrap_err();
    }
    let counts = world.recorder.counts();
    assert_eq!((counts.kept, counts.dropped), (2, 2));
    assert_eq!(world.recorder.drain().await, 2, "the store stays away");
    assert_eq!(world.recorder.counts().kept, 2);
}

#[tokio::test]
async fn a_store_that_panics_costs_the_batch_and_nothing_else() {
    let world = world(LogQueue::default());
    world.fail_next([Fault::Panic]);
    world.let_through(2);
    let lost = world.record("a", LogMode::Durable).await.unwrap();
    assert_eq!(lost.unwrap_err().reason, "the store panicked");
    world.record("b", LogMode::Durable).await.unwrap().unwrap();
    assert_eq!(world.batches(), [["b"]]);
    assert_eq!(world.recorder.counts().dropped, 1);
}

#[tokio::test]
async fn draining_waits_for_what_is_in_line() {
    let world = world(LogQueue::default());
    world
        .record("a", LogMode::Background)
        .await
        .unwrap()
        .unwrap();
    world.under_way(1).await;
    world
        .record("b", LogMode::Background)
        .await
        .unwrap()
        .unwrap();
    let recorder = Arc::clone(&world.recorder);
    let drained = tokio::spawn(async move { recorder.drain().await });
    tokio::task::yield_now().await;
    assert!(!drained.is_finished());
    world.let_through(2);
    assert_eq!(drained.await.unwrap(), 0);
    assert_eq!(world.batches(), [["a"], ["b"]]);
}

#[tokio::test]
async fn draining_tries_what_is_kept_once_more() {
    let world = world(LogQueue::default());
    world.fail_next([Fault::Away]);
    world.let_through(2);
    world
        .record("a", LogMode::Durable)
        .await
        .unwrap()
        .unwrap_err();
    world.clock.is_awaited().await;
    assert_eq!(world.recorder.drain().await, 0);
    assert_eq!(world.batches(), [["a"]]);
}
