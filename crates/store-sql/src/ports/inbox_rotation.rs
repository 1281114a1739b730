//! Whose turn it is at a claim on deliveries. None of it decides what may be claimed.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

/// Integrations with a place at most; behind that, all are forgotten.
const MAX_PLACES: usize = 10_000;

/// Behind which ordering key the walk over the keys of an integration goes on.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) provider: String,
    pub(super) key: String,
}

/// The memory of a store and its clones.
#[derive(Debug, Default)]
pub(crate) struct WebhookRotation {
    /// The integration whose deliveries were claimed last; the next claim begins behind it.
    served: AtomicI64,
    /// Whether deliveries with ordering keys come behind the others this time.
    ordered_last: AtomicBool,
    places: Mutex<HashMap<i64, Place>>,
}

impl WebhookRotation {
    fn places(&self) -> MutexGuard<'_, HashMap<i64, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn last_served(&self) -> i64 {
        self.served.load(Ordering::Relaxed)
    }

    pub(super) fn served(&self, integration: i64) {
        self.served.store(integration, Ordering::Relaxed);
    }

    /// Whether a claim takes deliveries with ordering keys before the others: every other does.
    pub(super) fn ordered_come_first(&self) -> bool {
        !self.ordered_last.fetch_xor(true, Ordering::Relaxed)
    }

    pub(super) fn place(&self, integration: i64) -> Option<Place> {
        self.places().get(&integration).cloned()
    }

    /// Remembers how far a walk came; `None` where it came to the end.
    pub(super) fn keep_place(&self, integration: i64, place: Option<Place>) {
        let mut places = self.places();
        if places.len() >= MAX_PLACES {
            places.clear();
        }
        match place {
            Some(place) => drop(places.insert(integration, place)),
            None => drop(places.remove(&integration)),
        }
    }
}
