//! Cases of the `Wake` port.
//!
//! A listener may be rung without a reason, so no case asserts that one was not.

use std::time::Duration;

use futures::{FutureExt as _, future::join};
use integrations_core::wake::{WakeChannel, WakeListener};
use tokio::time::timeout;

use super::Subject;

/// Long enough for any store; a case that passes does not wait for it.
const PATIENCE: Duration = Duration::from_secs(30);

async fn hears(listener: &mut Box<dyn WakeListener>) {
    let rung = timeout(PATIENCE, listener.rung()).await;
    rung.expect("the ring should have been heard");
}

pub async fn a_ring_before_the_wait_is_heard(subject: &Subject) {
    let wake = &subject.ports.wake;
    for channel in WakeChannel::ALL {
        let mut listener = wake.listen(channel);

        wake.ring(channel);

        hears(&mut listener).await;
    }
}

pub async fn a_ring_during_the_wait_is_heard(subject: &Subject) {
    let wake = &subject.ports.wake;
    let mut listener = wake.listen(WakeChannel::Items);

    join(hears(&mut listener), async {
        wake.ring(WakeChannel::Items);
    })
    .await;
}

pub async fn every_listener_hears_a_ring(subject: &Subject) {
    let wake = &subject.ports.wake;
    let mut first = wake.listen(WakeChannel::Webhooks);
    let mut second = wake.listen(WakeChannel::Webhooks);

    wake.ring(WakeChannel::Webhooks);
    wake.ring(WakeChannel::Webhooks);

    join(hears(&mut first), hears(&mut second)).await;
}

pub async fn a_wait_given_up_takes_no_ring_with_it(subject: &Subject) {
    let wake = &subject.ports.wake;
    let mut listener = wake.listen(WakeChannel::Items);
    // Takes what a store may ring when listening begins, or gives up.
    let _ = listener.rung().now_or_never();

    wake.ring(WakeChannel::Items);

    hears(&mut listener).await;
}
