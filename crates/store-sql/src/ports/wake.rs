//! [`Wake`] is the adapter's; no statement of ours takes part in it.

use async_trait::async_trait;
use integrations_core::wake::{Wake, WakeChannel, WakeListener};

use crate::{backend::OwnCommit, store::SqlStore};

#[async_trait]
impl<B: OwnCommit> Wake for SqlStore<B> {
    fn ring(&self, channel: WakeChannel) {
        self.backend.wake().ring(channel);
    }

    fn listen(&self, channel: WakeChannel) -> Box<dyn WakeListener> {
        self.backend.wake().listen(channel)
    }

    async fn flush(&self) {
        self.backend.wake().flush().await;
    }
}
