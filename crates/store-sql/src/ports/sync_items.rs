//! Pages of items.

use integrations_core::{
    id::{SyncItemId, SyncRunId},
    store::Rejected,
    sync::{
        Checkpoint, CheckpointOrder, NewItem, PageAdded, PageEnd, Payload, RunPage, SyncRun,
        protocol::{ItemState, PagePlan, plan_page},
    },
};

use super::{
    payload,
    sync_rows::{self, run_columns},
    sync_state::Standing,
};
use crate::{
    backend::{OwnCommit, Plans, Session},
    checks::Fits,
    error::SqlError,
    statement::{Column, InsertTemplate, RowValues, Template},
    store::{SqlStore, ended},
};

/// The most characters of a checkpoint: at four bytes each they fit an entry of the index on it.
const MAX_ORDER: usize = 512;

const INSERT: InsertTemplate = InsertTemplate {
    head: "INSERT INTO {sync_items} (id, integration_id, batch_id, sync_log_id, event_class, \
        external_id, checkpoint_value, run_id, stream, payload, payload_encoding, \
        checkpoint_order, digest, available_at, created_at, updated_at)",
    columns: 16,
    tail: "",
};

impl<B: OwnCommit> SqlStore<B> {
    pub(super) async fn add_items_once(&self, page: &RunPage) -> Result<PageAdded, SqlError> {
        if let PageEnd::Failed(error) = &page.next {
            Fits::new().text(error.as_str()).verdict()?;
        }
        let fits: Vec<Result<(), Rejected>> = (page.items.iter())
            .map(|new| fits(new).verdict().map_err(|_| Rejected::DoesNotFit))
            .collect();
        let ids = self
            .ids
            .take(
                &self.backend,
                &self.statements,
                "sync_items",
                page.items.len(),
            )
            .await?;
        let ids: Vec<_> = ids.into_iter().map(SyncItemId).collect();
        let mut session = self.backend.begin_batch(Plans::ByKey, &[]).await?;
        let added = self.add_page(&mut *session, page, &fits, &ids).await;
        ended(session, added).await
    }

    async fn add_page(
        &self,
        session: &mut dyn Session,
        page: &RunPage,
        fits: &[Result<(), Rejected>],
        ids: &[SyncItemId],
    ) -> Result<PageAdded, SqlError> {
        let Some(run) = self.lock_run(session, page.run_id, page.fence).await? else {
            return Ok(PageAdded::FenceLost);
        };
        let sound = (page.items.iter().zip(fits)).filter(|(_, fits)| fits.is_ok());
        let known = self
            .look_up(session, &run, sound.map(|(new, _)| new))
            .await?;
        let plan = plan_page(page, &run, known, fits, ids);
        let standing = self.write_page(session, &run, page, &plan).await?;
        Ok(PageAdded::Done {
            items: plan.answers,
            open: standing.open,
            finalisable: standing.is_finalisable(),
            sorted: plan.run.sorted,
        })
    }

    /// Writes what a page changes of `run`; how that stands then.
    pub(super) async fn write_page(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        page: &RunPage,
        plan: &PagePlan,
    ) -> Result<Standing, SqlError> {
        if plan.overtakes {
            self.keep_claims_out(session).await?;
        }
        self.write_seen(session, plan, page.now).await?;
        self.insert_items(session, page, plan).await?;
        self.requeue(session, page, plan).await?;
        self.turn_page(session, run, page, plan).await
    }

    /// The run, if it has not ended and `fence` is its integration's present one; locks the
    /// integration, as everyone does who opens, fills or ends runs.
    pub(super) async fn lock_run(
        &self,
        session: &mut dyn Session,
        id: SyncRunId,
        fence: i64,
    ) -> Result<Option<SyncRun>, SqlError> {
        const FENCE: Template = Template::each(
            "SELECT id FROM {integrations} WHERE sync_fence = $2 AND removed_at IS NULL \
             AND id = (SELECT integration_id FROM {sync_runs} WHERE id = $1) FOR NO KEY UPDATE",
            "SELECT id FROM {integrations} WHERE sync_fence = $2 AND removed_at IS NULL \
             AND id = (SELECT integration_id FROM {sync_runs} WHERE id = $1)",
        );
        const RUN: Template = Template::both(concat!(
            "SELECT ",
            run_columns!(),
            " FROM {sync_runs} WHERE id = $1 AND state = 'running'",
        ));
        let locked = session.query(self.sql(&FENCE).bind(id).bind(fence)).await?;
        if locked.is_empty() {
            return Ok(None);
        }
        let rows = session.query(self.sql(&RUN).bind(id)).await?;
        Ok(rows.first().map(sync_rows::run).transpose()?)
    }

    async fn insert_items(
        &self,
        session: &mut dyn Session,
        page: &RunPage,
        plan: &PagePlan,
    ) -> Result<(), SqlError> {
        let per_insert = self.statements.rows_per_insert(INSERT.columns);
        for part in plan.stored.chunks(per_insert) {
            let rows = part
                .iter()
                .map(|(item, index)| self.item_row(&plan.run, item, &page.items[*index]));
            session
                .execute(self.insert(&INSERT, rows.collect()))
                .await?;
        }
        Ok(())
    }

    fn item_row(&self, run: &SyncRun, item: &ItemState, new: &NewItem) -> RowValues {
        let (encoding, payload) = payload::encode(&new.payload);
        self.row()
            .bind(item.id)
            .bind(item.integration_id)
            .bind(new.batch_id.as_deref())
            .bind(run.log_id)
            .bind(&item.kind)
            .bind(item.external_id.as_ref())
            .bind(new.checkpoint.as_ref().map(Checkpoint::to_json))
            .bind(item.run_id)
            .bind(&item.stream)
            .bind(&*payload)
            .bind(encoding)
            .bind(item.checkpoint.as_ref())
            .bind(item.digest.as_deref())
            .bind(item.available_at)
            .bind(item.updated_at)
            .bind(item.updated_at)
    }

    /// Moves unresolved rows of earlier runs to this one; those nobody works on begin anew, with
    /// the payload as it is now.
    async fn requeue(
        &self,
        session: &mut dyn Session,
        page: &RunPage,
        plan: &PagePlan,
    ) -> Result<(), SqlError> {
        const MOVE: Template = Template::each(
            "UPDATE {sync_items} SET run_id = $2, sync_log_id = $3, updated_at = $4 \
             WHERE id = ANY($1)",
            "UPDATE {sync_items} SET run_id = $2, sync_log_id = $3, updated_at = $4 \
             WHERE id IN (SELECT value FROM json_each($1))",
        );
        const RESTART: Template = Template::each(
            "UPDATE {sync_items} AS t SET status = 'pending', attempts = 0, available_at = $1, \
             completed_at = NULL, lease_until = NULL, lease_token = NULL, payload = e.payload, \
             payload_encoding = e.encoding \
             FROM unnest($2::bigint[], $3::text[], $4::text[]) AS e (id, payload, encoding) \
             WHERE t.id = e.id",
            "UPDATE {sync_items} AS t SET status = 'pending', attempts = 0, available_at = $1, \
             completed_at = NULL, lease_until = NULL, lease_token = NULL, payload = e.payload, \
             payload_encoding = e.encoding FROM (SELECT value ->> 0 AS id, \
             value ->> 1 AS payload, value ->> 2 AS encoding FROM json_each($2)) AS e \
             WHERE t.id = e.id",
        );
        if plan.requeued.is_empty() {
            return Ok(());
        }
        let moves: Vec<i64> = plan.requeued.iter().map(|(item, _)| item.id.0).collect();
        let moves = self
            .sql(&MOVE)
            .bind_numbers(&moves)
            .bind(plan.run.id)
            .bind(plan.run.log_id)
            .bind(page.now);
        session.execute(moves).await?;
        let restarted = plan
            .requeued
            .iter()
            .filter(|(item, _)| item.lease.is_none());
        let restarted = restarted.map(|(item, index)| {
            let (encoding, text) = payload::encode(&page.items[*index].payload);
            self.row().bind(item.id).bind(&*text).bind(encoding)
        });
        let columns = [Column::Number, Column::Text, Column::Text];
        let restart = self
            .sql(&RESTART)
            .bind(page.now)
            .bind_rows(&columns, restarted.collect());
        session.execute(restart).await?;
        Ok(())
    }

    /// Writes how enumeration goes on, and what the page counts: for this run, and for those that
    /// lost items to it. The last rows that are locked, since all workers of a run want them.
    async fn turn_page(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        page: &RunPage,
        plan: &PagePlan,
    ) -> Result<Standing, SqlError> {
        const TURN: Template = Template::both(
            "UPDATE {sync_runs} SET items_open = items_open + $2, \
             items_total = items_total + $3, duplicates = duplicates + $4, page_token = $5, \
             enumerated = $6, enumeration_error = $7, sorted = $8, reached = $9, \
             covered = $10, next_cursor = $11, updated_at = $12 WHERE id = $1 RETURNING id, items_open, enumerated, state",
        );
        if !plan.others.recount.is_empty() {
            self.write_changes(session, &plan.others, page.now).await?;
        }
        let after = &plan.run;
        let statement = self
            .sql(&TURN)
            .bind(run.id)
            .bind(after.counts.open - run.counts.open)
            .bind(after.counts.total - run.counts.total)
            .bind(after.counts.duplicates - run.counts.duplicates)
            .bind(after.page_token.as_ref())
            .bind(after.enumerated)
            .bind(after.enumeration_error.as_deref())
            .bind(after.sorted)
            .bind(after.reached.as_ref())
            .bind(after.covered.as_ref())
            .bind(after.next_cursor.as_ref())
            .bind(page.now);
        let rows = session.query(statement).await?;
        let row = rows.first().ok_or_else(|| {
            integrations_core::store::StoreError::corrupt("sync_runs", "id", Some(run.id.0))
        })?;
        Ok(Standing::read(row)?)
    }
}

fn fits(new: &NewItem) -> Fits {
    let text = match &new.payload {
        Payload::Text(text) => Some(text.as_str()),
        Payload::Binary(_) => None,
    };
    let order = new.checkpoint.as_ref().map(Checkpoint::order);
    Fits::new()
        .text(text)
        .varchar(new.batch_id.as_deref(), 36)
        .varchar(order.as_ref().map(CheckpointOrder::as_str), MAX_ORDER)
}
