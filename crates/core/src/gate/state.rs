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
    /// What is used of each budget, by its name.
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
        let wanted = match passage {
            Passage::PassAsProbe => 1,
            Passage::Pass | Passage::Reject { .. } => request.permits.max(1),
        };
        let permits = match self.permits(request, wanted, &budgets) {
            Ok(permits) => permits,
            Err(limited) => return (limited, None),
        };
        let mut window_end: Option<DateTime<Utc>> = None;
        for budget in &budgets {
            self.budgets
                .entry(budget.name.clone())
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
            epoch: self.circuit.epoch,
            probe: matches!(passage, Passage::PassAsProbe).then_some(request.token),
        };
        (admission, moved)
    }

    /// How many calls may be taken, at least one, or which budget refuses.
    ///
    /// A block is at most a sixteenth of what remains; below 32 remaining each admission is its
    /// own.
    fn permits(
        &mut self,
        request: &AdmitRequest,
        wanted: u32,
        budgets: &[&Budget],
    ) -> Result<u32, Admission> {
        let now = request.now;
        let mut permits = wanted;
        for budget in budgets {
            let used = self.budgets.entry(budget.name.clone()).or_default();
            let remaining = used.remaining(budget, request.lane, now);
            if remaining == 0 {
                return Err(Admission::Limited {
                    retry_at: budget.window_end(now),
                    budget: budget.name.clone(),
                });
            }
            let block = if remaining < 32 { 1 } else { remaining / 16 };
            permits = permits.min(block);
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
            if let Some(used) = self.budgets.get_mut(&budget.name) {
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
