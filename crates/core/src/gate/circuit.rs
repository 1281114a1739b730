//! The circuit: stops calling what is down, and finds out when it is back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{id::Uid, state::define_state, time::later};

/// When a circuit opens and how it closes (CFG-09).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitPolicy {
    /// Off: only an operator's override rejects (CB-13).
    pub enabled: bool,
    /// What opens it.
    pub strategy: CircuitStrategy,
    /// How long it stays open before a probe.
    pub cooldown: Duration,
    /// When a probe that did not report counts as lost.
    pub probe_timeout: Duration,
}

/// What opens a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitStrategy {
    /// A share of outages among the attempts of this window and the one before (CB-07).
    Rate {
        /// The window, at least a second.
        window: Duration,
        /// Percent, 1 to 100.
        threshold_percent: u8,
        /// Attempts below which the share says nothing.
        minimum_requests: u32,
    },
    /// Outages in a row (CB-08).
    Count {
        /// How many.
        threshold: u32,
    },
}

impl Default for CircuitPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            strategy: CircuitStrategy::Rate {
                window: Duration::from_mins(1),
                threshold_percent: 50,
                minimum_requests: 10,
            },
            cooldown: Duration::from_mins(1),
            probe_timeout: Duration::from_mins(2),
        }
    }
}

define_state! {
    /// What an operator made of a circuit (CB-10).
    CircuitMode {
        /// Rejects every call.
        ForcedOpen = "open",
        /// Lets every call pass.
        ForcedClosed = "closed",
    }
}

/// An operator's override of a circuit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitOverride {
    /// What it is forced to.
    pub mode: CircuitMode,
    /// Until when; `None`: until it is cleared.
    pub until: Option<DateTime<Utc>>,
}

impl CircuitOverride {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// The phase of a circuit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitPhase {
    /// Calls pass.
    #[default]
    Closed,
    /// Calls are rejected.
    Open,
    /// One call passes and decides.
    HalfOpen,
}

/// Why a circuit changed its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CircuitReason {
    /// The strategy's threshold was reached.
    ThresholdReached,
    /// The cool-down is over and a probe is on its way.
    CooldownOver,
    /// The probe got an answer.
    ProbeSucceeded,
    /// The probe met an outage.
    ProbeFailed,
    /// An operator opened it.
    ForcedOpen,
    /// An operator closed it.
    ForcedClosed,
    /// An operator's override was cleared or ran out.
    OverrideCleared,
}

/// A change of phase that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitTransition {
    /// Before.
    pub from: CircuitPhase,
    /// After.
    pub to: CircuitPhase,
    /// Why.
    pub reason: CircuitReason,
}

/// What one attempt says about a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitOutcome {
    /// The policy in force.
    pub policy: CircuitPolicy,
    /// The epoch the attempt was admitted in.
    pub epoch: u64,
    /// The token it was admitted with, when it was the probe.
    pub probe: Option<Uid>,
    /// What happened.
    pub verdict: CircuitVerdict,
    /// Attempts of the same epoch before this one that were answered, and that nobody was told of.
    /// They count for a rate and say nothing about a row of outages.
    pub answered_before: u32,
    /// When.
    pub now: DateTime<Utc>,
}

/// What one attempt means to a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitVerdict {
    /// The other side answered, a refusal or throttle included: it is reachable.
    Reachable,
    /// The other side answered well.
    Success,
    /// The other side is down.
    Outage,
    /// Nothing is known: never sent, cancelled, an error of our own. Returns a probe unused.
    Unknown,
}

/// Counts of one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowCount {
    /// When it began, in seconds of the epoch.
    pub start: i64,
    /// Attempts.
    pub total: u32,
    /// Outages among them.
    pub outages: u32,
}

/// A probe on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Who carries it.
    pub token: Uid,
    /// When it counts as lost.
    pub until: DateTime<Utc>,
}

/// The state of one circuit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitState {
    /// The phase.
    pub phase: CircuitPhase,
    /// Counts the changes of phase; outcomes of an earlier epoch are ignored (INV-03).
    pub epoch: u64,
    /// When it opened.
    pub opened_at: Option<DateTime<Utc>>,
    /// Outages in a row, for [`CircuitStrategy::Count`].
    pub consecutive: u32,
    /// This window, for [`CircuitStrategy::Rate`].
    pub window: WindowCount,
    /// The window before.
    pub previous: WindowCount,
    /// The probe on its way.
    pub probe: Option<Probe>,
}

/// What a circuit says to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    Pass,
    PassAsProbe,
    Reject {
        opened_at: DateTime<Utc>,
        retry_at: Option<DateTime<Utc>>,
    },
}

impl CircuitState {
    /// Whether a call may pass; changes nothing.
    pub(super) fn passage(&self, policy: &CircuitPolicy, now: DateTime<Utc>) -> Passage {
        if !policy.enabled {
            return Passage::Pass;
        }
        let opened_at = self.opened_at.unwrap_or(now);
        match self.phase {
            CircuitPhase::Closed => Passage::Pass,
            CircuitPhase::Open => {
                let probe_at = later(opened_at, policy.cooldown);
                if now >= probe_at || self.opened_at.is_none() {
                    Passage::PassAsProbe
                } else {
                    Passage::Reject {
                        opened_at,
                        retry_at: Some(probe_at),
                    }
                }
            }
            CircuitPhase::HalfOpen => match self.probe {
                Some(probe) if now < probe.until => Passage::Reject {
                    opened_at,
                    retry_at: Some(probe.until),
                },
                _ => Passage::PassAsProbe,
            },
        }
    }

    /// Sends a call as the probe.
    pub(super) fn begin_probe(
        &mut self,
        policy: &CircuitPolicy,
        token: Uid,
        now: DateTime<Utc>,
    ) -> Option<CircuitTransition> {
        let moved = self.enter(CircuitPhase::HalfOpen, CircuitReason::CooldownOver);
        self.probe = Some(Probe {
            token,
            until: later(now, policy.probe_timeout),
        });
        moved
    }

    /// Takes in what an attempt found out.
    pub(super) fn settle(&mut self, outcome: &CircuitOutcome) -> Option<CircuitTransition> {
        if outcome.epoch != self.epoch || !outcome.policy.enabled {
            return None;
        }
        match self.phase {
            CircuitPhase::Closed => self.count(outcome),
            // An open circuit admits nothing in its own epoch.
            CircuitPhase::Open => None,
            CircuitPhase::HalfOpen => self.settle_probe(outcome),
        }
    }

    fn settle_probe(&mut self, outcome: &CircuitOutcome) -> Option<CircuitTransition> {
        if !self.return_probe(outcome.probe) {
            return None;
        }
        match outcome.verdict {
            CircuitVerdict::Success | CircuitVerdict::Reachable => {
                let moved = self.enter(CircuitPhase::Closed, CircuitReason::ProbeSucceeded);
                self.opened_at = None;
                moved
            }
            CircuitVerdict::Outage => {
                let moved = self.enter(CircuitPhase::Open, CircuitReason::ProbeFailed);
                self.opened_at = Some(outcome.now);
                moved
            }
            // The slot is free; the next call is the probe.
            CircuitVerdict::Unknown => None,
        }
    }

    /// Frees the slot if it is `token` that carries the probe; whether it was.
    pub(super) fn return_probe(&mut self, token: Option<Uid>) -> bool {
        let carried = self.probe.map(|probe| probe.token);
        let is_it = token.is_some() && token == carried;
        if is_it {
            self.probe = None;
        }
        is_it
    }

    fn count(&mut self, outcome: &CircuitOutcome) -> Option<CircuitTransition> {
        let outage = match outcome.verdict {
            CircuitVerdict::Unknown => return None,
            CircuitVerdict::Outage => true,
            CircuitVerdict::Success | CircuitVerdict::Reachable => false,
        };
        let tripped = match outcome.policy.strategy {
            CircuitStrategy::Count { threshold } => {
                match outcome.verdict {
                    CircuitVerdict::Outage => self.consecutive = self.consecutive.saturating_add(1),
                    CircuitVerdict::Success => self.consecutive = 0,
                    CircuitVerdict::Reachable | CircuitVerdict::Unknown => {}
                }
                outage && self.consecutive >= threshold.max(1)
            }
            CircuitStrategy::Rate {
                window,
                threshold_percent,
                minimum_requests,
            } => {
                self.roll(window, outcome.now);
                let attempts = outcome.answered_before.saturating_add(1);
                self.window.total = self.window.total.saturating_add(attempts);
                self.window.outages = self.window.outages.saturating_add(u32::from(outage));
                let total = u64::from(self.window.total) + u64::from(self.previous.total);
                let outages = u64::from(self.window.outages) + u64::from(self.previous.outages);
                outage
                    && total >= u64::from(minimum_requests.max(1))
                    && outages * 100 >= total * u64::from(threshold_percent)
            }
        };
        if !tripped {
            return None;
        }
        let moved = self.enter(CircuitPhase::Open, CircuitReason::ThresholdReached);
        self.opened_at = Some(outcome.now);
        moved
    }

    /// Moves the counts to the window `now` is in.
    fn roll(&mut self, window: Duration, now: DateTime<Utc>) {
        let seconds = i64::try_from(window.as_secs()).unwrap_or(i64::MAX).max(1);
        let start = now.timestamp().div_euclid(seconds) * seconds;
        if start > self.window.start {
            let follows = start - self.window.start == seconds;
            self.previous = if follows {
                self.window
            } else {
                WindowCount::default()
            };
            self.window = WindowCount {
                start,
                ..WindowCount::default()
            };
        }
    }

    /// The share of outages, in percent; `None` without attempts (CB-15).
    #[must_use]
    pub fn failure_rate(&self) -> Option<f64> {
        let total = f64::from(self.window.total) + f64::from(self.previous.total);
        let outages = f64::from(self.window.outages) + f64::from(self.previous.outages);
        (total > 0.0).then(|| outages * 100.0 / total)
    }

    /// Changes the phase, beginning a new epoch with fresh counts.
    fn enter(&mut self, to: CircuitPhase, reason: CircuitReason) -> Option<CircuitTransition> {
        let from = self.phase;
        if from == to {
            return None;
        }
        self.phase = to;
        self.epoch += 1;
        self.consecutive = 0;
        self.window = WindowCount::default();
        self.previous = WindowCount::default();
        self.probe = None;
        Some(CircuitTransition { from, to, reason })
    }

    /// Back to closed with nothing counted, in a new epoch.
    pub(super) fn reset(&mut self) {
        *self = Self {
            epoch: self.epoch + 1,
            ..Self::default()
        };
    }
}
