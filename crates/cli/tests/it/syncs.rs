//! Syncs from outside: commands, sinks, and what holds a cursor.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use serde_json::Value as Json;

use crate::{
    server::send,
    sink_server::{SECRET, SinkServer},
    world::{Kind, World},
};

impl World {
    pub(crate) fn lines(&self, name: &str) -> Vec<Json> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        // A line of a process that was killed is not a whole one.
        let lines = text.lines().filter(|line| !line.is_empty());
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    fn failed_items(&self) -> Vec<Json> {
        let listed = self
            .run(&["items", "list", "--status", "failed"])
            .ok()
            .json();
        listed.as_array().unwrap().clone()
    }

    /// The cursor of the stream of issues.
    async fn issue_cursor(&self) -> Option<String> {
        let cursor = self
            .cell("SELECT CAST(sync_cursor AS text) AS cell FROM {p}s")
            .await?;
        let cursor: Json = serde_json::from_str(&cursor).unwrap();
        cursor["issues"].as_str().map(str::to_owned)
    }
}

/// The numbers of issues and pull requests.
fn numbers(lines: &[Json]) -> BTreeSet<String> {
    let issues = lines.iter().filter(|line| line["stream"] == "issues");
    issues
        .map(|line| line["external_id"].as_str().unwrap().to_owned())
        .collect()
}

// CONTRACT: sync, sinks
pub(crate) async fn a_file(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    let sync = ["sync", &id, "--sink", "ndjson:out.ndjson", "--wait"];
    let runs = world.run(&sync).ok().json();
    assert!(!runs.as_array().unwrap().is_empty());
    for run in runs.as_array().unwrap() {
        assert_eq!(run["state"], "success", "{run}");
    }
    let lines = world.lines("out.ndjson");
    assert_eq!(numbers(&lines).len(), world.twin.issue_count());
    let first = &lines[0];
    assert_eq!(first["type"], "item");
    assert_eq!(first["integration_id"].to_string(), id);
    assert!(first["payload"]["id"].is_u64(), "{first}");
    assert!(world.issue_cursor().await.is_some());

    // What was handled is not handled again; what changed is.
    let number = world.twin.add_issue("new");
    world.run(&sync).ok();
    let again = &world.lines("out.ndjson")[lines.len()..];
    assert_eq!(numbers(again), [number.to_string()].into());
}

// CONTRACT: a line each on standard output, everything else on standard error
pub(crate) async fn standard_output(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    let ran = world
        .run(&["sync", &id, "--stream", "issues", "--sink", "stdout"])
        .ok();
    let lines: Vec<Json> = ran
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(numbers(&lines).len(), world.twin.issue_count());
}

// CONTRACT: without a sink items are left to the workers, and a worker exits 0 when it is stopped
pub(crate) async fn workers(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.run(&["sync", &id]).ok().says("left to the workers");
    world.run(&["worker"]).exits(2).says("--sink");
    let mut command = world.command(&["worker", "--sink", "ndjson:out.ndjson"]);
    let worker = command.stderr(Stdio::piped()).spawn().unwrap();
    let open = "SELECT CAST(count(*) AS text) AS cell FROM {p}_sync_runs WHERE state = 'running'";
    world.until(open, "0").await;
    terminate(worker.id());
    let output = worker.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("items delivered"), "{said}");
    let lines = world.lines("out.ndjson");
    assert_eq!(numbers(&lines).len(), world.twin.issue_count());
}

// CONTRACT: `--listen` serves `/health/*` and `/metrics`
pub(crate) async fn listening(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.run(&["sync", &id, "--stream", "issues"]).ok();
    let args = [
        "worker",
        "--sink",
        "ndjson:out.ndjson",
        "--listen",
        "127.0.0.1:0",
    ];
    let mut worker = world.command(&args).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(worker.stderr.take().unwrap()).lines();
    let address = said
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("listening on ")?.1.trim().parse().ok())
        .expect("it says where it listens");
    let get = |path| send(address, "GET", path, &[], b"").unwrap();

    assert_eq!(get("/health/live").status, 200);
    let ready = get("/health/ready");
    assert_eq!(ready.status, 200, "{ready:?}");
    let open = "SELECT CAST(count(*) AS text) AS cell FROM {p}_sync_runs WHERE state = 'running'";
    world.until(open, "0").await;
    let metrics = get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.body.contains("# TYPE integrations_"), "{metrics:?}");
    assert_eq!(get("/integrations/github/webhook").status, 404);

    terminate(worker.id());
    assert!(worker.wait().unwrap().success());
    let lines = world.lines("out.ndjson");
    assert_eq!(numbers(&lines).len(), world.twin.issue_count());
}

fn terminate(process: u32) {
    let killed = std::process::Command::new("kill")
        .arg(process.to_string())
        .status();
    assert!(killed.unwrap().success());
}

// Acceptance: a poison item holds the cursor just below it, and everything else proceeds
pub(crate) async fn poison(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    let server = SinkServer::start().await;
    world.configure(&format!(
        "[sync]\nmax_attempts = 1\n[sink]\nsecret = \"{SECRET}\"\nallow_private_network = true\n"
    ));
    let target = format!("http:{}", server.url);
    let sync = [
        "sync", &id, "--stream", "issues", "--sink", &target, "--wait",
    ];
    let poisoned = world.twin.issue(5).unwrap();
    let below = world.twin.issue(4).unwrap()["updated_at"].clone();
    let version = poisoned["updated_at"].as_str().unwrap();
    server.refuse("5");

    world.run(&sync).exits(1);
    let total = world.twin.issue_count();
    assert_eq!(server.total(), total - 1);
    let failed = world.failed_items();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["external_id"], "5");
    assert!(
        failed[0]["error"]
            .as_str()
            .unwrap()
            .contains("answered 500"),
        "{failed:?}"
    );
    assert_eq!(Json::from(world.issue_cursor().await), below);

    // Later runs go on with what is new, and do not repeat what succeeded.
    world.twin.add_issue("new");
    world.run(&sync).exits(1);
    assert_eq!(server.total(), total);
    assert_eq!(Json::from(world.issue_cursor().await), below);

    // The handler is fixed, and a retry moves the cursor past the item.
    server.refuse_nothing();
    let item = world.failed_items()[0]["id"].to_string();
    world.run(&["items", "retry", &item]).ok();
    world.run(&sync).ok();
    assert_eq!(server.taken("5"), 1);
    assert!(world.issue_cursor().await.unwrap().as_str() > version);
    assert!(world.failed_items().is_empty());
    world.run(&["items", "retry", &item]).exits(4);
    world.run(&["items", "retry", "99999999"]).exits(3);
    server.assert_all_signed();
}

// Acceptance: a skip moves the cursor too, with the reason on file
pub(crate) async fn skipping(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    let server = SinkServer::start().await;
    world.configure(&format!(
        "[sync]\nmax_attempts = 1\n[sink]\nsecret = \"{SECRET}\"\nallow_private_network = true\n"
    ));
    let target = format!("http:{}", server.url);
    let sync = [
        "sync", &id, "--stream", "issues", "--sink", &target, "--wait",
    ];
    let poisoned = world.twin.issue(5).unwrap();
    server.refuse("5");
    world.run(&sync).exits(1);
    let item = world.failed_items()[0]["id"].to_string();
    world
        .run(&["items", "skip", &item, "--reason", "a relic"])
        .ok();
    world.run(&["advance-cursor", &id]).ok();
    let version = poisoned["updated_at"].as_str().unwrap();
    assert!(world.issue_cursor().await.unwrap().as_str() > version);
    let listed = world
        .run(&["items", "list", "--status", "skipped"])
        .ok()
        .json();
    assert_eq!(listed[0]["error"], "a relic");
    assert_eq!(server.taken("5"), 0);
}

// Acceptance: two schedulers and eight workers never run one integration twice at once
pub(crate) async fn no_overlap(kind: Kind) {
    let (world, _) = World::installed(kind).await;
    world.configure("[sync]\nworkers = 4\npoll = \"1s\"\n");
    let workers: Vec<_> = (0..2)
        .map(|n| {
            let sink = format!("ndjson:out-{n}.ndjson");
            let mut command = world.command(&["worker", "--sink", &sink]);
            command.stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let before = world.twin.requests().len();
    let mut seen = before;
    for round in 0..4 {
        world.twin.add_issue(&format!("round {round}"));
        world
            .execute("UPDATE {p}s SET next_sync_at = created_at")
            .await;
        // A round asks at least once.
        world.twin.wait_for_requests(seen + 1).await;
        // The end of an open run sets the next sync too.
        let idle = "SELECT CAST(count(*) AS text) AS cell FROM {p}s \
                    WHERE sync_lease_holder IS NOT NULL OR next_sync_at <= created_at \
                    OR EXISTS (SELECT 1 FROM {p}_sync_runs WHERE state = 'running')";
        world.until(idle, "0").await;
        seen = world.twin.requests().len();
    }
    for mut worker in workers {
        terminate(worker.id());
        assert!(worker.wait().unwrap().success());
    }
    let requests = world.twin.requests().split_off(before);
    assert!(requests.len() >= 4);
    for (n, request) in requests.iter().enumerate() {
        let overlapping = requests[n + 1..]
            .iter()
            .find(|other| request.overlaps(other));
        assert!(overlapping.is_none(), "{request:?} {overlapping:?}");
    }
}
