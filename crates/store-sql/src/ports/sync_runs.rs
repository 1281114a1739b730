//! Runs: opening and reading them, and integrations whose syncs are overdue.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, LogId, SyncRunId},
    integration::Scope,
    store::{Page, PageRequest, StoreError},
    sync::{OpenRun, RunOpened, StalenessChange, SyncRun},
};

use super::sync_rows::{self, run_columns};
use crate::{
    backend::{OwnCommit, Session},
    checks::Fits,
    error::SqlError,
    row::Row,
    statement::Template,
    store::{SqlStore, ended},
};

impl<B: OwnCommit> SqlStore<B> {
    pub(super) async fn open_run_once(&self, open: &OpenRun) -> Result<RunOpened, SqlError> {
        let log_id = self.first_id("logs").await?;
        let mut session = self.backend.begin().await?;
        let opened = self.open_within(&mut *session, LogId(log_id), open).await;
        ended(session, opened).await
    }

    async fn open_within(
        &self,
        session: &mut dyn Session,
        log_id: LogId,
        open: &OpenRun,
    ) -> Result<RunOpened, SqlError> {
        const FENCE: Template = Template::each(
            "SELECT sync_fence FROM {integrations} WHERE id = $1 AND removed_at IS NULL \
             FOR NO KEY UPDATE",
            "SELECT sync_fence FROM {integrations} WHERE id = $1 AND removed_at IS NULL",
        );
        const RESUME: Template = Template::both(concat!(
            "UPDATE {sync_runs} SET fence = $3, updated_at = $4 \
             WHERE integration_id = $1 AND stream = $2 AND state = 'running' RETURNING ",
            run_columns!(),
        ));
        // The id is taken here, under the lock: what a later run of the stream saw has a greater
        // one.
        const OPEN: Template = Template::both(concat!(
            "INSERT INTO {sync_runs} (integration_id, stream, log_id, fence, full_resync, \
             sorted, started_at, created_at, updated_at, covered) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7, (SELECT covered FROM {sync_runs} \
             WHERE integration_id = $1 AND stream = $2 ORDER BY id DESC LIMIT 1)) RETURNING ",
            run_columns!(),
        ));
        // The integration's row is locked by whoever opens, fills or ends its runs.
        let fence = self.sql(&FENCE).bind(open.integration_id);
        let present = session.query(fence).await?.pop();
        let present: Option<i64> = present.map(|row| row.get("sync_fence")).transpose()?;
        if present != Some(open.fence) {
            return Ok(RunOpened::FenceLost);
        }
        let resume = self
            .sql(&RESUME)
            .bind(open.integration_id)
            .bind(&open.stream)
            .bind(open.fence)
            .bind(open.now);
        if let Some(row) = session.query(resume).await?.pop() {
            return Ok(RunOpened::Resumed(sync_rows::run(&row)?));
        }
        self.append_log(session, log_id, open).await?;
        let opened = self
            .sql(&OPEN)
            .bind(open.integration_id)
            .bind(&open.stream)
            .bind(log_id)
            .bind(open.fence)
            .bind(open.full_resync)
            .bind(open.sorted)
            .bind(open.now);
        let rows = session.query(opened).await?;
        let run = rows.first().map(sync_rows::run).transpose()?;
        run.map(RunOpened::New)
            .ok_or_else(|| StoreError::corrupt("sync_runs", "id", None).into())
    }

    async fn first_id(&self, table: &'static str) -> Result<i64, SqlError> {
        let ids = self
            .ids
            .take(&self.backend, &self.statements, table, 1)
            .await?;
        Ok(ids.first().copied().unwrap_or_default())
    }

    async fn append_log(
        &self,
        session: &mut dyn Session,
        id: LogId,
        open: &OpenRun,
    ) -> Result<(), SqlError> {
        const APPEND: Template = Template::both(
            "INSERT INTO {logs} (id, integration_id, operation, direction, status, summary, \
             external_id, metadata, result_data, error, duration_ms, parent_id, created_at, \
             updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)",
        );
        let log = &open.log;
        Fits::new()
            .varchar(log.operation.as_str(), 255)
            .varchar(log.direction.as_str(), 16)
            .varchar(log.status.as_str(), 32)
            .text(log.summary.as_deref())
            .varchar(log.external_id.as_deref(), 500)
            .text(log.error.as_deref())
            .verdict()?;
        let append = self
            .sql(&APPEND)
            .bind(id)
            .bind(open.integration_id)
            .bind(&log.operation)
            .bind(log.direction.as_str())
            .bind(log.status.as_str())
            .bind(log.summary.as_deref())
            .bind(log.external_id.as_deref())
            .bind(log.metadata.as_ref())
            .bind(log.result_data.as_ref())
            .bind(log.error.as_deref())
            .bind(log.duration_ms)
            .bind(log.parent_id)
            .bind(log.now);
        session.execute(append).await?;
        Ok(())
    }

    pub(super) async fn finalisable(&self, limit: u32) -> Result<Vec<SyncRun>, StoreError> {
        const FINALISABLE: Template = Template::both(concat!(
            "SELECT ",
            run_columns!(),
            " FROM {sync_runs} WHERE state = 'running' AND enumerated AND items_open = 0 \
             ORDER BY id LIMIT $1",
        ));
        let statement = self.sql(&FINALISABLE).bind(limit);
        self.read_runs(statement).await
    }

    pub(super) async fn read_run(
        &self,
        id: SyncRunId,
        scope: &Scope,
    ) -> Result<Option<SyncRun>, StoreError> {
        let query = crate::page::select(&self.statements, "sync_runs", run_columns!())
            .equal("id", id)
            .within("integration_id", scope)
            .all();
        Ok(self.read_runs(query).await?.pop())
    }

    pub(super) async fn read_run_page(
        &self,
        integration_id: IntegrationId,
        page: &PageRequest,
    ) -> Result<Page<SyncRun>, StoreError> {
        let query = crate::page::select(&self.statements, "sync_runs", run_columns!())
            .equal("integration_id", integration_id)
            .page(page);
        let runs = self.read_runs(query).await?;
        Ok(Page::from_overfull(runs, page, |run| run.id.0))
    }

    async fn read_runs(
        &self,
        query: crate::statement::Statement,
    ) -> Result<Vec<SyncRun>, StoreError> {
        let rows = self.backend.read().await?.query(query).await?;
        rows.iter().map(sync_rows::run).collect()
    }

    pub(super) async fn sweep_once(
        &self,
        intervals: u32,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Vec<StalenessChange>, SqlError> {
        // SQLite's own arithmetic ends at milliseconds, so seconds and their fraction are compared
        // one after the other.
        const SWEEP: Template = Template::each(
            "WITH changed AS MATERIALIZED (SELECT id FROM {integrations} WHERE removed_at IS NULL \
             AND (sync_stale_at IS NOT NULL) <> coalesce(is_active AND sync_interval_minutes > 0 \
             AND coalesce(last_synced_at, created_at) \
             + sync_interval_minutes * $1 * interval '1 minute' < $2, false) \
             ORDER BY id LIMIT $3 FOR NO KEY UPDATE) \
             UPDATE {integrations} SET updated_at = $2, \
             sync_stale_at = CASE WHEN sync_stale_at IS NULL THEN $2 END \
             WHERE id IN (SELECT id FROM changed) RETURNING id, sync_stale_at, last_synced_at",
            "UPDATE {integrations} SET updated_at = $2, \
             sync_stale_at = CASE WHEN sync_stale_at IS NULL THEN $2 END \
             WHERE id IN (SELECT id FROM {integrations} WHERE removed_at IS NULL \
             AND (sync_stale_at IS NOT NULL) <> coalesce(is_active AND sync_interval_minutes > 0 \
             AND (unixepoch(substr(coalesce(last_synced_at, created_at), 1, 19)) \
             + sync_interval_minutes * $1 * 60, substr(coalesce(last_synced_at, created_at), 20)) \
             < (unixepoch(substr($2, 1, 19)), substr($2, 20)), false) \
             ORDER BY id LIMIT $3) RETURNING id, sync_stale_at, last_synced_at",
        );
        let statement = self.sql(&SWEEP).bind(intervals).bind(now).bind(limit);
        let rows = self.backend.write().await?.query(statement).await?;
        let change = |row: &Row| {
            let stale_at: Option<DateTime<Utc>> = row.get("sync_stale_at")?;
            Ok(StalenessChange {
                integration_id: row.get("id")?,
                stale: stale_at.is_some(),
                last_synced_at: row.get("last_synced_at")?,
            })
        };
        let mut changes = rows
            .iter()
            .map(change)
            .collect::<Result<Vec<_>, SqlError>>()?;
        changes.sort_unstable_by_key(|change| change.integration_id);
        Ok(changes)
    }
}
