//! The `SyncStore` port.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, SyncItemId, SyncRunId, Uid},
    integration::Scope,
    store::{Page, PageRequest, StoreError},
    sync::{
        Checkpoint, CursorMove, Finalise, Finalised, ItemClaim, ItemDecided, ItemDecision,
        ItemFilter, OpenRun, PageAdded, RunOpened, RunPage, StalenessChange, Sweep, Swept,
        SyncItem, SyncRun, SyncStore, protocol::put_cursor,
    },
    value::{ItemKind, StreamName},
};
use serde_json::Value as Json;

use super::{
    MemoryStore, columns::Columns, state::ItemRow, sync_claim, sync_cursor, sync_finalise,
    sync_items, sync_runs, sync_settle, sync_sweep,
};

#[async_trait]
impl SyncStore for MemoryStore {
    async fn open_run(&self, open: &OpenRun) -> Result<RunOpened, StoreError> {
        sync_runs::open(&mut self.lock(), open)
    }

    async fn add_items(&self, page: &RunPage) -> Result<PageAdded, StoreError> {
        sync_items::add(&mut self.lock(), page)
    }

    async fn claim_items(&self, claim: &ItemClaim) -> Result<Vec<SyncItem>, StoreError> {
        Ok(sync_claim::claim(&mut self.lock(), claim))
    }

    async fn renew_items(
        &self,
        token: Uid,
        items: &[SyncItemId],
        until: DateTime<Utc>,
    ) -> Result<Vec<SyncItemId>, StoreError> {
        let mut state = self.lock();
        let lost = items
            .iter()
            .copied()
            .filter(|id| !sync_claim::renew(&mut state, token, *id, until));
        Ok(lost.collect())
    }

    async fn finalise(&self, finalise: &Finalise) -> Result<Finalised, StoreError> {
        Ok(sync_finalise::finalise(&mut self.lock(), finalise))
    }

    async fn advance_cursor(
        &self,
        run_id: SyncRunId,
        fence: i64,
        now: DateTime<Utc>,
    ) -> Result<Option<CursorMove>, StoreError> {
        Ok(sync_cursor::advance(&mut self.lock(), run_id, fence, now))
    }

    async fn finalisable_runs(&self, limit: u32) -> Result<Vec<SyncRun>, StoreError> {
        let state = self.lock();
        let runs = state.runs.values();
        let ready = runs.filter(|run| run.is_finalisable());
        Ok(ready.take(limit as usize).cloned().collect())
    }

    async fn find_run(&self, id: SyncRunId, scope: &Scope) -> Result<Option<SyncRun>, StoreError> {
        let state = self.lock();
        let run = state.runs.get(id.0);
        let within = run.filter(|run| state.admits(run.integration_id, scope));
        Ok(within.cloned())
    }

    async fn list_runs(
        &self,
        integration_id: IntegrationId,
        page: &PageRequest,
    ) -> Result<Page<SyncRun>, StoreError> {
        let read = |run: &SyncRun| (run.integration_id == integration_id).then(|| run.clone());
        Ok(self.lock().runs.page(page, read, |run| run.id.0))
    }

    async fn find_item(
        &self,
        id: SyncItemId,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<Option<SyncItem>, StoreError> {
        let state = self.lock();
        let row = state.items.get(id.0);
        let within = row.filter(|row| state.admits(row.item.integration_id, scope));
        Ok(within.map(|row| row.at(now)))
    }

    async fn list_items(
        &self,
        filter: &ItemFilter,
        scope: &Scope,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<SyncItem>, StoreError> {
        let state = self.lock();
        let read = |row: &ItemRow| {
            let item = row.at(now);
            let selected = selects(filter, &item) && state.admits(item.integration_id, scope);
            selected.then_some(item)
        };
        Ok(state.items.page(page, read, |item| item.id.0))
    }

    async fn decide_items(
        &self,
        decisions: &[ItemDecision],
    ) -> Result<Vec<ItemDecided>, StoreError> {
        sync_settle::decide(&mut self.lock(), decisions)
    }

    async fn reclaim_items(&self, now: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        Ok(sync_claim::reclaim(&mut self.lock(), now, limit))
    }

    async fn waiting_kinds(&self) -> Result<Vec<(ItemKind, u64)>, StoreError> {
        Ok(sync_claim::waiting_kinds(&self.lock()))
    }

    async fn sweep_records(&self, sweep: &Sweep) -> Result<Swept, StoreError> {
        Ok(sync_sweep::sweep(&mut self.lock(), sweep))
    }

    async fn set_cursor(
        &self,
        integration_id: IntegrationId,
        scope: &Scope,
        stream: &StreamName,
        cursor: &Json,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        Columns::check().json(cursor).of_row()?;
        let mut state = self.lock();
        let Some(row) = state.integration_mut(integration_id, scope) else {
            return Ok(false);
        };
        put_cursor(&mut row.sync_cursor, stream, cursor.clone());
        row.updated_at = now;
        let order = Checkpoint::from_json(cursor).map(|checkpoint| checkpoint.order());
        sync_runs::uncover(&mut state, integration_id, stream, order.as_ref());
        Ok(true)
    }

    async fn sweep_staleness(
        &self,
        intervals: u32,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Vec<StalenessChange>, StoreError> {
        Ok(sync_runs::sweep(&mut self.lock(), intervals, limit, now))
    }
}

fn selects(filter: &ItemFilter, item: &SyncItem) -> bool {
    (filter.integration_id).is_none_or(|id| id == item.integration_id)
        && filter.run_id.is_none_or(|id| id == item.run_id)
        && (filter.stream.as_ref()).is_none_or(|stream| *stream == item.stream)
        && (filter.status.as_ref()).is_none_or(|status| *status == item.status)
        && (filter.kind.as_ref()).is_none_or(|kind| *kind == item.kind)
        && filter.since.is_none_or(|since| item.created_at >= since)
}
