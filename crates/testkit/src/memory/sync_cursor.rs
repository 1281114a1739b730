//! Cursors: how far a stream is done.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::SyncRunId,
    integration::Scope,
    sync::{
        CheckpointOrder, CursorMove, RunState, SyncRun,
        protocol::{self, is_further, put_cursor},
    },
};
use serde_json::Value as Json;

use super::{
    state::{ItemRow, State},
    sync_runs::{is_present_fence, latest},
};

/// Moves the cursor during a sorted enumeration.
pub(super) fn advance(
    state: &mut State,
    run_id: SyncRunId,
    fence: i64,
    now: DateTime<Utc>,
) -> Option<CursorMove> {
    let run = state.runs.get(run_id.0)?.clone();
    let may_move = run.sorted
        && run.state == RunState::Running
        && is_present_fence(state, run.integration_id, fence);
    may_move.then(|| follow(state, &run, now))?
}

/// Moves the cursor of the run's stream as far as it may go, if that is further on.
pub(super) fn follow(state: &mut State, run: &SyncRun, now: DateTime<Utc>) -> Option<CursorMove> {
    let latest = latest(state, run.integration_id, &run.stream)?;
    if !protocol::may_move_cursor(run, latest.id == run.id) {
        return None;
    }
    let to = match &run.next_cursor {
        None => watermark(state, run, latest.covered.clone())?,
        Some(_) if of_stream(state, run).any(ItemRow::is_unresolved) => return None,
        Some(cursor) => cursor.clone(),
    };
    let row = state.integration_mut(run.integration_id, &Scope::Operator)?;
    let from = row.cursor(&run.stream).cloned();
    if !is_further(from.as_ref(), &to) {
        return None;
    }
    put_cursor(&mut row.sync_cursor, &run.stream, to.clone());
    row.updated_at = now;
    Some(CursorMove { from, to })
}

fn watermark(state: &State, run: &SyncRun, covered: Option<CheckpointOrder>) -> Option<Json> {
    let order = |row: &ItemRow| row.item.checkpoint_order.clone();
    let unresolved = of_stream(state, run)
        .filter(|row| row.is_unresolved())
        .filter_map(order)
        .min();
    let resolved_below = of_stream(state, run)
        .filter(|row| row.item.status.is_resolved())
        .filter_map(order)
        .filter(|order| Some(order) < unresolved.as_ref())
        .max();
    let watermark = protocol::watermark(covered, unresolved.as_ref(), resolved_below)?;
    Some(watermark.checkpoint()?.to_json())
}

/// Items of the run's stream, of all its runs.
fn of_stream<'a>(state: &'a State, run: &'a SyncRun) -> impl Iterator<Item = &'a ItemRow> {
    state.items.values().filter(|row| {
        row.item.integration_id == run.integration_id && row.item.stream == run.stream
    })
}
