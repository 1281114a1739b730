//! Workers at work: side by side, dying, shutting down.

use std::{sync::Arc, time::Duration};

use integrations_core::webhook::{
    MockWebhookInbox, WebhookClaim, WebhookInbox as _, WebhookStatus,
};
use integrations_testkit::harness::Harness;
use integrations_webhooks::{Delivery, Handled, Processor};
use tokio::sync::{Semaphore, mpsc};

use crate::setup::{Seen, Setup, github, install, remembering};

/// A handler that says it began, and waits for a permit.
fn held(
    began: mpsc::UnboundedSender<String>,
    permits: Arc<Semaphore>,
) -> impl Fn(
    Delivery,
)
    -> futures::future::BoxFuture<'static, Result<Handled, integrations_webhooks::HandlerError>>
+ Send
+ Sync
+ 'static {
    move |delivery| {
        let (began, permits) = (began.clone(), Arc::clone(&permits));
        Box::pin(async move {
            let _ = began.send(delivery.delivery_id().unwrap_or_default().to_owned());
            permits.acquire().await?.forget();
            Ok(Handled::Done)
        })
    }
}

// W-WH-11
#[tokio::test]
async fn a_running_processor_hears_of_a_delivery_and_drains() {
    let setup = Setup::new().await;
    let (began, mut beginnings) = mpsc::unbounded_channel();
    let permits = Arc::new(Semaphore::new(0));
    let handler = held(began, Arc::clone(&permits));
    let running = setup
        .processor()
        .fallback(github(), handler)
        .build()
        .start();
    setup.receive("d-1", "issues").await;
    // No time passes: it is told, it does not look.
    assert_eq!(beginnings.recv().await.as_deref(), Some("d-1"));
    let stopping = tokio::spawn(async move { running.shutdown().await });
    permits.add_permits(1);
    stopping.await.unwrap();
    assert_eq!(setup.row(1).await.status, WebhookStatus::Processed);
}

// INV-08, INV-09, L-WH-1
#[tokio::test]
async fn what_a_dead_worker_held_is_processed_once_its_lease_ran_out() {
    let setup = Setup::new().await;
    setup.receive("d-1", "issues").await;
    let now = setup.harness.client.ports().clock.now();
    let claim = WebhookClaim {
        providers: vec![github()],
        except: Vec::new(),
        limit: 1,
        per_integration: 1,
        token: "00000000000000000000000001".parse().unwrap(),
        lease_until: now + Duration::from_mins(1),
        now,
    };
    assert_eq!(setup.harness.store.claim(&claim).await.unwrap().len(), 1);
    let seen = Seen::default();
    let processor = setup
        .processor()
        .fallback(github(), remembering(&seen, "x"))
        .build();
    assert_eq!(processor.run_until_idle().await.unwrap(), 0);
    setup.harness.clock.advance(Duration::from_mins(1));
    assert_eq!(processor.run_until_idle().await.unwrap(), 1);
    assert_eq!(setup.row(1).await.status, WebhookStatus::Processed);
}

#[tokio::test]
async fn leases_are_renewed_while_a_handler_runs() {
    let setup = Setup::new().await;
    setup.receive("d-1", "issues").await;
    let (began, mut beginnings) = mpsc::unbounded_channel();
    let permits = Arc::new(Semaphore::new(0));
    let handler = held(began, Arc::clone(&permits));
    let running = setup
        .processor()
        .fallback(github(), handler)
        .build()
        .start();
    beginnings.recv().await.unwrap();
    let seen = Seen::default();
    let other = setup
        .processor()
        .fallback(github(), remembering(&seen, "other"))
        .build();
    for _ in 0..9 {
        let before = setup.row(1).await.lease_until;
        setup.harness.clock.advance(Duration::from_secs(20));
        while setup.row(1).await.lease_until == before {
            tokio::task::yield_now().await;
        }
        assert_eq!(other.run_until_idle().await.unwrap(), 0);
    }
    permits.add_permits(1);
    running.shutdown().await;
    let row = setup.row(1).await;
    assert_eq!((row.status, row.attempts), (WebhookStatus::Processed, 1));
    assert!(seen.all().is_empty());
}

#[tokio::test]
async fn a_handler_has_so_much_time_and_no_more() {
    let setup = Setup::new().await;
    setup.receive("d-1", "issues").await;
    let (began, mut beginnings) = mpsc::unbounded_channel();
    let never = Arc::new(Semaphore::new(0));
    let running = setup
        .processor()
        .fallback(github(), held(began, never))
        .policy(|policy| {
            policy.timeout = Duration::from_secs(10);
            policy.lease = Duration::from_mins(10);
        })
        .build()
        .start();
    beginnings.recv().await.unwrap();
    setup.harness.clock.advance(Duration::from_secs(10));
    while setup.row(1).await.status != WebhookStatus::Failed {
        tokio::task::yield_now().await;
    }
    let error = setup.row(1).await.error.unwrap();
    assert_eq!(error, "the handler took longer than 10 s");
    running.shutdown().await;
}

// W-WH-12
#[tokio::test]
async fn one_integration_takes_no_more_than_its_share() {
    let setup = Setup::new().await;
    let quiet = install(&setup.harness, "quiet").await;
    for n in 0..6 {
        setup.receive(&format!("busy-{n}"), "issues").await;
    }
    setup.receive_for(&quiet, "quiet", "issues").await;
    let (began, mut beginnings) = mpsc::unbounded_channel();
    let permits = Arc::new(Semaphore::new(0));
    let running = setup
        .processor()
        .fallback(github(), held(began, Arc::clone(&permits)))
        .policy(|policy| policy.per_integration = 2)
        .build()
        .start();
    let mut first = Vec::new();
    for _ in 0..3 {
        first.push(beginnings.recv().await.unwrap());
    }
    assert!(first.contains(&"quiet".to_owned()), "{first:?}");
    assert!(
        beginnings.try_recv().is_err(),
        "two of the busy one and no more"
    );
    permits.add_permits(7);
    for _ in 0..4 {
        beginnings.recv().await.unwrap();
    }
    running.shutdown().await;
    for id in 1..=7 {
        assert_eq!(setup.row(id).await.status, WebhookStatus::Processed);
    }
}

#[tokio::test]
async fn everything_parked_or_abandoned_is_recovered_at_once() {
    let mut inbox = MockWebhookInbox::new();
    let mut batches = vec![3, 1000, 1000];
    inbox
        .expect_recover()
        .times(3)
        .returning(move |_, _| Ok(batches.pop().unwrap()));
    inbox.expect_claim().returning(|_| Ok(Vec::new()));
    let harness = Harness::with(
        |mut ports| {
            ports.inbox = Arc::new(inbox);
            ports
        },
        |builder| builder,
    );
    let seen = Seen::default();
    let processor = Processor::builder(&harness.client)
        .fallback(github(), remembering(&seen, "x"))
        .build();
    assert_eq!(processor.run_until_idle().await.unwrap(), 0);
}
