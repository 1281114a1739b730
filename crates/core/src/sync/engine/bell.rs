//! Wake-ups within the process.

use tokio::sync::watch;

/// Rings for those who wait for work. A ring is a hint: whoever waits looks for work from time to
/// time all the same.
#[derive(Debug)]
pub(super) struct Bell(watch::Sender<()>);

impl Bell {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    pub(super) fn ring(&self) {
        self.0.send_replace(());
    }

    /// Hears every ring from now on; rings close together become one.
    pub(super) fn listen(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
