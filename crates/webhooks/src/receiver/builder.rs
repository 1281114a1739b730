//! Building a receiver.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use http::HeaderName;
use integrations_core::{
    batch::SharedWrites, client::IntegrationClient, value::ProviderKey, webhook::Inbound,
};
use tokio::sync::Semaphore;

use super::{Inner, Receiver, accounts::Accounts, metrics::Counters, writer::InboxWriter};
use crate::schemes::TIMESTAMP_TOLERANCE;

/// What a receiver takes on, and so what it holds in memory: at most `bytes_under_way` of bodies,
/// from before they are read until they are stored or refused, whatever is sent to it and whoever
/// goes away. A body is there up to three times while it is stored: as it came, in its row, and in
/// the statement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one body (CFG-04).
    pub max_payload_bytes: usize,
    /// Bytes of bodies in memory at the same time; more are put off.
    pub bytes_under_way: usize,
    /// Deliveries that are verified at the same time; more are put off.
    pub unverified: usize,
    /// Deliveries that wait for the store; more are put off.
    pub queue: usize,
    /// Deliveries that share a commit.
    pub batch: usize,
    /// Integrations whose secrets are tried on a provider's own route.
    pub candidates: usize,
    /// How far a timestamp may be off, on both sides.
    pub timestamp_tolerance: Duration,
    /// How long a body may take to come in.
    pub read_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_payload_bytes: 1024 * 1024,
            bytes_under_way: 64 * 1024 * 1024,
            unverified: 256,
            queue: 4096,
            batch: 256,
            candidates: 32,
            timestamp_tolerance: TIMESTAMP_TOLERANCE,
            read_timeout: Duration::from_secs(30),
        }
    }
}

/// Tells what a delivery is about, where those about the same are processed one after the other.
pub(super) type OrderBy = Box<dyn Fn(&Inbound<'_>) -> Option<String> + Send + Sync>;

/// Collects what a receiver is made of.
#[must_use = "a builder does nothing until it is built"]
pub struct ReceiverBuilder {
    client: IntegrationClient,
    limits: Limits,
    keep: Vec<HeaderName>,
    orders: HashMap<ProviderKey, OrderBy>,
    prefix: String,
}

impl fmt::Debug for ReceiverBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverBuilder")
            .field("limits", &self.limits)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl ReceiverBuilder {
    pub(super) fn new(client: IntegrationClient) -> Self {
        Self {
            client,
            limits: Limits::default(),
            keep: Vec::new(),
            orders: HashMap::new(),
            prefix: "/integrations".to_owned(),
        }
    }

    /// Other limits: `.limits(|limits| limits.max_payload_bytes = 65_536)`.
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Keeps one more header. Headers that prove something or give access are never kept.
    pub fn keep_header(mut self, name: HeaderName) -> Self {
        self.keep.push(name);
        self
    }

    /// Has a provider's deliveries that `key` gives the same key processed one after the other, in
    /// the order they came in, within each integration. Those without a key go by what the provider
    /// says, else in any order.
    pub fn order_by(
        mut self,
        provider: ProviderKey,
        key: impl Fn(&Inbound<'_>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.orders.insert(provider, Box::new(key));
        self
    }

    /// What the paths of its routes begin with, in place of `/integrations`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        let trimmed = prefix.trim_matches('/');
        self.prefix = if trimmed.is_empty() {
            String::new()
        } else {
            format!("/{trimmed}")
        };
        self
    }

    /// The receiver. Needs a tokio runtime, for the task that writes.
    #[must_use]
    pub fn build(self) -> Receiver {
        let Self {
            client,
            limits,
            keep,
            orders,
            prefix,
        } = self;
        let inbox = InboxWriter(Arc::clone(&client.ports().inbox));
        // A body that may be taken has room at least once.
        let bytes = limits.bytes_under_way.max(limits.max_payload_bytes);
        let bytes = bytes.min(u32::MAX as usize);
        let limits = Limits {
            bytes_under_way: bytes,
            unverified: limits.unverified.max(1),
            queue: limits.queue.max(1),
            ..limits
        };
        Receiver {
            inner: Arc::new(Inner {
                accounts: Accounts::new(client.clone()),
                writer: SharedWrites::start(inbox, limits.queue, limits.batch),
                keep,
                orders,
                prefix,
                bytes: Arc::new(Semaphore::new(bytes)),
                unverified: Semaphore::new(limits.unverified),
                counters: Counters::default(),
                limits,
                client,
            }),
        }
    }
}
