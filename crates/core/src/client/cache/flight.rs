//! Single flight: of the callers of a process who miss the same entry at once, one goes.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    sync::{Mutex, PoisonError},
};

use tokio::sync::watch;

/// How a flight ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landed {
    /// There is an entry now.
    Kept,
    /// There is none: the call failed, or its answer is not one to keep.
    NotKept,
    /// The caller went away; somebody else has to go.
    Abandoned,
}

/// The flights under way.
#[derive(Debug)]
pub(super) struct Flights<K>(Mutex<HashMap<K, watch::Receiver<Option<Landed>>>>);

/// What a caller finds.
pub(super) enum Boarding<'a, K: Eq + Hash + Clone> {
    /// Nobody is under way: go, and say how it ended.
    Go(Flight<'a, K>),
    /// Somebody was, and is back.
    Landed(Landed),
}

/// A flight of one's own. Dropped without [`land`](Self::land), it counts as abandoned.
#[derive(Debug)]
pub(super) struct Flight<'a, K: Eq + Hash + Clone> {
    flights: &'a Flights<K>,
    key: K,
    landed: watch::Sender<Option<Landed>>,
}

impl<K> Default for Flights<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone + Send + Sync> Flights<K> {
    /// Takes off, or waits until whoever is under way is back.
    ///
    /// Cancel safe.
    pub(super) async fn board(&self, key: &K) -> Boarding<'_, K> {
        let mut waiting = {
            let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match flights.entry(key.clone()) {
                Entry::Occupied(flight) => flight.get().clone(),
                Entry::Vacant(place) => {
                    let (landed, waiting) = watch::channel(None);
                    place.insert(waiting);
                    return Boarding::Go(Flight {
                        flights: self,
                        key: key.clone(),
                        landed,
                    });
                }
            }
        };
        let landed = waiting.wait_for(Option::is_some).await;
        Boarding::Landed(
            landed
                .ok()
                .and_then(|landed| *landed)
                .unwrap_or(Landed::Abandoned),
        )
    }
}

impl<K: Eq + Hash + Clone> Flight<'_, K> {
    /// Tells everybody who waits how it ended.
    pub(super) fn land(self, how: Landed) {
        self.landed.send_replace(Some(how));
    }
}

impl<K: Eq + Hash + Clone> Drop for Flight<'_, K> {
    fn drop(&mut self) {
        let mut flights = self
            .flights
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        flights.remove(&self.key);
        drop(flights);
        self.landed.send_if_modified(|landed| {
            let abandoned = landed.is_none();
            landed.get_or_insert(Landed::Abandoned);
            abandoned
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn go(boarding: Boarding<'_, u8>) -> Flight<'_, u8> {
        match boarding {
            Boarding::Go(flight) => flight,
            Boarding::Landed(landed) => panic!("{landed:?}"),
        }
    }

    #[tokio::test]
    async fn one_goes_and_the_others_wait_for_it() {
        let flights = Flights::default();
        let flight = go(flights.board(&1).await);
        let mut second = Box::pin(flights.board(&1));
        let mut third = Box::pin(flights.board(&1));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        go(flights.board(&2).await);
        flight.land(Landed::Kept);
        for waiting in [second, third] {
            assert!(matches!(waiting.await, Boarding::Landed(Landed::Kept)));
        }
        go(flights.board(&1).await);
    }

    #[tokio::test]
    async fn a_caller_who_went_away_is_followed_by_another() {
        let flights = Flights::default();
        let flight = go(flights.board(&1).await);
        let mut second = Box::pin(flights.board(&1));
        assert!(second.as_mut().now_or_never().is_none());
        drop(flight);
        assert!(matches!(second.await, Boarding::Landed(Landed::Abandoned)));
        go(flights.board(&1).await);
    }
}
