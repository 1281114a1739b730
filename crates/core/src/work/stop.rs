//! The signal to stop.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells services to come to an end: to begin nothing new, and to finish what they have begun.
/// Clones share the signal, and it is never taken back.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// A signal that was not given yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Gives it.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was given.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once it was given. Cancel safe.
    pub async fn stopped(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn whoever_waits_hears_it_before_and_after() {
        let stop = Stop::new();
        let waiting = stop.clone();
        assert_eq!(waiting.stopped().now_or_never(), None);
        stop.stop();
        assert!(waiting.is_stopped());
        assert_eq!(waiting.stopped().now_or_never(), Some(()));
    }
}
