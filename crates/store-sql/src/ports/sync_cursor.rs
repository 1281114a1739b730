//! Cursors: how far a stream is done.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, SyncRunId},
    integration::Scope,
    store::StoreError,
    sync::{
        Checkpoint, CheckpointOrder, CursorMove, SyncRun,
        protocol::{self, is_further, put_cursor},
    },
    value::StreamName,
};
use serde_json::Value as Json;

use super::sync_rows::order;
use crate::{
    backend::{OwnCommit, Session},
    error::SqlError,
    scope::within,
    statement::Template,
    store::{SqlStore, ended},
};

/// Writes the cursors of an integration that is locked.
const WRITE: Template = Template::both(
    "UPDATE {integrations} SET sync_cursor = $2, updated_at = $3 \
     WHERE id = $1 AND removed_at IS NULL",
);

/// The states of an integration's items, those of newer versions included, each found in the index
/// behind the one before: nobody knows how many items there are of one.
macro_rules! states {
    () => {
        "WITH RECURSIVE states (status) AS (\
         SELECT min(status) FROM {sync_items} WHERE integration_id = $1 UNION ALL \
         SELECT (SELECT min(t.status) FROM {sync_items} AS t WHERE t.integration_id = $1 \
         AND t.status > states.status) FROM states WHERE states.status IS NOT NULL) "
    };
}

impl<B: OwnCommit> SqlStore<B> {
    pub(super) async fn advance_once(
        &self,
        run_id: SyncRunId,
        fence: i64,
        now: DateTime<Utc>,
    ) -> Result<Option<CursorMove>, SqlError> {
        let mut session = self.backend.begin().await?;
        let moved = self.advance_within(&mut *session, run_id, fence, now).await;
        ended(session, moved).await
    }

    async fn advance_within(
        &self,
        session: &mut dyn Session,
        run_id: SyncRunId,
        fence: i64,
        now: DateTime<Utc>,
    ) -> Result<Option<CursorMove>, SqlError> {
        let run = self.lock_run(session, run_id, fence).await?;
        match run.filter(|run| run.sorted) {
            None => Ok(None),
            Some(run) => self.follow(session, &run, now).await,
        }
    }

    /// Moves the cursor of the run's stream as far as it may go, if that is further on. The
    /// integration is locked.
    pub(super) async fn follow(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        now: DateTime<Utc>,
    ) -> Result<Option<CursorMove>, SqlError> {
        const CURSORS: Template =
            Template::both("SELECT sync_cursor FROM {integrations} WHERE id = $1");
        let Some((latest, covered)) = self.latest_run(session, run).await? else {
            return Ok(None);
        };
        if !protocol::may_move_cursor(run, latest == run.id) {
            return Ok(None);
        }
        let target = match &run.next_cursor {
            None => self.watermark(session, run, covered).await?,
            Some(_) if self.has_unresolved(session, run).await? => None,
            Some(cursor) => Some(cursor.clone()),
        };
        let Some(to) = target else {
            return Ok(None);
        };
        let cursors = self.sql(&CURSORS).bind(run.integration_id);
        let Some(row) = session.query(cursors).await?.pop() else {
            return Ok(None);
        };
        let mut cursors: Option<Json> = row.get("sync_cursor")?;
        let from = cursors
            .as_ref()
            .and_then(|cursors| cursors.get(run.stream.as_str()))
            .cloned();
        if !is_further(from.as_ref(), &to) {
            return Ok(None);
        }
        put_cursor(&mut cursors, &run.stream, to.clone());
        let write = self
            .sql(&WRITE)
            .bind(run.integration_id)
            .bind(cursors)
            .bind(now);
        let written = session.execute(write).await?;
        Ok((written > 0).then_some(CursorMove { from, to }))
    }

    /// The latest run of the run's stream, and how far that is known completely.
    async fn latest_run(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
    ) -> Result<Option<(SyncRunId, Option<CheckpointOrder>)>, SqlError> {
        const LATEST: Template = Template::both(
            "SELECT id, covered FROM {sync_runs} WHERE integration_id = $1 AND stream = $2 \
             ORDER BY id DESC LIMIT 1",
        );
        let latest = self.sql(&LATEST).bind(run.integration_id).bind(&run.stream);
        let row = session.query(latest).await?.pop();
        Ok(row
            .map(|row| Ok::<_, StoreError>((row.get("id")?, order(&row, "covered")?)))
            .transpose()?)
    }

    async fn watermark(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        covered: Option<CheckpointOrder>,
    ) -> Result<Option<Json>, SqlError> {
        const UNRESOLVED: Template = Template::both(concat!(
            states!(),
            "SELECT min(lowest) AS lowest FROM (SELECT (SELECT min(t.checkpoint_order) \
             FROM {sync_items} AS t WHERE t.integration_id = $1 AND t.status = states.status \
             AND t.stream = $2) AS lowest FROM states \
             WHERE states.status NOT IN ('success', 'skipped')) AS each_state",
        ));
        const RESOLVED: Template = Template::both(
            "SELECT (SELECT max(checkpoint_order) FROM {sync_items} WHERE integration_id = $1 \
             AND status = 'success' AND stream = $2 AND checkpoint_order < $3) AS handled, \
             (SELECT max(checkpoint_order) FROM {sync_items} WHERE integration_id = $1 \
             AND status = 'skipped' AND stream = $2 AND checkpoint_order < $3) AS skipped",
        );
        if covered.is_none() {
            return Ok(None);
        }
        let unresolved = self
            .sql(&UNRESOLVED)
            .bind(run.integration_id)
            .bind(&run.stream);
        let mut unresolved_order = None;
        for row in session.query(unresolved).await? {
            unresolved_order = order(&row, "lowest")?;
        }
        let mut resolved_below = None;
        if let Some(unresolved) = unresolved_order
            .as_ref()
            .filter(|u| Some(*u) <= covered.as_ref())
        {
            let resolved = self
                .sql(&RESOLVED)
                .bind(run.integration_id)
                .bind(&run.stream)
                .bind(unresolved);
            for row in session.query(resolved).await? {
                resolved_below = order(&row, "handled")?.max(order(&row, "skipped")?);
            }
        }
        let watermark = protocol::watermark(covered, unresolved_order.as_ref(), resolved_below);
        Ok(watermark
            .and_then(|order| order.checkpoint())
            .map(|checkpoint| checkpoint.to_json()))
    }

    async fn has_unresolved(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
    ) -> Result<bool, SqlError> {
        const UNRESOLVED: Template = Template::both(concat!(
            states!(),
            "SELECT 1 FROM states WHERE states.status NOT IN ('success', 'skipped') \
             AND (SELECT 1 FROM {sync_items} AS t WHERE t.integration_id = $1 \
             AND t.status = states.status AND t.stream = $2 LIMIT 1) IS NOT NULL LIMIT 1",
        ));
        let statement = self
            .sql(&UNRESOLVED)
            .bind(run.integration_id)
            .bind(&run.stream);
        Ok(!session.query(statement).await?.is_empty())
    }

    pub(super) async fn set_cursor_once(
        &self,
        integration_id: IntegrationId,
        scope: &Scope,
        stream: &StreamName,
        cursor: &Json,
        now: DateTime<Utc>,
    ) -> Result<bool, SqlError> {
        let mut session = self.backend.begin().await?;
        let set = self
            .set_cursor_within(&mut *session, integration_id, scope, stream, cursor, now)
            .await;
        ended(session, set).await
    }

    async fn set_cursor_within(
        &self,
        session: &mut dyn Session,
        integration_id: IntegrationId,
        scope: &Scope,
        stream: &StreamName,
        cursor: &Json,
        now: DateTime<Utc>,
    ) -> Result<bool, SqlError> {
        const LOCK: Template = Template::each(
            concat!(
                "SELECT sync_cursor FROM {integrations} WHERE id = $1 AND removed_at IS NULL AND ",
                within!(2, 3, 4),
                " FOR NO KEY UPDATE"
            ),
            concat!(
                "SELECT sync_cursor FROM {integrations} WHERE id = $1 AND removed_at IS NULL AND ",
                within!(2, 3, 4),
            ),
        );
        // What lies behind is to be enumerated again before the cursor may pass it.
        const UNCOVER: Template = Template::both(
            "UPDATE {sync_runs} SET next_cursor = NULL, \
             covered = CASE WHEN covered > $3 THEN $3 ELSE covered END WHERE id = \
             (SELECT max(id) FROM {sync_runs} WHERE integration_id = $1 AND stream = $2)",
        );
        let lock = self.sql(&LOCK).bind(integration_id).bind_scope(scope);
        let Some(row) = session.query(lock).await?.pop() else {
            return Ok(false);
        };
        let mut cursors: Option<Json> = row.get("sync_cursor")?;
        put_cursor(&mut cursors, stream, cursor.clone());
        let write = self
            .sql(&WRITE)
            .bind(integration_id)
            .bind(cursors)
            .bind(now);
        session.execute(write).await?;
        let order = Checkpoint::from_json(cursor).map(|checkpoint| checkpoint.order());
        let uncover = self
            .sql(&UNCOVER)
            .bind(integration_id)
            .bind(stream)
            .bind(order.as_ref());
        session.execute(uncover).await?;
        Ok(true)
    }
}
