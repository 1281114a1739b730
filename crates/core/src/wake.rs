//! Wake-ups: telling those who wait for work that there is some.
//!
//! A ring is a hint. Whoever waits for one looks for work from time to time all the same, so that
//! one that is lost costs the time until the next look and nothing else.

use async_trait::async_trait;
use tokio::sync::watch;

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WakeChannel {
    /// An integration is due.
    Syncs,
    /// Items can be claimed.
    Items,
    /// Deliveries can be claimed.
    Webhooks,
}

impl WakeChannel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Syncs, Self::Items, Self::Webhooks];

    /// Its name, as it goes over a wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syncs => "syncs",
            Self::Items => "items",
            Self::Webhooks => "webhooks",
        }
    }

    /// The channel of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }
}

/// Ringing for those who wait, in this process and in those that share the store.
///
/// ```
/// # use integrations_core::wake::{LocalWake, Wake, WakeChannel};
/// # async fn example(wake: &dyn Wake) {
/// let mut listener = wake.listen(WakeChannel::Items);
/// loop {
///     // Look for work until there is none; then:
///     listener.rung().await;
/// #   break;
/// }
/// # }
/// ```
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Wake: Send + Sync {
    /// Says that there is work. Called after the commit that made it.
    ///
    /// MUST return at once and MUST NOT take part in any transaction. Rings close together may
    /// become one.
    fn ring(&self, channel: WakeChannel);

    /// Begins to listen; look for work after this and before the first wait.
    ///
    /// A ring in this process after this returned MUST be heard. Where rings of other processes
    /// can be heard only later, once there is a connection say, the listener MUST be rung then,
    /// since some may have been missed, and so after every interruption. It MAY be rung without a
    /// reason.
    fn listen(&self, channel: WakeChannel) -> Box<dyn WakeListener>;

    /// Returns once other processes were told of every ring so far, or could not be for a second:
    /// for a process that is about to end. By default there is nobody to tell.
    async fn flush(&self) {}
}

/// Hears the rings of one channel.
#[async_trait]
pub trait WakeListener: Send {
    /// Returns once there was a ring since the last call, or since listening began.
    ///
    /// Cancel safe: a ring that nobody took is heard by the next call.
    async fn rung(&mut self);
}

/// Rings within the process: all that a store without other processes needs.
#[derive(Debug)]
pub struct LocalWake {
    bells: [watch::Sender<()>; WakeChannel::ALL.len()],
}

impl LocalWake {
    /// With nobody listening yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bells: WakeChannel::ALL.map(|_| watch::Sender::new(())),
        }
    }

    /// Rings every channel, as when some rings may have been missed.
    pub fn ring_all(&self) {
        for channel in WakeChannel::ALL {
            self.ring(channel);
        }
    }

    /// [`Wake::listen`], as a listener that can keep alive what else brings it rings.
    #[must_use]
    pub fn subscribe<K>(&self, channel: WakeChannel) -> LocalListener<K> {
        LocalListener {
            bell: self.bell(channel).subscribe(),
            kept: None,
        }
    }

    fn bell(&self, channel: WakeChannel) -> &watch::Sender<()> {
        let [syncs, items, webhooks] = &self.bells;
        match channel {
            WakeChannel::Syncs => syncs,
            WakeChannel::Items => items,
            WakeChannel::Webhooks => webhooks,
        }
    }
}

impl Default for LocalWake {
    fn default() -> Self {
        Self::new()
    }
}

impl Wake for LocalWake {
    fn ring(&self, channel: WakeChannel) {
        self.bell(channel).send_replace(());
    }

    fn listen(&self, channel: WakeChannel) -> Box<dyn WakeListener> {
        Box::new(self.subscribe::<()>(channel))
    }
}

/// Hears the rings of one channel of a [`LocalWake`].
#[derive(Debug)]
pub struct LocalListener<K> {
    bell: watch::Receiver<()>,
    kept: Option<K>,
}

impl<K> LocalListener<K> {
    /// Drops `kept` when the listener is dropped.
    #[must_use]
    pub fn keeping(mut self, kept: K) -> Self {
        self.kept = Some(kept);
        self
    }
}

#[async_trait]
impl<K: Send + 'static> WakeListener for LocalListener<K> {
    async fn rung(&mut self) {
        if self.bell.changed().await.is_err() {
            // The store is gone, and with it whoever could ring.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn every_channel_is_found_by_its_name() {
        for channel in WakeChannel::ALL {
            assert_eq!(WakeChannel::named(channel.name()), Some(channel));
        }
        assert_eq!(WakeChannel::named("other"), None);
    }

    #[test]
    fn rings_close_together_become_one() {
        let wake = LocalWake::new();
        let mut listener = wake.listen(WakeChannel::Items);
        wake.ring(WakeChannel::Items);
        wake.ring(WakeChannel::Items);
        assert_eq!(listener.rung().now_or_never(), Some(()));
        assert_eq!(listener.rung().now_or_never(), None);
    }

    #[test]
    fn channels_are_heard_apart() {
        let wake = LocalWake::new();
        let mut listener = wake.listen(WakeChannel::Items);
        wake.ring(WakeChannel::Webhooks);
        wake.ring(WakeChannel::Syncs);
        assert_eq!(listener.rung().now_or_never(), None);
        wake.ring_all();
        assert_eq!(listener.rung().now_or_never(), Some(()));
    }

    #[test]
    fn a_listener_of_a_store_that_is_gone_waits() {
        let mut listener = LocalWake::new().listen(WakeChannel::Items);
        assert_eq!(listener.rung().now_or_never(), None);
    }
}
