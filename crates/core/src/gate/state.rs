//! The state of one integration's gate and the decisions on it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Admission, AdmitRequest, Budget, BudgetUse, CircuitMode, CircuitOutcome, CircuitOverride,
    CircuitState, CircuitTransition, GateReturn, RateOverride, circuit::Passage,
};

/// Everything shared about admitting calls of one integration.
///
/// Stores keep it as one JSON value in one row and change it under that row's lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateState {
    /// The circuit.
    #[serde(default)]
    pub circuit: CircuitState,
    /// What is used of each budget, by its name and window.
    #[serde(default)]
    pub budgets: BTreeMap<String, BudgetUse>,
    /// Until when the other side wants no calls.
    #[serde(default)]
    pub suppressed_until: Option<DateTime<Utc>>,
}

impl GateState {
    /// Decides on a call, and takes what it needs if it may pass.
    ///
    /// Circuit first, then suppression, then every budget; nothing is taken unless all agree, so
    /// that a refusal never holds a probe's slot (INV-02). An operator's rate override stands in
    /// for the budgets of the request (RL-11).
    pub fn admit(
        &mut self,
        request: &AdmitRequest,
        circuit_override: Option<&CircuitOverride>,
        rate_override: Option<&RateOverride>,
    ) -> (Admission, Option<CircuitTransition>) {
        let now = request.now;
        let mode = circuit_override.filter(|o| o.holds(now)).map(|o| &o.mode);
        let passage = match mode {
            Some(CircuitMode::ForcedOpen) => {
                let retry_at = circuit_override.and_then(|o| o.until);
                return (
                    Admission::CircuitOpen {
                        opened_at: now,
                        retry_at,
                        forced: true,
                    },
                    None,
                );
            }
            Some(CircuitMode::ForcedClosed) => Passage::Pass,
            Some(CircuitMode::Unrecognised(_)) | None => {
                self.circuit.passage(&request.circuit, now)
            }
        };
        if let Passage::Reject {
            opened_at,
            retry_at,
        } = passage
        {
            return (
                Admission::CircuitOpen {
                    opened_at,
                    retry_at,
                    forced: false,
                },
                None,
            );
        }
        if let Some(until) = self.suppressed_until.filter(|until| now < *until) {
            return (Admission::Suppressed { until }, None);
        }
        let overriding = rate_override.filter(|o| o.holds(now)).map(|o| &o.budget);
        let budgets: Vec<&Budget> =
            overriding.map_or_else(|| request.budgets.iter().collect(), |budget| vec![budget]);
        // A probe is one call, not a block of them.
        let (waiting, ahead) = match passage {
            Passage::PassAsProbe => (1, 0),
            Passage::Pass | Passage::Reject { .. } => (request.permits.max(1), request.ahead),
        };
        let permits = match self.permits(request, waiting, ahead, &budgets) {
            Ok(permits) => permits,
            Err(limited) => return (limited, None),
        };
        let mut window_end: Option<DateTime<Utc>> = None;
        for budget in &budgets {
            self.budgets
                .entry(budget.usage_key())
                .or_default()
                .take(permits);
            let end = budget.window_end(now);
            window_end = Some(window_end.map_or(end, |earliest| earliest.min(end)));
        }
        let moved = match passage {
            Passage::PassAsProbe => self
                .circuit
                .begin_probe(&request.circuit, request.token, now),
            Passage::Pass | Passage::Reject { .. } => None,
        };
        let admission = Admission::Admitted {
            permits,
            window_end,
            budgets: budgets.into_iter().cloned().collect(),
            epoch: self.circuit.epoch,
            probe: matches!(passage, Passage::PassAsProbe).then_some(request.token),
        };
        (admission, moved)
    }

    /// How many calls may be taken, at least one, or which budget refuses.
    ///
    /// A block is at most a sixteenth of what remains; below 32 remaining each admission is its
    /// own. What nobody waits for yet is at most 1 in 256 of what remains, so that others, who
    /// cannot have it while its holder is idle, hardly miss it.
    fn permits(
        &mut self,
        request: &AdmitRequest,
        waiting: u32,
        ahead: u32,
        budgets: &[&Budget],
    ) -> Result<u32, Admission> {
        let now = request.now;
        let mut permits = waiting.saturating_add(ahead);
        for budget in budgets {
            let used = self.budgets.entry(budget.usage_key()).or_default();
            let remaining = used.remaining(budget, request.lane, now);
            if remaining == 0 {
                return Err(Admission::Limited {
                    retry_at: budget.window_end(now),
                    budget: budget.name.clone(),
                });
            }
            let block = if remaining < 32 { 1 } else { remaining / 16 };
            let with_ahead = waiting.saturating_add(ahead.min(remaining / 256));
            permits = permits.min(with_ahead).min(block);
        }
        Ok(permits)
    }

    /// Takes in what an attempt found out about the circuit. While an override holds, nothing is
    /// counted (CB-10), and a probe that reports is returned unused (INV-02).
    pub fn settle(
        &mut self,
        outcome: &CircuitOutcome,
        circuit_override: Option<&CircuitOverride>,
    ) -> Option<CircuitTransition> {
        if circuit_override.is_some_and(|o| o.holds(outcome.now)) {
            self.circuit.return_probe(outcome.probe);
            return None;
        }
        self.circuit.settle(outcome)
    }

    /// Takes back what was admitted and not used.
    pub fn give_back(&mut self, returned: &GateReturn) {
        for budget in &returned.budgets {
            if let Some(used) = self.budgets.get_mut(&budget.usage_key()) {
                let start = budget.window_end(returned.admitted_at).timestamp()
                    - i64::from(budget.window_seconds);
                used.give_back(start, returned.permits);
            }
        }
        self.circuit.return_probe(returned.probe);
    }

    /// Keeps calls back until `until`; never shortens (INV-04).
    pub fn suppress(&mut self, until: DateTime<Utc>) {
        self.suppressed_until = Some(self.suppressed_until.map_or(until, |old| old.max(until)));
    }

    /// Forgets the circuit's history, as clearing an override does (CB-10).
    pub fn reset_circuit(&mut self) {
        self.circuit.reset();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        gate::{CircuitPhase, CircuitPolicy, CircuitStrategy, CircuitVerdict, Lane},
        id::{IntegrationId, Uid},
        integration::Scope,
    };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn policy() -> CircuitPolicy {
        CircuitPolicy {
            strategy: CircuitStrategy::Count { threshold: 1 },
            cooldown: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(20),
            ..CircuitPolicy::default()
        }
    }

    fn request(budgets: Vec<Budget>, permits: u32, token: u128, now: i64) -> AdmitRequest {
        AdmitRequest {
            integration_id: IntegrationId(1),
            scope: Scope::Operator,
            circuit: policy(),
            budgets,
            permits,
            ahead: 0,
            lane: Lane::Interactive,
            token: Uid::from_bits(token),
            now: at(now),
        }
    }

    fn outcome(
        epoch: u64,
        probe: Option<Uid>,
        verdict: CircuitVerdict,
        now: i64,
    ) -> CircuitOutcome {
        CircuitOutcome {
            policy: policy(),
            epoch,
            probe,
            verdict,
            answered_before: 0,
            now: at(now),
        }
    }

    /// A gate whose circuit opened at 0.
    fn open() -> GateState {
        let mut gate = GateState::default();
        gate.settle(&outcome(0, None, CircuitVerdict::Outage, 0), None);
        assert_eq!(gate.circuit.phase, CircuitPhase::Open);
        gate
    }

    // INV-02
    #[test]
    fn a_probe_is_one_call_however_many_were_asked_for() {
        let plenty = Budget::fixed("minute", 1_000, 60).unwrap();
        let (admission, _) = open().admit(&request(vec![plenty], 50, 1, 10), None, None);
        assert!(
            matches!(
                admission,
                Admission::Admitted {
                    permits: 1,
                    probe: Some(_),
                    ..
                }
            ),
            "{admission:?}"
        );
    }

    // W-RL-1: what nobody waits for is taken only where there is plenty.
    #[test]
    fn little_is_taken_ahead_and_nothing_where_little_remains() {
        let given = |limit, permits, ahead| {
            let budget = Budget::fixed("minute", limit, 60).unwrap();
            let asked = AdmitRequest {
                ahead,
                ..request(vec![budget], permits, 1, 10)
            };
            match GateState::default().admit(&asked, None, None).0 {
                Admission::Admitted { permits, .. } => permits,
                refused => panic!("{refused:?}"),
            }
        };
        assert_eq!(given(255, 3, 100), 3);
        assert_eq!(given(5_120, 3, 100), 23);
        assert_eq!(given(5_120, 310, 100), 320);
        assert_eq!(given(1_000_000, 3, 100), 103);
    }

    // RL-11
    #[test]
    fn what_an_override_admitted_goes_back_to_the_override() {
        let own = Budget::fixed("minute", 5, 60).unwrap();
        let set = RateOverride {
            budget: Budget::fixed("minute", 2, 3600).unwrap(),
            until: None,
        };
        let mut gate = GateState::default();
        let asked = request(vec![own.clone()], 1, 1, 10);
        gate.admit(&asked, None, None);
        let (admission, _) = gate.admit(&asked, None, Some(&set));
        let Admission::Admitted {
            budgets, permits, ..
        } = admission
        else {
            panic!("{admission:?}");
        };
        assert_eq!(budgets, std::slice::from_ref(&set.budget));
        gate.give_back(&GateReturn {
            integration_id: asked.integration_id,
            budgets,
            permits,
            probe: None,
            admitted_at: asked.now,
        });
        assert_eq!(gate.budgets[&own.usage_key()].used, 1);
        assert_eq!(gate.budgets[&set.budget.usage_key()].used, 0);
    }

    // INV-02, CB-10
    #[test]
    fn a_probe_that_reports_under_an_override_frees_its_slot() {
        let mut gate = open();
        gate.admit(&request(vec![], 1, 1, 10), None, None);
        let forced = CircuitOverride {
            mode: CircuitMode::ForcedOpen,
            until: Some(at(12)),
        };
        let (epoch, token) = (gate.circuit.epoch, Uid::from_bits(1));
        let success = outcome(epoch, Some(token), CircuitVerdict::Success, 11);
        assert_eq!(gate.settle(&success, Some(&forced)), None);
        let (next, _) = gate.admit(&request(vec![], 1, 2, 12), Some(&forced), None);
        assert!(matches!(next, Admission::Admitted { .. }), "{next:?}");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Ask {
            permits: u32,
        },
        Report {
            which: prop::sample::Index,
            verdict: CircuitVerdict,
        },
        GiveBack {
            which: prop::sample::Index,
        },
        Wait(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        use CircuitVerdict::{Outage, Reachable, Success, Unknown};
        let verdict = prop::sample::select(vec![Reachable, Success, Outage, Unknown]);
        prop_oneof![
            (1_u32..20).prop_map(|permits| Step::Ask { permits }),
            (any::<prop::sample::Index>(), verdict)
                .prop_map(|(which, verdict)| Step::Report { which, verdict }),
            any::<prop::sample::Index>().prop_map(|which| Step::GiveBack { which }),
            (0_i64..30).prop_map(Step::Wait),
        ]
    }

    proptest! {
        // INV-05
        #[test]
        fn no_window_ever_exceeds_its_limit(
            limit in 1_u32..100,
            sliding: bool,
            asks in prop::collection::vec((1_u32..20, 0_u32..20, 0_i64..25), 1..80),
        ) {
            let per_minute = Budget::fixed("minute", limit, 60).unwrap();
            let per_minute = if sliding { per_minute.sliding() } else { per_minute };
            let per_ten = Budget::fixed("ten", limit.div_ceil(2), 10).unwrap();
            let mut gate = GateState::default();
            let mut taken: BTreeMap<(i64, i64), u32> = BTreeMap::new();
            let mut now = 0;
            for (permits, ahead, wait) in asks {
                now += wait;
                let budgets = vec![per_minute.clone(), per_ten.clone()];
                let asked = AdmitRequest { ahead, ..request(budgets, permits, 1, now) };
                let (admission, _) = gate.admit(&asked, None, None);
                match admission {
                    Admission::Admitted { permits: given, .. } => {
                        prop_assert!((1..=permits + ahead).contains(&given));
                        for window in [60, 10] {
                            let start = at(now).timestamp() / window;
                            *taken.entry((window, start)).or_default() += given;
                        }
                    }
                    Admission::Limited { retry_at, .. } => prop_assert!(retry_at > at(now)),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            for ((window, _), count) in taken {
                let limit = if window == 60 { limit } else { limit.div_ceil(2) };
                prop_assert!(count <= limit, "{} in {} s", count, window);
            }
        }

        // INV-02, INV-03
        #[test]
        fn one_probe_at_a_time_and_never_stuck(steps in prop::collection::vec(step(), 1..60)) {
            let mut gate = GateState::default();
            let mut under_way: Vec<(u64, Option<Uid>)> = Vec::new();
            let (mut now, mut token) = (0, 0);
            for step in steps {
                let before = gate.circuit.clone();
                match step {
                    Step::Wait(seconds) => now += seconds,
                    Step::Ask { permits } => {
                        token += 1;
                        let (admission, _) = gate.admit(&request(vec![], permits, token, now), None, None);
                        if let Admission::Admitted { permits, epoch, probe, .. } = admission {
                            let half_open = gate.circuit.phase == CircuitPhase::HalfOpen;
                            prop_assert_eq!(half_open, probe.is_some());
                            prop_assert!(!half_open || permits == 1);
                            prop_assert!(before.probe.is_none_or(|lost| lost.until <= at(now)));
                            under_way.push((epoch, probe));
                        }
                    }
                    Step::Report { which, verdict } if !under_way.is_empty() => {
                        let (epoch, probe) = under_way.swap_remove(which.index(under_way.len()));
                        gate.settle(&outcome(epoch, probe, verdict, now), None);
                        if epoch != before.epoch {
                            prop_assert_eq!(&gate.circuit, &before);
                        }
                    }
                    Step::GiveBack { which } if !under_way.is_empty() => {
                        let (_, probe) = under_way.swap_remove(which.index(under_way.len()));
                        let integration_id = IntegrationId(1);
                        gate.give_back(&GateReturn {
                            integration_id,
                            budgets: vec![],
                            permits: 1,
                            probe,
                            admitted_at: at(now),
                        });
                    }
                    Step::Report { .. } | Step::GiveBack { .. } => {}
                }
                prop_assert!(gate.circuit.epoch >= before.epoch);
            }
            // Whatever happened, after cool-down and probe time-out a call may go.
            let (admission, _) = gate.admit(&request(vec![], 1, u128::MAX, now + 30), None, None);
            prop_assert!(matches!(admission, Admission::Admitted { .. }), "{:?}", admission);
        }
    }
}
