//! Shared commits: callers who wait at the same time are written together.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc, Mutex as StdMutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use async_trait::async_trait;
use futures::FutureExt as _;
use tokio::{
    runtime::Handle,
    sync::{Mutex, Notify, mpsc, oneshot},
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
/// A caller who is alone writes by himself. Those who come meanwhile wait, and are written together:
/// a task takes whatever waits, writes it, answers all, and takes what came in the meantime. Nothing
/// is ever delayed for the sake of a larger batch. The queue is bounded, and a caller who goes away
/// takes no write along, neither his own nor the others'. A write that began is to be polled to its
/// end or dropped: one that is neither keeps the writer.
pub struct SharedWrites<T, R> {
    queue: mpsc::Sender<Waiting<T, R>>,
    pen: Arc<Pen<T, R>>,
    closing: Arc<Notify>,
    task: StdMutex<Option<JoinHandle<()>>>,
    /// Where writes go on whose callers went away.
    runtime: Handle,
}

/// The writer, which is in one hand at a time.
struct Pen<T, R> {
    writer: Arc<Mutex<Box<dyn WriteBatch<T, R>>>>,
    written: Written,
}

type Writing<R> = Pin<Box<dyn Future<Output = Option<Vec<R>>> + Send>>;

/// A write by its caller, which goes on without him when he is dropped.
struct Alone<R: Send + 'static> {
    /// `None` once it has ended.
    writing: Option<Writing<R>>,
    runtime: Handle,
}

impl<R: Send + 'static> Future for Alone<R> {
    type Output = Option<Vec<R>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(writing) = &mut self.writing else {
            return Poll::Ready(None);
        };
        let written = std::task::ready!(writing.as_mut().poll(cx));
        self.writing = None;
        Poll::Ready(written)
    }
}

impl<R: Send + 'static> Drop for Alone<R> {
    fn drop(&mut self) {
        if let Some(writing) = self.writing.take() {
            // It has the writer still, which `shutdown` waits for.
            self.runtime.spawn(writing);
        }
    }
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
        let written = &self.pen.written;
        (read(&written.batches), read(&written.entries))
    }
}

impl<T: Send + 'static, R: Send + 'static> SharedWrites<T, R> {
    /// Begins to write through `writer`, at most `batch` entries at a time, while at most `queue`
    /// wait. Both count as one where they are zero. Needs a tokio runtime.
    pub fn start(writer: impl WriteBatch<T, R>, queue: usize, batch: usize) -> Self {
        let (sender, receiver) = mpsc::channel(queue.max(1));
        let closing = Arc::new(Notify::new());
        let pen = Arc::new(Pen {
            writer: Arc::new(Mutex::new(Box::new(writer))),
            written: Written::default(),
        });
        let task = tokio::spawn(write_all(
            Arc::clone(&pen),
            receiver,
            batch.max(1),
            Arc::clone(&closing),
        ));
        Self {
            queue: sender,
            pen,
            closing,
            task: StdMutex::new(Some(task)),
            runtime: Handle::current(),
        }
    }

    /// Writes an entry; waits for a place in the queue where it is full.
    ///
    /// Whether the entry of a caller who is dropped is written depends on how far it was: one that
    /// found its place is.
    ///
    /// # Errors
    ///
    /// Returns [`NotWritten`], never [`NotWritten::Full`].
    pub async fn write(&self, entry: T) -> Result<R, NotWritten> {
        let entry = match self.write_alone(entry).await {
            Ok(written) => return written,
            Err(entry) => entry,
        };
        let (answer, written) = oneshot::channel();
        let sent = self.queue.send(Waiting { entry, answer }).await;
        sent.map_err(|_| NotWritten::Closed)?;
        written.await.map_err(|_| NotWritten::Lost)
    }

    /// Writes an entry if there is a place in the queue.
    ///
    /// The entry of a caller who is dropped is written all the same, if there was a place.
    ///
    /// # Errors
    ///
    /// Returns [`NotWritten`].
    pub async fn try_write(&self, entry: T) -> Result<R, NotWritten> {
        let entry = match self.write_alone(entry).await {
            Ok(written) => return written,
            Err(entry) => entry,
        };
        let (answer, written) = oneshot::channel();
        let sent = self.queue.try_send(Waiting { entry, answer });
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotWritten::Full,
            mpsc::error::TrySendError::Closed(_) => NotWritten::Closed,
        })?;
        written.await.map_err(|_| NotWritten::Lost)
    }

    /// Writes an entry while nobody else writes or waits; gives it back where somebody does. A hop
    /// to the task and back would take a tenth of the time that a commit does.
    async fn write_alone(&self, entry: T) -> Result<Result<R, NotWritten>, T> {
        let Ok(writer) = Arc::clone(&self.pen.writer).try_lock_owned() else {
            return Err(entry);
        };
        if self.waiting() > 0 || self.queue.is_closed() {
            return Err(entry);
        }
        let pen = Arc::clone(&self.pen);
        let writing = async move { pen.written.by(&**writer, vec![entry]).await };
        let results = Alone {
            writing: Some(Box::pin(writing)),
            runtime: self.runtime.clone(),
        };
        Ok(results
            .await
            .and_then(|results| results.into_iter().next())
            .ok_or(NotWritten::Lost))
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
        // Whoever writes alone comes to an end, and nobody begins to.
        drop(self.pen.writer.lock().await);
    }
}

impl Written {
    /// Has a batch written; nothing where the writer panicked.
    async fn by<T: 'static, R: 'static>(
        &self,
        writer: &dyn WriteBatch<T, R>,
        batch: Vec<T>,
    ) -> Option<Vec<R>> {
        self.batches.fetch_add(1, Ordering::Relaxed);
        (self.entries).fetch_add(batch.len() as u64, Ordering::Relaxed);
        let results = AssertUnwindSafe(writer.write(batch)).catch_unwind().await;
        if results.is_err() {
            tracing::error!("a writer of shared writes panicked");
        }
        results.ok()
    }
}

async fn write_all<T: 'static, R: 'static>(
    pen: Arc<Pen<T, R>>,
    mut receiver: mpsc::Receiver<Waiting<T, R>>,
    batch: usize,
    closing: Arc<Notify>,
) {
    let mut open = true;
    loop {
        let first = tokio::select! {
            first = receiver.recv() => first,
            () = closing.notified(), if open => {
                receiver.close();
                open = false;
                continue;
            }
        };
        let Some(first) = first else { return };
        let writer = pen.writer.lock().await;
        let mut waiting = Vec::from([first]);
        while waiting.len() < batch
            && let Ok(next) = receiver.try_recv()
        {
            waiting.push(next);
        }
        let (entries, answers): (Vec<T>, Vec<oneshot::Sender<R>>) = waiting
            .into_iter()
            .map(|waiting| (waiting.entry, waiting.answer))
            .unzip();
        let results = pen.written.by(&**writer, entries).await;
        drop(writer);
        for (answer, result) in answers.into_iter().zip(results.into_iter().flatten()) {
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
        batches: Arc<StdMutex<Vec<Vec<u32>>>>,
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
        // The first is written alone; of the others, the task has one in hand.
        wait_until(|| writes.batches().0 == 1).await;
        let others: Vec<_> = (2..=6).map(one).collect();
        wait_until(|| writes.waiting() == 4).await;
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
            tokio::spawn(async move { writes.write(n).await })
        };
        let alone = one(1);
        wait_until(|| writes.batches().0 == 1).await;
        let (in_hand, queued) = (one(2), one(3));
        wait_until(|| writes.waiting() == 1).await;
        assert_eq!(writes.try_write(4).await, Err(NotWritten::Full));
        gated.permits.add_permits(3);
        writes.shutdown().await;
        assert_eq!(alone.await.unwrap(), Ok(10));
        assert_eq!(in_hand.await.unwrap(), Ok(20));
        assert_eq!(queued.await.unwrap(), Ok(30));
        assert_eq!(writes.write(5).await, Err(NotWritten::Closed));
    }

    #[tokio::test]
    async fn a_panicking_writer_costs_its_batch_alone() {
        let (writes, gated) = gated(4, 4);
        gated.permits.add_permits(2);
        assert_eq!(writes.write(13).await, Err(NotWritten::Lost));
        assert_eq!(writes.write(1).await, Ok(10));
    }

    #[tokio::test]
    async fn a_caller_who_goes_away_takes_nobody_along() {
        let (writes, gated) = gated(4, 4);
        let one = |n| {
            let writes = Arc::clone(&writes);
            tokio::spawn(async move { writes.write(n).await })
        };
        let alone = one(1);
        wait_until(|| writes.batches().0 == 1).await;
        let queued = [one(2), one(3)];
        wait_until(|| writes.waiting() == 1).await;
        for gone in [&alone, &queued[0]] {
            gone.abort();
        }
        // The one who wrote alone is gone; what he wrote is not, nor is what the others wait for.
        assert!(alone.await.unwrap_err().is_cancelled());
        gated.permits.add_permits(2);
        writes.shutdown().await;
        let [_, last] = queued;
        assert_eq!(last.await.unwrap(), Ok(30));
        assert_eq!(*gated.batches.lock().unwrap(), [vec![1], vec![2, 3]]);
    }

    #[tokio::test]
    async fn shutting_down_waits_for_a_write_whose_caller_went_away() {
        let (writes, gated) = gated(4, 4);
        let alone = tokio::spawn({
            let writes = Arc::clone(&writes);
            async move { writes.try_write(1).await }
        });
        wait_until(|| writes.batches().0 == 1).await;
        alone.abort();
        assert!(alone.await.unwrap_err().is_cancelled());
        let mut ending = Box::pin(writes.shutdown());
        assert!(futures::poll!(&mut ending).is_pending());
        gated.permits.add_permits(1);
        ending.await;
        assert_eq!(*gated.batches.lock().unwrap(), [vec![1]]);
    }
}
