//! The roll of workers: which are alive, and what they handle.

use std::time::Duration;

use super::Inner;
use crate::{
    sync::KindSelection,
    time::{earlier, later},
    work::Stop,
    worker::WorkerBeat,
};

/// How often a worker is heard of.
const BEAT: Duration = Duration::from_secs(30);

/// Whoever was not heard of for so long is not alive.
pub(super) const ALIVE: Duration = Duration::from_secs(100);

/// Entries this old are struck off.
const STALE: Duration = Duration::from_hours(24);

impl Inner {
    /// Keeps the engine on the roll until it is stopped.
    pub(super) async fn stay_on_roll(&self, stop: &Stop) {
        let ports = self.client.ports();
        let started_at = ports.clock.now();
        while !stop.is_stopped() {
            let now = ports.clock.now();
            let kinds = match self.handlers.selection() {
                KindSelection::All => None,
                KindSelection::Only(kinds) => Some(kinds),
            };
            let beat = WorkerBeat {
                id: self.holder.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                kinds,
                started_at,
                heartbeat_at: now,
            };
            if let Err(error) = ports.workers.beat(&beat).await {
                tracing::warn!(%error, "the roll of workers could not be written yet");
            }
            tokio::select! {
                () = stop.stopped() => {}
                () = ports.clock.sleep_until(later(now, BEAT)) => {}
            }
        }
        let stale_before = earlier(ports.clock.now(), STALE);
        if let Err(error) = ports.workers.leave(&self.holder, stale_before).await {
            tracing::warn!(%error, "the worker could not be struck off the roll");
        }
    }
}
