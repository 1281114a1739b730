//! Replays.

use std::{sync::Arc, time::Duration};

use integrations_core::{
    id::WebhookId,
    integration::Scope,
    store::Page,
    webhook::{MockWebhookInbox, WebhookFilter, WebhookGroup, WebhookStatus},
};
use integrations_testkit::harness::Harness;
use integrations_webhooks::{Delivery, Handled, Replay};

use crate::setup::{Seen, Setup, github};

// WH-25, W-WH-10
#[tokio::test]
async fn a_replay_hands_over_the_stored_bytes_and_headers_and_says_so() {
    let setup = Setup::new().await;
    setup.receive("d-1", "issues").await;
    let seen = Seen::default();
    let handler = {
        let seen = seen.clone();
        move |delivery: Delivery| {
            let body = String::from_utf8(delivery.body().to_vec()).unwrap();
            let event = delivery.header("X-GitHub-Event").unwrap();
            seen.add(format!("{} {event} {body}", delivery.is_replay()));
            std::future::ready(Ok(Handled::Done))
        }
    };
    let processor = setup.processor().fallback(github(), handler).build();
    processor.run_until_idle().await.unwrap();
    let client = &setup.harness.client;
    let replay = Replay::new(client, WebhookFilter::default(), Scope::Operator);
    assert_eq!(replay.plan().await.unwrap().deliveries, 1);
    let report = replay.run(|_| {}).await.unwrap();
    assert_eq!((report.queued, report.passed_over), (1, 0));
    processor.run_until_idle().await.unwrap();
    let body = r#"issues {"delivery":"d-1"}"#;
    assert_eq!(
        seen.all(),
        [format!("false {body}"), format!("true {body}")]
    );
    let operations = setup.operations().await;
    let names: Vec<&str> = operations.iter().map(|o| &o.entry.operation[..]).collect();
    assert_eq!(names, ["webhook", "webhook_replay"]);
}

#[tokio::test]
async fn a_bulk_replay_takes_what_the_filter_selects_at_a_measured_pace() {
    let setup = Setup::new().await;
    for n in 0..5 {
        let event = if n == 0 { "push" } else { "issues" };
        setup.receive(&format!("d-{n}"), event).await;
    }
    let seen = Seen::default();
    let done = |_: Delivery| std::future::ready(Ok(Handled::Done));
    let processor = setup.processor().fallback(github(), done).build();
    processor.run_until_idle().await.unwrap();
    let filter = WebhookFilter {
        event_type: Some("issues".to_owned()),
        status: Some(WebhookStatus::Processed),
        ..WebhookFilter::default()
    };
    let client = setup.harness.client.clone();
    let replay = Replay::new(&client, filter, Scope::Operator).per_second(2);
    let plan = replay.plan().await.unwrap();
    assert_eq!(
        (plan.deliveries, plan.at_least),
        (4, Duration::from_secs(1))
    );
    let kind = WebhookGroup {
        provider: github(),
        integration_id: Some(setup.integration.id),
        event_type: Some("issues".to_owned()),
        count: 4,
    };
    assert_eq!(plan.kinds, [kind]);
    let (told, mut batches) = tokio::sync::mpsc::unbounded_channel();
    let running = tokio::spawn(async move {
        let tell = move |report: &integrations_webhooks::ReplayReport| {
            let _ = told.send(report.queued);
        };
        replay.run(tell).await
    });
    assert_eq!(batches.recv().await, Some(2));
    // Nothing more until a second has passed, whoever else gets to run.
    tokio::task::yield_now().await;
    assert!(batches.try_recv().is_err());
    let clock = Arc::new(setup.harness.clock.clone());
    clock.advance(Duration::from_secs(1));
    assert_eq!(batches.recv().await, Some(4));
    assert_eq!(running.await.unwrap().unwrap().queued, 4);
    assert!(seen.all().is_empty());
    assert_eq!(
        setup.row(1).await.status,
        WebhookStatus::Processed,
        "not selected"
    );
    assert_eq!(setup.row(2).await.status, WebhookStatus::Pending);
}

// L-WH-4
#[tokio::test]
async fn a_bulk_replay_reads_no_bodies() {
    let mut inbox = MockWebhookInbox::new();
    // Whoever asks for more than numbers finds nothing prepared, and panics.
    inbox.expect_ids().times(1).returning(|_, _, _, _| {
        Ok(Page {
            items: vec![WebhookId(1), WebhookId(2)],
            next: None,
        })
    });
    inbox
        .expect_replay()
        .times(1)
        .returning(|ids, _, _| Ok(ids.to_vec()));
    let harness = Harness::with(
        |mut ports| {
            ports.inbox = Arc::new(inbox);
            ports
        },
        |builder| builder,
    );
    let ports = harness.client.ports().clone();
    let replay = Replay::over(ports, WebhookFilter::default(), Scope::Operator);
    assert_eq!(replay.run(|_| {}).await.unwrap().queued, 2);
}
