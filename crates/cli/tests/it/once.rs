//! At most once, across processes that know nothing of each other.

use std::{process::Stdio, thread};

use integrations_testkit::twin::github::Fault;

use crate::world::{Kind, Ran, World, finish};

const ISSUES: &str = "/repos/{owner}/{repo}/issues";
const TITLE: &str = r#"{"title":"Charged once"}"#;

/// Processes in all, and how many of them at a time: each has a database connection or two.
const PROCESSES: usize = 200;
const AT_A_TIME: usize = 25;

fn post<'a>(id: &'a str, key: &'a str) -> [&'a str; 8] {
    [
        "request",
        id,
        "POST",
        ISSUES,
        "--data",
        TITLE,
        "--idempotency-key",
        key,
    ]
}

/// 200 processes, one key: one upstream call (INV-12).
pub(crate) async fn many(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    let before = world.twin.issue_count();
    let world = &world;
    let ran: Vec<Ran> = thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_A_TIME)
            .map(|_| {
                scope.spawn(|| {
                    let runs = 0..PROCESSES / AT_A_TIME;
                    runs.map(|_| world.run(&post(&id, "k1")))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(world.twin.issue_count(), before + 1);
    let done = ran.iter().filter(|one| one.code == 0).count();
    let refused = ran.iter().filter(|one| one.code == 4).count();
    let odd: Vec<&Ran> = ran
        .iter()
        .filter(|one| !matches!(one.code, 0 | 4))
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
    assert!(done >= 1, "{done} done, {refused} refused");
    let again = world.run(&post(&id, "k1")).ok();
    assert_eq!(again.json()["title"], "Charged once");
    assert_eq!(world.twin.issue_count(), before + 1);
}

/// Killed between sending and the answer: nobody knows, and nothing is sent again.
pub(crate) async fn killed(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.twin.inject(Fault::Hold);
    let mut child = world
        .command(&post(&id, "k1"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let posted = || {
        let requests = world.twin.requests();
        requests.iter().filter(|one| one.method == "POST").count()
    };
    // The process says nothing before the answer; the twin has seen its request.
    while posted() == 0 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the process ended early"
        );
        tokio::task::yield_now().await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    world.twin.release_held();

    finish(world.command(&post(&id, "k1")))
        .exits(4)
        .says("under way");
    // A minute later its reservation has run out.
    world
        .execute("UPDATE {p}_idempotency_keys SET reserved_until = '2026-01-01T00:00:00.000000Z'")
        .await;
    finish(world.command(&post(&id, "k1")))
        .exits(4)
        .says("may have happened");
    let shown = world.run(&["idempotency", "show", &id, "k1"]).ok().json();
    assert_eq!(shown["state"], "unknown");
    assert_eq!(posted(), 1);

    let resolve = [
        "idempotency",
        "resolve",
        &id,
        "k1",
        "--did-not-happen",
        "--reason",
        "looked",
    ];
    world.run(&resolve).ok();
    world.run(&post(&id, "k1")).ok();
    assert_eq!(posted(), 2);
}

/// A circuit opened by one process stops another.
pub(crate) async fn circuit(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.configure("[circuit]\nstrategy = \"count\"\nthreshold = 2\n");
    world.twin.inject(Fault::status(503).times(2));
    for _ in 0..2 {
        world.get(&id, ISSUES).exits(1);
    }
    world.get(&id, ISSUES).exits(4).says("the circuit is open");
}

/// `Retry-After` is waited for by a real clock.
pub(crate) async fn retried(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.configure("[retry]\nread_attempts = 3\n");
    world.twin.inject(Fault::status(502));
    let retry_after = integrations_testkit::twin::github::RetryAfter::Seconds(0);
    world.twin.inject(Fault::TooManyRequests(retry_after));
    world.get(&id, ISSUES).ok();
    let rows = world.run(&["requests"]).ok().json();
    let rows = rows.as_array().unwrap();
    let first = &rows[2];
    assert_eq!((rows.len(), &first["attempt"]), (3, &serde_json::json!(1)));
    for row in &rows[..2] {
        assert_eq!(row["retry_of"], first["id"]);
    }
}
