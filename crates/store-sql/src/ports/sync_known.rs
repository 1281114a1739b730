//! What is known of the records of a page: their versions, and how far each has succeeded.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use integrations_core::{
    id::SyncItemId,
    sync::{Checkpoint, ItemStatus, NewItem, SyncRun},
};
use serde_json::{Value as Json, json};

use super::sync_state::{ItemState, state_columns};
use crate::{
    backend::{OwnCommit, Session},
    error::SqlError,
    statement::Template,
    store::SqlStore,
};

/// A record within a stream: kind and external id.
type RecordKey = (String, String);

/// A row of the records.
#[derive(Debug, Default)]
struct Record {
    succeeded_order: Option<String>,
    succeeded_digest: Option<Vec<u8>>,
    /// Its rows in the run at hand, and the unresolved ones of other runs.
    versions: Vec<ItemState>,
}

/// The records of a page.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<RecordKey, Record>);

fn key(new: &NewItem) -> Option<RecordKey> {
    let external_id = new.external_id.as_ref()?.as_str().to_owned();
    Some((new.kind.as_str().to_owned(), external_id))
}

fn order(new: &NewItem) -> Option<String> {
    let checkpoint: Option<&Checkpoint> = new.checkpoint.as_ref();
    checkpoint.map(|checkpoint| checkpoint.order().as_str().to_owned())
}

impl Known {
    /// The row of this version that `which` selects.
    pub(super) fn version(
        &mut self,
        new: &NewItem,
        which: impl Fn(&ItemState) -> bool,
    ) -> Option<&mut ItemState> {
        let order = order(new);
        let is_version = |row: &ItemState| {
            row.checkpoint_order == order && (order.is_some() || row.digest == new.digest)
        };
        let record = self.0.get_mut(&key(new)?)?;
        let mut versions = record.versions.iter_mut();
        versions.find(|row| is_version(row) && which(row))
    }

    /// Whether this version, or a newer one, succeeded before.
    ///
    /// A full resync looks at older versions again, though not at the very one that succeeded.
    pub(super) fn is_done(&self, new: &NewItem, full_resync: bool) -> bool {
        let Some(record) = key(new).and_then(|key| self.0.get(&key)) else {
            return false;
        };
        match (order(new), &record.succeeded_order) {
            (Some(order), Some(succeeded)) => {
                order == *succeeded || (order < *succeeded && !full_resync)
            }
            (Some(_), None) => false,
            (None, _) => new.digest.is_some() && new.digest == record.succeeded_digest,
        }
    }

    /// Takes note of a row that is about to be stored.
    pub(super) fn insert(&mut self, new: &NewItem, id: SyncItemId, run: &SyncRun) {
        let Some(key) = key(new) else { return };
        let row = ItemState {
            id,
            integration_id: run.integration_id,
            run_id: run.id,
            stream: run.stream.as_str().to_owned(),
            kind: key.0.clone(),
            external_id: Some(key.1.clone()),
            checkpoint_order: order(new),
            digest: new.digest.clone(),
            status: ItemStatus::Pending,
            attempts: 0,
            error: None,
            available_at: run.started_at,
            completed_at: None,
            lease_until: None,
            lease_token: None,
            updated_at: run.started_at,
        };
        self.0.entry(key).or_default().versions.push(row);
    }
}

impl<B: OwnCommit> SqlStore<B> {
    /// Locks the rows of the records of a page and marks the records as seen by `run`.
    pub(super) async fn look_up<'a>(
        &self,
        session: &mut dyn Session,
        run: &SyncRun,
        items: impl Iterator<Item = &'a NewItem>,
        now: DateTime<Utc>,
    ) -> Result<Known, SqlError> {
        const VERSIONS: Template = Template::each(
            concat!(
                "SELECT ",
                state_columns!(),
                " FROM {sync_items} AS t WHERE t.integration_id = $1 AND t.stream = $2 \
                 AND t.external_id = ANY($3) AND (t.run_id = $4 \
                 OR t.status IN ('pending', 'processing', 'failed')) ORDER BY t.id FOR UPDATE"
            ),
            concat!(
                "SELECT ",
                state_columns!(),
                " FROM {sync_items} AS t WHERE t.integration_id = $1 AND t.stream = $2 \
                 AND t.external_id IN (SELECT value FROM json_each($3)) AND (t.run_id = $4 \
                 OR t.status IN ('pending', 'processing', 'failed')) ORDER BY t.id"
            ),
        );
        const SEE: Template = Template::each(
            "INSERT INTO {sync_records} AS r (integration_id, stream, last_seen_run, created_at, \
             updated_at, kind, external_id) SELECT $1, $2, $3, $4, $4, e.kind, e.external_id \
             FROM jsonb_to_recordset($5) AS e (kind text, external_id text) \
             ON CONFLICT (integration_id, stream, kind, external_id) DO UPDATE SET \
             last_seen_run = excluded.last_seen_run, updated_at = excluded.updated_at \
             RETURNING r.kind, r.external_id, r.succeeded_order, r.succeeded_digest",
            "INSERT INTO {sync_records} (integration_id, stream, last_seen_run, created_at, \
             updated_at, kind, external_id) SELECT $1, $2, $3, $4, $4, e.value ->> 'kind', \
             e.value ->> 'external_id' FROM json_each($5) AS e WHERE true \
             ON CONFLICT (integration_id, stream, kind, external_id) DO UPDATE SET \
             last_seen_run = excluded.last_seen_run, updated_at = excluded.updated_at \
             RETURNING kind, external_id, succeeded_order, succeeded_digest",
        );
        let mut keys: Vec<RecordKey> = items.filter_map(key).collect();
        // A common order of writes keeps two pages over the same records from deadlocking.
        keys.sort_unstable();
        keys.dedup();
        let mut known = Known::default();
        if keys.is_empty() {
            return Ok(known);
        }
        let external_ids: Vec<&str> = keys.iter().map(|(_, id)| id.as_str()).collect();
        let versions = self
            .sql(&VERSIONS)
            .bind(run.integration_id)
            .bind(&run.stream)
            .bind_texts(&external_ids)
            .bind(run.id);
        let versions = session.query(versions).await?;
        let entry =
            |(kind, external_id): &RecordKey| json!({ "kind": kind, "external_id": external_id });
        let entries: Json = keys.iter().map(entry).collect();
        let see = self
            .sql(&SEE)
            .bind(run.integration_id)
            .bind(&run.stream)
            .bind(run.id)
            .bind(now)
            .bind(entries);
        for row in session.query(see).await? {
            let record = Record {
                succeeded_order: row.get("succeeded_order")?,
                succeeded_digest: row.get("succeeded_digest")?,
                versions: Vec::new(),
            };
            known
                .0
                .insert((row.get("kind")?, row.get("external_id")?), record);
        }
        for row in versions {
            let version = ItemState::read(&row)?;
            let external_id = version.external_id.clone().unwrap_or_default();
            // Of another kind there may be a record of the same id.
            if let Some(record) = known.0.get_mut(&(version.kind.clone(), external_id)) {
                record.versions.push(version);
            }
        }
        Ok(known)
    }
}
