//! [`SharedWake`]: rings of this process, and of others for as long as somebody listens.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use integrations_core::wake::{LocalWake, Wake as _, WakeChannel, WakeListener};
use tokio::{runtime::Handle, task::JoinSet};

/// Passes rings of other processes on to this one until it is dropped.
pub type Relay = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes a [`Relay`] that rings what it is given.
type MakeRelay = Box<dyn Fn(Arc<LocalWake>) -> Relay + Send + Sync>;

/// Rings of this process, and a relay for those of others that runs while somebody listens.
pub struct SharedWake {
    local: Arc<LocalWake>,
    relay: MakeRelay,
    /// Ends with the last listener, each of which keeps it.
    running: Mutex<Weak<JoinSet<()>>>,
}

impl SharedWake {
    /// Nobody listens yet, so `relay` is not called yet.
    pub fn new(relay: impl Fn(Arc<LocalWake>) -> Relay + Send + Sync + 'static) -> Self {
        Self {
            local: Arc::default(),
            relay: Box::new(relay),
            running: Mutex::default(),
        }
    }

    /// Rings within this process.
    pub fn ring(&self, channel: WakeChannel) {
        self.local.ring(channel);
    }

    /// Listens to this process, and within a tokio runtime to the others.
    pub fn listen(&self, channel: WakeChannel) -> Box<dyn WakeListener> {
        // A relay rings as soon as it hears others, so the listener has to be there before it.
        let listener = self.local.subscribe(channel);
        match self.relay() {
            Some(relay) => Box::new(listener.keeping(relay)),
            None => Box::new(listener),
        }
    }

    /// The relay that runs, or a new one.
    fn relay(&self) -> Option<Arc<JoinSet<()>>> {
        let runtime = Handle::try_current().ok()?;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(relay) = running.upgrade() {
            return Some(relay);
        }
        let mut tasks = JoinSet::new();
        tasks.spawn_on((self.relay)(Arc::clone(&self.local)), &runtime);
        let relay = Arc::new(tasks);
        *running = Arc::downgrade(&relay);
        Some(relay)
    }
}

impl fmt::Debug for SharedWake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedWake").finish_non_exhaustive()
    }
}
