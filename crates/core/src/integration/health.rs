//! Health: what outages in a row make of an integration.

use crate::state::define_state;

define_state! {
    /// How an integration fares. Only outages of the other side move it.
    HealthStatus {
        /// No outage that counts.
        Healthy = "healthy",
        /// A few outages in a row.
        Degraded = "degraded",
        /// Many outages in a row.
        Failing = "failing",
        /// So many that calls and syncs are refused until somebody enables it.
        Disabled = "disabled",
    }
}

/// How many outages in a row lead to which status (HLT-01).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// Degraded from here on.
    pub degraded_after: u32,
    /// Failing from here on.
    pub failing_after: u32,
    /// Disabled from here on; `None`: never by itself.
    pub disabled_after: Option<u32>,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            degraded_after: 5,
            failing_after: 20,
            disabled_after: Some(50),
        }
    }
}

/// What one attempt says about health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthVerdict {
    /// The other side works.
    Success,
    /// The other side failed.
    Outage,
    /// Nothing: a refused request, a throttle, an error of our own.
    Neutral,
}

/// Status and counter, which only move together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthState {
    /// The status.
    pub status: HealthStatus,
    /// Outages since the last success.
    pub consecutive_failures: i32,
}

impl HealthState {
    /// The state of a new or re-enabled integration.
    #[must_use]
    pub const fn healthy() -> Self {
        Self {
            status: HealthStatus::Healthy,
            consecutive_failures: 0,
        }
    }
}

/// What several attempts, one after the other, do to health: perhaps a reset, then so many
/// outages. Folding a batch into one delta lets a store write each integration once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthDelta {
    /// A success was among them.
    pub reset: bool,
    /// Outages since that success, or since the beginning.
    pub outages: u32,
}

impl HealthDelta {
    /// This delta followed by one more attempt.
    #[must_use]
    pub const fn then(self, verdict: HealthVerdict) -> Self {
        match verdict {
            HealthVerdict::Success => Self {
                reset: true,
                outages: 0,
            },
            HealthVerdict::Outage => Self {
                reset: self.reset,
                outages: self.outages.saturating_add(1),
            },
            HealthVerdict::Neutral => self,
        }
    }

    /// What `state` becomes.
    ///
    /// A success heals, except that a disabled integration stays so until somebody enables it
    /// (HLT-02, HLT-06). Below the first threshold an outage keeps the status (HLT-03). A status
    /// of a newer version is kept.
    #[must_use]
    pub fn apply(self, state: &HealthState, policy: &HealthPolicy) -> HealthState {
        if matches!(
            state.status,
            HealthStatus::Disabled | HealthStatus::Unrecognised(_)
        ) {
            return state.clone();
        }
        let (before, counted) = if self.reset {
            (HealthStatus::Healthy, 0)
        } else {
            (state.status.clone(), state.consecutive_failures)
        };
        let outages = i32::try_from(self.outages).unwrap_or(i32::MAX);
        let count = counted.saturating_add(outages);
        let reached = |threshold: u32| i64::from(count) >= i64::from(threshold);
        let status = if self.outages == 0 {
            before
        } else if policy.disabled_after.is_some_and(reached) {
            HealthStatus::Disabled
        } else if reached(policy.failing_after) {
            HealthStatus::Failing
        } else if reached(policy.degraded_after) {
            HealthStatus::Degraded
        } else {
            before
        };
        HealthState {
            status,
            consecutive_failures: count,
        }
    }
}

/// A change of status that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthTransition {
    /// Before.
    pub from: HealthStatus,
    /// After.
    pub to: HealthStatus,
    /// The counter after.
    pub consecutive_failures: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(outages: u32) -> HealthState {
        let mut delta = HealthDelta::default();
        for _ in 0..outages {
            delta = delta.then(HealthVerdict::Outage);
        }
        delta.apply(&HealthState::healthy(), &HealthPolicy::default())
    }

    // HLT-01
    #[test]
    fn thresholds_lie_at_5_20_and_50() {
        let steps = [
            (4, HealthStatus::Healthy),
            (5, HealthStatus::Degraded),
            (19, HealthStatus::Degraded),
            (20, HealthStatus::Failing),
            (49, HealthStatus::Failing),
            (50, HealthStatus::Disabled),
        ];
        for (outages, status) in steps {
            assert_eq!(after(outages).status, status, "after {outages} outages");
        }
    }

    // HLT-02, HLT-06
    #[test]
    fn success_heals_anything_but_disabled() {
        let success = HealthDelta::default().then(HealthVerdict::Success);
        assert_eq!(
            success.apply(&after(20), &HealthPolicy::default()),
            HealthState::healthy()
        );
        assert_eq!(
            success.apply(&after(50), &HealthPolicy::default()),
            after(50)
        );
    }

    // L-HLT-1
    #[test]
    fn neutral_attempts_change_nothing() {
        let delta = HealthDelta::default().then(HealthVerdict::Neutral);
        assert_eq!(delta.apply(&after(7), &HealthPolicy::default()), after(7));
    }

    #[test]
    fn never_disables_without_a_threshold() {
        let policy = HealthPolicy {
            disabled_after: None,
            ..HealthPolicy::default()
        };
        let delta = HealthDelta {
            reset: false,
            outages: 10_000,
        };
        assert_eq!(
            delta.apply(&HealthState::healthy(), &policy).status,
            HealthStatus::Failing
        );
    }
}
