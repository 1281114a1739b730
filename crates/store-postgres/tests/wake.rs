//! Wake-ups between stores over one database, as processes have them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use integrations_core::wake::{Wake, WakeChannel, WakeListener};
use integrations_store_postgres::sqlx::{postgres::PgListener, query_scalar};
use support::Scratch;
use tokio::time::timeout;

/// A test that passes does not wait for it.
const PATIENCE: Duration = Duration::from_secs(30);

async fn hears(listener: &mut Box<dyn WakeListener>) {
    timeout(PATIENCE, listener.rung()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_of_another_store_is_heard() {
    let scratch = Scratch::new();
    let waiting = scratch.store().await;
    let ringing = scratch.options().open().await.unwrap();
    let mut items = waiting.listen(WakeChannel::Items);
    let mut webhooks = waiting.listen(WakeChannel::Webhooks);
    // They listen to others from here on.
    hears(&mut items).await;
    hears(&mut webhooks).await;

    for _ in 0..3 {
        ringing.ring(WakeChannel::Items);
        hears(&mut items).await;
    }
    ringing.ring(WakeChannel::Webhooks);
    hears(&mut webhooks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rings_are_few_notifications() {
    let scratch = Scratch::new();
    let ringing = scratch.store().await;
    let topic = format!("{}_wake", scratch.prefix);
    let mut server = PgListener::connect(&scratch.url).await.unwrap();
    server.listen(&topic).await.unwrap();

    for _ in 0..10_000 {
        ringing.ring(WakeChannel::Items);
    }
    ringing.ring(WakeChannel::Syncs);

    let mut notifications = 0;
    loop {
        let heard = timeout(PATIENCE, server.recv()).await.unwrap().unwrap();
        notifications += 1;
        if heard.payload().ends_with("syncs") {
            break;
        }
    }
    assert!(notifications < 1_000, "{notifications}");
}

// A process that enumerates once and ends has told those who wait for its items.
#[tokio::test]
async fn a_ring_is_sent_before_its_store_goes_away() {
    let scratch = Scratch::new();
    let ringing = scratch.store().await;
    let mut server = PgListener::connect(&scratch.url).await.unwrap();
    let topic = format!("{}_wake", scratch.prefix);
    server.listen(&topic).await.unwrap();

    for channel in WakeChannel::ALL {
        ringing.ring(channel);
        ringing.flush().await;
    }
    drop(ringing);

    for channel in WakeChannel::ALL {
        let heard = timeout(PATIENCE, server.recv()).await.unwrap().unwrap();
        assert!(heard.payload().ends_with(channel.name()), "{heard:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_connection_is_made_again() {
    let scratch = Scratch::new();
    let waiting = scratch.store().await;
    let ringing = scratch.options().open().await.unwrap();
    let mut listener = waiting.listen(WakeChannel::Items);
    hears(&mut listener).await;
    let mut connection = scratch.connection().await;
    let listen = format!("LISTEN \"{}_wake\"", scratch.prefix);
    let ended: Vec<bool> =
        query_scalar("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = $1")
            .bind(listen)
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(ended, [true]);
    // What was missed meanwhile makes it look again.
    hears(&mut listener).await;

    ringing.ring(WakeChannel::Items);
    hears(&mut listener).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_only_the_direct_url_is_listened_on() {
    let scratch = Scratch::new();
    let ringing = scratch.store().await;
    let proxied = scratch.options().prepared_statements(false);
    let direct = proxied.listen_url(&scratch.url).unwrap();
    let waiting = direct.open().await.unwrap();
    let mut listener = waiting.listen(WakeChannel::Items);
    hears(&mut listener).await;
    ringing.ring(WakeChannel::Items);
    hears(&mut listener).await;
}
