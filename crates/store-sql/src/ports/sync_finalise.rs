//! The end of a run.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::SyncRunId,
    store::StoreError,
    sync::{CursorMove, Finalise, Finalised, RunCounts, RunEnd, RunState, StuckRecord, SyncRun},
};
use serde_json::json;

use super::sync_rows::{self, run_columns};
use crate::{
    backend::{OwnCommit, Session},
    error::SqlError,
    row::Row,
    statement::Template,
    store::SqlStore,
};

impl<B: OwnCommit> SqlStore<B> {
    pub(super) async fn finalise_once(&self, finalise: &Finalise) -> Result<Finalised, SqlError> {
        let mut session = self.backend.begin().await?;
        let Some(run) = self.lock_for_end(&mut *session, finalise.run_id).await? else {
            return Ok(Finalised::NotFound);
        };
        if run.state.is_final() {
            let moved = self.move_cursor(&mut *session, &run, finalise).await?;
            session.commit().await?;
            return Ok(Finalised::AlreadyEnded {
                cursor_moved: moved.is_some(),
            });
        }
        if run.counts.open > 0 || !run.enumerated {
            return Ok(Finalised::NotReady {
                open: run.counts.open,
            });
        }
        let stuck = self
            .count_failing_records(&mut *session, &run, finalise)
            .await?;
        let Some(ended) = self.end_run(&mut *session, &run, finalise.now).await? else {
            return Ok(Finalised::NotReady {
                open: run.counts.open,
            });
        };
        self.end_log(&mut *session, &ended, finalise.now).await?;
        let cursor = self.move_cursor(&mut *session, &ended, finalise).await?;
        let (next_sync_at, consecutive_sync_failures) =
            self.reschedule(&mut *session, &ended, finalise).await?;
        session.commit().await?;
        Ok(Finalised::Ended(Box::new(RunEnd {
            run: ended,
            cursor,
            next_sync_at,
            consecutive_sync_failures,
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

    /// Ends the run unless something holds it back; workers may have settled meanwhile, so the
    /// statement decides.
    async fn end_run(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        now: DateTime<Utc>,
    ) -> Result<Option<SyncRun>, SqlError> {
        const END: Template = Template::both(concat!(
            "UPDATE {sync_runs} SET ended_at = $2, updated_at = $2, state = CASE \
             WHEN items_failed = 0 AND enumeration_error IS NULL THEN 'success' \
             WHEN items_succeeded = 0 AND (enumeration_error IS NOT NULL OR items_skipped = 0) \
             THEN 'failed' ELSE 'partial' END \
             WHERE id = $1 AND state = 'running' AND enumerated AND items_open = 0 RETURNING ",
            run_columns!(),
        ));
        let rows = session.query(self.sql(&END).bind(run.id).bind(now)).await?;
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
        let RunCounts {
            total,
            succeeded,
            failed,
            skipped,
            duplicates,
            open: _,
        } = run.counts;
        let end = self
            .sql(&END)
            .bind(log_id)
            .bind(run.state.as_str())
            .bind(format!(
                "{succeeded} handled, {failed} failed, {skipped} skipped"
            ))
            .bind(run.enumeration_error.as_deref())
            .bind((now - run.started_at).num_milliseconds())
            .bind(json!({
                "total": total,
                "succeeded": succeeded,
                "failed": failed,
                "skipped": skipped,
                "duplicates": duplicates,
            }))
            .bind(now);
        session.execute(end).await?;
        Ok(())
    }

    /// Enumeration that ended early says nothing about what lies behind, unless it is sorted.
    async fn move_cursor(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        finalise: &Finalise,
    ) -> Result<Option<CursorMove>, SqlError> {
        if run.enumerated && (run.enumeration_error.is_none() || run.sorted) {
            self.follow(session, run, &finalise.cursor, finalise.now)
                .await
        } else {
            Ok(None)
        }
    }

    /// Counts the run for its integration, sets the next one and gives the lease back; when the
    /// next one is due and how many have failed in a row. A removed integration stays as it is.
    async fn reschedule(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        finalise: &Finalise,
    ) -> Result<(Option<DateTime<Utc>>, i32), SqlError> {
        const READ: Template = Template::both(
            "SELECT sync_interval_minutes, consecutive_sync_failures FROM {integrations} \
             WHERE id = $1 AND removed_at IS NULL",
        );
        const WRITE: Template = Template::both(
            "UPDATE {integrations} SET next_sync_at = $2, consecutive_sync_failures = $3, \
             last_synced_at = CASE WHEN $4 THEN $5 ELSE last_synced_at END, updated_at = $5 \
             WHERE id = $1",
        );
        // A later claim has not opened its run yet; the lease is its own.
        const RELEASE: Template = Template::both(
            "UPDATE {integrations} SET sync_lease_holder = NULL, sync_lease_until = NULL \
             WHERE id = $1 AND sync_fence = $2 AND NOT EXISTS (SELECT 1 FROM {sync_runs} \
             WHERE integration_id = $1 AND state = 'running')",
        );
        let id = run.integration_id;
        let Some(row) = session.query(self.sql(&READ).bind(id)).await?.pop() else {
            return Ok((None, 0));
        };
        let clean = run.state == RunState::Success;
        let failures = if clean {
            0
        } else {
            row.get::<i32>("consecutive_sync_failures")?
                .saturating_add(1)
        };
        let interval = row.get("sync_interval_minutes")?;
        let next = finalise.schedule.next(finalise.now, interval, failures);
        let write = self
            .sql(&WRITE)
            .bind(id)
            .bind(next)
            .bind(failures)
            .bind(clean)
            .bind(finalise.now);
        session.execute(write).await?;
        session
            .execute(self.sql(&RELEASE).bind(id).bind(run.fence))
            .await?;
        Ok((next, failures))
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
