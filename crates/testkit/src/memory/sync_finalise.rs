//! The end of a run.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{LogId, SyncRunId},
    integration::Scope,
    operation_log::{OperationEnd, OperationStatus},
    sync::{
        CursorMove, Finalise, Finalised, ItemStatus, RunCounts, RunEnd, RunState, StuckRecord,
        SyncRun,
    },
};
use serde_json::{Map, Value as Json};

use super::{
    operation_log,
    state::{ItemRow, State},
    sync_cursor,
    sync_runs::is_finalisable,
};

pub(super) fn finalise(state: &mut State, finalise: &Finalise) -> Finalised {
    let Some(run) = state.runs.get(finalise.run_id.0).cloned() else {
        return Finalised::NotFound;
    };
    if run.state.is_final() {
        let moved = move_cursor(state, &run, finalise);
        return Finalised::AlreadyEnded {
            cursor_moved: moved.is_some(),
        };
    }
    if !is_finalisable(&run) {
        return Finalised::NotReady {
            open: run.counts.open,
        };
    }
    let run = SyncRun {
        state: end_state(&run),
        ended_at: Some(finalise.now),
        ..run
    };
    if let Some(row) = state.runs.get_mut(run.id.0) {
        *row = run.clone();
    }
    end_log(state, &run, finalise);
    let cursor = move_cursor(state, &run, finalise);
    let (next_sync_at, consecutive_sync_failures) =
        reschedule(state, &run, finalise).unwrap_or_default();
    let stuck = count_failing_records(state, run.id, finalise.stuck_after_runs);
    Finalised::Ended(Box::new(RunEnd {
        run,
        cursor,
        next_sync_at,
        consecutive_sync_failures,
        stuck,
    }))
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

/// Enumeration that ended early says nothing about what lies behind, unless it is sorted.
fn move_cursor(state: &mut State, run: &SyncRun, finalise: &Finalise) -> Option<CursorMove> {
    let trusted = run.enumerated && (run.enumeration_error.is_none() || run.sorted);
    trusted.then(|| sync_cursor::follow(state, run, &finalise.cursor, finalise.now))?
}

fn end_log(state: &mut State, run: &SyncRun, finalise: &Finalise) {
    let Some(log_id) = run.log_id else { return };
    let RunCounts {
        succeeded,
        failed,
        skipped,
        ..
    } = run.counts;
    let duration = finalise.now - run.started_at;
    let end = OperationEnd {
        status: OperationStatus::from(run.state.as_str()),
        summary: Some(format!(
            "{succeeded} handled, {failed} failed, {skipped} skipped"
        )),
        result_data: None,
        error: run.enumeration_error.clone(),
        duration_ms: Some(duration.num_milliseconds()),
        now: finalise.now,
    };
    if operation_log::finish(state, log_id, &end) {
        note_counts(state, log_id, &run.counts);
    }
}

/// Adds the counts to the metadata of the run's operation.
fn note_counts(state: &mut State, log_id: LogId, counts: &RunCounts) {
    let Some(row) = state.operations.get_mut(log_id.0) else {
        return;
    };
    let metadata = (row.entry.metadata).get_or_insert_with(|| Json::Object(Map::new()));
    if let Json::Object(fields) = metadata {
        for (name, value) in [
            ("total", counts.total),
            ("succeeded", counts.succeeded),
            ("failed", counts.failed),
            ("skipped", counts.skipped),
            ("duplicates", counts.duplicates),
        ] {
            fields.insert(name.to_owned(), Json::from(value));
        }
    }
}

/// Counts the run for its integration, sets the next one and gives the lease back; when the next
/// one is due and how many have failed in a row. A removed integration stays as it is.
fn reschedule(
    state: &mut State,
    run: &SyncRun,
    finalise: &Finalise,
) -> Option<(Option<DateTime<Utc>>, i32)> {
    let is_last = !state.runs.values().any(|other| {
        other.integration_id == run.integration_id && other.state == RunState::Running
    });
    let row = state.integration_mut(run.integration_id, &Scope::Operator)?;
    if run.state == RunState::Success {
        row.last_synced_at = Some(finalise.now);
        row.consecutive_sync_failures = 0;
    } else {
        row.consecutive_sync_failures = row.consecutive_sync_failures.saturating_add(1);
    }
    row.next_sync_at = finalise.schedule.next(
        finalise.now,
        row.sync_interval_minutes,
        row.consecutive_sync_failures,
    );
    // A later claim has not opened its run yet; the lease is its own.
    if is_last && row.sync_fence == run.fence {
        row.sync_lease = None;
    }
    row.updated_at = finalise.now;
    Some((row.next_sync_at, row.consecutive_sync_failures))
}

/// Counts the run for each record that failed in it, once; those that are stuck since now.
fn count_failing_records(
    state: &mut State,
    run_id: SyncRunId,
    stuck_after: i16,
) -> Vec<StuckRecord> {
    let failed: BTreeSet<_> = state
        .items
        .values()
        .filter(|row| row.item.run_id == run_id && row.item.status == ItemStatus::Failed)
        .filter_map(ItemRow::record)
        .collect();
    let mut stuck = Vec::new();
    for key in failed {
        let record = state.records.entry(key.clone()).or_default();
        if record.last_failed_run != Some(run_id) {
            record.last_failed_run = Some(run_id);
            record.failing_runs = record.failing_runs.saturating_add(1);
        }
        if record.failing_runs >= stuck_after && !record.stuck_reported {
            record.stuck_reported = true;
            stuck.push(StuckRecord {
                kind: key.kind,
                external_id: key.external_id,
                runs: record.failing_runs,
            });
        }
    }
    stuck
}
