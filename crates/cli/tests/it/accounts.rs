//! Integrations from install to remove.

use integrations_testkit::twin::github::DEFAULT_TOKEN;
use serde_json::json;

use crate::world::{Kind, World};

pub(crate) async fn life(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    let list = world.run(&["list"]).ok().json();
    assert_eq!(list[0]["name"], "GitHub");
    assert_eq!(list[0]["active"], "on");
    assert_eq!(list[0]["requests_24h"], 0, "the probe is no call");
    let shown = world.run(&["show", &id]).ok().json();
    assert_eq!(shown["credentials"], json!(["token"]));
    assert_eq!(
        shown["metadata"],
        json!({ "owner": "acme", "repo": "widgets" })
    );
    assert_eq!(shown["sync_interval_minutes"], 5);
    let uid = shown["uid"].as_str().unwrap().to_owned();
    assert_eq!(world.run(&["show", &uid]).ok().json()["id"], shown["id"]);

    let change = ["update", &id, "--name", "Widgets", "--interval", "off"];
    let changed = world.run(&change).ok().json();
    assert_eq!(changed["name"], "Widgets");
    assert_eq!(changed["sync_interval_minutes"], json!(null));
    world
        .run(&["update", &id])
        .exits(2)
        .says("nothing to change");
    let wrong = ["update", &id, "--metadata", "owner=a/b"];
    world.run(&wrong).exits(4).says("`owner` must match");

    assert_eq!(
        world.run(&["disable", &id]).ok().json()["active"],
        "off (operator)"
    );
    world
        .run(&["request", &id, "GET", "/user"])
        .exits(4)
        .says("switched off by an operator");
    assert_eq!(world.run(&["enable", &uid]).ok().json()["active"], "on");
    world.run(&["request", &id, "get", "/user"]).ok();
    assert_eq!(world.run(&["test", &id]).ok().json()[0]["result"], "passed");

    let removed = world.run(&["remove", &id]).ok().json();
    assert_eq!(
        removed["rows_deleted"], 3,
        "the integration, its request and its gate"
    );
    world.run(&["show", &id]).exits(3);
    assert_eq!(world.run(&["list"]).ok().json(), json!([]));
}

// CLI-01
pub(crate) async fn missing_fields(kind: Kind) {
    let world = World::empty(kind).await;
    let ran = world
        .run(&["install", "github", "--metadata", "ownr=acme"])
        .exits(4);
    let ran = ran.says("`token` is required").says("`owner` is required");
    ran.says("`repo` is required").says("`ownr` is not known");
    world
        .run(&["install", "acme"])
        .exits(4)
        .says("known are: github");
}

// CLI-01
pub(crate) async fn failed_probe(kind: Kind) {
    let world = World::new(kind).await;
    let install = [
        "install",
        "github",
        "--credential",
        "token=ghp_wrong",
        "--metadata",
        "owner=acme",
        "--metadata",
        "repo=widgets",
    ];
    let refused = world.run(&install).exits(4).says("401").says("--force");
    assert!(refused.stdout.is_empty());
    assert_eq!(world.run(&["list"]).ok().json(), json!([]));
    let forced: Vec<&str> = install.into_iter().chain(["--force"]).collect();
    let id = world.run(&forced).ok().json()["id"].to_string();
    let tested = world.run(&["test"]).exits(1).json();
    assert_eq!(
        (&tested[0]["id"].to_string(), &tested[0]["result"]),
        (&id, &json!("failed"))
    );

    // L-CRED: with the right token it works, and what else there is stays.
    let token = format!("token={DEFAULT_TOKEN}");
    world.run(&["update", &id, "--credential", &token]).ok();
    world.run(&["test", &id]).ok();
}

// INT-03
pub(crate) async fn same_name(kind: Kind) {
    let (world, _) = World::installed(kind).await;
    let token = format!("token={DEFAULT_TOKEN}");
    let args = [
        "install",
        "github",
        "--credential",
        &token,
        "--metadata",
        "owner=acme",
    ];
    let args: Vec<&str> = args
        .into_iter()
        .chain(["--metadata", "repo=widgets"])
        .collect();
    world.run(&args).exits(4).says("installed already");
    world.install(&["--force"]);
    world.install(&["--owner", "team:7"]);
    world.install(&[
        "--owner",
        "team:seven",
        "--name",
        "Other",
        "--interval",
        "15",
    ]);
    let all = world.run(&["list"]).ok().json();
    assert_eq!(all.as_array().unwrap().len(), 4);
    let seventh = world.run(&["list", "--owner", "team:7"]).ok().json();
    assert_eq!(seventh[0]["owner"], json!({ "type": "team", "id": 7 }));
    assert_eq!(seventh.as_array().unwrap().len(), 1);
    let named = world
        .run(&["list", "--owner", "team:seven", "--provider", "github"])
        .ok()
        .json();
    assert_eq!(named[0]["sync_interval_minutes"], 15);
    assert_eq!(
        world.run(&["list", "--health", "failing"]).ok().json(),
        json!([])
    );
}

pub(crate) async fn unknown_provider(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.execute("UPDATE {p}s SET provider = 'acme'").await;
    assert_eq!(world.run(&["list"]).ok().json()[0]["provider"], "acme");
    assert_eq!(world.run(&["show", &id]).ok().json()["provider"], "acme");
    for args in [&["request", &id, "GET", "/user"][..], &["test", &id]] {
        world
            .run(args)
            .exits(4)
            .says("does not know the provider `acme`");
    }
    assert_eq!(
        world.run(&["disable", &id]).ok().json()["active"],
        "off (operator)"
    );
    world.run(&["remove", &id]).ok();
}

// CLI-10
pub(crate) async fn not_found(kind: Kind) {
    let world = World::new(kind).await;
    let uid = "0".repeat(26);
    for id in ["7", &uid] {
        for command in ["show", "enable", "disable", "remove", "test"] {
            world.run(&[command, id]).exits(3).says("there is no");
        }
        world.run(&["request", id, "GET", "/user"]).exits(3);
        world.run(&["update", id, "--name", "x"]).exits(3);
        world.run(&["requests", "--integration", id]).exits(3);
    }
    world.run(&["requests", "show", "7"]).exits(3);
    world.run(&["show", "-1"]).exits(2);
    world.run(&["show", "one"]).exits(2);
}

pub(crate) async fn control_characters(kind: Kind) {
    let world = World::new(kind).await;
    let name = "a\u{1b}]0;x\u{7}\u{202e}b\u{9b}\r\nc";
    world.install(&["--name", name]);
    let table = world.run(&["list", "--format", "table"]).ok().text();
    assert!(
        table.contains("\\u001b]0;x\\u0007\\u202eb\\u009b\\r\\nc"),
        "{table}"
    );
    for format in ["json", "ndjson", "table"] {
        for args in [&["list"][..], &["show", "1"]] {
            let args: Vec<&str> = args.iter().copied().chain(["--format", format]).collect();
            let text = world.run(&args).ok().text();
            let nasty = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
            assert!(!text.contains(nasty), "{text:?}");
        }
    }
    assert_eq!(world.run(&["list"]).ok().json()[0]["name"], name);
}

pub(crate) async fn receives_only(kind: Kind) {
    let world = World::new(kind).await;
    let secret = ["--credential", "webhook_secret=s3cr3t"];
    let mut install = vec!["install", "webhook", "--metadata", "scheme=hmac"];
    install.extend(secret);
    world
        .run(&install)
        .exits(4)
        .says("`header` must be the name of a header");
    install.extend(["--metadata", "header=X-Signature"]);
    let id = world.run(&install).ok().json()["id"].to_string();
    world
        .run(&["request", &id, "GET", "/"])
        .exits(4)
        .says("has no API to call: it only receives webhooks");
    world
        .run(&["test", &id])
        .exits(4)
        .says("has no API to try: it only receives webhooks");
    let all = world.run(&["test"]).ok().json();
    assert_eq!(all[0]["result"], "skipped");
}
