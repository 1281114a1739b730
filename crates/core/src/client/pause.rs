//! Which errors of calls mean: not now.

use super::{CallError, CallErrorKind};
use crate::{provider::Pause, request::FailureClass};

impl<E> CallError<E> {
    /// The pause the other side, or a limit of ours, asks for; `None` where the call failed for
    /// another reason. What was to be done is then to be put off, and did not fail.
    #[must_use]
    pub fn pause(&self) -> Option<Pause> {
        let throttled = matches!(
            self.kind(),
            CallErrorKind::Failed(FailureClass::Throttle)
                | CallErrorKind::Sdk(FailureClass::Throttle)
                | CallErrorKind::RateLimited
                | CallErrorKind::CircuitOpen { .. }
        );
        throttled.then(|| Pause {
            until: self.retry_at(),
        })
    }
}
