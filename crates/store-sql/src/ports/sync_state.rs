//! What settling and deciding change of items: read under a lock, changed here, written at once.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, SyncItemId, SyncRunId},
    store::StoreError,
    sync::ItemStatus,
};
use serde_json::{Value as Json, json};

use crate::{
    backend::{Backend, Session},
    dialect::time_text,
    error::SqlError,
    row::Row,
    statement::Template,
    store::SqlStore,
};

/// The columns of an [`ItemState`], of `{sync_items}` under the alias `t`.
macro_rules! state_columns {
    () => {
        "t.id, t.integration_id, t.run_id, t.stream, t.event_class, t.external_id, \
         t.checkpoint_order, t.digest, t.status, t.attempts, t.error, t.available_at, \
         t.lease_until, t.lease_token"
    };
}
pub(super) use state_columns;

/// An item without its payload.
#[derive(Clone, Debug)]
pub(super) struct ItemState {
    pub(super) id: SyncItemId,
    pub(super) integration_id: IntegrationId,
    pub(super) run_id: SyncRunId,
    pub(super) stream: String,
    pub(super) kind: String,
    pub(super) external_id: Option<String>,
    pub(super) checkpoint_order: Option<String>,
    pub(super) digest: Option<Vec<u8>>,
    pub(super) status: ItemStatus,
    pub(super) attempts: i16,
    pub(super) error: Option<String>,
    pub(super) available_at: DateTime<Utc>,
    pub(super) completed_at: Option<DateTime<Utc>>,
    pub(super) lease_until: Option<DateTime<Utc>>,
    pub(super) lease_token: Option<String>,
    pub(super) updated_at: DateTime<Utc>,
}

impl ItemState {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let available_at = row.get("available_at")?;
        Ok(Self {
            id: row.get("id")?,
            integration_id: row.get("integration_id")?,
            run_id: row.get("run_id")?,
            stream: row.get("stream")?,
            kind: row.get("event_class")?,
            external_id: row.get("external_id")?,
            checkpoint_order: row.get("checkpoint_order")?,
            digest: row.get("digest")?,
            status: ItemStatus::from(row.get::<String>("status")?),
            attempts: row.get("attempts")?,
            error: row.get("error")?,
            available_at,
            completed_at: None,
            lease_until: row.get("lease_until")?,
            lease_token: row.get("lease_token")?,
            updated_at: available_at,
        })
    }

    /// Whether somebody works on it.
    pub(super) fn is_leased(&self, now: DateTime<Utc>) -> bool {
        matches!(self.status, ItemStatus::Pending | ItemStatus::Processing)
            && self.lease_until.is_some_and(|until| now < until)
    }

    /// The same, resolved or failed.
    pub(super) fn ended(
        &self,
        status: ItemStatus,
        error: Option<String>,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            status,
            error,
            completed_at: Some(now),
            updated_at: now,
            ..self.clone()
        }
    }

    /// The same, waiting until `at`.
    pub(super) fn waiting(&self, at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self {
            status: ItemStatus::Pending,
            available_at: at,
            completed_at: None,
            updated_at: now,
            ..self.clone()
        }
    }

    fn entry(&self) -> Json {
        json!({
            "id": self.id,
            "status": self.status,
            "attempts": self.attempts,
            "error": self.error,
            "available_at": time_text(self.available_at),
            "completed_at": self.completed_at.map(time_text),
            "updated_at": time_text(self.updated_at),
        })
    }
}

impl<B: Backend> SqlStore<B> {
    /// Writes items that are locked, ending their leases.
    pub(super) async fn write_items(
        &self,
        session: &mut dyn Session,
        items: &[ItemState],
    ) -> Result<(), SqlError> {
        const WRITE: Template = Template::each(
            "UPDATE {sync_items} AS t SET status = e.status, attempts = e.attempts, \
             error = e.error, available_at = e.available_at, completed_at = e.completed_at, \
             lease_until = NULL, lease_token = NULL, updated_at = e.updated_at \
             FROM jsonb_to_recordset($1) AS e (id bigint, status text, attempts smallint, \
             error text, available_at timestamptz, completed_at timestamptz, \
             updated_at timestamptz) WHERE t.id = e.id",
            "UPDATE {sync_items} AS t SET status = e.status, attempts = e.attempts, \
             error = e.error, available_at = e.available_at, completed_at = e.completed_at, \
             lease_until = NULL, lease_token = NULL, updated_at = e.updated_at \
             FROM (SELECT value ->> 'id' AS id, value ->> 'status' AS status, \
             value ->> 'attempts' AS attempts, value ->> 'error' AS error, \
             value ->> 'available_at' AS available_at, value ->> 'completed_at' AS completed_at, \
             value ->> 'updated_at' AS updated_at FROM json_each($1)) AS e WHERE t.id = e.id",
        );
        let entries: Json = items.iter().map(ItemState::entry).collect();
        session.execute(self.sql(&WRITE).bind(entries)).await?;
        Ok(())
    }
}
