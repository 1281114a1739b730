//! [`MemoryStore`]: the reference implementation of every storage port.

mod cache;
mod columns;
mod gate;
mod inbox;
mod inbox_claim;
mod integration;
mod journal;
mod keys;
mod lease;
mod ledger;
mod mapping;
mod operation_log;
mod request_log;
mod retention;
mod state;
mod summary;
mod sync_claim;
mod sync_cursor;
mod sync_finalise;
mod sync_items;
mod sync_lease;
mod sync_runs;
mod sync_settle;
mod sync_store;
mod sync_sweep;
mod table;
mod token;
mod wake;
mod workers;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use integrations_core::{store::StoreClock, time::Clock, wake::LocalWake};

use self::state::State;
use crate::clock::ManualClock;

/// A complete store in the memory of the process. Clones share their rows.
///
/// It does what the documentation of the ports says and nothing else, so that it can stand in for
/// the SQL stores in tests: the limits of their columns hold here too. One lock makes every call
/// atomic. Nothing outlives the process.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
    wake: Arc<LocalWake>,
}

impl MemoryStore {
    /// An empty store with a [`ManualClock`] that nobody moves.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(ManualClock::default()))
    }

    /// An empty store that goes by `clock`.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            state: Arc::default(),
            clock,
            wake: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it held the lock has failed already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl StoreClock for MemoryStore {
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }
}
