//! How many retries an integration may make, so that an outage is not multiplied (W-RET-5).

use std::time::Duration;

/// In which a spent budget is whole again.
const REFILL: Duration = Duration::from_mins(1);

/// What an attempt that went well gives back.
const PER_SUCCESS: f64 = 0.1;

/// A bucket of retries. Each process has its own.
#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    spent: f64,
    at: Duration,
}

impl RetryBudget {
    /// Takes one retry of `size` at `now`, a time that never goes back; `false`: not now.
    pub(super) fn take(&mut self, size: u32, now: Duration) -> bool {
        let size = f64::from(size);
        let passed = now.saturating_sub(self.at).as_secs_f64() / REFILL.as_secs_f64();
        self.spent = (self.spent - passed * size).max(0.0);
        self.at = now;
        let is_there = self.spent + 1.0 <= size;
        if is_there {
            self.spent += 1.0;
        }
        is_there
    }

    /// Gives a little back, because an attempt went well.
    pub(super) const fn succeeded(&mut self) {
        self.spent = (self.spent - PER_SUCCESS).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // W-RET-5
    #[test]
    fn is_spent_and_comes_back_with_time_and_success() {
        let mut budget = RetryBudget::default();
        let second = Duration::from_secs;
        let taken =
            |budget: &mut RetryBudget, now| (0..100).filter(|_| budget.take(20, now)).count();
        assert_eq!(taken(&mut budget, second(0)), 20);
        assert_eq!(taken(&mut budget, second(30)), 10);
        for _ in 0..11 {
            budget.succeeded();
        }
        assert_eq!(taken(&mut budget, second(30)), 1);
        assert_eq!(taken(&mut budget, second(999)), 20);
        assert!(!budget.take(0, second(9999)));
    }
}
