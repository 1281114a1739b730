//! What is counted for runs.

use std::collections::BTreeMap;

use crate::{
    id::SyncRunId,
    sync::{ItemStatus, RunCounts},
};

/// Adds `by` to the count of a status and to the total.
pub fn count(counts: &mut RunCounts, status: &ItemStatus, by: i64) {
    counts.total += by;
    match status {
        ItemStatus::Pending | ItemStatus::Processing => counts.open += by,
        ItemStatus::Success => counts.succeeded += by,
        ItemStatus::Failed => counts.failed += by,
        ItemStatus::Skipped => counts.skipped += by,
        ItemStatus::Unrecognised(_) => {}
    }
}

/// What changes in the counts of runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recount(BTreeMap<SyncRunId, RunCounts>);

impl Recount {
    /// Counts an item of `run` that goes from one status to another.
    pub fn moved(&mut self, run: SyncRunId, from: &ItemStatus, to: &ItemStatus) {
        let counts = self.0.entry(run).or_default();
        count(counts, from, -1);
        count(counts, to, 1);
    }

    /// Counts an item that leaves `run`.
    pub fn left(&mut self, run: SyncRunId, status: &ItemStatus) {
        count(self.0.entry(run).or_default(), status, -1);
    }

    /// Counts what else changes.
    pub(super) fn join(&mut self, more: Self) {
        for (run, change) in more.0 {
            let counts = self.0.entry(run).or_default();
            *counts = counts.plus(&change);
        }
    }

    /// What changes, by run.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (SyncRunId, &RunCounts)> {
        self.0.iter().map(|(run, counts)| (*run, counts))
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl RunCounts {
    /// The counts after `change`.
    #[must_use]
    pub const fn plus(self, change: &Self) -> Self {
        Self {
            open: self.open + change.open,
            total: self.total + change.total,
            succeeded: self.succeeded + change.succeeded,
            failed: self.failed + change.failed,
            skipped: self.skipped + change.skipped,
            duplicates: self.duplicates + change.duplicates,
        }
    }
}
