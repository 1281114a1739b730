//! Rows of runs and items.

use chrono::{DateTime, Utc};
use integrations_core::{
    store::StoreError,
    sync::{CheckpointOrder, ItemStatus, RunCounts, RunState, SyncItem, SyncRun},
};

use super::payload;
use crate::row::Row;

/// The columns [`run`] reads, without an alias.
macro_rules! run_columns {
    () => {
        "id, integration_id, stream, log_id, fence, state, page_token, enumerated, \
         enumeration_error, full_resync, sorted, reached, covered, next_cursor, items_open, items_total, items_succeeded, \
         items_failed, items_skipped, duplicates, started_at, ended_at"
    };
}
pub(super) use run_columns;

/// The columns [`item`] reads, without an alias.
macro_rules! item_columns {
    () => {
        "id, integration_id, run_id, sync_log_id, stream, event_class, external_id, \
         checkpoint_value, checkpoint_order, payload, payload_encoding, status, attempts, error, \
         available_at, lease_until, completed_at, created_at, updated_at"
    };
}
pub(super) use item_columns;

pub(super) fn run(row: &Row) -> Result<SyncRun, StoreError> {
    Ok(SyncRun {
        id: row.get("id")?,
        integration_id: row.get("integration_id")?,
        stream: row.parse("stream")?,
        log_id: row.get("log_id")?,
        fence: row.get("fence")?,
        state: RunState::from(row.get::<String>("state")?),
        page_token: row.get("page_token")?,
        enumerated: row.get("enumerated")?,
        enumeration_error: row.get("enumeration_error")?,
        full_resync: row.get("full_resync")?,
        sorted: row.get("sorted")?,
        reached: order(row, "reached")?,
        covered: order(row, "covered")?,
        next_cursor: row.get("next_cursor")?,
        counts: RunCounts {
            open: row.get("items_open")?,
            total: row.get("items_total")?,
            succeeded: row.get("items_succeeded")?,
            failed: row.get("items_failed")?,
            skipped: row.get("items_skipped")?,
            duplicates: row.get("duplicates")?,
        },
        started_at: row.get("started_at")?,
        ended_at: row.get("ended_at")?,
    })
}

/// An item as it is stored.
fn item(row: &Row) -> Result<SyncItem, StoreError> {
    let encoding: String = row.get("payload_encoding")?;
    let payload: Option<String> = row.get("payload")?;
    let payload = payload
        .map(|text| payload::decode(&encoding, text).ok_or_else(|| row.corrupt("payload_encoding")))
        .transpose()?;
    Ok(SyncItem {
        id: row.get("id")?,
        integration_id: row.get("integration_id")?,
        run_id: row.get("run_id")?,
        sync_log_id: row.get("sync_log_id")?,
        stream: row.parse("stream")?,
        kind: row.parse("event_class")?,
        external_id: row.parse_opt("external_id")?,
        checkpoint_value: row.get("checkpoint_value")?,
        checkpoint_order: order(row, "checkpoint_order")?,
        payload,
        status: ItemStatus::from(row.get::<String>("status")?),
        attempts: row.get("attempts")?,
        error: row.get("error")?,
        available_at: row.get("available_at")?,
        lease_until: row.get("lease_until")?,
        completed_at: row.get("completed_at")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

/// An item as it reads at `now`: its lease alone tells whether somebody works on it.
pub(super) fn item_at(row: &Row, now: DateTime<Utc>) -> Result<SyncItem, StoreError> {
    let mut item = item(row)?;
    if item.status.is_unfinished() {
        item.lease_until = item.lease_until.filter(|until| now < *until);
        item.status = match item.lease_until {
            Some(_) => ItemStatus::Processing,
            None => ItemStatus::Pending,
        };
    }
    Ok(item)
}

/// The order of a checkpoint.
pub(super) fn order(
    row: &Row,
    column: &'static str,
) -> Result<Option<CheckpointOrder>, StoreError> {
    let text: Option<String> = row.get(column)?;
    Ok(text.map(CheckpointOrder::from_text))
}
