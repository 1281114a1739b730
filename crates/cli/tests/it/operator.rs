//! What an operator does with circuits, budgets and keys.

use std::time::Duration;

use integrations::{
    entropy::EntropyExt as _,
    id::IntegrationId,
    idempotency::{NewReservation, Reservation, ReservationRef},
    keys::SystemEntropy,
    time::{earlier, later},
    value::IdempotencyKey,
};
use serde_json::{Value as Json, json};

use crate::world::{Kind, World};

const FOREVER: &str = "2999-01-01T00:00:00Z";

// CB-10, CB-15, CLI-08
pub(crate) async fn circuit(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    let run = |args: &[&str]| -> Json {
        let args: Vec<&str> = ["circuit", &id].iter().chain(args).copied().collect();
        world.run(&args).ok().json()
    };
    let status = run(&["status"]);
    assert_eq!(
        (&status["phase"], &status["override"]),
        (&json!("closed"), &Json::Null)
    );
    assert_eq!(status["failure_rate"], Json::Null, "nothing was called");

    let opened = run(&["open", "--until", FOREVER]);
    assert_eq!(opened["phase"], "open");
    let until = "2999-01-01T00:00:00.000Z";
    assert_eq!(
        opened["override"],
        json!({ "mode": "open", "until": until })
    );
    assert_eq!(run(&["status"]), opened);
    let closed = run(&["close"]);
    assert_eq!(
        closed["override"],
        json!({ "mode": "closed", "until": null })
    );
    assert_eq!(run(&["auto"])["override"], Json::Null);

    let past = ["circuit", &id, "open", "--until", "2026-01-01T00:00:00Z"];
    world.run(&past).exits(2).says("must be in the future");
    world.run(&["circuit", &id]).exits(2);
    world.run(&["circuit", &id, "ajar"]).exits(2);
    world.run(&["circuit", "7", "status"]).exits(3);
    world.run(&["circuit", "7", "open"]).exits(3);
    let table = ["circuit", &id, "status", "--format", "table"];
    assert!(
        world
            .run(&table)
            .ok()
            .text()
            .contains("held by an operator")
    );
}

// RL-11, CLI-08
pub(crate) async fn rate_limit(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    let run = |args: &[&str]| -> Json {
        let args: Vec<&str> = ["rate-limit", &id].iter().chain(args).copied().collect();
        world.run(&args).ok().json()
    };
    assert_eq!(run(&["show"])["override"], Json::Null);
    let set = run(&[
        "set",
        "--limit",
        "5",
        "--window",
        "1m",
        "--sliding",
        "--until",
        FOREVER,
    ]);
    let expected = json!({
        "limit": 5,
        "window_seconds": 60,
        "kind": "sliding",
        "until": "2999-01-01T00:00:00.000Z",
    });
    assert_eq!(set["override"], expected);
    assert_eq!(run(&["show"]), set);
    let again = run(&["set", "--limit", "9", "--window", "1h"]);
    assert_eq!(
        (&again["override"]["limit"], &again["override"]["kind"]),
        (&json!(9), &json!("fixed"))
    );
    assert_eq!(run(&["clear"])["override"], Json::Null);

    world
        .run(&["rate-limit", &id, "set", "--limit", "0", "--window", "1m"])
        .exits(2);
    world
        .run(&["rate-limit", &id, "set", "--limit", "1"])
        .exits(2);
    world.run(&["rate-limit", "7", "show"]).exits(3);
}

/// Reserves a key, as a process does that is on its way or was lost.
async fn reserve(world: &World, id: &str, key: &str, lost: bool) {
    let ports = world.ports().await;
    let entropy = SystemEntropy::new();
    let now = ports.clock.now();
    let minute = Duration::from_mins(1);
    let until = if lost {
        earlier(now, minute)
    } else {
        later(now, minute)
    };
    let claim = NewReservation {
        uid: entropy.uid().unwrap(),
        reservation: ReservationRef {
            integration_id: IntegrationId(id.parse().unwrap()),
            key: IdempotencyKey::new(key).unwrap(),
            token: entropy.uid().unwrap(),
        },
        fingerprints: Vec::new(),
        reserved_until: until,
        retry_unknown: false,
        now: earlier(now, 2 * minute),
    };
    let reserved = ports.ledger.reserve(&claim).await.unwrap();
    assert!(matches!(reserved, Reservation::Acquired(_)), "{reserved:?}");
}

// W-IDM-3
pub(crate) async fn idempotency(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    for key in ["lost-1", "lost-2"] {
        reserve(&world, &id, key, true).await;
    }
    reserve(&world, &id, "live", false).await;
    let keys = |args: &[&str]| -> Vec<String> {
        let args: Vec<&str> = ["idempotency", "list"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        let listed = world.run(&args).ok().json();
        let listed = listed.as_array().unwrap();
        listed
            .iter()
            .map(|row| row["key"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(keys(&[]), ["live", "lost-2", "lost-1"]);
    assert_eq!(
        keys(&["--state", "unknown", "--integration", &id]),
        ["lost-2", "lost-1"]
    );
    assert_eq!(keys(&["--state", "reserved", "--limit", "1"]), ["live"]);
    world
        .run(&["idempotency", "list", "--state", "gone"])
        .exits(2);

    let shown = world
        .run(&["idempotency", "show", &id, "lost-1"])
        .ok()
        .json();
    assert_eq!(
        (&shown["state"], &shown["answer"]),
        (&json!("unknown"), &Json::Null)
    );
    world.run(&["idempotency", "show", &id, "never"]).exits(3);

    let resolve = |key: &str, how: &str| {
        world.run(&[
            "idempotency",
            "resolve",
            &id,
            key,
            how,
            "--reason",
            "looked it up",
        ])
    };
    assert_eq!(
        resolve("lost-1", "--succeeded").ok().json()["state"],
        "succeeded"
    );
    let shown = world
        .run(&["idempotency", "show", &id, "lost-1"])
        .ok()
        .json();
    assert_eq!(shown["state"], "succeeded");
    assert_eq!(shown["resolution"], "looked it up");
    resolve("lost-1", "--did-not-happen")
        .exits(4)
        .says("`succeeded`");
    assert_eq!(
        resolve("lost-2", "--did-not-happen").ok().json()["state"],
        "free"
    );
    assert_eq!(keys(&[]), ["live", "lost-1"]);
    resolve("live", "--succeeded").exits(4).says("`reserved`");
    resolve("never", "--succeeded").exits(3);
    world.run(&["idempotency", "resolve", &id, "live"]).exits(2);
    world
        .run(&[
            "idempotency",
            "resolve",
            &id,
            "live",
            "--succeeded",
            "--did-not-happen",
        ])
        .exits(2);

    world
        .run(&["idempotency", "release", &id, "live"])
        .exits(4)
        .says("--force");
    world
        .run(&["idempotency", "release", &id, "live", "--force"])
        .ok();
    world.run(&["idempotency", "release", &id, "lost-1"]).ok();
    world
        .run(&["idempotency", "release", &id, "lost-1"])
        .exits(3);
    assert_eq!(keys(&[]), [""; 0]);
}
