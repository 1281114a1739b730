//! What operators do (SYN-40).

use integrations_core::{
    integration::Owner,
    sync::{ItemDecided, ItemStatus, RunState},
};
use serde_json::json;

use crate::world::{Act, World};

async fn with_a_failed_record() -> World {
    let world = World::new(&["issues"]).await;
    world.feed.put("issues", "a", 1);
    world.feed.put("issues", "b", 2);
    world.script.on("a", [Act::Hopeless]);
    world.whole_sync().await;
    assert_eq!(world.cursor("issues").await, None);
    world
}

// SYN-26, SYN-40, W-SYN-6
#[tokio::test]
async fn a_retry_lets_the_cursor_go_on() {
    let world = with_a_failed_record().await;
    let id = world.item("a").await.id;

    let decided = world.engine.items().retry(&[id]).await.unwrap();
    assert!(matches!(decided[..], [ItemDecided::Done { .. }]));
    world.drain().await;

    assert_eq!(world.item("a").await.status, ItemStatus::Success);
    assert_eq!(world.cursor("issues").await, Some(json!(2)));
    assert_eq!(world.last_run().await.state, RunState::Success);
    assert!(world.row().await.last_synced_at.is_some());
}

// SYN-40
#[tokio::test]
async fn a_skip_keeps_its_reason_and_lets_the_cursor_go_on() {
    let world = with_a_failed_record().await;
    let id = world.item("a").await.id;

    world
        .engine
        .items()
        .skip(&[id], "deleted at the other side")
        .await
        .unwrap();

    let item = world.item("a").await;
    assert_eq!(item.status, ItemStatus::Skipped);
    assert_eq!(item.error.as_deref(), Some("deleted at the other side"));
    assert_eq!(world.cursor("issues").await, Some(json!(2)));
}

// SYN-40
#[tokio::test]
async fn skipping_the_last_open_item_ends_its_run() {
    let world = World::new(&["issues"]).await;
    world.feed.put("issues", "a", 1);
    world.script.on("a", vec![Act::Fails; 9]);
    world.sync().await;
    world.drain().await;
    let id = world.item("a").await.id;

    world.engine.items().skip(&[id], "no").await.unwrap();

    assert!(world.last_run().await.state.is_final());
    assert_ne!(world.last_run().await.state, RunState::Failed);
}

#[tokio::test]
async fn items_of_another_owner_are_absent() {
    let world = with_a_failed_record().await;
    let id = world.item("a").await.id;
    let other = Owner::new("team", 7).unwrap();

    let items = world.engine.items().for_owner(&other);

    assert_eq!(items.find(id).await.unwrap(), None);
    assert_eq!(items.retry(&[id]).await.unwrap(), [ItemDecided::NotFound]);
    let reports = items.advance_cursor(world.integration.id, false).await;
    assert_eq!(reports.unwrap(), []);
}
