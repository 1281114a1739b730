//! Cursors: how far a stream is done.

use serde_json::{Map, Value as Json};

use crate::{
    sync::{Checkpoint, CheckpointOrder},
    value::StreamName,
};

/// The greatest position that no unresolved version of a stream lies at or before.
///
/// `covered` is how far the stream is known completely: beyond it, versions may lie that nobody
/// has seen. `unresolved` is the lowest unresolved version of all runs, and `resolved_below` the
/// greatest resolved one below that.
#[must_use]
pub fn watermark(
    covered: Option<CheckpointOrder>,
    unresolved: Option<&CheckpointOrder>,
    resolved_below: Option<CheckpointOrder>,
) -> Option<CheckpointOrder> {
    let covered = covered?;
    match unresolved {
        Some(unresolved) if *unresolved <= covered => resolved_below,
        _ => Some(covered),
    }
}

/// Whether a cursor at `from` would move forwards to `to`.
///
/// What a provider reduced may be no checkpoint; then any change counts as progress.
#[must_use]
pub fn is_further(from: Option<&Json>, to: &Json) -> bool {
    let Some(from) = from else { return true };
    match (order_of(from), order_of(to)) {
        (Some(from), Some(to)) => to > from,
        _ => to != from,
    }
}

fn order_of(cursor: &Json) -> Option<CheckpointOrder> {
    Checkpoint::from_json(cursor).map(|checkpoint| checkpoint.order())
}

/// Puts a stream's cursor among those of an integration.
pub fn put_cursor(cursors: &mut Option<Json>, stream: &StreamName, cursor: Json) {
    let cursors = cursors.get_or_insert_with(|| Json::Object(Map::new()));
    if let Json::Object(by_stream) = cursors {
        by_stream.insert(stream.as_str().to_owned(), cursor);
    }
}
