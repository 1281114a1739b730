//! Hits, counted in the process and written every second, so that a hit writes nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    id::RequestId,
    request::{HitCount, RequestLog},
    time::{Clock, later},
};

/// How long counts wait at most.
const EVERY: Duration = Duration::from_secs(1);

/// Rows counted at once. What would be more is written with the next second's.
const BATCH: usize = 1_000;

/// Rows that may wait while the store is away. Hits on others are not counted then.
const MOST: usize = 10_000;

/// Counts hits, for all handles of a client.
pub(super) struct Hits(Arc<Inner>);

struct Inner {
    requests: Arc<dyn RequestLog>,
    clock: Arc<dyn Clock>,
    waiting: Mutex<Waiting>,
    /// Held while counts are written.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    counts: HashMap<RequestId, (u32, u32)>,
    /// Writes the counts when their second is over.
    task: Option<JoinHandle<()>>,
}

impl Hits {
    pub(super) fn new(requests: Arc<dyn RequestLog>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            requests,
            clock,
            waiting: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }))
    }

    /// Counts one answer that was served from what this row brought. Without a runtime, or after
    /// the last one's end, counts wait for [`flush`](Self::flush).
    pub(super) fn count(&self, row: Option<RequestId>, stale: bool) {
        let Some(row) = row else {
            return;
        };
        let mut waiting = self.0.waiting();
        if waiting.counts.len() >= MOST && !waiting.counts.contains_key(&row) {
            return;
        }
        let (fresh_hits, stale_hits) = waiting.counts.entry(row).or_default();
        let hits = if stale { stale_hits } else { fresh_hits };
        *hits = hits.saturating_add(1);
        let is_due = waiting.task.as_ref().is_none_or(JoinHandle::is_finished);
        if is_due && let Ok(runtime) = Handle::try_current() {
            let inner = Arc::clone(&self.0);
            waiting.task = Some(runtime.spawn(async move {
                let at = later(inner.clock.now(), EVERY);
                inner.clock.sleep_until(at).await;
                // Whoever takes the handle writes; a flush may have been faster.
                let ours = inner.waiting().task.take();
                if ours.is_some() {
                    inner.write().await;
                }
            }));
        }
    }

    /// Writes what was counted so far.
    pub(super) async fn flush(&self) {
        let task = self.0.waiting().task.take();
        if let Some(task) = task {
            // It waits for its second, and writes nothing without its handle.
            task.abort();
        }
        self.0.write().await;
    }
}

impl Inner {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self) {
        let _writing = self.writing.lock().await;
        loop {
            let batch = self.take();
            if batch.is_empty() {
                return;
            }
            if let Err(error) = self.requests.add_hits(&batch).await {
                tracing::warn!(%error, "hits on cached answers could not be written");
                self.put_back(&batch);
                return;
            }
        }
    }

    fn take(&self) -> Vec<HitCount> {
        let mut waiting = self.waiting();
        let some: Vec<RequestId> = waiting.counts.keys().copied().take(BATCH).collect();
        let mut batch: Vec<HitCount> = some
            .into_iter()
            .filter_map(|request_id| {
                let (fresh, stale) = waiting.counts.remove(&request_id)?;
                Some(HitCount {
                    request_id,
                    fresh,
                    stale,
                })
            })
            .collect();
        batch.sort_by_key(|hits| hits.request_id);
        batch
    }

    fn put_back(&self, batch: &[HitCount]) {
        let mut waiting = self.waiting();
        for hits in batch {
            let (fresh, stale) = waiting.counts.entry(hits.request_id).or_default();
            *fresh = fresh.saturating_add(hits.fresh);
            *stale = stale.saturating_add(hits.stale);
        }
    }
}
