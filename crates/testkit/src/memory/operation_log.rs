//! The `OperationLog` port.

use std::collections::BTreeMap;

use async_trait::async_trait;
use integrations_core::{
    id::LogId,
    integration::Scope,
    operation_log::{
        NewOperation, Operation, OperationEnd, OperationFilter, OperationLog, OperationStatus,
    },
    store::{Batch, Page, PageRequest, Rejected, StoreError},
};

use super::{MemoryStore, columns::Columns, state::State};

/// The most rows of a tree.
const MAX_TREE: usize = 10_000;

#[async_trait]
impl OperationLog for MemoryStore {
    async fn append(&self, entries: &[NewOperation]) -> Batch<LogId> {
        let mut state = self.lock();
        Ok(entries.iter().map(|new| append(&mut state, new)).collect())
    }

    async fn finish(&self, id: LogId, end: &OperationEnd) -> Result<bool, StoreError> {
        Columns::check()
            .varchar(end.status.as_str(), 32)
            .text(end.summary.as_deref())
            .json(end.result_data.as_ref())
            .text(end.error.as_deref())
            .of_row()?;
        Ok(finish(&mut self.lock(), id, end))
    }

    async fn tree(&self, id: LogId, scope: &Scope) -> Result<Vec<Operation>, StoreError> {
        let state = self.lock();
        let root = state.operations.get(id.0);
        let Some(root) = root.filter(|row| is_within(&state, row, scope)) else {
            return Ok(Vec::new());
        };
        let mut children = BTreeMap::<LogId, Vec<&Operation>>::new();
        for row in state.operations.values() {
            if let Some(parent) = row.entry.parent_id {
                children.entry(parent).or_default().push(row);
            }
        }
        let mut rows = Vec::new();
        let mut open = vec![root];
        while let Some(row) = open.pop() {
            rows.push(row.clone());
            if rows.len() == MAX_TREE {
                break;
            }
            // The last one pushed is visited first.
            open.extend(children.remove(&row.id).into_iter().flatten().rev());
        }
        Ok(rows)
    }

    async fn query(
        &self,
        filter: &OperationFilter,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<Operation>, StoreError> {
        let state = self.lock();
        let read = |row: &Operation| {
            let selected = selects(filter, row) && is_within(&state, row, scope);
            selected.then(|| row.clone())
        };
        Ok(state.operations.page(page, read, |row| row.id.0))
    }
}

/// Appends one operation, if it fits.
pub(super) fn append(state: &mut State, new: &NewOperation) -> Result<LogId, Rejected> {
    Columns::check()
        .varchar(new.operation.as_str(), 255)
        .varchar(new.direction.as_str(), 16)
        .varchar(new.status.as_str(), 32)
        .text(new.summary.as_deref())
        .varchar(new.external_id.as_deref(), 500)
        .json(new.metadata.as_ref())
        .json(new.result_data.as_ref())
        .text(new.error.as_deref())
        .of_entry()?;
    state.references(new.integration_id)?;
    let is_missing = |parent: LogId| !state.operations.contains(parent.0);
    if new.parent_id.is_some_and(is_missing) {
        return Err(Rejected::MissingReference);
    }
    Ok(LogId(state.operations.insert(|id| Operation {
        id: LogId(id),
        entry: new.clone(),
        updated_at: new.now,
    })))
}

/// Ends one operation; `false` when it is gone or has ended.
pub(super) fn finish(state: &mut State, id: LogId, end: &OperationEnd) -> bool {
    let Some(row) = state.operations.get_mut(id.0) else {
        return false;
    };
    let entry = &mut row.entry;
    if matches!(
        entry.status,
        OperationStatus::Success | OperationStatus::Partial | OperationStatus::Failed
    ) {
        return false;
    }
    entry.status = end.status.clone();
    if end.summary.is_some() {
        entry.summary.clone_from(&end.summary);
    }
    if end.result_data.is_some() {
        entry.result_data.clone_from(&end.result_data);
    }
    entry.error.clone_from(&end.error);
    entry.duration_ms = end.duration_ms;
    row.updated_at = end.now;
    true
}

fn is_within(state: &State, row: &Operation, scope: &Scope) -> bool {
    state.admits(row.entry.integration_id, scope)
}

fn selects(filter: &OperationFilter, row: &Operation) -> bool {
    let entry = &row.entry;
    (filter.integration_id).is_none_or(|id| id == entry.integration_id)
        && (filter.operation.as_ref()).is_none_or(|name| *name == entry.operation)
        && (filter.status.as_ref()).is_none_or(|status| *status == entry.status)
        && filter.since.is_none_or(|since| entry.now >= since)
        && (filter.external_id.is_none() || filter.external_id == entry.external_id)
        && !(filter.roots_only && entry.parent_id.is_some())
}
