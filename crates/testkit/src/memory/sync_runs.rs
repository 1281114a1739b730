//! Runs: opening them, and what is counted for them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, SyncRunId},
    integration::{Integration, Scope},
    operation_log::NewOperation,
    store::StoreError,
    sync::{
        CheckpointOrder, OpenRun, RunCounts, RunOpened, RunState, StalenessChange, SyncRun,
        protocol::{Recount, resume_run},
    },
    time::earlier,
    value::StreamName,
};

use super::{columns::refused, operation_log, state::State};

pub(super) fn open(state: &mut State, open: &OpenRun) -> Result<RunOpened, StoreError> {
    if !is_present_fence(state, open.integration_id, open.fence) {
        return Ok(RunOpened::FenceLost);
    }
    let unfinished = state.runs.values_mut().find(|run| {
        run.integration_id == open.integration_id
            && run.stream == open.stream
            && run.state == RunState::Running
    });
    if let Some(run) = unfinished {
        *run = resume_run(run, open.fence);
        return Ok(RunOpened::Resumed(run.clone()));
    }
    let log = NewOperation {
        integration_id: open.integration_id,
        ..open.log.clone()
    };
    let log_id = operation_log::append(state, &log).map_err(|rejected| refused(&rejected))?;
    let covered = latest(state, open.integration_id, &open.stream);
    let covered = covered.and_then(|run| run.covered.clone());
    let run = |id| SyncRun {
        id: SyncRunId(id),
        integration_id: open.integration_id,
        stream: open.stream.clone(),
        log_id: Some(log_id),
        fence: open.fence,
        state: RunState::Running,
        page_token: None,
        enumerated: false,
        enumeration_error: None,
        full_resync: open.full_resync,
        sorted: open.sorted,
        reached: None,
        covered: covered.clone(),
        next_cursor: None,
        counts: RunCounts::default(),
        started_at: open.now,
        ended_at: None,
    };
    let id = state.runs.insert(run);
    Ok(RunOpened::New(run(id)))
}

/// Whether `fence` is that of the integration's latest claim.
pub(super) fn is_present_fence(state: &State, id: IntegrationId, fence: i64) -> bool {
    let row = state.integration(id, &Scope::Operator);
    row.is_some_and(|row| row.sync_fence == fence)
}

/// The latest run of a stream.
pub(super) fn latest<'a>(
    state: &'a State,
    id: IntegrationId,
    stream: &StreamName,
) -> Option<&'a SyncRun> {
    let of_stream = |run: &&SyncRun| run.integration_id == id && run.stream == *stream;
    state.runs.values().rfind(of_stream)
}

/// Puts back how far a stream is known completely, to where an operator puts its cursor, and
/// forgets where a provider wanted to go on.
pub(super) fn uncover(
    state: &mut State,
    id: IntegrationId,
    stream: &StreamName,
    cursor: Option<&CheckpointOrder>,
) {
    let latest = latest(state, id, stream).map(|run| run.id);
    let Some(run) = latest.and_then(|id| state.runs.get_mut(id.0)) else {
        return;
    };
    run.next_cursor = None;
    if cursor.is_some() && run.covered.as_ref() > cursor {
        run.covered = cursor.cloned();
    }
}

/// Writes what changes in the counts of runs.
pub(super) fn count_changes(state: &mut State, recount: &Recount) {
    for (id, change) in recount.iter() {
        if let Some(run) = state.runs.get_mut(id.0) {
            run.counts = run.counts.plus(change);
        }
    }
}

/// Marks integrations whose syncs are overdue and clears marks that no longer hold.
pub(super) fn sweep(
    state: &mut State,
    intervals: u32,
    limit: u32,
    now: DateTime<Utc>,
) -> Vec<StalenessChange> {
    state
        .integrations
        .values_mut()
        .filter(|row| row.removed_at.is_none())
        .filter_map(|row| {
            let overdue = is_overdue(row, intervals, now);
            if overdue == row.sync_stale_at.is_some() {
                return None;
            }
            Some((row, overdue))
        })
        .take(limit as usize)
        .map(|(row, overdue)| {
            row.sync_stale_at = overdue.then_some(now);
            row.updated_at = now;
            StalenessChange {
                integration_id: row.id,
                stale: overdue,
                last_synced_at: row.last_synced_at,
            }
        })
        .collect()
}

fn is_overdue(row: &Integration, intervals: u32, now: DateTime<Utc>) -> bool {
    let minutes = row
        .sync_interval_minutes
        .and_then(|m| u64::try_from(m).ok());
    let Some(minutes) = minutes.filter(|minutes| *minutes > 0 && row.is_active) else {
        return false;
    };
    let seconds = minutes.saturating_mul(60).saturating_mul(intervals.into());
    let last_good = row.last_synced_at.unwrap_or(row.created_at);
    last_good < earlier(now, Duration::from_secs(seconds))
}
