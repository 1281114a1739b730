//! Wake-ups: within the process at once, and for others by `NOTIFY`.
//!
//! A `NOTIFY` takes a lock of the whole server until its transaction is committed, so it never is
//! part of one that writes rows: rings are collected and sent on their own.

use std::{
    convert::Infallible,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use integrations_core::{
    time::{Clock as _, later},
    value::TablePrefix,
    wake::{LocalWake, Wake, WakeChannel, WakeListener},
};
use integrations_store_sql::{
    at_hand::{AtHand, Held as _},
    clock::SystemClock,
    wake::SharedWake,
};
use sqlx::{
    PgPool, Postgres,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::sync::Notify;

/// The shortest time between two notifications of a process.
const SEND_EVERY: Duration = Duration::from_millis(5);

/// How long a process that ends waits for its last notification.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// How long to wait after there was no connection to listen on.
const AFTER_A_FAILURE: Duration = Duration::from_secs(1);

/// Rings for those who share the database.
#[derive(Debug)]
pub(crate) struct PgWake {
    shared: SharedWake,
    outbox: Arc<Outbox>,
    /// What notifications are sent on.
    pool: AtHand<Postgres>,
}

impl PgWake {
    /// Listens with `direct`, where there is such a connection.
    pub(crate) fn new(
        prefix: &TablePrefix,
        pool: AtHand<Postgres>,
        direct: Option<PgConnectOptions>,
    ) -> Self {
        let outbox = Arc::new(Outbox::new(prefix));
        let names = Arc::clone(&outbox);
        let shared = SharedWake::new(move |local| match &direct {
            Some(direct) => Box::pin(relay(direct.clone(), Arc::clone(&names), local)),
            None => Box::pin(std::future::ready(())),
        });
        Self {
            shared,
            outbox,
            pool,
        }
    }

    /// Sends what is rung, until the future is dropped.
    pub(crate) fn sending(&self) -> impl Future<Output = ()> + Send + use<> {
        send(Arc::clone(&self.outbox), self.pool.clone())
    }
}

#[async_trait]
impl Wake for PgWake {
    fn ring(&self, channel: WakeChannel) {
        self.shared.ring(channel);
        self.outbox.put(channel);
    }

    fn listen(&self, channel: WakeChannel) -> Box<dyn WakeListener> {
        self.shared.listen(channel)
    }

    async fn flush(&self) {
        let clock = SystemClock::new();
        let limit = later(clock.now(), FLUSH_LIMIT);
        tokio::select! {
            () = self.outbox.send(&self.pool) => {}
            () = clock.sleep_until(limit) => {
                tracing::debug!("other processes were perhaps not told of new work");
            }
        }
    }
}

/// Rings that other processes have not been told of.
#[derive(Debug)]
struct Outbox {
    /// The channel of the server.
    topic: String,
    /// Begins every notification of ours, so that we do not answer ourselves.
    sender: String,
    waiting: Mutex<Vec<WakeChannel>>,
    filled: Notify,
    /// Held while a notification is under way.
    sending: tokio::sync::Mutex<()>,
}

impl Outbox {
    fn new(prefix: &TablePrefix) -> Self {
        Self {
            topic: format!("{}_wake", prefix.as_str()),
            // Every state is seeded anew.
            sender: format!("{:016x}", RandomState::new().build_hasher().finish()),
            waiting: Mutex::default(),
            filled: Notify::new(),
            sending: tokio::sync::Mutex::default(),
        }
    }

    fn put(&self, channel: WakeChannel) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.contains(&channel) {
            waiting.push(channel);
            self.filled.notify_one();
        }
    }

    /// What was put since.
    fn take(&self) -> Vec<WakeChannel> {
        mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends what was put, behind what is being sent.
    async fn send(&self, pool: &AtHand<Postgres>) {
        let _sending = self.sending.lock().await;
        let channels = self.take();
        if channels.is_empty() {
            return;
        }
        let sent = notify(pool, &self.topic, self.payload(&channels));
        if let Err(error) = sent.await {
            tracing::debug!(?error, "other processes were not told of new work");
        }
    }

    fn payload(&self, channels: &[WakeChannel]) -> String {
        let names = channels.iter().map(|channel| channel.name());
        let words: Vec<&str> = std::iter::once(self.sender.as_str()).chain(names).collect();
        words.join(" ")
    }

    /// What somebody else's payload rings; nothing for one of ours.
    fn heard(&self, payload: &str) -> Vec<WakeChannel> {
        match payload.split_once(' ') {
            Some((sender, names)) if sender != self.sender => {
                names.split(' ').filter_map(WakeChannel::named).collect()
            }
            _ => Vec::new(),
        }
    }
}

async fn send(outbox: Arc<Outbox>, pool: AtHand<Postgres>) {
    let clock = SystemClock::new();
    loop {
        outbox.filled.notified().await;
        outbox.send(&pool).await;
        clock.sleep_until(later(clock.now(), SEND_EVERY)).await;
    }
}

async fn notify(pool: &AtHand<Postgres>, topic: &str, payload: String) -> Result<(), sqlx::Error> {
    let mut connection = pool.take().await?;
    connection.begins();
    // Nobody needs this commit to be on disk.
    sqlx::query("SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)")
        .bind(topic)
        .bind(payload)
        .persistent(false)
        .execute(&mut *connection)
        .await?;
    connection.ended();
    Ok(())
}

async fn relay(direct: PgConnectOptions, outbox: Arc<Outbox>, local: Arc<LocalWake>) {
    let clock = SystemClock::new();
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(direct);
    loop {
        let Err(error) = hear(&pool, &outbox, &local).await;
        tracing::debug!(?error, "rings of other processes are not heard");
        clock.sleep_until(later(clock.now(), AFTER_A_FAILURE)).await;
    }
}

async fn hear(
    pool: &PgPool,
    outbox: &Outbox,
    local: &LocalWake,
) -> Result<Infallible, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.ignore_pool_close_event(true);
    listener.listen(&outbox.topic).await?;
    // What was rung before there was a connection.
    local.ring_all();
    loop {
        match listener.try_recv().await? {
            Some(notification) => {
                for channel in outbox.heard(notification.payload()) {
                    local.ring(channel);
                }
            }
            // The connection broke and there is a new one.
            None => local.ring_all(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_read_by_others_only() {
        let prefix = TablePrefix::new("acme").unwrap();
        let (ours, theirs) = (Outbox::new(&prefix), Outbox::new(&prefix));
        let channels = [WakeChannel::Items, WakeChannel::Webhooks];
        let payload = theirs.payload(&channels);
        assert_eq!(ours.heard(&payload), channels);
        assert_eq!(theirs.heard(&payload), []);
        assert_eq!(
            ours.heard("canary of_a_newer_version items"),
            [WakeChannel::Items]
        );
    }

    #[test]
    fn rings_wait_together() {
        let outbox = Outbox::new(&TablePrefix::default());
        outbox.put(WakeChannel::Items);
        outbox.put(WakeChannel::Syncs);
        outbox.put(WakeChannel::Items);
        assert_eq!(outbox.take(), [WakeChannel::Items, WakeChannel::Syncs]);
        assert_eq!(outbox.take(), []);
    }
}
