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
         enumeration_error, full_resync, sorted, items_open, items_total, items_succeeded, \
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
pub(super) fn item(row: &Row) -> Result<SyncItem, StoreError> {
    let encoding: String = row.get("payload_encoding")?;
    let payload: Option<String> = row.get("payload")?;
    let payload = payload
        .map(|text| payload::decode(&encoding, text).ok_or_else(|| row.corrupt("payload_encoding")))
        .transpose()?;
    let order: Option<String> = row.get("checkpoint_order")?;
    Ok(SyncItem {
        id: row.get("id")?,
        integration_id: row.get("integration_id")?,
        run_id: row.get("run_id")?,
        sync_log_id: row.get("sync_log_id")?,
        stream: row.parse("stream")?,
        kind: row.parse("event_class")?,
        external_id: row.parse_opt("external_id")?,
        checkpoint_value: row.get("checkpoint_value")?,
        checkpoint_order: order.map(CheckpointOrder::from_text),
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

/// An item as it reads at `now`: one whose lease ran out waits.
pub(super) fn item_at(row: &Row, now: DateTime<Utc>) -> Result<SyncItem, StoreError> {
    let mut item = item(row)?;
    let unfinished = matches!(item.status, ItemStatus::Pending | ItemStatus::Processing);
    if unfinished && item.lease_until.is_none_or(|until| until <= now) {
        item.status = ItemStatus::Pending;
        item.lease_until = None;
    }
    Ok(item)
}
