//! Pages of items.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{SyncItemId, SyncRunId},
    store::Rejected,
    sync::{
        Checkpoint, CheckpointOrder, ItemAdded, ItemStatus, NewItem, PageAdded, PageEnd, Payload,
        RunCounts, RunPage, SyncRun,
    },
};
use serde_json::{Value as Json, json};

use super::{
    payload,
    sync_counts::{Recount, Standing, count},
    sync_known::Known,
    sync_rows::{self, run_columns},
};
use crate::{
    backend::{OwnCommit, Session},
    checks::Fits,
    error::SqlError,
    statement::{InsertTemplate, RowValues, Template},
    store::SqlStore,
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

/// What is to be written for a page.
#[derive(Debug, Default)]
struct Plan {
    answers: Vec<Result<ItemAdded, Rejected>>,
    /// New rows, and the entry each is made of.
    inserts: Vec<(SyncItemId, usize)>,
    /// Rows that move to this run.
    moves: Vec<i64>,
    /// Those among them that nobody works on, and the entry each is queued again with.
    restarts: Vec<(SyncItemId, usize)>,
    /// What this run gains.
    counts: RunCounts,
    /// What other runs lose.
    others: Recount,
}

impl Plan {
    fn of(run: &SyncRun, page: &RunPage, mut known: Known, ids: Vec<i64>) -> Self {
        let mut ids = ids.into_iter().map(SyncItemId);
        let mut plan = Self::default();
        for (index, new) in page.items.iter().enumerate() {
            let answer = if fits(new).verdict().is_err() {
                Err(Rejected::DoesNotFit)
            } else {
                // As many ids were taken as there are items.
                let id = ids.next().unwrap_or(SyncItemId(0));
                Ok(plan.add(run, new, index, id, &mut known, page.now))
            };
            plan.answers.push(answer);
        }
        plan
    }

    fn add(
        &mut self,
        run: &SyncRun,
        new: &NewItem,
        index: usize,
        id: SyncItemId,
        known: &mut Known,
        now: DateTime<Utc>,
    ) -> ItemAdded {
        if let Some(row) = known.version(new, |row| row.run_id == run.id) {
            self.counts.duplicates += 1;
            return ItemAdded::Duplicate(row.id);
        }
        if known.is_done(new, run.full_resync) {
            self.counts.duplicates += 1;
            return ItemAdded::AlreadyDone;
        }
        if let Some(row) = known.version(new, |row| row.run_id != run.id) {
            self.others.left(row.run_id, &row.status);
            row.run_id = run.id;
            self.moves.push(row.id.0);
            if !row.is_leased(now) {
                row.status = ItemStatus::Pending;
                self.restarts.push((row.id, index));
            }
            count(&mut self.counts, &row.status, 1);
            return ItemAdded::Requeued(row.id);
        }
        known.insert(new, id, run);
        self.inserts.push((id, index));
        count(&mut self.counts, &ItemStatus::Pending, 1);
        ItemAdded::Stored(id)
    }
}

impl<B: OwnCommit> SqlStore<B> {
    pub(super) async fn add_items_once(&self, page: &RunPage) -> Result<PageAdded, SqlError> {
        if let PageEnd::Failed(error) = &page.next {
            Fits::new().text(error.as_str()).verdict()?;
        }
        let ids = self
            .ids
            .take(
                &self.backend,
                &self.statements,
                "sync_items",
                page.items.len(),
            )
            .await?;
        let mut session = self.backend.begin().await?;
        let Some(run) = self
            .lock_run(&mut *session, page.run_id, page.fence)
            .await?
        else {
            return Ok(PageAdded::FenceLost);
        };
        let sound = page.items.iter().filter(|new| fits(new).verdict().is_ok());
        let known = self.look_up(&mut *session, &run, sound, page.now).await?;
        let plan = Plan::of(&run, page, known, ids);
        self.insert_items(&mut *session, &run, page, &plan.inserts)
            .await?;
        self.requeue(&mut *session, &run, page, &plan).await?;
        if !plan.others.is_empty() {
            self.recount(&mut *session, &plan.others, page.now).await?;
        }
        let standing = self.turn_page(&mut *session, &run, page, &plan).await?;
        session.commit().await?;
        Ok(PageAdded::Done {
            items: plan.answers,
            open: standing.open,
            finalisable: standing.is_finalisable(),
        })
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
        run: &SyncRun,
        page: &RunPage,
        inserts: &[(SyncItemId, usize)],
    ) -> Result<(), SqlError> {
        let per_insert = self.statements.rows_per_insert(INSERT.columns);
        for part in inserts.chunks(per_insert) {
            let rows = part
                .iter()
                .map(|(id, index)| self.item_row(run, *id, &page.items[*index], page.now));
            session
                .execute(self.insert(&INSERT, rows.collect()))
                .await?;
        }
        Ok(())
    }

    fn item_row(
        &self,
        run: &SyncRun,
        id: SyncItemId,
        new: &NewItem,
        now: DateTime<Utc>,
    ) -> RowValues {
        let (encoding, payload) = payload::encode(&new.payload);
        self.row()
            .bind(id)
            .bind(run.integration_id)
            .bind(new.batch_id.as_deref())
            .bind(run.log_id)
            .bind(&new.kind)
            .bind(new.external_id.as_ref())
            .bind(new.checkpoint.as_ref().map(Checkpoint::to_json))
            .bind(run.id)
            .bind(&run.stream)
            .bind(&*payload)
            .bind(encoding)
            .bind(new.checkpoint.as_ref().map(Checkpoint::order).as_ref())
            .bind(new.digest.as_deref())
            .bind(now)
            .bind(now)
            .bind(now)
    }

    /// Moves unresolved rows of earlier runs to this one.
    async fn requeue(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        page: &RunPage,
        plan: &Plan,
    ) -> Result<(), SqlError> {
        const MOVE: Template = Template::each(
            "UPDATE {sync_items} SET run_id = $2, sync_log_id = $3, updated_at = $4 \
             WHERE id = ANY($1)",
            "UPDATE {sync_items} SET run_id = $2, sync_log_id = $3, updated_at = $4 \
             WHERE id IN (SELECT value FROM json_each($1))",
        );
        const RESTART: Template = Template::each(
            "UPDATE {sync_items} AS t SET status = 'pending', attempts = 0, available_at = $2, \
             completed_at = NULL, lease_until = NULL, lease_token = NULL, payload = e.payload, \
             payload_encoding = e.encoding \
             FROM jsonb_to_recordset($1) AS e (id bigint, payload text, encoding text) \
             WHERE t.id = e.id",
            "UPDATE {sync_items} AS t SET status = 'pending', attempts = 0, available_at = $2, \
             completed_at = NULL, lease_until = NULL, lease_token = NULL, payload = e.payload, \
             payload_encoding = e.encoding \
             FROM (SELECT value ->> 'id' AS id, value ->> 'payload' AS payload, \
             value ->> 'encoding' AS encoding FROM json_each($1)) AS e WHERE t.id = e.id",
        );
        if plan.moves.is_empty() {
            return Ok(());
        }
        let moves = self
            .sql(&MOVE)
            .bind_numbers(&plan.moves)
            .bind(run.id)
            .bind(run.log_id)
            .bind(page.now);
        session.execute(moves).await?;
        let entry = |(id, index): &(SyncItemId, usize)| {
            let (encoding, text) = payload::encode(&page.items[*index].payload);
            json!({ "id": id, "encoding": encoding, "payload": text })
        };
        let entries: Json = plan.restarts.iter().map(entry).collect();
        let restart = self.sql(&RESTART).bind(entries).bind(page.now);
        session.execute(restart).await?;
        Ok(())
    }

    /// Writes how enumeration goes on, and what the page counts.
    async fn turn_page(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        page: &RunPage,
        plan: &Plan,
    ) -> Result<Standing, SqlError> {
        const TURN: Template = Template::both(
            "UPDATE {sync_runs} SET items_open = items_open + $2, \
             items_total = items_total + $3, duplicates = duplicates + $4, page_token = $5, \
             enumerated = $6, enumeration_error = $7, updated_at = $8 \
             WHERE id = $1 RETURNING id, items_open, enumerated, state",
        );
        let (token, enumerated, error) = match &page.next {
            PageEnd::Continue(token) => (
                Some(token),
                run.enumerated,
                run.enumeration_error.as_deref(),
            ),
            PageEnd::Complete => (None, true, run.enumeration_error.as_deref()),
            PageEnd::Failed(error) => (run.page_token.as_ref(), true, Some(error.as_str())),
        };
        let statement = self
            .sql(&TURN)
            .bind(run.id)
            .bind(plan.counts.open)
            .bind(plan.counts.total)
            .bind(plan.counts.duplicates)
            .bind(token)
            .bind(enumerated)
            .bind(error)
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
