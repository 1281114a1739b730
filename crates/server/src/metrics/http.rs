//! Requests and connections of the listeners.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;

use super::{Collect, Exposition, Kind};

/// Upper bounds of the histogram, in microseconds, and as Prometheus writes them.
const BOUNDS: [(u64, &str); 11] = [
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (15_000, "0.015"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (500_000, "0.5"),
    (2_500_000, "2.5"),
    (10_000_000, "10"),
];

/// Statuses that are counted one by one: 100 to 599.
const STATUSES: usize = 500;

/// The counts of one listener.
#[derive(Debug)]
pub(crate) struct HttpMetrics {
    listener: &'static str,
    by_status: Vec<AtomicU64>,
    by_bound: [AtomicU64; BOUNDS.len()],
    microseconds: AtomicU64,
    connections: AtomicU64,
    connections_now: AtomicU64,
    heads_late: AtomicU64,
}

impl HttpMetrics {
    pub(crate) fn new(listener: &'static str) -> Self {
        Self {
            listener,
            by_status: (0..STATUSES).map(|_| AtomicU64::new(0)).collect(),
            by_bound: std::array::from_fn(|_| AtomicU64::new(0)),
            microseconds: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            connections_now: AtomicU64::new(0),
            heads_late: AtomicU64::new(0),
        }
    }

    pub(crate) const fn listener(&self) -> &'static str {
        self.listener
    }

    /// A request was answered.
    pub(crate) fn answered(&self, status: u16, took: Duration) {
        let at = usize::from(status).wrapping_sub(100);
        if let Some(count) = self.by_status.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(took, Ordering::Relaxed);
        if let Some(at) = BOUNDS.iter().position(|(bound, _)| took <= *bound) {
            self.by_bound[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection was opened; it counts until the answer is dropped.
    pub(crate) fn connected(&self) -> Connected<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connections_now.fetch_add(1, Ordering::Relaxed);
        Connected(self)
    }

    /// A client did not send a head in time.
    pub(crate) fn head_late(&self) {
        self.heads_late.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection that is open.
pub(crate) struct Connected<'a>(&'a HttpMetrics);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connections_now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One of a listener's counts.
type Read = fn(&HttpMetrics) -> &AtomicU64;

/// The counts of all listeners, each family once.
pub(crate) struct Listeners(pub(crate) Vec<std::sync::Arc<HttpMetrics>>);

#[async_trait]
impl Collect for Listeners {
    #[expect(
        clippy::cast_precision_loss,
        reason = "Prometheus knows 64-bit floating point numbers only"
    )]
    async fn collect(&self, out: &mut Exposition) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut family = out.family(
            Kind::Counter,
            "integrations_http_requests_total",
            "Requests that were answered.",
        );
        for http in &self.0 {
            for (at, count) in http.by_status.iter().enumerate() {
                if read(count) > 0 {
                    let status = (at + 100).to_string();
                    let labels = [("listener", http.listener), ("status", &*status)];
                    family.count(&labels, read(count));
                }
            }
        }
        let mut family = out.family(
            Kind::Histogram,
            "integrations_http_request_seconds",
            "Time from a request's head to its answer's.",
        );
        for http in &self.0 {
            let mut below = 0;
            for (count, (_, bound)) in http.by_bound.iter().zip(BOUNDS) {
                below += read(count);
                let labels = [("listener", http.listener), ("le", bound)];
                family.suffixed("_bucket", &labels, below as f64);
            }
            let all: u64 = http.by_status.iter().map(read).sum();
            let labels = [("listener", http.listener), ("le", "+Inf")];
            let seconds = read(&http.microseconds) as f64 / 1_000_000.0;
            family
                .suffixed("_bucket", &labels, all as f64)
                .suffixed("_sum", &labels[..1], seconds)
                .suffixed("_count", &labels[..1], all as f64);
        }
        let families: [(Kind, &'static str, &'static str, Read); 3] = [
            (
                Kind::Counter,
                "integrations_http_connections_total",
                "Connections that were accepted.",
                |http| &http.connections,
            ),
            (
                Kind::Gauge,
                "integrations_http_connections",
                "Connections that are open.",
                |http| &http.connections_now,
            ),
            (
                Kind::Counter,
                "integrations_http_heads_late_total",
                "Connections cut off because a request's head did not come in time.",
                |http| &http.heads_late,
            ),
        ];
        for (kind, name, help, of) in families {
            let mut family = out.family(kind, name, help);
            for http in &self.0 {
                family.count(&[("listener", http.listener)], read(of(http)));
            }
        }
    }
}
