//! [`Workers`] over SQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    store::StoreError,
    value::{HolderName, ItemKind},
    worker::{WorkerBeat, Workers},
};
use serde_json::Value as Json;

use crate::{
    backend::OwnCommit, checks::Fits, error::SqlError, row::Row, statement::Template,
    store::SqlStore,
};

/// What `kinds` holds in place of a list when a worker handles every kind.
const EVERY_KIND: &str = "*";

#[async_trait]
impl<B: OwnCommit> Workers for SqlStore<B> {
    async fn beat(&self, beat: &WorkerBeat) -> Result<(), StoreError> {
        const BEAT: Template = Template::both(
            "INSERT INTO {workers} (id, version, kinds, started_at, heartbeat_at, created_at, \
             updated_at) VALUES ($1, $2, $3, $4, $5, $5, $5) \
             ON CONFLICT (id) DO UPDATE SET version = excluded.version, kinds = excluded.kinds, \
             started_at = excluded.started_at, heartbeat_at = excluded.heartbeat_at, \
             updated_at = excluded.updated_at",
        );
        Fits::new().varchar(beat.version.as_str(), 64).verdict()?;
        let kinds = match &beat.kinds {
            None => Json::from(EVERY_KIND),
            Some(kinds) => kinds.iter().map(ItemKind::as_str).collect(),
        };
        let statement = self
            .sql(&BEAT)
            .bind(&beat.id)
            .bind(&beat.version)
            .bind(kinds)
            .bind(beat.started_at)
            .bind(beat.heartbeat_at);
        self.backend.write().await?.execute(statement).await?;
        Ok(())
    }

    async fn alive(&self, since: DateTime<Utc>) -> Result<Vec<WorkerBeat>, StoreError> {
        const ALIVE: Template = Template::both(
            "SELECT id AS name, version, kinds, started_at, heartbeat_at FROM {workers} \
             WHERE heartbeat_at >= $1",
        );
        let statement = self.sql(&ALIVE).bind(since);
        let rows = self.backend.read().await?.query(statement).await?;
        let mut alive = rows.iter().map(beat).collect::<Result<Vec<_>, _>>()?;
        // Not left to the database, whose collation may be any.
        alive.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(alive)
    }

    async fn leave(&self, id: &HolderName, stale_before: DateTime<Utc>) -> Result<(), StoreError> {
        const LEAVE: Template =
            Template::both("DELETE FROM {workers} WHERE id = $1 OR heartbeat_at < $2");
        let statement = self.sql(&LEAVE).bind(id).bind(stale_before);
        self.backend.write().await?.execute(statement).await?;
        Ok(())
    }
}

fn beat(row: &Row) -> Result<WorkerBeat, SqlError> {
    let kinds: Json = row.get("kinds")?;
    let kinds = match kinds {
        Json::String(text) if text == EVERY_KIND => None,
        kinds => Some(serde_json::from_value(kinds).map_err(|_| row.corrupt("kinds"))?),
    };
    Ok(WorkerBeat {
        id: row.parse("name")?,
        version: row.get("version")?,
        kinds,
        started_at: row.get("started_at")?,
        heartbeat_at: row.get("heartbeat_at")?,
    })
}
