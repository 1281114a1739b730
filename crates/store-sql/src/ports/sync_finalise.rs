//! The end of a run.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::SyncRunId,
    store::StoreError,
    sync::{
        Finalise, Finalised, RunEnd, StuckRecord, SyncRun,
        protocol::{SyncEnd, end_run, end_summary, end_sync, mend_run},
    },
};
use serde_json::json;

use super::sync_rows::{self, run_columns};
use crate::{
    backend::{OwnCommit, Session},
    error::SqlError,
    row::Row,
    statement::Template,
    store::{SqlStore, ended},
};

impl<B: OwnCommit> SqlStore<B> {
    pub(super) async fn finalise_once(&self, finalise: &Finalise) -> Result<Finalised, SqlError> {
        let mut session = self.backend.begin().await?;
        let finalised = self.finalise_within(&mut *session, finalise).await;
        ended(session, finalised).await
    }

    async fn finalise_within(
        &self,
        session: &mut dyn Session,
        finalise: &Finalise,
    ) -> Result<Finalised, SqlError> {
        let Some(run) = self.lock_for_end(session, finalise.run_id).await? else {
            return Ok(Finalised::NotFound);
        };
        if run.state.is_final() {
            let moved = self.follow(session, &run, finalise.now).await?;
            self.mend(session, &run, finalise.now).await?;
            return Ok(Finalised::AlreadyEnded {
                cursor_moved: moved.is_some(),
            });
        }
        if !run.is_finalisable() {
            return Ok(Finalised::NotReady {
                open: run.counts.open,
            });
        }
        let stuck = self.count_failing_records(session, &run, finalise).await?;
        let Some(ended) = self.end_run(session, &run, finalise.now).await? else {
            return Ok(Finalised::NotReady {
                open: run.counts.open,
            });
        };
        self.end_log(session, &ended, finalise.now).await?;
        let cursor = self.follow(session, &ended, finalise.now).await?;
        let sync = self.reschedule(session, &ended, finalise).await?;
        Ok(Finalised::Ended(Box::new(RunEnd {
            run: ended,
            cursor,
            next_sync_at: sync.next_sync_at,
            consecutive_sync_failures: sync.consecutive_failures,
            synced: sync.clean,
            stuck,
        })))
    }

    /// The run, its integration being locked.
    async fn lock_for_end(
        &self,
        session: &mut dyn Session,
        id: SyncRunId,
    ) -> Result<Option<SyncRun>, SqlError> {
        const LOCK: Template = Template::each(
            "SELECT id FROM {integrations} \
             WHERE id = (SELECT integration_id FROM {sync_runs} WHERE id = $1) FOR NO KEY UPDATE",
            "SELECT id FROM {integrations} \
             WHERE id = (SELECT integration_id FROM {sync_runs} WHERE id = $1)",
        );
        const RUN: Template = Template::both(concat!(
            "SELECT ",
            run_columns!(),
            " FROM {sync_runs} WHERE id = $1"
        ));
        session.query(self.sql(&LOCK).bind(id)).await?;
        let rows = session.query(self.sql(&RUN).bind(id)).await?;
        Ok(rows.first().map(sync_rows::run).transpose()?)
    }

    /// Ends the run unless something holds it back; workers may have settled meanwhile, so its
    /// row is locked only now.
    async fn end_run(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        now: DateTime<Utc>,
    ) -> Result<Option<SyncRun>, SqlError> {
        const END: Template = Template::both(
            "UPDATE {sync_runs} SET state = $2, ended_at = $3, updated_at = $3 WHERE id = $1",
        );
        let present = self.lock_row(session, run).await?;
        let Some(ended) = present.and_then(|run| end_run(&run, now)) else {
            return Ok(None);
        };
        let end = self
            .sql(&END)
            .bind(ended.id)
            .bind(ended.state.as_str())
            .bind(now);
        session.execute(end).await?;
        Ok(Some(ended))
    }

    /// Has a run that had ended say how it stands now.
    async fn mend(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        now: DateTime<Utc>,
    ) -> Result<(), SqlError> {
        const MEND: Template =
            Template::both("UPDATE {sync_runs} SET state = $2, updated_at = $3 WHERE id = $1");
        // It is ended once more.
        const REOPEN: Template =
            Template::both("UPDATE {logs} SET status = 'processing' WHERE id = $1");
        const CLEAN: Template = Template::both(
            "UPDATE {integrations} SET last_synced_at = $3, consecutive_sync_failures = 0, \
             updated_at = $3 WHERE id = $1 AND sync_fence = $2 AND removed_at IS NULL \
             AND NOT EXISTS (SELECT 1 FROM {sync_runs} WHERE integration_id = $1 \
             AND state = 'running') AND NOT EXISTS (SELECT 1 FROM {sync_runs} \
             WHERE integration_id = $1 AND fence = $2 AND state <> 'success')",
        );
        // Most often there is nothing to mend, and then nothing is locked.
        if mend_run(run).is_none() {
            return Ok(());
        }
        let present = self.lock_row(session, run).await?;
        let Some(mended) = present.and_then(|run| mend_run(&run)) else {
            return Ok(());
        };
        let mend = self
            .sql(&MEND)
            .bind(mended.id)
            .bind(mended.state.as_str())
            .bind(now);
        session.execute(mend).await?;
        let reopen = self.sql(&REOPEN).bind(mended.log_id);
        session.execute(reopen).await?;
        self.end_log(session, &mended, now).await?;
        let clean = self
            .sql(&CLEAN)
            .bind(mended.integration_id)
            .bind(mended.fence)
            .bind(now);
        session.execute(clean).await?;
        Ok(())
    }

    async fn lock_row(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
    ) -> Result<Option<SyncRun>, SqlError> {
        const LOCK: Template = Template::each(
            concat!(
                "SELECT ",
                run_columns!(),
                " FROM {sync_runs} WHERE id = $1 FOR UPDATE"
            ),
            concat!("SELECT ", run_columns!(), " FROM {sync_runs} WHERE id = $1"),
        );
        let rows = session.query(self.sql(&LOCK).bind(run.id)).await?;
        Ok(rows.first().map(sync_rows::run).transpose()?)
    }

    async fn end_log(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        now: DateTime<Utc>,
    ) -> Result<(), SqlError> {
        const END: Template = Template::each(
            "UPDATE {logs} SET status = $2, summary = $3, error = $4, duration_ms = $5, \
             metadata = CASE WHEN jsonb_typeof(coalesce(metadata, '{}')) = 'object' \
             THEN coalesce(metadata, '{}') || $6 ELSE metadata END, updated_at = $7 \
             WHERE id = $1 AND status NOT IN ('success', 'partial', 'failed')",
            "UPDATE {logs} SET status = $2, summary = $3, error = $4, duration_ms = $5, \
             metadata = CASE WHEN json_type(coalesce(metadata, '{}')) = 'object' \
             THEN json_patch(coalesce(metadata, '{}'), $6) ELSE metadata END, updated_at = $7 \
             WHERE id = $1 AND status NOT IN ('success', 'partial', 'failed')",
        );
        let Some(log_id) = run.log_id else {
            return Ok(());
        };
        let counts = &run.counts;
        let end = self
            .sql(&END)
            .bind(log_id)
            .bind(run.state.as_str())
            .bind(end_summary(run))
            .bind(run.enumeration_error.as_deref())
            .bind((run.ended_at.unwrap_or(now) - run.started_at).num_milliseconds())
            .bind(json!({
                "total": counts.total,
                "succeeded": counts.succeeded,
                "failed": counts.failed,
                "skipped": counts.skipped,
                "duplicates": counts.duplicates,
            }))
            .bind(now);
        session.execute(end).await?;
        Ok(())
    }

    /// Ends the sync with its last run: counts it, sets the next one and gives the lease back. A
    /// removed integration stays as it is.
    async fn reschedule(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        finalise: &Finalise,
    ) -> Result<SyncEnd, SqlError> {
        const READ: Template = Template::both(
            "SELECT sync_interval_minutes, consecutive_sync_failures, next_sync_at, \
             EXISTS (SELECT 1 FROM {sync_runs} WHERE integration_id = $1 AND state = 'running') \
             AS goes_on, NOT EXISTS (SELECT 1 FROM {sync_runs} WHERE integration_id = $1 \
             AND fence = $2 AND state <> 'success') AS clean \
             FROM {integrations} WHERE id = $1 AND removed_at IS NULL",
        );
        // A later claim has not opened its run yet; the lease is its own.
        const WRITE: Template = Template::both(
            "UPDATE {integrations} SET next_sync_at = $2, consecutive_sync_failures = $3, \
             last_synced_at = CASE WHEN $4 THEN $5 ELSE last_synced_at END, updated_at = $5, \
             sync_lease_holder = CASE WHEN sync_fence = $6 THEN NULL ELSE sync_lease_holder END, \
             sync_lease_until = CASE WHEN sync_fence = $6 THEN NULL ELSE sync_lease_until END \
             WHERE id = $1",
        );
        let id = run.integration_id;
        let read = self.sql(&READ).bind(id).bind(run.fence);
        let Some(row) = session.query(read).await?.pop() else {
            return Ok(SyncEnd::default());
        };
        let failures = row.get("consecutive_sync_failures")?;
        if row.get("goes_on")? {
            return Ok(SyncEnd {
                clean: false,
                next_sync_at: row.get("next_sync_at")?,
                consecutive_failures: failures,
            });
        }
        let interval = row.get("sync_interval_minutes")?;
        let end = end_sync(row.get("clean")?, interval, failures, finalise);
        let write = self
            .sql(&WRITE)
            .bind(id)
            .bind(end.next_sync_at)
            .bind(end.consecutive_failures)
            .bind(end.clean)
            .bind(finalise.now)
            .bind(run.fence);
        session.execute(write).await?;
        Ok(end)
    }

    /// Counts the run for each record that failed in it, once; those that are stuck since now.
    async fn count_failing_records(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        finalise: &Finalise,
    ) -> Result<Vec<StuckRecord>, SqlError> {
        const COUNT: Template = Template::both(
            "UPDATE {sync_records} SET failing_runs = CASE WHEN last_failed_run = $2 \
             THEN failing_runs WHEN failing_runs < 32767 THEN failing_runs + 1 \
             ELSE failing_runs END, last_failed_run = $2, updated_at = $4 \
             WHERE integration_id = $1 AND stream = $3 AND (kind, external_id) IN \
             (SELECT event_class, external_id FROM {sync_items} WHERE integration_id = $1 \
             AND status = 'failed' AND run_id = $2 AND stream = $3)",
        );
        const STUCK: Template = Template::both(
            "UPDATE {sync_records} SET stuck_reported = true \
             WHERE integration_id = $1 AND stream = $3 AND (kind, external_id) IN \
             (SELECT event_class, external_id FROM {sync_items} WHERE integration_id = $1 \
             AND status = 'failed' AND run_id = $2 AND stream = $3) \
             AND last_failed_run = $2 AND failing_runs >= $4 AND NOT stuck_reported \
             RETURNING kind, external_id, failing_runs",
        );
        if run.counts.failed == 0 {
            return Ok(Vec::new());
        }
        let count = self
            .sql(&COUNT)
            .bind(run.integration_id)
            .bind(run.id)
            .bind(&run.stream)
            .bind(finalise.now);
        session.execute(count).await?;
        let stuck = self
            .sql(&STUCK)
            .bind(run.integration_id)
            .bind(run.id)
            .bind(&run.stream)
            .bind(finalise.stuck_after_runs);
        let rows = session.query(stuck).await?;
        let record = |row: &Row| {
            Ok(StuckRecord {
                kind: row.parse("kind")?,
                external_id: row.parse("external_id")?,
                runs: row.get("failing_runs")?,
            })
        };
        let mut stuck = rows
            .iter()
            .map(record)
            .collect::<Result<Vec<_>, StoreError>>()?;
        stuck.sort_unstable_by(|a, b| (&a.kind, &a.external_id).cmp(&(&b.kind, &b.external_id)));
        Ok(stuck)
    }
}
