//! Calls, what they print, and what is recorded of them.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use http::StatusCode;
use integrations_testkit::twin::github::Fault;
use serde_json::{Value as Json, json};

use crate::world::{Kind, Ran, World};

const ISSUES: &str = "/repos/{owner}/{repo}/issues";

impl World {
    pub(crate) fn get(&self, id: &str, endpoint: &str) -> Ran {
        self.run(&["request", id, "GET", endpoint])
    }

    fn newest(&self) -> Json {
        self.run(&["requests", "--limit", "1"]).ok().json()[0].clone()
    }

    fn failures(&self, id: &str) -> Json {
        self.run(&["show", id]).ok().json()["consecutive_failures"].clone()
    }
}

pub(crate) async fn answers(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    let args = [
        "request",
        &id,
        "GET",
        ISSUES,
        "--query",
        "per_page=2",
        "--query",
        "state=all",
    ];
    let ran = world.run(&args).ok().says("200 OK (recorded as request");
    assert_eq!(ran.json().as_array().unwrap().len(), 2);
    let row = world.newest();
    assert_eq!(row["endpoint"], ISSUES);
    assert_eq!(
        row["path"],
        "/repos/acme/widgets/issues?per_page=2&state=all"
    );
    assert_eq!(
        (&row["method"], &row["status_code"]),
        (&json!("GET"), &json!(200))
    );
    assert!(
        row["provider_request_id"].is_string() && row["duration_ms"].is_u64(),
        "{row}"
    );

    let body = r#"{"title":"From outside"}"#;
    let ran = world
        .run(&["request", &id, "post", ISSUES, "--data", body])
        .ok()
        .says("201");
    assert_eq!(ran.json()["title"], "From outside");
    assert_eq!(world.newest()["request_data"], body);
    std::fs::write(world.path("issue.json"), body).unwrap();
    world
        .run(&["request", &id, "POST", ISSUES, "--data", "@issue.json"])
        .ok();
    world
        .run(&["request", &id, "POST", ISSUES, "--data", "{"])
        .exits(2)
        .says("not JSON");

    let missing = world
        .get(&id, "/repos/{owner}/{repo}/issues/9999")
        .exits(1)
        .says("404");
    assert_eq!(missing.json()["message"], "Not Found");
    assert_eq!(world.newest()["failure_class"], "client");
    world.get(&id, "https://evil.example/").exits(4);
    world
        .get(&id, "/repos/{nobody}")
        .exits(4)
        .says("`{nobody}`");
}

// HLT-01, HLT-02
pub(crate) async fn health(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.twin.inject(Fault::status(500).times(2));
    let failed = world.get(&id, ISSUES).exits(1).says("500");
    assert_eq!(failed.json()["message"], "Internal Server Error");
    world.get(&id, ISSUES).exits(1);
    assert_eq!(world.failures(&id), 2);
    let row = world.newest();
    assert_eq!(row["failure_class"], "upstream");
    assert_eq!(
        row["error"],
        "the other side answered 500 Internal Server Error"
    );
    world.twin.inject(Fault::status(404));
    world.get(&id, ISSUES).exits(1);
    assert_eq!(world.failures(&id), 2, "a 404 is no outage");
    world.get(&id, ISSUES).ok();
    assert_eq!(world.failures(&id), 0);
    let listed = world.run(&["list"]).ok().json();
    assert_eq!(listed[0]["requests_24h"], 4);
    assert_eq!(listed[0]["error_rate_24h"], 0.75);
}

// HLT-06
pub(crate) async fn disabled(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.configure("[health]\ndegraded_after = 1\nfailing_after = 2\ndisabled_after = 3\n");
    world.twin.inject(Fault::status(503).times(3));
    for status in ["degraded", "failing", "disabled"] {
        world.get(&id, ISSUES).exits(1);
        assert_eq!(
            world.run(&["show", &id]).ok().json()["health_status"],
            status
        );
    }
    assert_eq!(
        world.run(&["list", "--health", "disabled"]).ok().json()[0]["active"],
        "off (health)"
    );
    world
        .get(&id, ISSUES)
        .exits(4)
        .says("disabled by its health");
    let enabled = world.run(&["enable", &id]).ok().json();
    assert_eq!(
        (&enabled["active"], &enabled["consecutive_failures"]),
        (&json!("on"), &json!(0))
    );
    world.get(&id, ISSUES).ok();
}

// LOG-06, LOG-08
pub(crate) async fn bodies(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.configure("[logging]\nmax_response_bytes = 1024\n");
    let logo = "/repos/{owner}/{repo}/contents/logo.png";
    let raw = "accept: application/vnd.github.raw+json";
    let picture = world
        .run(&["request", &id, "GET", logo, "--header", raw])
        .ok();
    assert!(picture.stdout.starts_with(b"\x89PNG\r\n\x1a\n"));
    let marker = world.newest()["response_data"].as_str().unwrap().to_owned();
    let length = format!("[binary body: {} bytes, sha256 ", picture.stdout.len());
    assert!(marker.starts_with(&length), "{marker}");

    let whole = world.get(&id, ISSUES).ok().stdout.len();
    let cut = world.newest()["response_data"].as_str().unwrap().to_owned();
    assert!(
        cut.len() <= 1024 && cut.ends_with(&format!("[cut: {whole} bytes in all]")),
        "{cut}"
    );

    world.twin.inject(Fault::HugeBody {
        bytes: 20 * 1024 * 1024,
    });
    let huge = world.get(&id, ISSUES).exits(1);
    assert!(huge.stdout.is_empty());
    let row = world.newest();
    assert!(row["error"].as_str().unwrap().contains("larger"), "{row}");
    huge.says("larger");
}

pub(crate) async fn filters(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.get(&id, "/user").ok();
    world.twin.inject(Fault::status(502));
    world.get(&id, ISSUES).exits(1);
    world.get(&id, "/nowhere").exits(1);
    let count = |args: &[&str]| {
        let args: Vec<&str> = ["requests"].iter().chain(args).copied().collect();
        world.run(&args).ok().json().as_array().unwrap().len()
    };
    assert_eq!(count(&[]), 3);
    assert_eq!(count(&["--status", "success"]), 1);
    assert_eq!(count(&["--status", "failed"]), 2);
    assert_eq!(count(&["--status", "upstream"]), 1);
    assert_eq!(count(&["--status", "404"]), 1);
    assert_eq!(count(&["--status", "5xx"]), 1);
    assert_eq!(count(&["--since", "1h", "--integration", &id]), 3);
    assert_eq!(count(&["--limit", "2"]), 2);
    assert_eq!(count(&["--endpoint", "/nowhere"]), 1);
    assert_eq!(count(&["--method", "get"]), 3);
    assert_eq!(count(&["--method", "POST"]), 0);
    assert_eq!(count(&["--key", "k"]), 0);
    assert_eq!(count(&["--related", "ticket:7"]), 0);
    assert_eq!(count(&["--until", "2026-01-01T00:00:00Z"]), 0);
    let oldest = world.run(&["requests"]).ok().json()[2].clone();
    let theirs = oldest["provider_request_id"].as_str().unwrap();
    assert_eq!(count(&["--provider-request", theirs]), 1);
    assert_eq!(count(&["--chain", &oldest["id"].to_string()]), 1);
    assert_eq!(
        (&oldest["cache_hits"], &oldest["stale_hits"]),
        (&json!(0), &json!(0))
    );
    world.run(&["requests", "--status", "good"]).exits(2);
    world.run(&["requests", "--until", "soon"]).exits(2);
    world.run(&["requests", "--since", "1 day"]).exits(2);

    let newest = world.newest();
    assert_eq!(newest["endpoint"], "/nowhere", "the newest comes first");
    let shown = world
        .run(&["requests", "show", &newest["id"].to_string()])
        .ok()
        .json();
    assert_eq!(shown, newest);
    let lines = world.run(&["requests", "--format", "ndjson"]).ok().text();
    assert_eq!(lines.lines().count(), 3);
    let table = world.run(&["requests", "--format", "table"]).ok().text();
    assert!(table.trim_start().starts_with("ID"), "{table}");
}

pub(crate) async fn follow(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.get(&id, "/user").ok();
    let mut following = world
        .command(&["requests", "--follow"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next = || -> Json { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["endpoint"], "/user");
    world.get(&id, ISSUES).ok();
    assert_eq!(next()["endpoint"], ISSUES);
    world
        .twin
        .inject(Fault::status(StatusCode::NOT_FOUND.as_u16()));
    world.get(&id, "/user").exits(1);
    assert_eq!(next()["status_code"], 404);
    following.kill().unwrap();
    following.wait().unwrap();
}
