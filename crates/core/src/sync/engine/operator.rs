//! What operators do about items and cursors (SYN-40).

use std::sync::Arc;

use super::{Inner, text::fitted};
use crate::{
    id::{IntegrationId, SyncItemId, SyncRunId},
    integration::{Owner, Scope},
    store::{Page, PageRequest, StoreError},
    sync::{Finalised, ItemDecided, ItemDecision, ItemFilter, ItemVerdict, SyncItem, SyncRun},
    value::StreamName,
    wake::WakeChannel,
};

/// Leases ended at once.
const RECLAIM: u32 = 10_000;

/// The items of syncs, within a scope.
#[derive(Clone)]
pub struct Items {
    engine: Arc<Inner>,
    scope: Scope,
}

impl std::fmt::Debug for Items {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Items")
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// How far a stream's cursor came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorReport {
    /// The stream.
    pub stream: StreamName,
    /// The run that was looked at, the stream's last.
    pub run_id: SyncRunId,
    /// Whether the run ended by this.
    pub ended: bool,
    /// Whether the cursor moved.
    pub moved: bool,
    /// Items of the run that are open.
    pub open: i64,
}

impl Items {
    pub(super) fn new(engine: Arc<Inner>, scope: Scope) -> Self {
        Self { engine, scope }
    }

    /// Those of one owner's integrations, and no others.
    #[must_use]
    pub fn for_owner(self, owner: &Owner) -> Self {
        Self {
            scope: Scope::Owner(owner.clone()),
            ..self
        }
    }

    /// A page of the items `filter` selects.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    pub async fn list(
        &self,
        filter: &ItemFilter,
        page: &PageRequest,
    ) -> Result<Page<SyncItem>, StoreError> {
        let ports = self.engine.client.ports();
        let now = ports.clock.now();
        ports.syncs.list_items(filter, &self.scope, page, now).await
    }

    /// One item; `None` when there is none within the scope.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    pub async fn find(&self, id: SyncItemId) -> Result<Option<SyncItem>, StoreError> {
        let ports = self.engine.client.ports();
        let now = ports.clock.now();
        ports.syncs.find_item(id, &self.scope, now).await
    }

    /// Queues failed items again, with all attempts; one answer each, in order.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is changed then.
    pub async fn retry(&self, ids: &[SyncItemId]) -> Result<Vec<ItemDecided>, StoreError> {
        let decided = self.decide(ids, &ItemVerdict::Retry).await?;
        let ports = self.engine.client.ports();
        ports.wake.ring(WakeChannel::Items);
        Ok(decided)
    }

    /// Lets items go, failed or waiting; one answer each, in order. Runs they held back go on to
    /// their end.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; where only a run could not be ended, the items are skipped, and
    /// the scheduler ends it.
    pub async fn skip(
        &self,
        ids: &[SyncItemId],
        reason: &str,
    ) -> Result<Vec<ItemDecided>, StoreError> {
        let reason = fitted(reason);
        let decided = self.decide(ids, &ItemVerdict::Skip { reason }).await?;
        let mut runs: Vec<_> = decided.iter().filter_map(finalisable).collect();
        runs.sort_unstable();
        runs.dedup();
        for run_id in runs {
            self.engine.finalise(run_id).await?;
        }
        Ok(decided)
    }

    async fn decide(
        &self,
        ids: &[SyncItemId],
        verdict: &ItemVerdict,
    ) -> Result<Vec<ItemDecided>, StoreError> {
        let ports = self.engine.client.ports();
        let now = ports.clock.now();
        let decision = |id: &SyncItemId| ItemDecision {
            id: *id,
            scope: self.scope.clone(),
            verdict: verdict.clone(),
            now,
        };
        let decisions: Vec<_> = ids.iter().map(decision).collect();
        ports.syncs.decide_items(&decisions).await
    }

    /// Looks at the last run of every stream again: ends it if nothing holds it back, and moves
    /// the cursor as far as it may go. With `reclaim`, leases that ran out are ended first, so
    /// that their items are seen waiting.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    pub async fn advance_cursor(
        &self,
        integration_id: IntegrationId,
        reclaim: bool,
    ) -> Result<Vec<CursorReport>, StoreError> {
        let ports = self.engine.client.ports();
        let found = ports
            .integrations
            .find(integration_id.into(), &self.scope)
            .await?;
        if found.is_none() {
            return Ok(Vec::new());
        }
        if reclaim {
            ports
                .syncs
                .reclaim_items(ports.clock.now(), RECLAIM)
                .await?;
        }
        let mut reports = Vec::new();
        for run in self.last_runs(integration_id).await? {
            reports.push(self.look_again(&run).await?);
        }
        Ok(reports)
    }

    /// The last run of each stream.
    async fn last_runs(&self, id: IntegrationId) -> Result<Vec<SyncRun>, StoreError> {
        let newest = PageRequest::newest(PageRequest::MAX_LIMIT);
        let runs = self.engine.client.ports().syncs.list_runs(id, &newest);
        let mut last = Vec::<SyncRun>::new();
        for run in runs.await?.items {
            if last.iter().all(|other| other.stream != run.stream) {
                last.push(run);
            }
        }
        last.sort_unstable_by(|a, b| a.stream.cmp(&b.stream));
        Ok(last)
    }

    async fn look_again(&self, run: &SyncRun) -> Result<CursorReport, StoreError> {
        let (ended, moved, open) = match self.engine.finalise(run.id).await? {
            Finalised::Ended(end) => (true, end.cursor.is_some(), 0),
            Finalised::AlreadyEnded { cursor_moved } => (false, cursor_moved, run.counts.open),
            Finalised::NotReady { open } => (false, false, open),
            Finalised::NotFound => (false, false, 0),
        };
        Ok(CursorReport {
            stream: run.stream.clone(),
            run_id: run.id,
            ended,
            moved,
            open,
        })
    }
}

fn finalisable(decided: &ItemDecided) -> Option<SyncRunId> {
    match decided {
        ItemDecided::Done {
            run_id,
            finalisable: true,
        } => Some(*run_id),
        _ => None,
    }
}
