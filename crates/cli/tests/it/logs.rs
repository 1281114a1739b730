//! The operation log, as it is listed and shown.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use integrations::{
    id::{IntegrationId, LogId},
    operation_log::{Direction, NewOperation, OperationStatus},
    store::Ports,
};
use serde_json::{Value as Json, json};

use crate::world::{Kind, World};

/// Writes one operation down.
async fn log(ports: &Ports, id: &str, name: &str, status: &str, parent: Option<LogId>) -> LogId {
    let operation = NewOperation {
        integration_id: IntegrationId(id.parse().unwrap()),
        operation: name.to_owned(),
        direction: Direction::Inbound,
        status: OperationStatus::from(status),
        summary: Some(format!("{name} of today")),
        external_id: Some(format!("X-{name}")),
        metadata: Some(json!({ "shop": 7 })),
        result_data: None,
        error: (status == "failed").then(|| "no stock".to_owned()),
        duration_ms: Some(12),
        parent_id: parent,
        now: ports.clock.now(),
    };
    let ids = ports.operations.append(&[operation]).await.unwrap();
    *ids[0].as_ref().unwrap()
}

// LOG-11
pub(crate) async fn tree(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    let ports = world.ports().await;
    let root = log(&ports, &id, "import", "success", None).await;
    let order = log(&ports, &id, "order", "failed", Some(root)).await;
    log(&ports, &id, "line", "success", Some(order)).await;
    log(&ports, &id, "customer", "paused", Some(root)).await;
    log(&ports, &id, "export", "processing", None).await;
    let names = |args: &[&str]| -> Vec<String> {
        let args: Vec<&str> = ["logs"].iter().chain(args).copied().collect();
        let listed = world.run(&args).ok().json();
        let listed = listed.as_array().unwrap();
        listed
            .iter()
            .map(|row| row["operation"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(&[]),
        ["export", "customer", "line", "order", "import"]
    );
    assert_eq!(
        names(&["--roots", "--integration", &id]),
        ["export", "import"]
    );
    assert_eq!(
        names(&["--status", "success", "--since", "1h"]),
        ["line", "import"]
    );
    assert_eq!(names(&["--status", "paused"]), ["customer"]);
    assert_eq!(names(&["--operation", "order", "--limit", "1"]), ["order"]);
    assert_eq!(names(&["--external-id", "X-line"]), ["line"]);
    world.run(&["logs", "--integration", "77"]).exits(3);

    let shown = world.run(&["logs", "show", &root.to_string()]).ok().json();
    assert_eq!(shown["operation"], "import");
    assert_eq!(shown["metadata"], json!({ "shop": 7 }));
    assert_eq!(shown["children"][0]["operation"], "order");
    assert_eq!(shown["children"][0]["error"], "no stock");
    assert_eq!(shown["children"][0]["children"][0]["operation"], "line");
    assert_eq!(shown["children"][1]["operation"], "customer");
    let table = ["logs", "show", &root.to_string(), "--format", "table"];
    let table = world.run(&table).ok().text();
    assert!(
        table.contains("    line") && !table.contains("export"),
        "{table}"
    );
    let order = world.run(&["logs", "show", &order.to_string()]).ok().json();
    assert_eq!(order["children"].as_array().unwrap().len(), 1);
    world.run(&["logs", "show", "4711"]).exits(3);
    world.run(&["logs", "show", "one"]).exits(2);
}

pub(crate) async fn follow(kind: Kind) {
    let (world, id) = World::installed(kind).await;
    let ports = world.ports().await;
    log(&ports, &id, "before", "success", None).await;
    let mut following = world
        .command(&["logs", "--follow"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next = || -> Json { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["operation"], "before");
    log(&ports, &id, "after", "failed", None).await;
    assert_eq!(next()["operation"], "after");
    following.kill().unwrap();
    following.wait().unwrap();
}
