//! What needs no particular database: usage, configuration, precedence, the demo.

use std::fs;

use serde_json::json;

use crate::world::{Kind, Ran, World, finish};

/// A world whose variables name no database, prefix or keys.
async fn bare() -> World {
    let mut world = World::empty(Kind::Sqlite).await;
    world.variables.clear();
    world
}

fn run(world: &World, args: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = world.command(args);
    command
        .env_remove("INTEGRATIONS_DATABASE_URL")
        .env_remove("INTEGRATIONS_PREFIX");
    command.envs(variables.iter().copied());
    finish(command)
}

#[tokio::test]
async fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let world = bare().await;
    let there = |name: &str| world.path(name).exists();
    run(&world, &["migrate"], &[]).ok();
    assert!(there("integrations.db"));
    fs::write(
        world.path("integrations.toml"),
        "database_url = \"sqlite://file.db\"\n",
    )
    .unwrap();
    run(&world, &["migrate"], &[]).ok();
    assert!(there("file.db"));
    let variable = [("INTEGRATIONS_DATABASE_URL", "sqlite://variable.db")];
    run(&world, &["migrate"], &variable).ok();
    assert!(there("variable.db"));
    run(
        &world,
        &["migrate", "--database", "sqlite://flag.db"],
        &variable,
    )
    .ok();
    assert!(there("flag.db"));
    fs::write(
        world.path("other.toml"),
        "database_url = \"sqlite://other.db\"\n",
    )
    .unwrap();
    run(
        &world,
        &["migrate"],
        &[("INTEGRATIONS_CONFIG", "other.toml")],
    )
    .ok();
    assert!(there("other.db"));
    // The prefix goes the same way: nothing is pending under one that was migrated.
    let prefix = [("INTEGRATIONS_PREFIX", "variable")];
    run(&world, &["migrate", "--prefix", "flag"], &prefix).ok();
    let pending = run(
        &world,
        &["migrate", "--dry-run"],
        &[("INTEGRATIONS_PREFIX", "flag")],
    );
    assert_eq!(pending.ok().json(), json!([]));
}

#[tokio::test]
async fn wrong_usage_exits_2() {
    let world = bare().await;
    for args in [
        &[][..],
        &["frobnicate"],
        &["list", "--format", "xml"],
        &["list", "--cache"],
        &["--prefix", "Not-One", "list"],
        &["--database", "mysql://x", "list"],
        &["--config", "missing.toml", "list"],
        &["requests", "--limit", "0"],
        &["migrations", "publish", "--dir", "x"],
    ] {
        let ran = run(&world, args, &[]).exits(2);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{args:?}");
    }
    run(&world, &["--help"], &[]).ok();
    run(&world, &["--version"], &[]).ok();
}

// W-CFG-1
#[tokio::test]
async fn configuration_errors_name_file_line_and_option() {
    let world = bare().await;
    let list = |text: &str| {
        fs::write(world.path("integrations.toml"), text).unwrap();
        run(&world, &["list"], &[]).exits(2)
    };
    list("prefix = \"a\"\nprefx = \"b\"\n").says("integrations.toml:2: unknown field `prefx`");
    list("[retries]\n").says("integrations.toml:1: unknown field `retries`");
    list("[health]\nfailing_after = 0\n").says("`health.failing_after` is 0");
    list("[providers.github]\nbase_url = \"x\"\n").says("`providers.github.base_url`");
}

#[tokio::test]
async fn a_password_on_the_command_line_is_warned_of_and_not_shown() {
    let world = bare().await;
    let url = "postgres://nobody:canary-password@127.0.0.1:1/nothing";
    let ran = run(
        &world,
        &["--database", url, "--verbose", "list"],
        &[("RUST_LOG", "trace")],
    );
    let ran = ran
        .exits(5)
        .says("INTEGRATIONS_DATABASE_URL")
        .says("cannot connect");
    assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
    let ran = run(&world, &["list"], &[("INTEGRATIONS_DATABASE_URL", url)]).exits(5);
    assert!(
        !ran.stderr.contains("warning") && !ran.stderr.contains("canary"),
        "{}",
        ran.stderr
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_file_is_made_for_sqlite_and_read_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;

    let world = bare().await;
    let token = integrations_testkit::twin::github::DEFAULT_TOKEN;
    fs::write(world.path("token"), token).unwrap();
    let install = [
        "install",
        "github",
        "--credential",
        "token@token",
        "--metadata",
    ];
    let install: Vec<&str> = install
        .into_iter()
        .chain(["owner=acme", "--metadata", "repo=widgets"])
        .collect();
    world.run(&["migrate"]).ok();
    world.run(&install).exits(4).says("--force");
    let path = world.path(".config/integrations/keys");
    let mode = |name: &std::path::Path| fs::metadata(name).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&world.path("test.db")), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    world.run(&install).exits(1).says("chmod 600");
}

#[tokio::test]
async fn published_files_have_the_prefix_and_are_not_overwritten() {
    let world = bare().await;
    let publish = |dialect: &str| {
        let args = [
            "--prefix",
            "acme",
            "migrations",
            "publish",
            "--dir",
            "sql",
            "--dialect",
        ];
        let args: Vec<&str> = args.into_iter().chain([dialect]).collect();
        run(&world, &args, &[])
    };
    let files = publish("postgres").ok().json();
    let path = world.path(files[0]["file"].as_str().unwrap());
    let sql = fs::read_to_string(&path).unwrap();
    assert!(sql.contains("acme_migrations") && !sql.contains("{{prefix}}"));
    assert_eq!(publish("postgres").ok().json()[0]["state"], "unchanged");
    publish("sqlite").exits(4).says("other content");
    assert_eq!(fs::read_to_string(&path).unwrap(), sql);
    let args = [
        "migrations",
        "publish",
        "--dir",
        "none",
        "--dialect",
        "sqlite",
        "--since",
        "999",
    ];
    assert_eq!(run(&world, &args, &[]).ok().json(), json!([]));
}

#[tokio::test]
async fn keys_are_generated_without_touching_anything() {
    let world = bare().await;
    let [one, two] = [(); 2].map(|()| run(&world, &["keys", "generate"], &[]).ok().text());
    assert!(one != two && one.trim().contains(':'), "{one}");
    let named = run(&world, &["keys", "generate", "--id", "prod-1"], &[])
        .ok()
        .text();
    assert!(
        named.starts_with("prod-1:") && named.trim().len() == "prod-1:".len() + 44,
        "{named}"
    );
    assert!(!world.path(".config").exists() && !world.path("integrations.db").exists());
}

#[tokio::test]
async fn providers_and_completions_need_no_database() {
    let world = bare().await;
    let providers = run(&world, &["providers"], &[]).ok().json();
    assert_eq!(providers[0]["key"], "github");
    assert_eq!(providers[0]["credentials"][0]["name"], "token");
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&world, &["completions", shell], &[]).ok().text();
        assert!(script.contains("integrations"), "{shell}");
    }
}

#[tokio::test]
async fn the_demo_runs_twice_and_shows_what_was_recorded() {
    let world = bare().await;
    let variables = [(
        "INTEGRATIONS_DATABASE_URL",
        "postgres://nobody@127.0.0.1:1/production",
    )];
    for _ in 0..2 {
        let text = run(&world, &["demo"], &variables).ok().text();
        assert!(
            text.contains("[binary body: ") && text.contains("upstream"),
            "{text}"
        );
    }
    let database = "sqlite://integrations-demo.db";
    let list = run(&world, &["--database", database, "list"], &[])
        .ok()
        .json();
    assert_eq!(
        list.as_array().unwrap().len(),
        1,
        "the second run uses what the first made"
    );
    assert_eq!(list[0]["requests_24h"], 20);
    let json = run(&world, &["demo", "--format", "json"], &[]).ok().json();
    assert_eq!(json["requests"].as_array().unwrap().len(), 10);
}
