//! Whether and when a failed attempt is followed by another.

use std::{error::Error, fmt, time::Duration};

use chrono::{DateTime, Utc};

use super::{RetryLimits, backoff};
use crate::{
    entropy::Entropy,
    provider::{Effect, RetryVerdict},
    request::FailureClass,
    time::later,
};

/// An SDK's closure returns this, alone or as a cause, to ask for another attempt (RET-01). The
/// closure knows that doing it again does no harm.
#[derive(Debug)]
pub struct Retryable {
    after: Option<Duration>,
    max_attempts: Option<u32>,
    source: Box<dyn Error + Send + Sync>,
}

impl Retryable {
    /// Asks for another attempt because of `source`.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            after: None,
            max_attempts: None,
            source: source.into(),
        }
    }

    /// The same after so long, within what the client grants.
    #[must_use]
    pub const fn after(mut self, after: Duration) -> Self {
        self.after = Some(after);
        self
    }

    /// The same with fewer attempts than the call has; more are not granted.
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// The one in a chain of causes.
    pub(in crate::client) fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(own) = error.downcast_ref::<Self>() {
                return Some(own);
            }
            cause = error.source();
        }
        None
    }

    pub(in crate::client) const fn advice(&self) -> Advice {
        Advice::Asked {
            after: self.after,
            max_attempts: self.max_attempts,
        }
    }
}

impl fmt::Display for Retryable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Error for Retryable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

/// What somebody who knows said about trying again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::client) enum Advice {
    /// Nothing.
    #[default]
    None,
    /// A closure asks for it.
    Asked {
        after: Option<Duration>,
        max_attempts: Option<u32>,
    },
    /// The provider's verdict.
    Provider(RetryVerdict),
}

/// What is known when an attempt failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed<'a> {
    /// Which attempt it was, from 1.
    pub(super) attempt: u32,
    /// How many there are at most.
    pub(super) attempts: u32,
    pub(super) class: &'a FailureClass,
    pub(super) effect: Effect,
    /// Doing it twice is as good as once.
    pub(super) repeatable: bool,
    pub(super) advice: Advice,
    /// Until when the other side wants no calls.
    pub(super) pause: Option<DateTime<Utc>>,
    /// When the call gives up.
    pub(super) give_up_at: DateTime<Utc>,
    pub(super) now: DateTime<Utc>,
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another, then.
    Again(DateTime<Utc>),
    /// Nothing; a new call makes sense from then on, where that is known.
    Stop(Option<DateTime<Utc>>),
}

impl Failed<'_> {
    /// The decision (RET-01), without the retry budget.
    pub(super) fn next(&self, limits: &RetryLimits, entropy: &dyn Entropy) -> Next {
        let (wanted, attempts, own_delay) = match self.advice {
            Advice::Asked {
                after,
                max_attempts,
            } => {
                let fewer = max_attempts.unwrap_or(u32::MAX);
                (true, self.attempts.min(fewer), after)
            }
            Advice::Provider(RetryVerdict::Stop) => (false, self.attempts, None),
            Advice::Provider(RetryVerdict::Again { after }) => (true, self.attempts, after),
            Advice::None => {
                let passing = matches!(self.class, FailureClass::Upstream | FailureClass::Throttle);
                (passing, self.attempts, None)
            }
        };
        let harmless = self.repeatable
            || self.effect == Effect::DidNotHappen
            || matches!(self.advice, Advice::Asked { .. });
        if !wanted || !harmless || self.attempt >= attempts {
            return Next::Stop(self.pause);
        }
        let at = match (own_delay, self.pause) {
            (Some(own), _) => {
                let own = own.min(limits.longest_pause);
                later(self.now, backoff::pause(own, entropy))
            }
            (None, Some(pause)) => {
                let asked = (pause - self.now).to_std().unwrap_or_default();
                if asked > limits.longest_pause {
                    return Next::Stop(Some(pause));
                }
                later(self.now, backoff::pause(asked, entropy))
            }
            (None, None) => later(self.now, backoff::backoff(limits, self.attempt, entropy)),
        };
        if at >= self.give_up_at {
            return Next::Stop(Some(self.pause.unwrap_or(at)));
        }
        Next::Again(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::EntropyError;

    /// The longest delays there are.
    struct NoEntropy;

    impl Entropy for NoEntropy {
        fn fill(&self, _bytes: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    const OUTAGE: Failed<'static> = Failed {
        attempt: 1,
        attempts: 3,
        class: &FailureClass::Upstream,
        effect: Effect::Unknown,
        repeatable: true,
        advice: Advice::None,
        pause: None,
        give_up_at: DateTime::<Utc>::MAX_UTC,
        now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
    };

    fn next(failed: Failed<'_>) -> Next {
        failed.next(&RetryLimits::default(), &NoEntropy)
    }

    // RET-01
    #[test]
    fn outages_and_throttles_are_tried_again_and_nothing_else() {
        assert_eq!(next(OUTAGE), Next::Again(at(1)));
        let throttle = Failed {
            class: &FailureClass::Throttle,
            ..OUTAGE
        };
        assert_eq!(next(throttle), Next::Again(at(1)));
        for class in [&FailureClass::Client, &FailureClass::Unknown] {
            assert_eq!(next(Failed { class, ..OUTAGE }), Next::Stop(None));
        }
        assert_eq!(
            next(Failed {
                attempt: 2,
                ..OUTAGE
            }),
            Next::Again(at(2))
        );
        assert_eq!(
            next(Failed {
                attempt: 3,
                ..OUTAGE
            }),
            Next::Stop(None)
        );
    }

    // W-RET-6: what may have happened is not done twice
    #[test]
    fn only_what_does_no_harm_is_sent_again() {
        let write = Failed {
            repeatable: false,
            ..OUTAGE
        };
        assert_eq!(next(write), Next::Stop(None));
        let never_sent = Failed {
            effect: Effect::DidNotHappen,
            ..write
        };
        assert_eq!(next(never_sent), Next::Again(at(1)));
        let provider = Advice::Provider(RetryVerdict::Again { after: None });
        assert_eq!(
            next(Failed {
                advice: provider,
                ..write
            }),
            Next::Stop(None)
        );
        let asked = Retryable::new("locked").advice();
        assert_eq!(
            next(Failed {
                advice: asked,
                ..write
            }),
            Next::Again(at(1))
        );
    }

    // RET-01: what an explicit error grants may only be less
    #[test]
    fn who_knows_better_decides() {
        let stop = Advice::Provider(RetryVerdict::Stop);
        assert_eq!(
            next(Failed {
                advice: stop,
                ..OUTAGE
            }),
            Next::Stop(None)
        );
        let own = Failed {
            class: &FailureClass::Client,
            ..OUTAGE
        };
        let again = Advice::Provider(RetryVerdict::Again {
            after: Some(Duration::from_secs(10)),
        });
        assert_eq!(
            next(Failed {
                advice: again,
                ..own
            }),
            Next::Again(at(11))
        );
        let once = Retryable::new("x").max_attempts(1).advice();
        assert_eq!(
            next(Failed {
                advice: once,
                ..OUTAGE
            }),
            Next::Stop(None)
        );
        let many = Retryable::new("x")
            .max_attempts(9)
            .after(Duration::from_hours(9))
            .advice();
        assert_eq!(
            next(Failed {
                advice: many,
                ..own
            }),
            Next::Again(at(660))
        );
        assert_eq!(
            next(Failed {
                advice: many,
                attempt: 3,
                ..own
            }),
            Next::Stop(None)
        );
    }

    // RET-03, W-RET-1, INV-15
    #[test]
    fn pauses_are_kept_and_those_too_long_end_the_call() {
        let asked = |seconds| Failed {
            pause: Some(at(seconds)),
            ..OUTAGE
        };
        assert_eq!(next(asked(20)), Next::Again(at(22)));
        assert_eq!(next(asked(601)), Next::Stop(Some(at(601))));
        let hurried = Failed {
            give_up_at: at(22),
            ..asked(20)
        };
        assert_eq!(next(hurried), Next::Stop(Some(at(20))));
        let own = Failed {
            give_up_at: at(1),
            ..OUTAGE
        };
        assert_eq!(next(own), Next::Stop(Some(at(1))));
    }

    #[test]
    fn a_retryable_error_is_found_among_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] Retryable);
        let outer = Outer(Retryable::new("locked").after(Duration::from_secs(1)));
        assert!(Retryable::find(&outer).is_some_and(|found| found.to_string() == "locked"));
        assert!(Retryable::find(&std::io::Error::other("x")).is_none());
    }
}
