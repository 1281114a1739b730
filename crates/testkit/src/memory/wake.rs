//! The `Wake` port.

use integrations_core::wake::{Wake, WakeChannel, WakeListener};

use super::MemoryStore;

impl Wake for MemoryStore {
    fn ring(&self, channel: WakeChannel) {
        self.wake.ring(channel);
    }

    fn listen(&self, channel: WakeChannel) -> Box<dyn WakeListener> {
        self.wake.listen(channel)
    }
}
