//! Operations, as applications write them down.

use std::time::Duration;

use integrations_core::{
    client::{ControlError, OperationEnding},
    event::EventKind,
    integration::{Owner, Scope},
    operation_log::{Direction, Operation, OperationStatus},
};
use integrations_testkit::harness::Harness;
use serde_json::json;

use crate::acme::{TOKEN, installed};

async fn tree(harness: &Harness, id: integrations_core::id::LogId) -> Vec<Operation> {
    let operations = &harness.client.ports().operations;
    operations.tree(id, &Scope::Operator).await.unwrap()
}

fn told(harness: &Harness) -> Vec<String> {
    let text = |kind: EventKind| match kind {
        EventKind::OperationStarted { operation, .. } => Some(format!("started {operation}")),
        EventKind::OperationCompleted { operation, .. } => Some(format!("completed {operation}")),
        EventKind::OperationFailed {
            operation, attempt, ..
        } => Some(format!("failed {operation} {attempt:?}")),
        _ => None,
    };
    harness
        .events
        .kinds()
        .into_iter()
        .filter_map(text)
        .collect()
}

// LOG-11
#[tokio::test]
async fn operations_are_a_tree_and_each_is_told() {
    let (harness, acme) = installed().await;
    let handle = harness.handle(&acme);
    let import = handle
        .operation("orders.import")
        .inbound()
        .summary("of today")
        .metadata(json!({ "shop": 7 }))
        .start()
        .await
        .unwrap();
    harness.clock.advance(Duration::from_millis(250));
    let order = import
        .child("order")
        .external_id("R-17")
        .start()
        .await
        .unwrap();
    let note = order
        .child("note")
        .log(OperationEnding::success())
        .await
        .unwrap();
    assert!(
        order
            .finish(OperationEnding::failed("out of stock"))
            .await
            .unwrap()
    );
    let ending = OperationEnding::partial()
        .summary("0 of 1")
        .result(json!({ "failed": ["R-17"] }));
    let id = import.id();
    assert!(import.finish(ending).await.unwrap());

    let rows = tree(&harness, id).await;
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row.entry.operation.as_str())
        .collect();
    assert_eq!(names, ["orders.import", "order", "note"]);
    let root = &rows[0].entry;
    assert_eq!(
        (&root.direction, &root.status),
        (&Direction::Inbound, &OperationStatus::Partial)
    );
    assert_eq!(root.duration_ms, Some(250));
    assert_eq!(root.summary.as_deref(), Some("0 of 1"));
    assert_eq!(root.metadata, Some(json!({ "shop": 7 })));
    assert_eq!(root.result_data, Some(json!({ "failed": ["R-17"] })));
    let order = &rows[1].entry;
    assert_eq!(order.error.as_deref(), Some("out of stock"));
    assert_eq!(
        (order.parent_id, &order.direction),
        (Some(id), &Direction::Inbound)
    );
    assert_eq!(rows[2].id, note);
    harness.client.shutdown().await;
    assert_eq!(
        told(&harness),
        [
            "started orders.import",
            "started order",
            "completed note",
            "failed order None"
        ],
        "a status that is neither success nor failure is no event"
    );
}

// LOG-12, L-EVT-1
#[tokio::test]
async fn a_failure_that_will_be_tried_again_says_so() {
    let (harness, acme) = installed().await;
    let item = harness.handle(&acme).operation("item").attempt(2, 5);
    let id = item.log(OperationEnding::failed("later")).await.unwrap();
    let metadata = tree(&harness, id).await.remove(0).entry.metadata;
    assert_eq!(metadata, Some(json!({ "attempt": 2, "max_attempts": 5 })));
    harness.client.shutdown().await;
    assert_eq!(told(&harness), ["failed item Some((2, 5))"]);
}

// W-RED-3, INV-10
#[tokio::test]
async fn secrets_do_not_get_into_the_log() {
    let (harness, acme) = installed().await;
    let handle = harness.handle(&acme);
    let operation = handle
        .operation(format!("with {TOKEN}"))
        .external_id(TOKEN)
        .summary(format!("token {TOKEN}"))
        .metadata(json!({ "password": "p", "note": TOKEN, "n": 1 }));
    let ending = OperationEnding::failed(format!("bad {TOKEN}")).result(json!(TOKEN));
    let id = operation.log(ending).await.unwrap();
    let row = tree(&harness, id).await.remove(0);
    assert!(!format!("{row:?}").contains(TOKEN), "{row:?}");
    assert_eq!(
        row.entry.metadata,
        Some(json!({ "password": "[REDACTED]", "note": "[REDACTED]", "n": 1 }))
    );
    harness.client.shutdown().await;
    assert!(!format!("{:?}", harness.events.kinds()).contains(TOKEN));
}

#[tokio::test]
async fn long_texts_are_cut_and_other_accounts_are_out_of_reach() {
    let (harness, acme) = installed().await;
    let handle = harness.handle(&acme);
    let long = "ä".repeat(600);
    let draft = handle.operation(&long).external_id(&long);
    let id = draft
        .log(OperationEnding::failed(long.repeat(9)))
        .await
        .unwrap();
    let row = tree(&harness, id).await.remove(0).entry;
    assert_eq!(row.operation.chars().count(), 255);
    assert_eq!(row.external_id.unwrap().chars().count(), 500);
    assert!(row.error.unwrap().len() <= 2_000);

    let stranger = Owner::new("team", 9).unwrap();
    let foreign = harness.client.for_owner(&stranger).integration(acme.id);
    let refused = foreign.operation("x").start().await.unwrap_err();
    assert!(matches!(refused, ControlError::NotFound), "{refused}");
    let orphan = handle
        .operation("x")
        .child_of(integrations_core::id::LogId(4711));
    let refused = orphan.start().await.unwrap_err();
    assert!(matches!(refused, ControlError::NotFound), "{refused}");
}
