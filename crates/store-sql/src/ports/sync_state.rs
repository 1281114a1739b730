//! Items as the rules of syncs see them: read under a lock, written at once with all that follows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{SyncItemId, SyncRunId},
    store::StoreError,
    sync::{
        CheckpointOrder, ItemStatus, RunState,
        protocol::{Changes, ItemLease, ItemState},
    },
    value::ExternalId,
};

use super::{payload::hex, sync_rows::order};
use crate::{
    backend::{Backend, Session},
    dialect::Dialect,
    error::SqlError,
    row::Row,
    statement::{Column, Template},
    store::SqlStore,
};

/// The columns of an [`ItemState`], of `{sync_items}` under the alias `t`.
macro_rules! state_columns {
    () => {
        "t.id, t.integration_id, t.run_id, t.stream, t.event_class, t.external_id, \
         t.checkpoint_order, t.digest, t.status, t.attempts, t.error, t.available_at, \
         t.completed_at, t.lease_until, t.lease_token, t.updated_at"
    };
}
pub(super) use state_columns;

pub(super) fn item_state(row: &Row) -> Result<ItemState, StoreError> {
    let until: Option<DateTime<Utc>> = row.get("lease_until")?;
    let lease = until.zip(row.parse_opt("lease_token")?);
    Ok(ItemState {
        id: row.get("id")?,
        integration_id: row.get("integration_id")?,
        run_id: row.get("run_id")?,
        stream: row.parse("stream")?,
        kind: row.parse("event_class")?,
        external_id: row.parse_opt("external_id")?,
        checkpoint: order(row, "checkpoint_order")?,
        digest: row.get("digest")?,
        status: ItemStatus::from(row.get::<String>("status")?),
        attempts: row.get("attempts")?,
        error: row.get("error")?,
        available_at: row.get("available_at")?,
        lease: lease.map(|(until, token)| ItemLease { token, until }),
        completed_at: row.get("completed_at")?,
        updated_at: row.get("updated_at")?,
    })
}

/// How a run stands after its counts were written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) open: i64,
    /// Enumeration has ended.
    pub(super) enumerated: bool,
    /// The run has not ended.
    pub(super) running: bool,
}

impl Standing {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let state = RunState::from(row.get::<String>("state")?);
        Ok(Self {
            open: row.get("items_open")?,
            enumerated: row.get("enumerated")?,
            running: state == RunState::Running,
        })
    }

    pub(super) const fn is_exhausted(self) -> bool {
        self.enumerated && self.open == 0
    }

    pub(super) const fn is_finalisable(self) -> bool {
        self.running && self.is_exhausted()
    }
}

const ITEM: [Column; 6] = [
    Column::Number,
    Column::Text,
    Column::Small,
    Column::Text,
    Column::Time,
    Column::Time,
];
const RECORD: [Column; 6] = [
    Column::Number,
    Column::Text,
    Column::Text,
    Column::Text,
    Column::Text,
    Column::Text,
];
const RUN: [Column; 6] = [Column::Number; 6];

/// What `e` holds of an item; an empty error is none.
macro_rules! item_changes {
    () => {
        "status = e.status, attempts = e.attempts, error = nullif(e.error, ''), \
         available_at = e.available_at, \
         completed_at = CASE WHEN e.status = 'pending' THEN NULL ELSE e.updated_at END, \
         lease_until = NULL, lease_token = NULL, updated_at = e.updated_at"
    };
}

/// What `e` holds of the counts of a run.
macro_rules! run_changes {
    () => {
        "items_open = items_open + e.open, items_total = items_total + e.total, \
         items_succeeded = items_succeeded + e.succeeded, \
         items_failed = items_failed + e.failed, items_skipped = items_skipped + e.skipped, \
         updated_at = $1"
    };
}

/// Which record `e` names.
macro_rules! of_record {
    () => {
        "r.integration_id = e.integration AND r.stream = e.stream AND r.kind = e.kind \
         AND r.external_id = e.external_id"
    };
}

/// Items, then records, then runs: what all workers of a run want is locked last, for the shortest
/// time. The counts of rows make the one wait for the other.
const WRITE: Template = Template::each(
    concat!(
        "WITH items AS (UPDATE {sync_items} AS t SET ",
        item_changes!(),
        " FROM unnest($2::bigint[], $3::text[], $4::smallint[], $5::text[], $6::timestamptz[], \
         $7::timestamptz[]) AS e (id, status, attempts, error, available_at, updated_at) \
         WHERE t.id = e.id RETURNING 1), \
         records AS (UPDATE {sync_records} AS r SET \
         resolved_order = greatest(r.resolved_order, nullif(e.version, '')), \
         resolved_digest = coalesce(decode(nullif(e.digest, ''), 'hex'), r.resolved_digest), \
         failing_runs = 0, stuck_reported = false, updated_at = $1 \
         FROM unnest($8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[], \
         $13::text[]) AS e (integration, stream, kind, external_id, version, digest) WHERE ",
        of_record!(),
        " RETURNING 1), \
         locked AS (SELECT id FROM {sync_runs} WHERE id = ANY($14) AND \
         (SELECT count(*) FROM items) + (SELECT count(*) FROM records) >= 0 \
         ORDER BY id FOR UPDATE) \
         UPDATE {sync_runs} AS r SET ",
        run_changes!(),
        " FROM locked JOIN unnest($14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[], \
         $18::bigint[], $19::bigint[]) AS e (id, open, total, succeeded, failed, skipped) \
         ON e.id = locked.id WHERE r.id = locked.id RETURNING r.id, items_open, enumerated, state"
    ),
    // SQLite writes them one after the other, in a transaction that excludes everyone.
    concat!(
        "UPDATE {sync_runs} AS r SET ",
        run_changes!(),
        " FROM (SELECT value ->> 0 AS id, value ->> 1 AS open, value ->> 2 AS total, \
         value ->> 3 AS succeeded, value ->> 4 AS failed, value ->> 5 AS skipped \
         FROM json_each($2)) AS e WHERE r.id = e.id RETURNING id, items_open, enumerated, state"
    ),
);

const SQLITE_ITEMS: Template = Template::both(concat!(
    "UPDATE {sync_items} AS t SET ",
    item_changes!(),
    " FROM (SELECT value ->> 0 AS id, value ->> 1 AS status, value ->> 2 AS attempts, \
     value ->> 3 AS error, value ->> 4 AS available_at, value ->> 5 AS updated_at \
     FROM json_each($1)) AS e WHERE t.id = e.id"
));

const SQLITE_RECORDS: Template = Template::both(concat!(
    "UPDATE {sync_records} AS r SET resolved_order = coalesce(max(r.resolved_order, \
     nullif(e.version, '')), nullif(e.version, ''), r.resolved_order), \
     resolved_digest = coalesce(unhex(nullif(e.digest, '')), r.resolved_digest), \
     failing_runs = 0, stuck_reported = 0, updated_at = $1 \
     FROM (SELECT value ->> 0 AS integration, value ->> 1 AS stream, value ->> 2 AS kind, \
     value ->> 3 AS external_id, value ->> 4 AS version, value ->> 5 AS digest \
     FROM json_each($2)) AS e WHERE ",
    of_record!()
));

impl<B: Backend> SqlStore<B> {
    /// The items of some ids and the unresolved versions of the same records, locked.
    pub(super) async fn lock_with_versions(
        &self,
        session: &mut dyn Session,
        ids: impl Iterator<Item = SyncItemId>,
    ) -> Result<BTreeMap<SyncItemId, ItemState>, SqlError> {
        // Each is looked up on its own, by its key: without statistics a planner that is given
        // the whole list takes whatever index seems small.
        const LOCK: Template = Template::each(
            concat!(
                "WITH mine AS MATERIALIZED (SELECT t.* FROM unnest($1::bigint[]) AS e (id) \
                 CROSS JOIN LATERAL (SELECT ",
                state_columns!(),
                " FROM {sync_items} AS t WHERE t.id = e.id FOR UPDATE) AS t) \
                 SELECT ",
                state_columns!(),
                " FROM mine AS t UNION ALL SELECT ",
                state_columns!(),
                " FROM mine CROSS JOIN LATERAL (SELECT ",
                state_columns!(),
                " FROM {sync_items} AS t WHERE coalesce(t.integration_id, 0) = coalesce(mine.integration_id, 0) \
                 AND t.external_id = mine.external_id AND t.status NOT IN ('success', 'skipped') \
                 AND t.stream = mine.stream AND t.event_class = mine.event_class \
                 AND t.id <> mine.id FOR UPDATE) AS t"
            ),
            concat!(
                "SELECT ",
                state_columns!(),
                " FROM {sync_items} AS t WHERE t.id IN (SELECT value FROM json_each($1)) \
                 UNION ALL SELECT ",
                state_columns!(),
                " FROM json_each($1) AS e CROSS JOIN {sync_items} AS mine ON mine.id = e.value \
                 CROSS JOIN {sync_items} AS t ON coalesce(t.integration_id, 0) = coalesce(mine.integration_id, 0) \
                 AND t.external_id = mine.external_id AND t.status NOT IN ('success', 'skipped') \
                 AND t.stream = mine.stream AND t.event_class = mine.event_class \
                 AND t.id <> mine.id"
            ),
        );
        let mut ids: Vec<i64> = ids.map(|id| id.0).collect();
        ids.sort_unstable();
        ids.dedup();
        let rows = session.query(self.sql(&LOCK).bind_numbers(&ids)).await?;
        let item = |row: &Row| {
            let item = item_state(row)?;
            Ok((item.id, item))
        };
        rows.iter().map(item).collect()
    }

    /// Writes what changed of items that are locked, and how their runs stand then.
    pub(super) async fn write_changes(
        &self,
        session: &mut dyn Session,
        changes: &Changes,
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<SyncRunId, Standing>, SqlError> {
        let item = |item: &ItemState| {
            self.row()
                .bind(item.id)
                .bind(item.status.as_str())
                .bind(item.attempts)
                .bind(item.error.as_deref().unwrap_or_default())
                .bind(item.available_at)
                .bind(item.updated_at)
        };
        let items = changes.items.values().map(item).collect();
        let record = |item: &ItemState| {
            // A digest is the version of what has no checkpoint.
            let digest = match &item.checkpoint {
                Some(_) => String::new(),
                None => item.digest.as_deref().map(hex).unwrap_or_default(),
            };
            self.row()
                .bind(item.integration_id)
                .bind(&item.stream)
                .bind(&item.kind)
                .bind(item.external_id.as_ref().map_or("", ExternalId::as_str))
                .bind(item.checkpoint.as_ref().map_or("", CheckpointOrder::as_str))
                .bind(digest)
        };
        let records: Vec<_> = changes
            .resolutions()
            .map(|(_, item)| record(item))
            .collect();
        let runs = (changes.recount.iter())
            .map(|(run, counts)| {
                self.row()
                    .bind(run)
                    .bind(counts.open)
                    .bind(counts.total)
                    .bind(counts.succeeded)
                    .bind(counts.failed)
                    .bind(counts.skipped)
            })
            .collect();
        let mut write = self.sql(&WRITE).bind(now);
        if B::DIALECT == Dialect::Postgres {
            write = write.bind_rows(&ITEM, items).bind_rows(&RECORD, records);
        } else {
            let statement = self.sql(&SQLITE_ITEMS).bind_rows(&ITEM, items);
            session.execute(statement).await?;
            if !records.is_empty() {
                let statement = self.sql(&SQLITE_RECORDS).bind(now);
                session
                    .execute(statement.bind_rows(&RECORD, records))
                    .await?;
            }
        }
        let rows = session.query(write.bind_rows(&RUN, runs)).await?;
        let standing = |row: &Row| Ok((row.get("id")?, Standing::read(row)?));
        rows.iter().map(standing).collect()
    }
}
