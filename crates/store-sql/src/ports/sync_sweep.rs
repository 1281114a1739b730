//! What a full run did not see.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::SyncItemId,
    store::StoreError,
    sync::{
        NewItem, Sweep, Swept, SyncRun,
        protocol::{RecordKey, RecordState, SweepPlan, Unseen, is_unseen, plan_sweep},
    },
    value::{ExternalId, ItemKind},
};

use crate::{
    backend::{OwnCommit, Plans, Session},
    error::SqlError,
    row::Row,
    statement::{Column, Template},
    store::{SqlStore, ended},
};

/// The next records of a stream, and the last of them if there may be more.
struct Part {
    unseen: Vec<Unseen>,
    last: Option<(ItemKind, ExternalId)>,
}

impl<B: OwnCommit> SqlStore<B> {
    pub(super) async fn sweep_records_once(&self, sweep: &Sweep) -> Result<Swept, SqlError> {
        let most = usize::try_from(sweep.limit).unwrap_or(usize::MAX);
        let ids = self
            .ids
            .take(&self.backend, &self.statements, "sync_items", most)
            .await?;
        let ids: Vec<_> = ids.into_iter().map(SyncItemId).collect();
        let mut session = self.backend.begin_batch(Plans::Fresh, &[]).await?;
        let swept = self.sweep_part(&mut *session, sweep, &ids).await;
        ended(session, swept).await
    }

    async fn sweep_part(
        &self,
        session: &mut dyn Session,
        sweep: &Sweep,
        ids: &[SyncItemId],
    ) -> Result<Swept, SqlError> {
        let run = self.lock_run(session, sweep.run_id, sweep.fence).await?;
        let Some(run) = run.filter(|run| !run.enumerated) else {
            return Ok(Swept::FenceLost);
        };
        let Part { unseen, last } = self.read_part(session, &run, sweep).await?;
        let items: Vec<NewItem> = unseen.iter().filter_map(Unseen::deletion).collect();
        let known = self.look_up(session, &run, items.iter()).await?;
        let SweepPlan {
            page,
            plan,
            deleted,
        } = plan_sweep(sweep, &run, &unseen, last.is_none(), known, ids);
        self.forget_resolutions(session, &run, &deleted, sweep.now)
            .await?;
        let standing = self.write_page(session, &run, &page, &plan).await?;
        Ok(Swept::Done {
            items: plan.answers.into_iter().filter_map(Result::ok).collect(),
            last,
            open: standing.open,
            finalisable: standing.is_finalisable(),
        })
    }

    async fn read_part(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        sweep: &Sweep,
    ) -> Result<Part, SqlError> {
        // The record of a record's deletions is that of the kind `ItemKind::deletion`.
        const PART: Template = Template::each(
            "SELECT r.kind, r.external_id, r.last_seen_run, d.told_by, d.failing_runs \
             FROM (SELECT kind, external_id, last_seen_run FROM {sync_records} \
             WHERE integration_id = $1 AND stream = $2 AND (kind, external_id) > ($3, $4) \
             ORDER BY kind, external_id LIMIT $5) AS r \
             LEFT JOIN LATERAL (SELECT last_seen_run AS told_by, failing_runs \
             FROM {sync_records} WHERE integration_id = $1 AND stream = $2 \
             AND kind = r.kind || '.deleted' AND external_id = r.external_id OFFSET 0) AS d \
             ON true ORDER BY r.kind, r.external_id",
            "SELECT r.kind, r.external_id, r.last_seen_run, d.last_seen_run AS told_by, \
             d.failing_runs FROM (SELECT kind, external_id, last_seen_run FROM {sync_records} \
             WHERE integration_id = $1 AND stream = $2 AND (kind, external_id) > ($3, $4) \
             ORDER BY kind, external_id LIMIT $5) AS r \
             LEFT JOIN {sync_records} AS d ON d.integration_id = $1 AND d.stream = $2 \
             AND d.kind = r.kind || '.deleted' AND d.external_id = r.external_id \
             ORDER BY r.kind, r.external_id",
        );
        let mut part = Part {
            unseen: Vec::new(),
            last: None,
        };
        if !run.finds_deletions() {
            return Ok(part);
        }
        let after = sweep.after.as_ref();
        let (kind, id) = after.map_or(("", ""), |(kind, id)| (kind.as_str(), id.as_str()));
        let statement = self
            .sql(&PART)
            .bind(run.integration_id)
            .bind(&run.stream)
            .bind(kind)
            .bind(id)
            .bind(sweep.limit);
        let rows = session.query(statement).await?;
        for row in &rows {
            let (record, told) = seen(row)?;
            if is_unseen(run.id, &record, told.as_ref()) {
                part.unseen.push(Unseen {
                    kind: row.parse("kind")?,
                    external_id: row.parse("external_id")?,
                    last_seen_run: record.last_seen_run,
                });
            }
        }
        let may_be_more = u32::try_from(rows.len()).is_ok_and(|found| found == sweep.limit);
        if let Some(last) = rows.last().filter(|_| may_be_more) {
            part.last = Some((last.parse("kind")?, last.parse("external_id")?));
        }
        Ok(part)
    }

    /// Writes [`RecordState::deleted`].
    async fn forget_resolutions(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        deleted: &[RecordKey],
        now: DateTime<Utc>,
    ) -> Result<(), SqlError> {
        const FORGET: Template = Template::each(
            "UPDATE {sync_records} AS r SET resolved_order = NULL, resolved_digest = NULL, \
             failing_runs = 0, stuck_reported = false, updated_at = $3 \
             FROM unnest($4::text[], $5::text[]) AS e (kind, external_id) \
             WHERE r.integration_id = $1 AND r.stream = $2 AND r.kind = e.kind \
             AND r.external_id = e.external_id",
            "UPDATE {sync_records} AS r SET resolved_order = NULL, resolved_digest = NULL, \
             failing_runs = 0, stuck_reported = 0, updated_at = $3 \
             FROM json_each($4) AS e WHERE r.integration_id = $1 AND r.stream = $2 \
             AND r.kind = e.value ->> 0 AND r.external_id = e.value ->> 1",
        );
        if deleted.is_empty() {
            return Ok(());
        }
        let row = |key: &RecordKey| self.row().bind(&key.kind).bind(&key.external_id);
        let statement = self
            .sql(&FORGET)
            .bind(run.integration_id)
            .bind(&run.stream)
            .bind(now)
            .bind_rows(&[Column::Text; 2], deleted.iter().map(row).collect());
        session.execute(statement).await?;
        Ok(())
    }
}

/// When a record was seen, and when its deletion was told.
fn seen(row: &Row) -> Result<(RecordState, Option<RecordState>), StoreError> {
    let record = RecordState {
        last_seen_run: row.get("last_seen_run")?,
        ..RecordState::default()
    };
    let failing_runs: Option<i16> = row.get("failing_runs")?;
    let told_by = row.get("told_by")?;
    let told = failing_runs.map(|failing_runs| RecordState {
        last_seen_run: told_by,
        failing_runs,
        ..RecordState::default()
    });
    Ok((record, told))
}
