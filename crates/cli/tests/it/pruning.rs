//! Retention, from outside.

use serde_json::Value as Json;

use crate::world::{Kind, World};

impl World {
    /// Makes requests of these statuses old.
    async fn age_requests(&self, statuses: &str) {
        let then = "2020-01-01T00:00:00.000000Z";
        let set = format!("UPDATE {{p}}_requests SET created_at = '{then}'");
        self.execute(&format!("{set} WHERE status_code IN ({statuses})"))
            .await;
    }

    fn requests_left(&self) -> usize {
        let listed = self.run(&["requests"]).ok().json();
        listed.as_array().unwrap().len()
    }
}

#[track_caller]
fn rows(report: &Json, what: &str) -> u64 {
    let mut rows = report.as_array().unwrap().iter();
    let row = rows.find(|row| row["what"] == what).unwrap();
    row["rows"].as_u64().unwrap()
}

// PRU-01, PRU-03, W-PRU-3
pub(crate) async fn prunes(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.run(&["request", &id, "GET", "/user"]).ok();
    world.run(&["request", &id, "GET", "/nowhere"]).exits(1);
    world.age_requests("200").await;
    let before = world.requests_left();
    let old = before - 1;

    let report = world.run(&["prune", "--dry-run"]).ok();
    let report = report.says("this was a dry run").json();
    assert_eq!(rows(&report, "requests"), old as u64);
    assert_eq!(world.requests_left(), before);

    let report = world.run(&["prune"]).ok().json();
    assert_eq!(rows(&report, "requests"), old as u64);
    assert_eq!(world.requests_left(), 1);

    world
        .execute("UPDATE {p}_requests SET created_at = '2099-01-01T00:00:00.000000Z'")
        .await;
    let report = world.run(&["prune", "--older-than", "1s"]).ok().json();
    assert_eq!(rows(&report, "requests"), 0);
    world.age_requests("404").await;
    let report = world.run(&["prune", "--older-than", "1d"]).ok().json();
    assert_eq!(rows(&report, "requests"), 1);
    assert_eq!(world.requests_left(), 0);
}

pub(crate) async fn removal_is_finished(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.run(&["remove", &id, "--force"]).ok();
    world.run(&["prune"]).ok();
    let report = world.run(&["prune"]).ok().json();
    assert_eq!(rows(&report, "removed_integrations"), 0);
    world.run(&["show", &id]).exits(3);
}

pub(crate) async fn ages_come_from_the_configuration(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    world.run(&["request", &id, "GET", "/user"]).ok();
    world.age_requests("200").await;
    world.configure("[retention]\nrequests = \"never\"\nrequest_bodies = \"30d\"\n");
    let report = world.run(&["prune"]).ok().json();
    let kinds = report.as_array().unwrap().iter();
    let kinds: Vec<_> = kinds.map(|row| row["what"].as_str().unwrap()).collect();
    assert!(!kinds.contains(&"requests"), "{kinds:?}");
    assert!(rows(&report, "request_bodies") >= 1);
    assert!(world.requests_left() >= 1);

    world.configure("[retention]\nrequests = \"soon\"\n");
    world.run(&["prune"]).exits(2).says("expected a duration");
}
