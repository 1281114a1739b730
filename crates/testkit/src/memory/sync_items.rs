//! Pages of items.

use integrations_core::{
    id::SyncItemId,
    store::{Rejected, StoreError},
    sync::{
        Checkpoint, CheckpointOrder, ItemStatus, NewItem, PageAdded, PageEnd, Payload, RunPage,
        RunState, SyncItem, SyncRun,
        protocol::{ItemState, Known, PagePlan, plan_page},
    },
};

use super::{
    columns::Columns,
    state::{ItemRow, State},
    sync_runs::{count_changes, is_present_fence},
};

pub(super) fn add(state: &mut State, page: &RunPage) -> Result<PageAdded, StoreError> {
    match &page.next {
        PageEnd::Continue(token) => Columns::check().json(token),
        PageEnd::Complete => Columns::check(),
        PageEnd::Failed(error) => Columns::check().text(error.as_str()),
    }
    .json(page.cursor.as_ref())
    .of_row()?;
    let run = state.runs.get(page.run_id.0).filter(|run| {
        run.state == RunState::Running && is_present_fence(state, run.integration_id, page.fence)
    });
    let Some(run) = run.cloned() else {
        return Ok(PageAdded::FenceLost);
    };
    let fits: Vec<Result<(), Rejected>> = (page.items.iter())
        .map(|new| columns(new).of_entry())
        .collect();
    let ids = state.items.allocate(page.items.len());
    let ids: Vec<_> = ids.into_iter().map(SyncItemId).collect();
    let plan = plan_page(page, &run, known(state, &run), &fits, &ids);
    let added = PageAdded::Done {
        items: plan.answers.clone(),
        open: plan.run.counts.open,
        finalisable: plan.run.is_finalisable(),
        sorted: plan.run.sorted,
    };
    write(state, page, plan);
    Ok(added)
}

/// Writes what a page changes.
pub(super) fn write(state: &mut State, page: &RunPage, plan: PagePlan) {
    for (item, index) in plan.stored {
        let row = stored(&plan.run, item, &page.items[index]);
        state.items.place(row.item.id.0, row);
    }
    for (item, index) in plan.requeued {
        if let Some(row) = state.items.get_mut(item.id.0) {
            if item.lease.is_none() {
                row.item.payload = Some(page.items[index].payload.clone());
            }
            row.item.sync_log_id = plan.run.log_id;
            row.put(item);
        }
    }
    for (id, item) in plan.others.items {
        if let Some(row) = state.items.get_mut(id.0) {
            row.put(item);
        }
    }
    state.records.extend(plan.records);
    if let Some(row) = state.runs.get_mut(page.run_id.0) {
        *row = plan.run;
    }
    count_changes(state, &plan.others.recount);
}

/// Everything that is known of the run's stream.
pub(super) fn known(state: &State, run: &SyncRun) -> Known {
    let mut known = Known::default();
    for (key, record) in &state.records {
        if key.integration_id == run.integration_id && key.stream == run.stream {
            known.records.insert(key.clone(), record.clone());
        }
    }
    for item in state.items.values().map(ItemRow::state) {
        if let Some(key) = item.record().filter(|_| item.is_unresolved()) {
            known.versions.entry(key).or_default().push(item);
        }
    }
    known
}

/// The most characters of a checkpoint's order: what an index on it takes.
const MAX_ORDER: usize = 512;

fn columns(new: &NewItem) -> Columns {
    let order = new.order();
    let checkpoint = new.checkpoint.as_ref().map(Checkpoint::to_json);
    let payload = match &new.payload {
        Payload::Text(text) => Some(text.as_str()),
        Payload::Binary(_) => None,
    };
    Columns::check()
        .json(checkpoint.as_ref())
        .text(payload)
        .varchar(new.batch_id.as_deref(), 36)
        .varchar(order.as_ref().map(CheckpointOrder::as_str), MAX_ORDER)
}

fn stored(run: &SyncRun, item: ItemState, new: &NewItem) -> ItemRow {
    ItemRow {
        item: SyncItem {
            id: item.id,
            integration_id: item.integration_id,
            run_id: item.run_id,
            sync_log_id: run.log_id,
            stream: item.stream,
            kind: item.kind,
            external_id: item.external_id,
            checkpoint_value: new.checkpoint.as_ref().map(Checkpoint::to_json),
            checkpoint_order: item.checkpoint,
            payload: Some(new.payload.clone()),
            status: ItemStatus::Pending,
            attempts: 0,
            error: None,
            available_at: item.available_at,
            lease_until: None,
            completed_at: None,
            created_at: item.available_at,
            updated_at: item.updated_at,
        },
        digest: item.digest,
        token: None,
    }
}
