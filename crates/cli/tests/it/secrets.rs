//! Keys and credentials, and where they must not be.

use std::{io::Write as _, process::Stdio};

use integrations_testkit::twin::github::Fault;
use serde_json::json;

use crate::world::{Kind, World};

const CANARY: &str = "ghp_canary7f3a9b2c5d1e8f4a6b0c3d7e9f1a2b";

const SETTINGS: [&str; 4] = ["--metadata", "owner=acme", "--metadata", "repo=widgets"];

fn holds_canary(bytes: &[u8]) -> bool {
    bytes
        .windows(CANARY.len())
        .any(|window| window == CANARY.as_bytes())
}

// W-CRED-7
pub(crate) async fn nowhere(kind: Kind) {
    let mut world = World::new(kind).await;
    world.twin.accept_token(CANARY);
    world.variables.push(("RUST_LOG", "trace".to_owned()));
    world.variables.push(("TOKEN", CANARY.to_owned()));
    let install = ["install", "github", "--credential", "token@env:TOKEN"];
    let install: Vec<&str> = install.into_iter().chain(SETTINGS).collect();
    let mut seen = vec![world.run(&install).ok()];
    let issues = "/repos/{owner}/{repo}/issues";
    let echo = format!(r#"{{"title":"{CANARY}"}}"#);
    seen.push(world.run(&["request", "1", "GET", issues]).ok());
    seen.push(
        world
            .run(&["request", "1", "GET", "/user", "--query", "t=1"])
            .ok(),
    );
    world.twin.inject(Fault::status(500));
    seen.push(world.run(&["request", "1", "GET", issues]).exits(1));
    world.twin.inject(Fault::CutMidBody);
    seen.push(world.run(&["request", "1", "GET", issues]).exits(1));
    for args in [
        &["list"][..],
        &["show", "1"],
        &["requests"],
        &["keys", "list"],
        &["test"],
    ] {
        for format in ["table", "json", "ndjson"] {
            let args: Vec<&str> = args.iter().copied().chain(["--format", format]).collect();
            seen.push(world.run(&args).ok());
        }
    }
    // What is said of a credential that is wrong does not quote it.
    let bare = ["install", "github", "--credential", CANARY];
    seen.push(world.run(&bare).exits(2));
    let unknown = format!("tokn={CANARY}");
    seen.push(
        world
            .run(&["install", "github", "--credential", &unknown])
            .exits(4),
    );
    seen.push(
        world
            .run(&["update", "1", "--credential", &unknown])
            .exits(4),
    );
    for ran in &seen {
        assert!(!holds_canary(&ran.stdout), "{}", ran.text());
        assert!(!holds_canary(ran.stderr.as_bytes()), "{}", ran.stderr);
    }
    assert!(
        world.twin.saw_token(CANARY),
        "the token never got to where it belongs"
    );

    // An answer that repeats the token is printed as it came, and recorded without it.
    world
        .run(&["request", "1", "POST", issues, "--data", &echo])
        .ok();
    assert!(!holds_canary(&world.contents().await));
}

// W-CRED-2
pub(crate) async fn wrong_key(kind: Kind) {
    let (mut world, id) = World::installed(kind).await;
    let set = |world: &mut World, keys: &str| {
        world.variables = vec![("INTEGRATIONS_KEYS", keys.to_owned())];
    };
    let other = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=";
    set(&mut world, &format!("test:{other}"));
    world
        .run(&["request", &id, "GET", "/user"])
        .exits(5)
        .says("key `test` is not the one");
    set(&mut world, &format!("other:{other}"));
    world
        .run(&["request", &id, "GET", "/user"])
        .exits(5)
        .says("under key `test`");
    let shown = world.run(&["show", &id]).ok().json();
    assert_eq!(
        shown["credentials"],
        json!(null),
        "they do not open, and the rest is shown"
    );
    set(&mut world, "nonsense");
    world
        .run(&["request", &id, "GET", "/user"])
        .exits(1)
        .says("INTEGRATIONS_KEYS: key 1");

    // Without any: nothing is made where something is sealed, nor on PostgreSQL at all.
    world.variables.clear();
    world
        .run(&["request", &id, "GET", "/user"])
        .exits(1)
        .says("there is no key ring");
    assert!(!world.path(".config").exists());
    world.run(&["disable", &id]).ok();
}

// W-CLI-3
pub(crate) async fn sources(kind: Kind) {
    let mut world = World::new(kind).await;
    world.twin.accept_token(CANARY);
    std::fs::write(world.path("token"), format!("{CANARY}\n")).unwrap();
    world.variables.push(("TOKEN", CANARY.to_owned()));
    for source in ["token@token", "token@env:TOKEN"] {
        let args = [
            "install",
            "github",
            "--name",
            source,
            "--credential",
            source,
        ];
        let args: Vec<&str> = args.into_iter().chain(SETTINGS).collect();
        world.run(&args).ok();
    }
    let args = [
        "install",
        "github",
        "--name",
        "input",
        "--credential",
        "token@-",
    ];
    let args: Vec<&str> = args.into_iter().chain(SETTINGS).collect();
    let mut piped = world.command(&args);
    let mut piped = piped
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    piped
        .stdin
        .take()
        .unwrap()
        .write_all(format!("{CANARY}\n").as_bytes())
        .unwrap();
    assert!(piped.wait().unwrap().success());
    assert_eq!(
        world.run(&["test"]).ok().json().as_array().unwrap().len(),
        3
    );
    let missing = ["install", "github", "--credential", "token@env:NOT_SET"];
    world.run(&missing).exits(2).says("`NOT_SET` is not set");
    let missing = ["install", "github", "--credential", "token@nowhere"];
    world
        .run(&missing)
        .exits(2)
        .says("`nowhere` cannot be read");
}

pub(crate) async fn keys_in_use(kind: Kind) {
    let (mut world, _) = World::installed(kind).await;
    world.install(&["--force"]);
    let generated = world.run(&["keys", "generate", "--id", "next"]).ok().text();
    let ring = format!("{},{}", crate::world::KEYS, generated.trim());
    world.variables = vec![("INTEGRATIONS_KEYS", ring)];
    let keys = world.run(&["keys", "list"]).ok().json();
    assert_eq!(keys[0]["id"], "test");
    assert_eq!(keys[0]["state"], "primary");
    assert_eq!(keys[0]["sealed"], json!({ "integrations.credentials": 2 }));
    assert_eq!(
        (&keys[1]["id"], &keys[1]["state"]),
        (&json!("next"), &json!("new"))
    );
}

pub(crate) async fn application(kind: Kind) {
    let (mut world, id) = World::installed(kind).await;
    world.configure("[providers.github.app]\nwebhook_secret = { env = \"HOOK\" }\n");
    world.run(&["list"]).ok();
    let get = ["request", &id, "GET", "/user"];
    world
        .run(&get)
        .exits(2)
        .says("`providers.github.app.webhook_secret`")
        .says("`HOOK`");
    world.variables.push(("HOOK", CANARY.to_owned()));
    world.run(&get).ok();
    world.configure("[providers.github.app]\nhook = \"x\"\n");
    world
        .run(&get)
        .exits(2)
        .says("`providers.github.app.hook` is not known");
}
