//! Work that goes on when the call that began it is dropped.

use tokio::{sync::watch, task::JoinHandle};

/// Counts tasks, so that a shutdown can wait for them.
pub(super) struct Background {
    running: watch::Sender<usize>,
}

impl Default for Background {
    fn default() -> Self {
        Self {
            running: watch::Sender::new(0),
        }
    }
}

/// One task, as long as it lives.
struct Running(watch::Sender<usize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

impl Background {
    /// Runs `work` on a task of its own, whatever becomes of the caller.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime, as `tokio::spawn` does.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.running.send_modify(|running| *running += 1);
        let running = Running(self.running.clone());
        tokio::spawn(async move {
            let _running = running;
            work.await
        })
    }

    /// The same from a `Drop`, where a runtime may be gone already; says so where it is.
    pub(super) fn spawn_from_drop(
        &self,
        what: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        if tokio::runtime::Handle::try_current().is_ok() {
            self.spawn(work);
        } else {
            tracing::warn!(what, "given up: there is no runtime any more");
        }
    }

    /// Waits until nothing runs.
    pub(super) async fn drain(&self) {
        // The sender is `self`'s, so waiting cannot fail.
        let _ = self
            .running
            .subscribe()
            .wait_for(|running| *running == 0)
            .await;
    }
}
