//! Handing events over: after the commit, and never in the way.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{sync::mpsc, task::JoinHandle};

use crate::event::{Event, EventSink};

/// Events that may wait for slow sinks. What comes on top is dropped and counted in the trace.
const QUEUE: usize = 4096;

/// Hands events to sinks on a task of its own.
pub(super) struct Events {
    queue: Mutex<Option<mpsc::Sender<Event>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Events {
    /// Begins to hand over, if there are sinks.
    pub(super) fn start(sinks: Vec<Arc<dyn EventSink>>) -> Self {
        if sinks.is_empty() {
            return Self {
                queue: Mutex::new(None),
                task: Mutex::new(None),
            };
        }
        let (sender, mut receiver) = mpsc::channel::<Event>(QUEUE);
        let task = tokio::spawn(async move {
            while let Some(event) = receiver.recv().await {
                for sink in &sinks {
                    if catch_unwind(AssertUnwindSafe(|| sink.emit(&event))).is_err() {
                        tracing::warn!("an event sink panicked");
                    }
                }
            }
        });
        Self {
            queue: Mutex::new(Some(sender)),
            task: Mutex::new(Some(task)),
        }
    }

    /// Whether anybody hears of events.
    pub(super) fn has_sinks(&self) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.is_some()
    }

    /// Queues an event.
    pub(super) fn emit(&self, event: Event) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = &*queue
            && queue.try_send(event).is_err()
        {
            tracing::warn!("an event was dropped: the sinks are too slow");
        }
    }

    /// Waits until the sinks have had everything. Later events are dropped.
    pub(super) async fn drain(&self) {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(task) = task
            && task.await.is_err()
        {
            tracing::warn!("the task that hands events over ended early");
        }
    }
}
