//! Pages of items.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::SyncItemId,
    store::{Rejected, StoreError},
    sync::{
        Checkpoint, CheckpointOrder, ItemAdded, ItemStatus, NewItem, PageAdded, PageEnd, Payload,
        RunPage, RunState, SyncItem, SyncRun,
    },
};

use super::{
    columns::Columns,
    state::{ItemRow, RecordKey, State},
    sync_runs::{count, is_finalisable, is_present_fence},
};

pub(super) fn add(state: &mut State, page: &RunPage) -> Result<PageAdded, StoreError> {
    match &page.next {
        PageEnd::Continue(token) => Columns::check().json(token),
        PageEnd::Complete => Columns::check(),
        PageEnd::Failed(error) => Columns::check().text(error.as_str()),
    }
    .of_row()?;
    let run = state.runs.get(page.run_id.0).filter(|run| {
        run.state == RunState::Running && is_present_fence(state, run.integration_id, page.fence)
    });
    let Some(mut run) = run.cloned() else {
        return Ok(PageAdded::FenceLost);
    };
    let items = page
        .items
        .iter()
        .map(|new| add_item(state, &mut run, new, page.now))
        .collect();
    match &page.next {
        PageEnd::Continue(token) => run.page_token = Some(token.clone()),
        PageEnd::Complete => {
            run.page_token = None;
            run.enumerated = true;
        }
        PageEnd::Failed(error) => {
            run.enumerated = true;
            run.enumeration_error = Some(error.clone());
        }
    }
    let added = PageAdded::Done {
        items,
        open: run.counts.open,
        finalisable: is_finalisable(&run),
    };
    if let Some(row) = state.runs.get_mut(page.run_id.0) {
        *row = run;
    }
    Ok(added)
}

/// Adds one item to `run`, which is a copy the caller puts back.
fn add_item(
    state: &mut State,
    run: &mut SyncRun,
    new: &NewItem,
    now: DateTime<Utc>,
) -> Result<ItemAdded, Rejected> {
    columns(new).of_entry()?;
    let Some(external_id) = new.external_id.clone() else {
        return Ok(ItemAdded::Stored(insert(state, run, new, now)));
    };
    let key = RecordKey {
        integration_id: run.integration_id,
        stream: run.stream.clone(),
        kind: new.kind.clone(),
        external_id,
    };
    let record = state.records.entry(key.clone()).or_default();
    record.last_seen_run = Some(run.id);
    let done = is_done(
        new,
        record.succeeded_order.as_ref(),
        record.succeeded_digest.as_deref(),
        run.full_resync,
    );

    let mut versions = state
        .items
        .values()
        .filter(|row| is_version(row, new) && row.record().as_ref() == Some(&key));
    if let Some(row) = versions.clone().find(|row| row.item.run_id == run.id) {
        run.counts.duplicates += 1;
        return Ok(ItemAdded::Duplicate(row.item.id));
    }
    if done {
        run.counts.duplicates += 1;
        return Ok(ItemAdded::AlreadyDone);
    }
    let unresolved = versions.find(|row| row.is_unresolved());
    match unresolved.map(|row| row.item.id) {
        Some(id) => {
            requeue(state, run, id, new, now);
            Ok(ItemAdded::Requeued(id))
        }
        None => Ok(ItemAdded::Stored(insert(state, run, new, now))),
    }
}

fn columns(new: &NewItem) -> Columns {
    let checkpoint = new.checkpoint.as_ref().map(Checkpoint::to_json);
    let payload = match &new.payload {
        Payload::Text(text) => Some(text.as_str()),
        Payload::Binary(_) => None,
    };
    Columns::check()
        .json(checkpoint.as_ref())
        .text(payload)
        .varchar(new.batch_id.as_deref(), 36)
}

/// Whether this version, or a newer one, succeeded before.
///
/// A full resync looks at older versions again, though not at the very one that succeeded.
fn is_done(
    new: &NewItem,
    succeeded_order: Option<&CheckpointOrder>,
    succeeded_digest: Option<&[u8]>,
    full_resync: bool,
) -> bool {
    match &new.checkpoint {
        Some(checkpoint) => {
            let order = checkpoint.order();
            succeeded_order.is_some_and(|succeeded| {
                order == *succeeded || (order < *succeeded && !full_resync)
            })
        }
        None => new.digest.is_some() && new.digest.as_deref() == succeeded_digest,
    }
}

/// Whether a row holds the version of `new`.
fn is_version(row: &ItemRow, new: &NewItem) -> bool {
    match &new.checkpoint {
        Some(checkpoint) => row.item.checkpoint_order.as_ref() == Some(&checkpoint.order()),
        None => row.item.checkpoint_order.is_none() && row.digest == new.digest,
    }
}

/// Moves an unresolved row to `run`; one that nobody works on gets all its attempts again.
fn requeue(
    state: &mut State,
    run: &mut SyncRun,
    id: SyncItemId,
    new: &NewItem,
    now: DateTime<Utc>,
) {
    let Some(row) = state.items.get_mut(id.0) else {
        return;
    };
    if let Some(former) = state.runs.get_mut(row.item.run_id.0) {
        count(&mut former.counts, &row.item.status, -1);
    }
    row.item.run_id = run.id;
    row.item.sync_log_id = run.log_id;
    row.item.updated_at = now;
    if !row.is_leased(now) {
        row.item.payload = Some(new.payload.clone());
        row.queue_again(now);
    }
    count(&mut run.counts, &row.item.status, 1);
}

fn insert(state: &mut State, run: &mut SyncRun, new: &NewItem, now: DateTime<Utc>) -> SyncItemId {
    count(&mut run.counts, &ItemStatus::Pending, 1);
    SyncItemId(state.items.insert(|id| ItemRow {
        item: SyncItem {
            id: SyncItemId(id),
            integration_id: run.integration_id,
            run_id: run.id,
            sync_log_id: run.log_id,
            stream: run.stream.clone(),
            kind: new.kind.clone(),
            external_id: new.external_id.clone(),
            checkpoint_value: new.checkpoint.as_ref().map(Checkpoint::to_json),
            checkpoint_order: new.checkpoint.as_ref().map(Checkpoint::order),
            payload: Some(new.payload.clone()),
            status: ItemStatus::Pending,
            attempts: 0,
            error: None,
            available_at: now,
            lease_until: None,
            completed_at: None,
            created_at: now,
            updated_at: now,
        },
        digest: new.digest.clone(),
        token: None,
    }))
}
