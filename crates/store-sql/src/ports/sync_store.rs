//! [`SyncStore`] over SQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, SyncItemId, SyncRunId, Uid},
    integration::Scope,
    store::{Page, PageRequest, StoreError},
    sync::{
        CursorMove, Finalise, Finalised, ItemClaim, ItemDecided, ItemDecision, ItemFilter,
        ItemVerdict, OpenRun, PageAdded, RunOpened, RunPage, StalenessChange, Sweep, Swept,
        SyncItem, SyncRun, SyncStore,
    },
    value::{ItemKind, StreamName},
};
use serde_json::Value as Json;

use crate::{
    backend::OwnCommit,
    checks::Fits,
    store::{SqlStore, retrying},
};

#[async_trait]
impl<B: OwnCommit> SyncStore for SqlStore<B> {
    async fn open_run(&self, open: &OpenRun) -> Result<RunOpened, StoreError> {
        retrying!(self.open_run_once(open).await)
    }

    async fn add_items(&self, page: &RunPage) -> Result<PageAdded, StoreError> {
        retrying!(self.add_items_once(page).await)
    }

    async fn claim_items(&self, claim: &ItemClaim) -> Result<Vec<SyncItem>, StoreError> {
        retrying!(self.claim_items_once(claim).await)
    }

    async fn renew_items(
        &self,
        token: Uid,
        items: &[SyncItemId],
        until: DateTime<Utc>,
    ) -> Result<Vec<SyncItemId>, StoreError> {
        retrying!(self.renew_items_once(token, items, until).await)
    }

    async fn finalise(&self, finalise: &Finalise) -> Result<Finalised, StoreError> {
        retrying!(self.finalise_once(finalise).await)
    }

    async fn advance_cursor(
        &self,
        run_id: SyncRunId,
        fence: i64,
        now: DateTime<Utc>,
    ) -> Result<Option<CursorMove>, StoreError> {
        retrying!(self.advance_once(run_id, fence, now).await)
    }

    async fn finalisable_runs(&self, limit: u32) -> Result<Vec<SyncRun>, StoreError> {
        self.finalisable(limit).await
    }

    async fn find_run(&self, id: SyncRunId, scope: &Scope) -> Result<Option<SyncRun>, StoreError> {
        self.read_run(id, scope).await
    }

    async fn list_runs(
        &self,
        integration_id: IntegrationId,
        page: &PageRequest,
    ) -> Result<Page<SyncRun>, StoreError> {
        self.read_run_page(integration_id, page).await
    }

    async fn find_item(
        &self,
        id: SyncItemId,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<Option<SyncItem>, StoreError> {
        self.read_item(id, scope, now).await
    }

    async fn list_items(
        &self,
        filter: &ItemFilter,
        scope: &Scope,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<SyncItem>, StoreError> {
        self.read_item_page(filter, scope, page, now).await
    }

    async fn decide_items(
        &self,
        decisions: &[ItemDecision],
    ) -> Result<Vec<ItemDecided>, StoreError> {
        let reasons = decisions.iter().filter_map(|one| match &one.verdict {
            ItemVerdict::Skip { reason } => Some(reason.as_str()),
            ItemVerdict::Retry => None,
        });
        reasons.fold(Fits::new(), Fits::text).verdict()?;
        retrying!(self.decide_once(decisions).await)
    }

    async fn reclaim_items(&self, now: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        retrying!(self.reclaim_items_once(now, limit).await)
    }

    async fn waiting_kinds(&self) -> Result<Vec<(ItemKind, u64)>, StoreError> {
        self.read_waiting_kinds().await
    }

    async fn sweep_records(&self, sweep: &Sweep) -> Result<Swept, StoreError> {
        retrying!(self.sweep_records_once(sweep).await)
    }

    async fn set_cursor(
        &self,
        integration_id: IntegrationId,
        scope: &Scope,
        stream: &StreamName,
        cursor: &Json,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        retrying!(
            self.set_cursor_once(integration_id, scope, stream, cursor, now)
                .await
        )
    }

    async fn sweep_staleness(
        &self,
        intervals: u32,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Vec<StalenessChange>, StoreError> {
        retrying!(self.sweep_once(intervals, limit, now).await)
    }
}
