//! Cursors: how far a stream is done.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::SyncRunId,
    integration::{Integration, Scope},
    sync::{Checkpoint, CheckpointOrder, CursorMove, CursorRule, RunState, SyncRun},
    value::StreamName,
};
use serde_json::{Map, Value as Json};

use super::{
    state::{ItemRow, State},
    sync_runs::is_present_fence,
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
    may_move.then(|| follow(state, &run, &CursorRule::Watermark, now))?
}

/// Moves the cursor of the run's stream to where `rule` puts it, if that is further on.
pub(super) fn follow(
    state: &mut State,
    run: &SyncRun,
    rule: &CursorRule,
    now: DateTime<Utc>,
) -> Option<CursorMove> {
    let target = match rule {
        CursorRule::Watermark => watermark(state, run)?,
        CursorRule::Reduced(cursor) => {
            let mut items = of_stream(state, run);
            if items.any(ItemRow::is_unresolved) {
                return None;
            }
            cursor.clone()
        }
    };
    let row = state.integration_mut(run.integration_id, &Scope::Operator)?;
    let from = row.cursor(&run.stream).cloned();
    if !is_further(from.as_ref(), &target) {
        return None;
    }
    put(row, &run.stream, target.clone());
    row.updated_at = now;
    Some(CursorMove { from, to: target })
}

/// The greatest resolved checkpoint strictly below every unresolved one of the stream.
fn watermark(state: &State, run: &SyncRun) -> Option<Json> {
    let order = |row: &ItemRow| row.item.checkpoint_order.clone();
    let unresolved = of_stream(state, run)
        .filter(|row| row.is_unresolved())
        .filter_map(order)
        .min();
    of_stream(state, run)
        .filter(|row| !row.is_unresolved())
        .filter_map(|row| Some((order(row)?, row)))
        .filter(|(order, _)| unresolved.as_ref().is_none_or(|lowest| order < lowest))
        .max_by(|(a, _), (b, _)| a.cmp(b))
        .and_then(|(_, row)| row.item.checkpoint_value.clone())
}

/// Items of the run's stream, of all its runs.
fn of_stream<'a>(state: &'a State, run: &'a SyncRun) -> impl Iterator<Item = &'a ItemRow> {
    state.items.values().filter(|row| {
        row.item.integration_id == run.integration_id && row.item.stream == run.stream
    })
}

/// Whether a cursor at `from` would move forwards to `to`.
///
/// What a provider reduced may be no checkpoint; then any change counts as progress.
fn is_further(from: Option<&Json>, to: &Json) -> bool {
    let Some(from) = from else { return true };
    match (order_of(from), order_of(to)) {
        (Some(from), Some(to)) => to > from,
        _ => to != from,
    }
}

fn order_of(cursor: &Json) -> Option<CheckpointOrder> {
    Checkpoint::from_json(cursor).map(|checkpoint| checkpoint.order())
}

/// Puts a stream's cursor, whatever it was.
pub(super) fn put(row: &mut Integration, stream: &StreamName, cursor: Json) {
    let cursors = row
        .sync_cursor
        .get_or_insert_with(|| Json::Object(Map::new()));
    if let Json::Object(by_stream) = cursors {
        by_stream.insert(stream.as_str().to_owned(), cursor);
    }
}
