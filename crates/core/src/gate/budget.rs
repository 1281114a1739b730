//! Budgets: how many calls a window allows.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{time::later, value::InvalidValue};

/// How a window moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// Aligned to the epoch; the count begins anew at each boundary (RL-02).
    Fixed,
    /// The previous window counts by the share of it that is still within reach (RL-03).
    Sliding,
}

/// So many calls per window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// What distinguishes it from other budgets of the integration: an endpoint group, or the
    /// window's name.
    pub name: String,
    /// Calls per window, at least 1.
    pub limit: u32,
    /// The window in whole seconds, at least 1.
    pub window_seconds: u32,
    /// How the window moves.
    pub kind: WindowKind,
    /// Calls of each window that only the interactive lane may take.
    #[serde(default)]
    pub interactive_reserve: u32,
}

impl Budget {
    /// A budget with a fixed window.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidValue`] where the limit or the window is zero (RL-01).
    pub fn fixed(
        name: impl Into<String>,
        limit: u32,
        window_seconds: u32,
    ) -> Result<Self, InvalidValue> {
        if limit == 0 || window_seconds == 0 {
            return Err(InvalidValue::new(
                "rate budget",
                "must allow at least 1 call per at least 1 second",
            ));
        }
        Ok(Self {
            name: name.into(),
            limit,
            window_seconds,
            kind: WindowKind::Fixed,
            interactive_reserve: 0,
        })
    }

    /// The same with a sliding window.
    #[must_use]
    pub const fn sliding(mut self) -> Self {
        self.kind = WindowKind::Sliding;
        self
    }

    /// What its use is counted under: one name with another window is another count.
    #[must_use]
    pub fn usage_key(&self) -> String {
        format!("{}/{}", self.name, self.window_seconds)
    }

    /// When the window that `now` is in began (RL-02).
    fn window_start(&self, now: DateTime<Utc>) -> i64 {
        let window = i64::from(self.window_seconds.max(1));
        now.timestamp().div_euclid(window) * window
    }

    /// When the window that `now` is in ends.
    #[must_use]
    pub fn window_end(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let start = DateTime::from_timestamp(self.window_start(now), 0).unwrap_or(now);
        later(
            start,
            Duration::from_secs(u64::from(self.window_seconds.max(1))),
        )
    }
}

/// Which calls go first when little is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Somebody is waiting.
    #[default]
    Interactive,
    /// Syncs and other work that can wait.
    Background,
}

/// What is used of one budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetUse {
    /// When the present window began, in seconds of the epoch.
    pub window_start: i64,
    /// Calls in it.
    pub used: u32,
    /// Calls in the window before it.
    pub previous: u32,
}

impl BudgetUse {
    /// Moves to the window `now` is in.
    fn roll(&mut self, budget: &Budget, now: DateTime<Utc>) {
        let start = budget.window_start(now);
        // A clock that went back a little stays in the newer window rather than refilling it.
        if start > self.window_start {
            let follows = start - self.window_start == i64::from(budget.window_seconds);
            self.previous = if follows { self.used } else { 0 };
            self.used = 0;
            self.window_start = start;
        }
    }

    /// Calls that are left to `lane` at `now`.
    pub(super) fn remaining(&mut self, budget: &Budget, lane: Lane, now: DateTime<Utc>) -> u32 {
        self.roll(budget, now);
        let carried = match budget.kind {
            WindowKind::Fixed => 0,
            WindowKind::Sliding => {
                let window = i64::from(budget.window_seconds.max(1)) * 1000;
                let elapsed = (now.timestamp_millis() - self.window_start * 1000).clamp(0, window);
                let rest = i64::from(self.previous) * (window - elapsed);
                u32::try_from(rest.div_euclid(window) + i64::from(rest.rem_euclid(window) > 0))
                    .unwrap_or(u32::MAX)
            }
        };
        let kept_back = match lane {
            Lane::Interactive => 0,
            Lane::Background => budget.interactive_reserve,
        };
        budget
            .limit
            .saturating_sub(self.used.saturating_add(carried).saturating_add(kept_back))
    }

    /// Takes calls that [`remaining`](Self::remaining) said are there.
    pub(super) fn take(&mut self, permits: u32) {
        self.used = self.used.saturating_add(permits);
    }

    /// Gives calls back that were not made, if their window is still the present one.
    pub(super) fn give_back(&mut self, budget_window_start: i64, permits: u32) {
        if self.window_start == budget_window_start {
            self.used = self.used.saturating_sub(permits);
        }
    }
}
