//! [`KeyRegistry`] over SQL.

mod sealed;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    encryptor::{KeyCheck, SealContext, SealedColumn},
    key_registry::{KeyRegistry, KeyRetired, KeyState, KeyUse, RegisteredKey, Reseal, SealedCell},
    store::StoreError,
    value::KeyId,
};
use serde_json::{Value as Json, json};

use self::sealed::{USAGE, column_of, templates};
use crate::{
    backend::{OwnCommit, Session},
    checks::Fits,
    error::SqlError,
    row::Row,
    statement::{InsertTemplate, Template},
    store::{SqlStore, retrying},
};

/// Keeps other processes from registering, promoting and retiring until the transaction ends. On
/// SQLite the transaction does so by itself.
const LOCK: Template = Template::each(
    "LOCK TABLE {keys} IN SHARE ROW EXCLUSIVE MODE",
    "SELECT 1 AS locked",
);

const LIST: Template = Template::both(
    "SELECT key_id, check_value, state, created_at FROM {keys} ORDER BY created_at, key_id",
);

const REGISTER: InsertTemplate = InsertTemplate {
    head: "INSERT INTO {keys} (key_id, check_value, state, created_at, updated_at)",
    columns: 5,
    tail: "ON CONFLICT (key_id) DO NOTHING",
};

impl<B: OwnCommit> SqlStore<B> {
    async fn list_keys(&self, session: &mut dyn Session) -> Result<Vec<RegisteredKey>, SqlError> {
        let mut keys = session
            .query(self.sql(&LIST))
            .await?
            .iter()
            .map(registered_key)
            .collect::<Result<Vec<_>, _>>()?;
        // By code point among those of one instant, whatever the database's collation.
        keys.sort_by(|a, b| (a.created_at, &a.key_id).cmp(&(b.created_at, &b.key_id)));
        Ok(keys)
    }

    async fn register_once(
        &self,
        keys: &[KeyCheck],
        now: DateTime<Utc>,
    ) -> Result<Vec<RegisteredKey>, SqlError> {
        let mut session = self.backend.begin().await?;
        session.execute(self.sql(&LOCK)).await?;
        let known = self.list_keys(&mut *session).await?;
        let mut has_primary = known.iter().any(|key| key.state == KeyState::Primary);
        let mut rows = Vec::with_capacity(keys.len());
        for (i, key) in keys.iter().enumerate() {
            let is_known = known.iter().any(|known| known.key_id == key.key_id)
                || keys[..i].iter().any(|other| other.key_id == key.key_id);
            if is_known {
                continue;
            }
            let state = if key.primary && !has_primary {
                has_primary = true;
                KeyState::Primary
            } else {
                KeyState::Accepted
            };
            let row = self
                .row()
                .bind(&key.key_id)
                .bind(key.check_value.as_slice())
                .bind(state.as_str())
                .bind(now)
                .bind(now);
            rows.push(row);
        }
        if rows.is_empty() {
            return Ok(known);
        }
        session.execute(self.insert(&REGISTER, rows)).await?;
        let all = self.list_keys(&mut *session).await?;
        session.commit().await?;
        Ok(all)
    }

    async fn promote_once(&self, key_id: &KeyId, now: DateTime<Utc>) -> Result<bool, SqlError> {
        const PROMOTE: Template = Template::both(
            "UPDATE {keys} SET updated_at = $2, \
             state = CASE WHEN key_id = $1 THEN 'primary' ELSE 'accepted' END \
             WHERE (key_id = $1) <> (state = 'primary')",
        );
        let mut session = self.backend.begin().await?;
        session.execute(self.sql(&LOCK)).await?;
        let state = self.key_state(&mut *session, key_id).await?;
        if !matches!(state, Some(KeyState::Primary | KeyState::Accepted)) {
            return Ok(false);
        }
        let promote = self.sql(&PROMOTE).bind(key_id).bind(now);
        session.execute(promote).await?;
        session.commit().await?;
        Ok(true)
    }

    async fn key_state(
        &self,
        session: &mut dyn Session,
        key_id: &KeyId,
    ) -> Result<Option<KeyState>, SqlError> {
        const STATE: Template = Template::both("SELECT state FROM {keys} WHERE key_id = $1");
        let row = session.query(self.sql(&STATE).bind(key_id)).await?.pop();
        let state: Option<String> = row.map(|row| row.get("state")).transpose()?;
        Ok(state.map(KeyState::from))
    }

    async fn retire_once(
        &self,
        key_id: &KeyId,
        now: DateTime<Utc>,
    ) -> Result<KeyRetired, SqlError> {
        const RETIRE: Template = Template::both(
            "UPDATE {keys} SET state = 'retired', updated_at = $2 WHERE key_id = $1",
        );
        let mut session = self.backend.begin().await?;
        session.execute(self.sql(&LOCK)).await?;
        match self.key_state(&mut *session, key_id).await? {
            None => return Ok(KeyRetired::NotFound),
            Some(KeyState::Primary) => return Ok(KeyRetired::Primary),
            Some(_) => {}
        }
        let usage = session.query(self.sql(&USAGE)).await?;
        let uses = usage.iter().filter_map(key_use).flatten();
        let values = uses
            .filter(|key_use| key_use.key_id == *key_id)
            .map(|key_use| key_use.values)
            .sum();
        if values > 0 {
            return Ok(KeyRetired::InUse(values));
        }
        let retire = self.sql(&RETIRE).bind(key_id).bind(now);
        session.execute(retire).await?;
        session.commit().await?;
        Ok(KeyRetired::Done)
    }

    async fn reseal_once(&self, reseals: &[Reseal]) -> Result<u64, SqlError> {
        let mut session = self.backend.begin().await?;
        let mut done = 0;
        for column in SealedColumn::ALL {
            let mut cells: Vec<&Reseal> = reseals
                .iter()
                .filter(|reseal| reseal.cell.context.column == column)
                .collect();
            let Some(templates) = templates(column).filter(|_| !cells.is_empty()) else {
                continue;
            };
            cells.sort_by_key(|reseal| reseal.cell.row);
            let cells: Json = cells
                .into_iter()
                .map(|Reseal { cell, to }| {
                    json!({ "id": cell.row, "old": cell.sealed.as_str(), "new": to.as_str() })
                })
                .collect();
            let reseal = self.sql(&templates.reseal).bind(cells);
            done += session.execute(reseal).await?;
        }
        session.commit().await?;
        Ok(done)
    }
}

#[async_trait]
impl<B: OwnCommit> KeyRegistry for SqlStore<B> {
    async fn list(&self) -> Result<Vec<RegisteredKey>, StoreError> {
        let mut session = self.backend.read().await?;
        Ok(self.list_keys(&mut *session).await?)
    }

    async fn register(
        &self,
        keys: &[KeyCheck],
        now: DateTime<Utc>,
    ) -> Result<Vec<RegisteredKey>, StoreError> {
        retrying!(self.register_once(keys, now).await)
    }

    async fn promote(&self, key_id: &KeyId, now: DateTime<Utc>) -> Result<bool, StoreError> {
        retrying!(self.promote_once(key_id, now).await)
    }

    async fn usage(&self) -> Result<Vec<KeyUse>, StoreError> {
        let rows = self.backend.read().await?.query(self.sql(&USAGE)).await?;
        let mut uses = rows
            .iter()
            .filter_map(key_use)
            .collect::<Result<Vec<_>, _>>()?;
        let place = |column| SealedColumn::ALL.iter().position(|c| *c == column);
        uses.sort_by(|a, b| (&a.key_id, place(a.column)).cmp(&(&b.key_id, place(b.column))));
        Ok(uses)
    }

    async fn sealed_cells(
        &self,
        column: SealedColumn,
        not_under: &KeyId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<SealedCell>, StoreError> {
        // A column this version does not have holds nothing.
        let Some(templates) = templates(column) else {
            return Ok(Vec::new());
        };
        let statement = self
            .sql(&templates.cells)
            .bind(after)
            .bind(not_under)
            .bind(limit);
        let rows = self.backend.read().await?.query(statement).await?;
        rows.iter().map(|row| sealed_cell(row, column)).collect()
    }

    async fn reseal(&self, reseals: &[Reseal]) -> Result<u64, StoreError> {
        for reseal in reseals {
            Fits::new().text(reseal.to.as_str()).verdict()?;
        }
        retrying!(self.reseal_once(reseals).await)
    }

    async fn retire(&self, key_id: &KeyId, now: DateTime<Utc>) -> Result<KeyRetired, StoreError> {
        retrying!(self.retire_once(key_id, now).await)
    }
}

fn registered_key(row: &Row) -> Result<RegisteredKey, StoreError> {
    Ok(RegisteredKey {
        key_id: row.parse("key_id")?,
        check_value: row.get("check_value")?,
        state: row.get::<String>("state")?.into(),
        created_at: row.get("created_at")?,
    })
}

/// A row of the usage; `None` where the text between the dots is no key's id.
fn key_use(row: &Row) -> Option<Result<KeyUse, StoreError>> {
    let read = || -> Result<Option<KeyUse>, StoreError> {
        let place: i64 = row.get("place")?;
        let column = column_of(place).ok_or_else(|| row.corrupt("place"))?;
        let key_id: String = row.get("key_id")?;
        let values = row.get("count")?;
        Ok(KeyId::new(key_id).ok().map(|key_id| KeyUse {
            key_id,
            column,
            values,
        }))
    };
    read().transpose()
}

fn sealed_cell(row: &Row, column: SealedColumn) -> Result<SealedCell, StoreError> {
    Ok(SealedCell {
        row: row.get("id")?,
        context: SealContext {
            column,
            uid: row.get("uid")?,
            provider: row.parse("provider")?,
        },
        sealed: row.get("sealed")?,
    })
}
