//! A store of one's own: leases, one-time tokens and the roll of workers in a map, the way one
//! would keep them in a key-value store, beside rows in a database.
//!
//! Services take `Ports`, one field per port, so a store implements what it is good at:
//!
//! ```
//! # use std::sync::Arc;
//! # use example_custom_store::TinyStore;
//! use integrations::store::Ports;
//!
//! fn ports(database: Ports) -> Ports {
//!     let tiny = Arc::new(TinyStore::default());
//!     Ports { leases: tiny.clone(), tokens: tiny.clone(), workers: tiny, ..database }
//! }
//! ```
//!
//! `tests/conformance.rs` is all it takes to know that it keeps what the ports promise.

mod leases;
mod tokens;
mod workers;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use integrations::{
    token::NewToken,
    value::{HolderName, LeaseName},
    worker::WorkerBeat,
};

use leases::Slot;

/// Leases, tokens and workers in memory.
#[derive(Debug, Default)]
pub struct TinyStore(Mutex<Maps>);

#[derive(Debug, Default)]
struct Maps {
    leases: HashMap<LeaseName, Slot>,
    tokens: Vec<NewToken>,
    workers: BTreeMap<HolderName, WorkerBeat>,
}

impl TinyStore {
    /// The lock makes every method a transaction; it is never held across an `await`.
    fn lock(&self) -> MutexGuard<'_, Maps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
