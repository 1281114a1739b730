//! The end of a run.

use std::collections::BTreeSet;

use integrations_core::{
    id::{LogId, SyncRunId},
    integration::Scope,
    operation_log::{OperationEnd, OperationStatus},
    sync::{
        Finalise, Finalised, ItemStatus, RunCounts, RunEnd, RunState, StuckRecord, SyncRun,
        protocol::{SyncEnd, end_run, end_summary, end_sync, mend_run},
    },
};
use serde_json::{Map, Value as Json};

use super::{operation_log, state::State, sync_cursor};

pub(super) fn finalise(state: &mut State, finalise: &Finalise) -> Finalised {
    let Some(run) = state.runs.get(finalise.run_id.0).cloned() else {
        return Finalised::NotFound;
    };
    if run.state.is_final() {
        let moved = sync_cursor::follow(state, &run, finalise.now);
        mend(state, &run, finalise);
        return Finalised::AlreadyEnded {
            cursor_moved: moved.is_some(),
        };
    }
    let Some(run) = end_run(&run, finalise.now) else {
        return Finalised::NotReady {
            open: run.counts.open,
        };
    };
    if let Some(row) = state.runs.get_mut(run.id.0) {
        *row = run.clone();
    }
    end_log(state, &run, finalise);
    let cursor = sync_cursor::follow(state, &run, finalise.now);
    let sync = reschedule(state, &run, finalise).unwrap_or_default();
    let stuck = count_failing_records(state, run.id, finalise.stuck_after_runs);
    Finalised::Ended(Box::new(RunEnd {
        run,
        cursor,
        next_sync_at: sync.next_sync_at,
        consecutive_sync_failures: sync.consecutive_failures,
        synced: sync.clean,
        stuck,
    }))
}

/// Has a run that had ended say how it stands now.
fn mend(state: &mut State, run: &SyncRun, finalise: &Finalise) {
    let Some(run) = mend_run(run) else { return };
    if let Some(row) = state.runs.get_mut(run.id.0) {
        *row = run.clone();
    }
    if let Some(row) = run.log_id.and_then(|id| state.operations.get_mut(id.0)) {
        // It is ended once more.
        row.entry.status = OperationStatus::Processing;
    }
    end_log(state, &run, finalise);
    let of_integration = |other: &&SyncRun| other.integration_id == run.integration_id;
    let clean = (state.runs.values().filter(of_integration))
        .filter(|other| other.fence == run.fence || other.state == RunState::Running)
        .all(|other| other.state == RunState::Success);
    let row = state.integration_mut(run.integration_id, &Scope::Operator);
    if let Some(row) = row.filter(|row| clean && row.sync_fence == run.fence) {
        row.last_synced_at = Some(finalise.now);
        row.consecutive_sync_failures = 0;
        row.updated_at = finalise.now;
    }
}

fn end_log(state: &mut State, run: &SyncRun, finalise: &Finalise) {
    let Some(log_id) = run.log_id else { return };
    let duration = run.ended_at.unwrap_or(finalise.now) - run.started_at;
    let end = OperationEnd {
        status: OperationStatus::from(run.state.as_str()),
        summary: Some(end_summary(run)),
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

/// Ends the sync with its last run: counts it, sets the next one and gives the lease back. A removed
/// integration stays as it is.
fn reschedule(state: &mut State, run: &SyncRun, finalise: &Finalise) -> Option<SyncEnd> {
    let of_sync = |other: &&SyncRun| other.integration_id == run.integration_id;
    let goes_on = (state.runs.values().filter(of_sync)).any(|run| run.state == RunState::Running);
    let clean = (state.runs.values().filter(of_sync))
        .filter(|other| other.fence == run.fence)
        .all(|other| other.state == RunState::Success);
    let row = state.integration_mut(run.integration_id, &Scope::Operator)?;
    if goes_on {
        return Some(SyncEnd {
            clean: false,
            next_sync_at: row.next_sync_at,
            consecutive_failures: row.consecutive_sync_failures,
        });
    }
    let end = end_sync(
        clean,
        row.sync_interval_minutes,
        row.consecutive_sync_failures,
        finalise,
    );
    if end.clean {
        row.last_synced_at = Some(finalise.now);
    }
    row.consecutive_sync_failures = end.consecutive_failures;
    row.next_sync_at = end.next_sync_at;
    // A later claim has not opened its run yet; the lease is its own.
    if row.sync_fence == run.fence {
        row.sync_lease = None;
    }
    row.updated_at = finalise.now;
    Some(end)
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
        .filter_map(|row| row.state().record())
        .collect();
    let mut stuck = Vec::new();
    for key in failed {
        let record = state.records.remove(&key).unwrap_or_default();
        let (record, is_news) = record.failed_in(run_id, stuck_after);
        if is_news {
            stuck.push(StuckRecord {
                kind: key.kind.clone(),
                external_id: key.external_id.clone(),
                runs: record.failing_runs,
            });
        }
        state.records.insert(key, record);
    }
    stuck
}
