//! Cursors: how far a stream is done.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, SyncRunId},
    integration::Scope,
    store::StoreError,
    sync::{Checkpoint, CheckpointOrder, CursorMove, CursorRule, SyncRun},
    value::{ExternalId, ItemKind, StreamName},
};
use serde_json::{Map, Value as Json};

use crate::{
    backend::{OwnCommit, Session},
    error::SqlError,
    row::Row,
    scope::within,
    statement::Template,
    store::SqlStore,
};

/// Writes the cursors of an integration that is locked.
const WRITE: Template = Template::both(
    "UPDATE {integrations} SET sync_cursor = $2, updated_at = $3 \
     WHERE id = $1 AND removed_at IS NULL",
);

impl<B: OwnCommit> SqlStore<B> {
    pub(super) async fn advance_once(
        &self,
        run_id: SyncRunId,
        fence: i64,
        now: DateTime<Utc>,
    ) -> Result<Option<CursorMove>, SqlError> {
        let mut session = self.backend.begin().await?;
        let run = self.lock_run(&mut *session, run_id, fence).await?;
        let Some(run) = run.filter(|run| run.sorted) else {
            return Ok(None);
        };
        let moved = self
            .follow(&mut *session, &run, &CursorRule::Watermark, now)
            .await?;
        session.commit().await?;
        Ok(moved)
    }

    /// Moves the cursor of the run's stream to where `rule` puts it, if that is further on. The
    /// integration is locked.
    pub(super) async fn follow(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        rule: &CursorRule,
        now: DateTime<Utc>,
    ) -> Result<Option<CursorMove>, SqlError> {
        const CURSORS: Template =
            Template::both("SELECT sync_cursor FROM {integrations} WHERE id = $1");
        let target = match rule {
            CursorRule::Watermark => self.watermark(session, run).await?,
            CursorRule::Reduced(_) if self.has_unresolved(session, run).await? => None,
            CursorRule::Reduced(cursor) => Some(cursor.clone()),
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
        put(&mut cursors, &run.stream, to.clone());
        let write = self
            .sql(&WRITE)
            .bind(run.integration_id)
            .bind(cursors)
            .bind(now);
        let written = session.execute(write).await?;
        Ok((written > 0).then_some(CursorMove { from, to }))
    }

    /// The greatest resolved checkpoint strictly below every unresolved one of the stream.
    async fn watermark(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
    ) -> Result<Option<Json>, SqlError> {
        // Every order begins with a letter, which `~` lies above.
        const WATERMARK: Template = Template::both(
            "SELECT checkpoint_value FROM {sync_items} WHERE integration_id = $1 AND stream = $2 \
             AND status IN ('success', 'skipped') AND checkpoint_order < coalesce((\
             SELECT min(checkpoint_order) FROM {sync_items} WHERE integration_id = $1 \
             AND stream = $2 AND status IN ('pending', 'processing', 'failed')), '~') \
             ORDER BY checkpoint_order DESC LIMIT 1",
        );
        let statement = self
            .sql(&WATERMARK)
            .bind(run.integration_id)
            .bind(&run.stream);
        let rows = session.query(statement).await?;
        let value: Option<Option<Json>> = rows
            .first()
            .map(|row| row.get("checkpoint_value"))
            .transpose()?;
        Ok(value.flatten())
    }

    async fn has_unresolved(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
    ) -> Result<bool, SqlError> {
        const UNRESOLVED: Template = Template::both(
            "SELECT id FROM {sync_items} WHERE integration_id = $1 AND stream = $2 \
             AND status IN ('pending', 'processing', 'failed') LIMIT 1",
        );
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
        let mut session = self.backend.begin().await?;
        let lock = self.sql(&LOCK).bind(integration_id).bind_scope(scope);
        let Some(row) = session.query(lock).await?.pop() else {
            return Ok(false);
        };
        let mut cursors: Option<Json> = row.get("sync_cursor")?;
        put(&mut cursors, stream, cursor.clone());
        let write = self
            .sql(&WRITE)
            .bind(integration_id)
            .bind(cursors)
            .bind(now);
        session.execute(write).await?;
        session.commit().await?;
        Ok(true)
    }

    pub(super) async fn read_unseen(
        &self,
        run_id: SyncRunId,
        after: Option<&(ItemKind, ExternalId)>,
        limit: u32,
    ) -> Result<Vec<(ItemKind, ExternalId)>, StoreError> {
        // What a later run saw is there.
        const UNSEEN: Template = Template::each(
            "SELECT r.kind, r.external_id FROM {sync_runs} AS run JOIN {sync_records} AS r \
             ON r.integration_id = run.integration_id AND r.stream = run.stream \
             WHERE run.id = $1 AND run.full_resync AND run.enumerated \
             AND run.enumeration_error IS NULL \
             AND run.state IN ('running', 'success', 'partial', 'failed') \
             AND (r.last_seen_run IS NULL OR r.last_seen_run < run.id) \
             AND (r.kind, r.external_id) > ($2, $3) ORDER BY r.kind, r.external_id LIMIT $4",
            "SELECT r.kind, r.external_id FROM {sync_runs} AS run CROSS JOIN {sync_records} AS r \
             ON r.integration_id = run.integration_id AND r.stream = run.stream \
             WHERE run.id = $1 AND run.full_resync AND run.enumerated \
             AND run.enumeration_error IS NULL \
             AND run.state IN ('running', 'success', 'partial', 'failed') \
             AND (r.last_seen_run IS NULL OR r.last_seen_run < run.id) \
             AND (r.kind, r.external_id) > ($2, $3) ORDER BY r.kind, r.external_id LIMIT $4",
        );
        let (kind, external_id) = after.map_or(("", ""), |(kind, id)| (kind.as_str(), id.as_str()));
        let statement = self
            .sql(&UNSEEN)
            .bind(run_id)
            .bind(kind)
            .bind(external_id)
            .bind(limit);
        let rows = self.backend.read().await?.query(statement).await?;
        let record = |row: &Row| Ok((row.parse("kind")?, row.parse("external_id")?));
        rows.iter().map(record).collect()
    }
}

/// Whether a cursor at `from` would move forwards to `to`.
///
/// What a provider reduced may be no checkpoint; then any change counts as progress.
fn is_further(from: Option<&Json>, to: &Json) -> bool {
    let Some(from) = from else { return true };
    match (order_of(from), order_of(to)) {
        (Some(from), Some(to)) => to > from,
        _ => to != from,
    }
}

fn order_of(cursor: &Json) -> Option<CheckpointOrder> {
    Checkpoint::from_json(cursor).map(|checkpoint| checkpoint.order())
}

/// Puts a stream's cursor among those of an integration.
fn put(cursors: &mut Option<Json>, stream: &StreamName, cursor: Json) {
    let cursors = cursors.get_or_insert_with(|| Json::Object(Map::new()));
    if let Json::Object(by_stream) = cursors {
        by_stream.insert(stream.as_str().to_owned(), cursor);
    }
}
