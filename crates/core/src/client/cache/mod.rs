//! The response cache: answers that were asked for a while ago are given again.
//!
//! Two tiers: a bounded one in the process, and the store's, which all processes share. A hit is
//! answered before any key is reserved and before admission; it writes no row, and is counted on
//! the row of the request that brought the answer. The cache keeps the real answer, apart from
//! the log, which keeps the redacted one.

mod bounded;
mod entry;
mod flight;
mod hits;
mod request;
mod stored;
mod through;
mod tier;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use self::{bounded::Bounded, entry::Entry, flight::Flights, hits::Hits, request::LocalKey};
use super::{CallError, CallErrorKind, ControlError, IntegrationHandle};
use crate::{id::IntegrationId, store::Ports};

/// Bytes of answers a client keeps in the process.
const MEMORY: usize = 32 * 1024 * 1024;

/// How a call uses the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CachePolicy {
    /// How old an answer may be, and how long a new one is good.
    pub(super) ttl: Duration,
    /// Whether an older one does where the call fails.
    pub(super) serve_stale: bool,
    /// Takes no answer that is there, and keeps the new one.
    pub(super) refresh: bool,
}

/// What a call says about the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CacheUse {
    pub(super) ttl: Option<Duration>,
    pub(super) serve_stale: bool,
    pub(super) refresh: bool,
}

impl CacheUse {
    /// How the call uses the cache, if it does.
    pub(super) fn policy(self) -> Result<Option<CachePolicy>, CallError> {
        let Self {
            ttl,
            serve_stale,
            refresh,
        } = self;
        if ttl.is_none() && serve_stale {
            let message = "a call that takes stale answers needs `cache`";
            return Err(CallError::new(CallErrorKind::Invalid, message));
        }
        Ok(ttl.map(|ttl| CachePolicy {
            ttl,
            serve_stale,
            refresh,
        }))
    }
}

/// What the calls of a client share of the cache.
pub(super) struct Cache {
    memory: Mutex<Bounded<LocalKey, Arc<Entry>>>,
    flights: Flights<LocalKey>,
    hits: Hits,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl Cache {
    pub(super) fn new(ports: &Ports) -> Self {
        Self {
            memory: Mutex::new(Bounded::new(MEMORY)),
            flights: Flights::default(),
            hits: Hits::new(Arc::clone(&ports.requests), Arc::clone(&ports.clock)),
        }
    }

    /// Writes the hits that were counted so far.
    pub(super) async fn flush(&self) {
        self.hits.flush().await;
    }

    fn memory(&self) -> MutexGuard<'_, Bounded<LocalKey, Arc<Entry>>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is kept in the process of an integration.
    fn forget(&self, integration_id: IntegrationId) {
        self.memory()
            .retain(|key| key.integration_id != integration_id);
    }
}

impl IntegrationHandle {
    /// Drops every cached answer of the integration from the store and from this process; how
    /// many there were in the store. Other processes go on with what they have in memory until it
    /// is as old as their calls take it.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`] where there is no such integration, or the store failed.
    pub async fn clear_cache(&self) -> Result<u64, ControlError> {
        let row = self.find().await?.ok_or(ControlError::NotFound)?;
        let dropped = self.shared.ports.cache.clear(row.id).await?;
        self.shared.cache.forget(row.id);
        Ok(dropped)
    }
}
