//! Which errors of calls mean: not now.

use std::error::Error;

use super::{CallError, CallErrorKind};
use crate::{provider::Pause, request::FailureClass};

impl CallError {
    /// The pause that `error` asks for, where it or one of its causes is a call that does.
    #[must_use]
    pub fn pause_in(error: &(dyn Error + 'static)) -> Option<Pause> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(pause) = error.downcast_ref::<Self>().and_then(Self::pause) {
                return Some(pause);
            }
            cause = error.source();
        }
        None
    }
}

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
