//! The claims a worker holds, from the claim until they are settled.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::watch, task::AbortHandle};

use crate::id::Uid;

/// What a worker claimed and has not settled, by id and token of the claim.
///
/// One id may be held twice, once under a claim that ran out and once under a later one.
#[derive(Debug)]
pub struct Held<K> {
    claims: Mutex<HashMap<(K, Uid), Work>>,
    count: watch::Sender<usize>,
}

/// How far the work on a claim is.
#[derive(Debug, Default)]
struct Work {
    task: Option<AbortHandle>,
    /// Its outcome is on the way to the store.
    ended: bool,
}

impl<K: Copy + Eq + Hash> Held<K> {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            claims: Mutex::new(HashMap::new()),
            count: watch::Sender::new(0),
        }
    }

    /// Takes what was claimed under `token`.
    pub fn take(&self, token: Uid, ids: impl IntoIterator<Item = K>) {
        let mut claims = self.lock();
        claims.extend(ids.into_iter().map(|id| ((id, token), Work::default())));
        self.count.send_replace(claims.len());
    }

    /// Notes the task that works on a claim, unless the claim is gone already.
    pub fn begun(&self, id: K, token: Uid, task: AbortHandle) {
        if let Some(work) = self.lock().get_mut(&(id, token)) {
            work.task = Some(task);
        }
    }

    /// Notes that the work on a claim has ended and only remains to be settled.
    pub fn ended(&self, id: K, token: Uid) {
        if let Some(work) = self.lock().get_mut(&(id, token)) {
            work.ended = true;
        }
    }

    /// Lets go of what was settled.
    pub fn release(&self, settled: impl IntoIterator<Item = (K, Uid)>) {
        let mut claims = self.lock();
        for key in settled {
            claims.remove(&key);
        }
        self.count.send_replace(claims.len());
    }

    /// Lets go of claims that went to somebody else, and aborts the work on them.
    pub fn lose(&self, token: Uid, ids: impl IntoIterator<Item = K>) {
        let mut claims = self.lock();
        for id in ids {
            let task = claims.remove(&(id, token)).and_then(|work| work.task);
            if let Some(task) = task {
                task.abort();
            }
        }
        self.count.send_replace(claims.len());
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Returns once there are at most `count`. Cancel safe.
    pub async fn at_most(&self, count: usize) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let mut counts = self.count.subscribe();
        let _ = counts.wait_for(|held| *held <= count).await;
    }

    /// Everything held, by token: what a worker renews.
    #[must_use]
    pub fn by_token(&self) -> Vec<(Uid, Vec<K>)> {
        let mut by_token = HashMap::<Uid, Vec<K>>::new();
        for (id, token) in self.lock().keys() {
            by_token.entry(*token).or_default().push(*id);
        }
        by_token.into_iter().collect()
    }

    /// Claims whose work has not ended: what a worker that has to stop gives back.
    #[must_use]
    pub fn unfinished(&self) -> Vec<(K, Uid)> {
        let claims = self.lock();
        let unfinished = claims.iter().filter(|(_, work)| !work.ended);
        unfinished.map(|(key, _)| *key).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(K, Uid), Work>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Copy + Eq + Hash> Default for Held<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const A: fn() -> Uid = || Uid::from_bits(1);
    const B: fn() -> Uid = || Uid::from_bits(2);

    #[test]
    fn an_id_may_be_held_under_two_tokens() {
        let held = Held::new();
        held.take(A(), [1, 2]);
        held.take(B(), [1]);
        held.release([(1, A())]);
        assert_eq!(held.count(), 2);
        held.ended(2, A());
        assert_eq!(held.unfinished(), [(1, B())]);
    }

    #[test]
    fn waiting_for_room_ends_when_there_is_some() {
        let held = Held::new();
        held.take(A(), [1, 2]);
        assert_eq!(held.at_most(1).now_or_never(), None);
        held.release([(2, A())]);
        assert_eq!(held.at_most(1).now_or_never(), Some(()));
    }

    // INV-08
    #[tokio::test]
    async fn work_on_a_lost_claim_is_aborted() {
        let held = Held::new();
        held.take(A(), [1]);
        let task = tokio::spawn(std::future::pending::<()>());
        held.begun(1, A(), task.abort_handle());
        held.lose(A(), [1]);
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(held.count(), 0);
    }
}
