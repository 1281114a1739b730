//! [`Wake`] is the adapter's; no statement of ours takes part in it.

use integrations_core::wake::{Wake, WakeChannel, WakeListener};

use crate::{backend::OwnCommit, store::SqlStore};

impl<B: OwnCommit> Wake for SqlStore<B> {
    fn ring(&self, channel: WakeChannel) {
        self.backend.wake().ring(channel);
    }

    fn listen(&self, channel: WakeChannel) -> Box<dyn WakeListener> {
        self.backend.wake().listen(channel)
    }
}
