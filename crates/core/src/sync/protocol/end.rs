//! The end of a run, and of the sync it is part of.

use chrono::{DateTime, Utc};

use crate::sync::{Finalise, RunState, SyncRun};

/// The run after its end; `None` when items are open, enumeration goes on, or it has ended.
#[must_use]
pub fn end_run(run: &SyncRun, now: DateTime<Utc>) -> Option<SyncRun> {
    run.is_finalisable().then(|| SyncRun {
        state: end_state(run),
        ended_at: Some(now),
        ..run.clone()
    })
}

/// A run that had ended, once what failed in it was handled or let go after all; `None` where it
/// stands as it ended.
#[must_use]
pub fn mend_run(run: &SyncRun) -> Option<SyncRun> {
    let state = end_state(run);
    let is_mended = run.state.is_final() && run.is_exhausted() && state != run.state;
    is_mended.then(|| SyncRun {
        state,
        ..run.clone()
    })
}

fn end_state(run: &SyncRun) -> RunState {
    let counts = &run.counts;
    let broken = run.enumeration_error.is_some();
    if counts.failed == 0 && !broken {
        RunState::Success
    } else if counts.succeeded == 0 && (broken || counts.skipped == 0) {
        RunState::Failed
    } else {
        RunState::Partial
    }
}

/// One line about a run that ended.
#[must_use]
pub fn end_summary(run: &SyncRun) -> String {
    let counts = &run.counts;
    format!(
        "{} handled, {} failed, {} skipped",
        counts.succeeded, counts.failed, counts.skipped
    )
}

/// Whether the end of `run`, or a later look at it, may move its stream's cursor.
///
/// What a provider told speaks for the whole of the run it was told in, so it is not taken before
/// that is complete, nor for one that was followed by another.
#[must_use]
pub const fn may_move_cursor(run: &SyncRun, is_latest: bool) -> bool {
    run.next_cursor.is_none() || (is_latest && run.is_complete())
}

/// What the end of a run changes of its integration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncEnd {
    /// Whether the sync ended, and all its runs were clean.
    pub clean: bool,
    /// When the next one is due.
    pub next_sync_at: Option<DateTime<Utc>>,
    /// Syncs in a row that were not clean.
    pub consecutive_failures: i32,
}

/// The end of a sync: of the last of its runs, one per stream, of which all were clean or not.
#[must_use]
pub fn end_sync(
    clean: bool,
    interval_minutes: Option<i32>,
    consecutive_failures: i32,
    finalise: &Finalise,
) -> SyncEnd {
    let failures = if clean {
        0
    } else {
        consecutive_failures.saturating_add(1)
    };
    SyncEnd {
        clean,
        next_sync_at: (finalise.schedule).next(finalise.now, interval_minutes, failures),
        consecutive_failures: failures,
    }
}
