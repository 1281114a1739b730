//! Shared commits: callers who wait at the same time are written together.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use futures::FutureExt as _;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
};

/// Writes what several callers gave.
#[async_trait]
pub trait WriteBatch<T, R>: Send + Sync + 'static {
    /// Writes `batch`, and answers once per entry in their order.
    async fn write(&self, batch: Vec<T>) -> Vec<R>;
}

/// Why an entry has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWritten {
    /// As many as may wait do so already; nothing was written.
    #[error("too many writes are waiting; try again shortly")]
    Full,
    /// Writing has ended; nothing was written.
    #[error("writing has ended")]
    Closed,
    /// The writer gave up on the batch. The entry may have been written or not.
    #[error("the write was given up; whether it took place is not known")]
    Lost,
}

/// One writer for many callers.
///
/// It takes whatever waits, writes it, answers all, and takes what came meanwhile. Nothing is ever
/// delayed for the sake of a larger batch: a caller who is alone is written at once. The queue is
/// bounded, and a caller who goes away does not take the others' batch along.
pub struct SharedWrites<T, R> {
    queue: mpsc::Sender<Waiting<T, R>>,
    closing: Arc<Notify>,
    written: Arc<Written>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What was handed to the writer so far.
#[derive(Debug, Default)]
struct Written {
    batches: AtomicU64,
    entries: AtomicU64,
}

struct Waiting<T, R> {
    entry: T,
    answer: oneshot::Sender<R>,
}

impl<T, R> fmt::Debug for SharedWrites<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedWrites")
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

impl<T, R> SharedWrites<T, R> {
    /// How many entries wait to be taken.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// How many batches the writer was given so far, and how many entries in them.
    #[must_use]
    pub fn batches(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.written.batches), read(&self.written.entries))
    }
}

impl<T: Send + 'static, R: Send + 'static> SharedWrites<T, R> {
    /// Begins to write through `writer`, at most `batch` entries at a time, while at most `queue`
    /// wait. Both count as one where they are zero. Needs a tokio runtime.
    pub fn start(writer: impl WriteBatch<T, R>, queue: usize, batch: usize) -> Self {
        let (sender, receiver) = mpsc::channel(queue.max(1));
        let closing = Arc::new(Notify::new());
        let written = Arc::new(Written::default());
        let task = tokio::spawn(write_all(
            writer,
            receiver,
            batch.max(1),
            Arc::clone(&closing),
            Arc::clone(&written),
        ));
        Self {
            queue: sender,
            closing,
            written,
            task: Mutex::new(Some(task)),
        }
    }

    /// Writes an entry; waits for a place in the queue where it is full.
    ///
    /// Cancel safe until the entry is in the queue; after that it is written all the same.
    ///
    /// # Errors
    ///
    /// Returns [`NotWritten`], never [`NotWritten::Full`].
    pub async fn write(&self, entry: T) -> Result<R, NotWritten> {
        let (answer, written) = oneshot::channel();
        let sent = self.queue.send(Waiting { entry, answer }).await;
        sent.map_err(|_| NotWritten::Closed)?;
        written.await.map_err(|_| NotWritten::Lost)
    }

    /// Writes an entry if there is a place in the queue.
    ///
    /// A caller who is dropped while it waits is written all the same.
    ///
    /// # Errors
    ///
    /// Returns [`NotWritten`].
    pub async fn try_write(&self, entry: T) -> Result<R, NotWritten> {
        let (answer, written) = oneshot::channel();
        let sent = self.queue.try_send(Waiting { entry, answer });
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotWritten::Full,
            mpsc::error::TrySendError::Closed(_) => NotWritten::Closed,
        })?;
        written.await.map_err(|_| NotWritten::Lost)
    }

    /// Takes no more entries, and waits until those in the queue are written.
    pub async fn shutdown(&self) {
        self.closing.notify_one();
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(task) = task
            && task.await.is_err()
        {
            tracing::error!("the task of shared writes ended early");
        }
    }
}

async fn write_all<T, R>(
    writer: impl WriteBatch<T, R>,
    mut receiver: mpsc::Receiver<Waiting<T, R>>,
    batch: usize,
    closing: Arc<Notify>,
    written: Arc<Written>,
) {
    let mut waiting = Vec::new();
    let mut open = true;
    loop {
        tokio::select! {
            taken = receiver.recv_many(&mut waiting, batch) => if taken == 0 { return },
            () = closing.notified(), if open => {
                receiver.close();
                open = false;
                continue;
            }
        }
        let (entries, answers): (Vec<T>, Vec<oneshot::Sender<R>>) = waiting
            .drain(..)
            .map(|waiting| (waiting.entry, waiting.answer))
            .unzip();
        written.batches.fetch_add(1, Ordering::Relaxed);
        (written.entries).fetch_add(entries.len() as u64, Ordering::Relaxed);
        let results = AssertUnwindSafe(writer.write(entries)).catch_unwind().await;
        let Ok(results) = results else {
            tracing::error!("a writer of shared writes panicked");
            continue;
        };
        for (answer, result) in answers.into_iter().zip(results) {
            // Whoever went away does not need the answer.
            let _ = answer.send(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    /// Writes one batch per permit, and remembers the batches.
    struct Gated {
        permits: Arc<Semaphore>,
        batches: Arc<Mutex<Vec<Vec<u32>>>>,
    }

    #[async_trait]
    impl WriteBatch<u32, u32> for Gated {
        async fn write(&self, batch: Vec<u32>) -> Vec<u32> {
            self.permits.acquire().await.unwrap().forget();
            assert!(!batch.contains(&13), "a writer that panics");
            self.batches.lock().unwrap().push(batch.clone());
            batch.iter().map(|n| n * 10).collect()
        }
    }

    fn gated(queue: usize, batch: usize) -> (Arc<SharedWrites<u32, u32>>, Gated) {
        let gated = Gated {
            permits: Arc::new(Semaphore::new(0)),
            batches: Arc::default(),
        };
        let writer = Gated {
            permits: Arc::clone(&gated.permits),
            batches: Arc::clone(&gated.batches),
        };
        (Arc::new(SharedWrites::start(writer, queue, batch)), gated)
    }

    async fn wait_until(condition: impl Fn() -> bool) {
        while !condition() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_waits_is_written_together_and_each_has_its_answer() {
        let (writes, gated) = gated(16, 3);
        let one = |n| {
            let writes = Arc::clone(&writes);
            tokio::spawn(async move { writes.write(n).await })
        };
        let first = one(1);
        // The first is taken alone, and held by the writer while the others come.
        tokio::task::yield_now().await;
        wait_until(|| writes.waiting() == 0).await;
        let others: Vec<_> = (2..=6).map(one).collect();
        wait_until(|| writes.waiting() == 5).await;
        gated.permits.add_permits(3);
        assert_eq!(first.await.unwrap(), Ok(10));
        for (n, other) in (2..).zip(others) {
            assert_eq!(other.await.unwrap(), Ok(n * 10));
        }
        let batches = gated.batches.lock().unwrap().clone();
        assert_eq!(batches, [vec![1], vec![2, 3, 4], vec![5, 6]]);
        assert_eq!(writes.batches(), (3, 6));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_a_closed_one_too() {
        let (writes, gated) = gated(1, 1);
        let one = |n| {
            let writes = Arc::clone(&writes);
            tokio::spawn(async move { writes.try_write(n).await })
        };
        let held = one(1);
        tokio::task::yield_now().await;
        wait_until(|| writes.waiting() == 0).await;
        let queued = one(2);
        wait_until(|| writes.waiting() == 1).await;
        assert_eq!(writes.try_write(3).await, Err(NotWritten::Full));
        gated.permits.add_permits(2);
        writes.shutdown().await;
        assert_eq!(held.await.unwrap(), Ok(10));
        assert_eq!(queued.await.unwrap(), Ok(20));
        assert_eq!(writes.write(4).await, Err(NotWritten::Closed));
    }

    #[tokio::test]
    async fn a_panicking_writer_costs_its_batch_alone() {
        let (writes, gated) = gated(4, 4);
        gated.permits.add_permits(2);
        assert_eq!(writes.write(13).await, Err(NotWritten::Lost));
        assert_eq!(writes.write(1).await, Ok(10));
    }

    #[tokio::test]
    async fn a_caller_who_goes_away_is_written_all_the_same() {
        let (writes, gated) = gated(4, 4);
        let gone = {
            let writes = Arc::clone(&writes);
            tokio::spawn(async move { writes.write(1).await })
        };
        tokio::task::yield_now().await;
        gone.abort();
        let _ = gone.await;
        gated.permits.add_permits(1);
        writes.shutdown().await;
        assert_eq!(*gated.batches.lock().unwrap(), [vec![1]]);
    }
}
