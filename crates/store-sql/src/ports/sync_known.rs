//! What is known of the records of a page: their unresolved versions, and how far each was resolved.

use chrono::{DateTime, Utc};
use integrations_core::{
    sync::{
        CheckpointOrder, NewItem, SyncRun,
        protocol::{Known, PagePlan, RecordKey, RecordState},
    },
    value::{ExternalId, ItemKind},
};

use super::{
    sync_rows::order,
    sync_state::{item_state, state_columns},
};
use crate::{
    backend::{OwnCommit, Session},
    error::SqlError,
    statement::{Column, Template},
    store::SqlStore,
};

impl<B: OwnCommit> SqlStore<B> {
    /// Locks the unresolved versions of the records of a page, in the order of their ids as those
    /// who settle do, and reads the records.
    pub(super) async fn look_up<'a>(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        items: impl Iterator<Item = &'a NewItem>,
    ) -> Result<Known, SqlError> {
        const VERSIONS: Template = Template::each(
            concat!(
                "WITH found AS MATERIALIZED (SELECT t.id FROM unnest($3::text[]) \
                 AS e (external_id) CROSS JOIN LATERAL (SELECT id FROM {sync_items} AS t \
                 WHERE coalesce(t.integration_id, 0) = $1 AND t.external_id = e.external_id \
                 AND t.status NOT IN ('success', 'skipped') AND t.stream = $2 OFFSET 0) AS t \
                 ORDER BY t.id) SELECT ",
                state_columns!(),
                " FROM found CROSS JOIN LATERAL (SELECT * FROM {sync_items} AS t \
                 WHERE t.id = found.id AND t.status NOT IN ('success', 'skipped') FOR UPDATE) AS t"
            ),
            concat!(
                "SELECT ",
                state_columns!(),
                " FROM json_each($3) AS e CROSS JOIN {sync_items} AS t \
                 ON t.external_id = e.value AND coalesce(t.integration_id, 0) = $1 \
                 AND t.status NOT IN ('success', 'skipped') AND t.stream = $2"
            ),
        );
        const RECORDS: Template = Template::each(
            "SELECT r.kind, r.external_id, r.resolved_order, r.resolved_digest, r.last_seen_run, \
             r.last_seen_order FROM unnest($3::text[], $4::text[]) AS e (kind, external_id) \
             CROSS JOIN LATERAL (SELECT * FROM {sync_records} AS r WHERE r.integration_id = $1 \
             AND r.stream = $2 AND r.kind = e.kind AND r.external_id = e.external_id OFFSET 0) \
             AS r",
            "SELECT r.kind, r.external_id, r.resolved_order, r.resolved_digest, r.last_seen_run, \
             r.last_seen_order FROM json_each($3) AS e CROSS JOIN {sync_records} AS r \
             ON r.integration_id = $1 AND r.stream = $2 AND r.kind = e.value ->> 0 \
             AND r.external_id = e.value ->> 1",
        );
        let mut keys: Vec<(&ItemKind, &ExternalId)> = items
            .filter_map(|new| Some((&new.kind, new.external_id.as_ref()?)))
            .collect();
        keys.sort_unstable_by_key(|(kind, id)| (*id, *kind));
        keys.dedup();
        let mut known = Known::default();
        if keys.is_empty() {
            return Ok(known);
        }
        let mut external_ids: Vec<&str> = keys.iter().map(|(_, id)| id.as_str()).collect();
        external_ids.dedup();
        let versions = self
            .sql(&VERSIONS)
            .bind(run.integration_id)
            .bind(&run.stream)
            .bind_texts(&external_ids);
        for row in session.query(versions).await? {
            let item = item_state(&row)?;
            // A state of a newer version is left alone.
            if let Some(key) = item.record().filter(|_| item.is_unresolved()) {
                known.versions.entry(key).or_default().push(item);
            }
        }
        let name = |(kind, id): &(&ItemKind, &ExternalId)| self.row().bind(*kind).bind(*id);
        let records = self
            .sql(&RECORDS)
            .bind(run.integration_id)
            .bind(&run.stream)
            .bind_rows(
                &[Column::Text, Column::Text],
                keys.iter().map(name).collect(),
            );
        for row in session.query(records).await? {
            let key = RecordKey {
                integration_id: run.integration_id,
                stream: run.stream.clone(),
                kind: row.parse("kind")?,
                external_id: row.parse("external_id")?,
            };
            let record = RecordState {
                resolved_order: order(&row, "resolved_order")?,
                resolved_digest: row.get("resolved_digest")?,
                last_seen_run: row.get("last_seen_run")?,
                last_seen_order: order(&row, "last_seen_order")?,
                ..RecordState::default()
            };
            known.records.insert(key, record);
        }
        Ok(known)
    }

    /// Marks the records of a page as seen.
    pub(super) async fn write_seen(
        &self,
        session: &mut dyn Session,
        plan: &PagePlan,
        now: DateTime<Utc>,
    ) -> Result<(), SqlError> {
        const SEE: Template = Template::each(
            "INSERT INTO {sync_records} AS r (integration_id, stream, last_seen_run, created_at, \
             updated_at, kind, external_id, last_seen_order) \
             SELECT $1, $2, $3, $4, $4, e.kind, e.external_id, nullif(e.version, '') \
             FROM unnest($5::text[], $6::text[], $7::text[]) AS e (kind, external_id, version) \
             ON CONFLICT (integration_id, stream, kind, external_id) DO UPDATE SET \
             last_seen_run = excluded.last_seen_run, last_seen_order = excluded.last_seen_order, \
             updated_at = excluded.updated_at",
            "INSERT INTO {sync_records} (integration_id, stream, last_seen_run, created_at, \
             updated_at, kind, external_id, last_seen_order) \
             SELECT $1, $2, $3, $4, $4, e.value ->> 0, e.value ->> 1, nullif(e.value ->> 2, '') \
             FROM json_each($5) AS e WHERE true \
             ON CONFLICT (integration_id, stream, kind, external_id) DO UPDATE SET \
             last_seen_run = excluded.last_seen_run, last_seen_order = excluded.last_seen_order, \
             updated_at = excluded.updated_at",
        );
        let seen = |record: &RecordState| record.last_seen_run == Some(plan.run.id);
        let mut seen: Vec<_> = (plan.records.iter())
            .filter(|(_, record)| seen(record))
            .collect();
        if seen.is_empty() {
            return Ok(());
        }
        seen.sort_unstable_by_key(|(key, _)| *key);
        let row = |(key, record): (&RecordKey, &RecordState)| {
            let version = record.last_seen_order.as_ref();
            self.row()
                .bind(&key.kind)
                .bind(&key.external_id)
                .bind(version.map_or("", CheckpointOrder::as_str))
        };
        let statement = self
            .sql(&SEE)
            .bind(plan.run.integration_id)
            .bind(&plan.run.stream)
            .bind(plan.run.id)
            .bind(now)
            .bind_rows(&[Column::Text; 3], seen.into_iter().map(row).collect());
        session.execute(statement).await?;
        Ok(())
    }
}
