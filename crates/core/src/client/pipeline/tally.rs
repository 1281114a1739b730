//! What a circuit need not be told at once.
//!
//! An attempt that was answered moves no closed circuit; it only weighs against outages to come. So
//! at most one such attempt a second is told of with its row. The others are counted here and go
//! with the next attempt that is told of, an outage at the latest: no outage is ever judged without
//! the answers this process had before it in the same window. Those that were not told of are lost
//! with the process.

use std::time::Duration;

use crate::gate::{CircuitOutcome, CircuitStrategy, CircuitVerdict};

/// How often a circuit is told of answers.
const EVERY: Duration = Duration::from_secs(1);

/// Answers that a circuit was not told of.
#[derive(Default)]
pub(super) struct Tally {
    epoch: u64,
    answered: u32,
    told_at: Option<Duration>,
}

impl Tally {
    /// What to tell the circuit of an attempt that ended `now`, if anything yet.
    pub(super) fn tell(&mut self, found: CircuitOutcome, now: Duration) -> Option<CircuitOutcome> {
        if !found.policy.enabled {
            return None;
        }
        if found.epoch < self.epoch {
            // An epoch that is over counts nothing any more, and takes nothing from the present one.
            return Some(found);
        }
        if found.epoch > self.epoch {
            *self = Self {
                epoch: found.epoch,
                ..Self::default()
            };
        }
        let can_wait = match (found.verdict, found.policy.strategy, found.probe) {
            // A success ends a row of outages, whoever met them.
            (_, _, Some(_))
            | (CircuitVerdict::Outage, ..)
            | (CircuitVerdict::Success, CircuitStrategy::Count { .. }, None) => false,
            (CircuitVerdict::Unknown, ..)
            | (CircuitVerdict::Reachable, CircuitStrategy::Count { .. }, None) => return None,
            (
                CircuitVerdict::Success | CircuitVerdict::Reachable,
                CircuitStrategy::Rate { .. },
                None,
            ) => true,
        };
        let was_told = |at| now.saturating_sub(at) < EVERY;
        if can_wait && self.told_at.is_some_and(was_told) {
            self.answered = self.answered.saturating_add(1);
            return None;
        }
        // All were within a second of when the circuit was last told; another window is not theirs.
        let is_over = |window| {
            self.told_at
                .is_some_and(|at| now.saturating_sub(at) >= window)
        };
        if let CircuitStrategy::Rate { window, .. } = found.policy.strategy
            && is_over(window)
        {
            self.answered = 0;
        }
        self.told_at = Some(now);
        Some(CircuitOutcome {
            answered_before: std::mem::take(&mut self.answered),
            ..found
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::{gate::CircuitPolicy, id::Uid};

    fn found(verdict: CircuitVerdict) -> CircuitOutcome {
        CircuitOutcome {
            policy: CircuitPolicy::default(),
            epoch: 3,
            probe: None,
            verdict,
            answered_before: 0,
            now: DateTime::<Utc>::UNIX_EPOCH,
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    // CB-07
    #[test]
    fn answers_within_a_second_go_with_the_next_outage_or_the_first_answer_after_it() {
        use CircuitVerdict::{Outage, Reachable, Success};
        let mut tally = Tally::default();
        let mut told = |verdict, at| Some(tally.tell(found(verdict), ms(at))?.answered_before);
        assert_eq!(told(Success, 0), Some(0));
        assert_eq!(told(Success, 10), None);
        assert_eq!(told(Reachable, 20), None);
        assert_eq!(told(Outage, 30), Some(2));
        assert_eq!(told(Success, 40), None);
        assert_eq!(told(Success, 1_029), None);
        assert_eq!(told(Success, 1_030), Some(2));
    }

    // CB-04, INV-02
    #[test]
    fn a_probe_is_always_told_of() {
        let mut tally = Tally::default();
        tally.tell(found(CircuitVerdict::Success), ms(0));
        let probe = CircuitOutcome {
            probe: Some(Uid::from_bits(1)),
            ..found(CircuitVerdict::Unknown)
        };
        assert_eq!(tally.tell(probe, ms(1)), Some(probe));
    }

    // CB-08
    #[test]
    fn a_success_always_ends_a_row_of_outages() {
        let mut tally = Tally::default();
        let mut success = found(CircuitVerdict::Success);
        success.policy.strategy = CircuitStrategy::Count { threshold: 3 };
        for at in 0..3 {
            assert_eq!(tally.tell(success, ms(at)), Some(success));
        }
    }

    // INV-03
    #[test]
    fn answers_of_an_epoch_that_is_over_are_not_counted() {
        let mut tally = Tally::default();
        tally.tell(found(CircuitVerdict::Success), ms(0));
        tally.tell(found(CircuitVerdict::Success), ms(1));
        let later = CircuitOutcome {
            epoch: 4,
            ..found(CircuitVerdict::Outage)
        };
        assert_eq!(tally.tell(later, ms(2)), Some(later));
        // One that comes late takes nothing from those of the present epoch.
        let answer = CircuitOutcome {
            verdict: CircuitVerdict::Success,
            ..later
        };
        assert_eq!(tally.tell(answer, ms(3)), None);
        let late = found(CircuitVerdict::Success);
        assert_eq!(tally.tell(late, ms(4)), Some(late));
        let told = tally.tell(later, ms(5)).unwrap();
        assert_eq!(told.answered_before, 1);
    }

    // CB-07
    #[test]
    fn answers_of_a_window_that_is_over_do_not_weigh_against_an_outage() {
        let mut tally = Tally::default();
        for at in 0..500 {
            tally.tell(found(CircuitVerdict::Success), ms(at));
        }
        let outage = found(CircuitVerdict::Outage);
        assert_eq!(tally.tell(outage, ms(3_600_000)), Some(outage));
    }
}
