//! Migrating, and what is refused without.

use std::thread;

use crate::world::{Kind, World, finish};

pub(crate) async fn migrating(kind: Kind) {
    let world = World::empty(kind).await;
    let pending = world.run(&["migrate", "--dry-run"]).ok().json();
    assert_eq!(pending[0]["state"], "pending");
    if kind == Kind::Sqlite {
        assert!(!world.path("test.db").exists(), "a dry run made a file");
    } else {
        assert!(world.tables().await.is_empty(), "a dry run made tables");
    }
    let applied = world.run(&["migrate"]).ok().json();
    assert_eq!(applied[0]["state"], "applied");
    assert_eq!(
        applied.as_array().unwrap().len(),
        pending.as_array().unwrap().len()
    );
    let tables = world.tables().await;
    assert!(
        tables.contains(&format!("{}_requests", world.prefix)),
        "{tables:?}"
    );
    let again = world.run(&["migrate"]).ok().json();
    assert_eq!(again, serde_json::json!([]));
    let nothing = world
        .run(&["migrate", "--dry-run", "--format", "table"])
        .ok();
    assert!(nothing.stdout.is_empty());
    nothing.says("is up to date");
}

pub(crate) async fn six_at_once(kind: Kind) {
    let world = World::empty(kind).await;
    let commands: Vec<_> = (0..6).map(|_| world.command(&["migrate"])).collect();
    let running: Vec<_> = commands
        .into_iter()
        .map(|c| thread::spawn(|| finish(c)))
        .collect();
    let applied: Vec<_> = running
        .into_iter()
        .map(|r| r.join().unwrap().ok().json())
        .collect();
    let with_work = applied
        .iter()
        .filter(|json| !json.as_array().unwrap().is_empty());
    assert_eq!(with_work.count(), 1, "{applied:?}");
}

pub(crate) async fn missing(kind: Kind) {
    let world = World::empty(kind).await;
    for args in [
        &["list"][..],
        &["show", "1"],
        &["requests"],
        &["keys", "list"],
    ] {
        world.run(args).exits(5).says("run `integrations migrate`");
    }
    if kind == Kind::Sqlite {
        assert!(
            !world.path("test.db").exists(),
            "something but `migrate` made the file"
        );
    }
}

pub(crate) async fn newer(kind: Kind) {
    let world = World::new(kind).await;
    let at = match kind {
        Kind::Sqlite => "'2026-01-01T00:00:00.000000Z'",
        Kind::Postgres => "now()",
    };
    let sql = format!(
        "INSERT INTO {{p}}_migrations \
         (version, name, checksum, minimum, applied_at, created_at, updated_at) \
         SELECT max(version) + 1, 'later', 'x', max(version) + 1, {at}, {at}, {at} \
         FROM {{p}}_migrations"
    );
    world.execute(&sql).await;
    world.run(&["list"]).exits(5).says("upgrade this program");
    world
        .run(&["migrate"])
        .exits(5)
        .says("upgrade this program");
}
