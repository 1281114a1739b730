//! Answers from the cache, and calls made at most once, from one process to the next.

use http::StatusCode;
use integrations_testkit::twin::github::Fault;
use serde_json::{Value as Json, json};

use crate::world::{Kind, Ran, World};

const ISSUES: &str = "/repos/{owner}/{repo}/issues";

impl World {
    fn cached(&self, id: &str, more: &[&str]) -> Ran {
        let mut args = vec!["request", id, "GET", ISSUES];
        args.extend(more);
        self.run(&args)
    }

    /// Hits and stale hits of the first request.
    fn hits(&self) -> (Json, Json) {
        let rows = self.run(&["requests"]).ok().json();
        let oldest = rows.as_array().unwrap().last().unwrap();
        (oldest["cache_hits"].clone(), oldest["stale_hits"].clone())
    }
}

// RC-01, LOG-02
pub(crate) async fn hit(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.twin.clear_requests();
    let live = world
        .cached(&id, &["--cache", "60"])
        .ok()
        .says("recorded as request");
    let hit = world
        .cached(&id, &["--cache", "60"])
        .ok()
        .says("from the cache");
    assert_eq!(live.stdout, hit.stdout);
    assert_eq!(
        world.twin.requests().len(),
        1,
        "the other side was asked once"
    );
    assert_eq!(
        world
            .run(&["requests"])
            .ok()
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(world.hits(), (json!(1), json!(0)));
    // Another query is another request.
    world
        .cached(&id, &["--cache", "60", "--query", "state=all"])
        .ok()
        .says("recorded");
    world.cached(&id, &[]).ok().says("recorded");
    world.cached(&id, &["--serve-stale"]).exits(2);
}

// W-RC-2: after its time an entity tag is asked about, once
pub(crate) async fn revalidated(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.twin.clear_requests();
    let live = world.cached(&id, &["--cache", "0"]).ok();
    let same = world.cached(&id, &["--cache", "0"]).ok().says("unchanged");
    assert_eq!(live.stdout, same.stdout);
    let asked = world.twin.requests();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].headers.contains_key("if-none-match"));
    assert_eq!(asked[1].status, Some(StatusCode::NOT_MODIFIED));
    assert_eq!(world.hits(), (json!(1), json!(0)));
    world.twin.add_issue("New");
    let new = world.cached(&id, &["--cache", "0"]).ok();
    assert_ne!(live.stdout, new.stdout);
}

// REQ-26, RC-06
pub(crate) async fn stale(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    let live = world.cached(&id, &["--cache", "0", "--serve-stale"]).ok();
    world.twin.inject(Fault::status(503).times(2));
    let once = ["--cache", "0", "--attempts", "1"];
    let stale: Vec<&str> = once.into_iter().chain(["--serve-stale"]).collect();
    let stale = world.cached(&id, &stale).ok().says("an older answer");
    assert_eq!(live.stdout, stale.stdout);
    assert_eq!(world.hits(), (json!(0), json!(1)));
    let newest = world.run(&["requests", "--limit", "1"]).ok().json();
    assert_eq!(
        newest[0]["failure_class"], "upstream",
        "the failure is on record"
    );
    world.cached(&id, &once).exits(1).says("503");
}

// IDM-05, IDM-12, W-IDM-4
pub(crate) async fn once(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.twin.clear_requests();
    let call = |title: &str| {
        let body = json!({ "title": title }).to_string();
        let args = [
            "request",
            &id,
            "POST",
            ISSUES,
            "--data",
            &body,
            "--idempotency-key",
            "k1",
        ];
        world.run(&args)
    };
    let made = call("Once").ok().says("201");
    let again = call("Once").ok().says("on file for this key");
    assert_eq!(made.stdout, again.stdout);
    call("Another").exits(4).says("different request");
    assert_eq!(world.twin.requests().len(), 1);
    let shown = world.run(&["idempotency", "show", &id, "k1"]).ok().json();
    assert_eq!(
        (&shown["state"], &shown["status_code"]),
        (&json!("succeeded"), &json!(201))
    );
    assert_eq!(shown["answer"]["title"], "Once");
    let keyed = world.run(&["requests", "--key", "k1"]).ok().json();
    assert_eq!(keyed.as_array().unwrap().len(), 1);
}

// CB-10, CB-14
pub(crate) async fn circuit(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.twin.clear_requests();
    world.run(&["circuit", &id, "open"]).ok();
    world
        .cached(&id, &[])
        .exits(4)
        .says("an operator opened the circuit");
    assert_eq!(world.twin.requests().len(), 0);
    world.run(&["circuit", &id, "auto"]).ok();
    world.cached(&id, &[]).ok();
}
