//! Runs: opening them, and what is counted for them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, SyncRunId},
    integration::{Integration, Scope},
    operation_log::NewOperation,
    store::StoreError,
    sync::{ItemStatus, OpenRun, RunCounts, RunOpened, RunState, StalenessChange, SyncRun},
    time::earlier,
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
        run.fence = open.fence;
        return Ok(RunOpened::Resumed(run.clone()));
    }
    let log = NewOperation {
        integration_id: open.integration_id,
        ..open.log.clone()
    };
    let log_id = operation_log::append(state, &log).map_err(|rejected| refused(&rejected))?;
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

/// Whether nothing holds back the end of a run.
pub(super) fn is_finalisable(run: &SyncRun) -> bool {
    run.state == RunState::Running && is_exhausted(run)
}

/// Whether enumeration has ended and nothing is open.
pub(super) fn is_exhausted(run: &SyncRun) -> bool {
    run.enumerated && run.counts.open == 0
}

/// Counts an item that goes from one state to another.
pub(super) fn recount(counts: &mut RunCounts, from: &ItemStatus, to: &ItemStatus) {
    count(counts, from, -1);
    count(counts, to, 1);
}

/// Adds `by` to the count of a state and to the total.
pub(super) fn count(counts: &mut RunCounts, status: &ItemStatus, by: i64) {
    counts.total += by;
    match status {
        ItemStatus::Pending | ItemStatus::Processing => counts.open += by,
        ItemStatus::Success => counts.succeeded += by,
        ItemStatus::Failed => counts.failed += by,
        ItemStatus::Skipped => counts.skipped += by,
        ItemStatus::Unrecognised(_) => {}
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
