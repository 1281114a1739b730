//! One record: what is known of it over all its versions.

use super::ItemState;
use crate::{
    id::SyncRunId,
    sync::{CheckpointOrder, ItemStatus, NewItem, SyncRun},
};

/// A row of the records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RecordState {
    /// The greatest version that was handled or let go.
    pub resolved_order: Option<CheckpointOrder>,
    /// The latest version without a checkpoint that was handled or let go.
    pub resolved_digest: Option<Vec<u8>>,
    /// Runs in a row in which it failed.
    pub failing_runs: i16,
    /// The last run in which it failed.
    pub last_failed_run: Option<SyncRunId>,
    /// Whether it was reported as stuck.
    pub stuck_reported: bool,
    /// The last run that saw it.
    pub last_seen_run: Option<SyncRunId>,
    /// The version that run saw last.
    pub last_seen_order: Option<CheckpointOrder>,
}

impl RecordState {
    /// The record once `run` has seen a version of it.
    #[must_use]
    pub fn seen(self, run: SyncRunId, version: &NewItem) -> Self {
        Self {
            last_seen_run: Some(run),
            last_seen_order: version.order(),
            ..self
        }
    }

    /// The record once `item`, a version of it, was handled or let go.
    #[must_use]
    pub fn resolved(self, item: &ItemState) -> Self {
        let digest = match &item.checkpoint {
            Some(_) => None,
            // A digest is the version of what has no checkpoint.
            None => item.digest.clone(),
        };
        Self {
            resolved_order: self.resolved_order.max(item.checkpoint.clone()),
            resolved_digest: digest.or(self.resolved_digest),
            failing_runs: 0,
            stuck_reported: false,
            ..self
        }
    }

    /// The record once it was deleted: whatever comes back of it is news.
    #[must_use]
    pub fn deleted(self) -> Self {
        Self {
            resolved_order: None,
            resolved_digest: None,
            failing_runs: 0,
            stuck_reported: false,
            ..self
        }
    }

    /// The record once a version of it failed in `run`, which counts once, and whether it is to
    /// be reported as stuck.
    #[must_use]
    pub fn failed_in(mut self, run: SyncRunId, stuck_after: i16) -> (Self, bool) {
        if self.last_failed_run != Some(run) {
            self.last_failed_run = Some(run);
            self.failing_runs = self.failing_runs.saturating_add(1);
        }
        let is_news = self.failing_runs >= stuck_after && !self.stuck_reported;
        self.stuck_reported |= is_news;
        (self, is_news)
    }

    /// Whether this version, or a newer one, was handled or let go before.
    ///
    /// A full resync looks at older versions again, though not at the very one that was resolved,
    /// nor twice at one.
    #[must_use]
    pub fn is_done(&self, new: &NewItem, run: &SyncRun) -> bool {
        let Some(order) = new.order() else {
            let resolved = self.resolved_digest.as_ref();
            return resolved.is_some_and(|digest| new.has_digest(digest));
        };
        let Some(resolved) = &self.resolved_order else {
            return false;
        };
        order == *resolved || (order < *resolved && (!run.full_resync || self.has_seen(new, run)))
    }

    /// Whether this is the version that `run` saw last.
    #[must_use]
    pub fn has_seen(&self, new: &NewItem, run: &SyncRun) -> bool {
        self.last_seen_run == Some(run.id) && self.last_seen_order == new.order()
    }
}

/// Whether an item that ends so resolves its record; one that was superseded does not.
pub(super) const fn resolves(status: &ItemStatus) -> bool {
    status.is_resolved()
}
