//! [`MappingStore`] over SQL.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, MappingId},
    mapping::{Claimed, Mapping, MappingStore, NewMapping, Remap, Remapped},
    store::{Batch, Page, PageRequest, StoreError},
    value::{ExternalId, InternalId, InternalType},
};

use crate::{
    backend::Backend,
    error::SqlError,
    row::Row,
    statement::{InsertTemplate, Template},
    store::{SqlStore, bisect, retrying},
};

const COLUMNS: &str = "id, integration_id, external_id, internal_type, internal_id, \
    source_version, content_hash, last_seen_run, created_at, updated_at";

/// On a conflict the row only learns what the claim knows better, and only where it already is
/// the same entity. Touching it in any case makes `RETURNING` answer it.
const CLAIM: InsertTemplate = InsertTemplate {
    head: "INSERT INTO {mappings} AS m (id, integration_id, external_id, internal_type, internal_id, \
        source_version, content_hash, last_seen_run, created_at, updated_at)",
    columns: 10,
    tail: "ON CONFLICT (integration_id, external_id, internal_type) DO UPDATE SET \
        source_version = CASE WHEN m.internal_id = excluded.internal_id \
            THEN coalesce(excluded.source_version, m.source_version) ELSE m.source_version END, \
        content_hash = CASE WHEN m.internal_id = excluded.internal_id \
            THEN coalesce(excluded.content_hash, m.content_hash) ELSE m.content_hash END, \
        last_seen_run = CASE WHEN m.internal_id = excluded.internal_id \
            THEN coalesce(excluded.last_seen_run, m.last_seen_run) ELSE m.last_seen_run END, \
        updated_at = CASE WHEN m.internal_id = excluded.internal_id \
            THEN excluded.updated_at ELSE m.updated_at END \
        RETURNING id, integration_id, external_id, internal_type, internal_id",
};

/// What the unique index goes by.
type RecordKey = (i64, String, String);

fn record_key(mapping: &NewMapping) -> RecordKey {
    (
        mapping.integration_id.0,
        mapping.external_id.as_str().to_owned(),
        mapping.internal_type.as_str().to_owned(),
    )
}

impl<B: Backend> SqlStore<B> {
    /// Claims all of `claims`, or none.
    async fn claim_mappings(&self, claims: &[NewMapping]) -> Result<Vec<Claimed>, SqlError> {
        // One statement may touch a row only once, so the first claim of a record goes to the
        // database and the later ones are judged by its answer.
        let mut first_of: HashMap<RecordKey, usize> = HashMap::new();
        for (i, claim) in claims.iter().enumerate() {
            first_of.entry(record_key(claim)).or_insert(i);
        }
        let mut firsts: Vec<usize> = first_of.values().copied().collect();
        // A common order of writes keeps two batches over the same records from deadlocking.
        firsts.sort_unstable_by_key(|i| record_key(&claims[*i]));
        let ids = self
            .ids
            .take(&self.backend, &self.statements, "mappings", firsts.len())
            .await?;
        let mut owners: HashMap<RecordKey, (MappingId, InternalId)> = HashMap::new();
        let mut session = self.backend.begin().await?;
        for (part, part_ids) in firsts.chunks(500).zip(ids.chunks(500)) {
            let rows = part.iter().zip(part_ids).map(|(i, id)| {
                let claim = &claims[*i];
                self.row()
                    .bind(*id)
                    .bind(claim.integration_id)
                    .bind(&claim.external_id)
                    .bind(&claim.internal_type)
                    .bind(&claim.internal_id)
                    .bind(claim.source_version.as_ref())
                    .bind(claim.content_hash.as_deref())
                    .bind(claim.last_seen_run)
                    .bind(claim.now)
                    .bind(claim.now)
            });
            for row in session.query(self.insert(&CLAIM, rows.collect())).await? {
                let key = (
                    row.get("integration_id")?,
                    row.get("external_id")?,
                    row.get("internal_type")?,
                );
                owners.insert(key, (row.get("id")?, row.parse("internal_id")?));
            }
        }
        session.commit().await?;
        let allocated: std::collections::HashSet<i64> = ids.into_iter().collect();
        let answer = |(i, claim): (usize, &NewMapping)| {
            let key = record_key(claim);
            let (id, owner) = owners.get(&key)?.clone();
            Some(if owner != claim.internal_id {
                Claimed::Conflict {
                    id,
                    claimed_by: owner,
                }
            } else if allocated.contains(&id.0) && first_of.get(&key) == Some(&i) {
                Claimed::New(id)
            } else {
                Claimed::Same(id)
            })
        };
        let answers: Option<Vec<Claimed>> = claims.iter().enumerate().map(answer).collect();
        answers.ok_or_else(|| StoreError::corrupt("mappings", "external_id", None).into())
    }

    async fn remap_once(&self, remap: &Remap) -> Result<Remapped, SqlError> {
        const LOCK: Template = Template::each(
            "SELECT id, internal_id FROM {mappings} \
             WHERE integration_id = $1 AND external_id = $2 AND internal_type = $3 FOR UPDATE",
            "SELECT id, internal_id FROM {mappings} \
             WHERE integration_id = $1 AND external_id = $2 AND internal_type = $3",
        );
        const MOVE: Template = Template::both(
            "UPDATE {mappings} SET internal_id = $2, source_version = $3, content_hash = $4, \
             last_seen_run = $5, updated_at = $6 WHERE id = $1",
        );
        let to = &remap.mapping;
        let mut session = self.backend.begin().await?;
        let lock = self
            .sql(&LOCK)
            .bind(to.integration_id)
            .bind(&to.external_id)
            .bind(&to.internal_type);
        let Some(row) = session.query(lock).await?.pop() else {
            drop(session);
            if matches!(&remap.expected, Some(Some(_))) {
                return Ok(Remapped::Unexpected { current: None });
            }
            // Free: a claim decides by the unique index, should somebody be faster.
            return Ok(
                match self.claim_mappings(std::slice::from_ref(to)).await?.pop() {
                    Some(Claimed::New(id) | Claimed::Same(id)) => Remapped::Done {
                        id,
                        displaced: None,
                    },
                    Some(Claimed::Conflict { claimed_by, .. }) => Remapped::Unexpected {
                        current: Some(claimed_by),
                    },
                    None => Remapped::Unexpected { current: None },
                },
            );
        };
        let (id, current): (MappingId, InternalId) = (row.get("id")?, row.parse("internal_id")?);
        if remap
            .expected
            .as_ref()
            .is_some_and(|expected| expected.as_ref() != Some(&current))
        {
            return Ok(Remapped::Unexpected {
                current: Some(current),
            });
        }
        let statement = self
            .sql(&MOVE)
            .bind(id)
            .bind(&to.internal_id)
            .bind(to.source_version.as_ref())
            .bind(to.content_hash.as_deref())
            .bind(to.last_seen_run)
            .bind(to.now);
        session.execute(statement).await?;
        session.commit().await?;
        Ok(Remapped::Done {
            id,
            displaced: Some(current),
        })
    }
}

#[async_trait]
impl<B: Backend> MappingStore for SqlStore<B> {
    async fn claim(&self, claims: &[NewMapping]) -> Batch<Claimed> {
        bisect(claims, |part| Box::pin(self.claim_mappings(part))).await
    }

    async fn remap(&self, remap: &Remap) -> Result<Remapped, StoreError> {
        retrying!(self.remap_once(remap).await)
    }

    async fn resolve(
        &self,
        integration_id: IntegrationId,
        internal_type: &InternalType,
        external_ids: &[ExternalId],
    ) -> Result<Vec<Option<Mapping>>, StoreError> {
        const RESOLVE: Template = Template::each(
            "SELECT id, integration_id, external_id, internal_type, internal_id, source_version, \
             content_hash, last_seen_run, created_at, updated_at FROM {mappings} \
             WHERE integration_id = $1 AND internal_type = $2 AND external_id = ANY($3)",
            "SELECT id, integration_id, external_id, internal_type, internal_id, source_version, \
             content_hash, last_seen_run, created_at, updated_at FROM {mappings} \
             WHERE integration_id = $1 AND internal_type = $2 \
             AND external_id IN (SELECT value FROM json_each($3))",
        );
        let statement = self
            .sql(&RESOLVE)
            .bind(integration_id)
            .bind(internal_type)
            .bind_texts(external_ids);
        let mut found: HashMap<ExternalId, Mapping> = HashMap::new();
        for row in self.backend.read().await?.query(statement).await? {
            let mapping = mapping(&row)?;
            found.insert(mapping.mapping.external_id.clone(), mapping);
        }
        Ok(external_ids
            .iter()
            .map(|id| found.get(id).cloned())
            .collect())
    }

    async fn resolve_locked(
        &self,
        integration_id: IntegrationId,
        internal_type: &InternalType,
        external_id: &ExternalId,
    ) -> Result<Option<Mapping>, StoreError> {
        // SQLite's transactions that write hold the only lock there is.
        const LOCK: Template = Template::each(
            "SELECT id, integration_id, external_id, internal_type, internal_id, source_version, \
             content_hash, last_seen_run, created_at, updated_at FROM {mappings} \
             WHERE integration_id = $1 AND internal_type = $2 AND external_id = $3 FOR UPDATE",
            "SELECT id, integration_id, external_id, internal_type, internal_id, source_version, \
             content_hash, last_seen_run, created_at, updated_at FROM {mappings} \
             WHERE integration_id = $1 AND internal_type = $2 AND external_id = $3",
        );
        let lock = self
            .sql(&LOCK)
            .bind(integration_id)
            .bind(internal_type)
            .bind(external_id);
        let rows = self.backend.read().await?.query(lock).await?;
        rows.first().map(mapping).transpose()
    }

    async fn reverse(
        &self,
        integration_id: IntegrationId,
        internal_type: &InternalType,
        internal_id: &InternalId,
    ) -> Result<Vec<Mapping>, StoreError> {
        const REVERSE: Template = Template::both(
            "SELECT id, integration_id, external_id, internal_type, internal_id, source_version, \
             content_hash, last_seen_run, created_at, updated_at FROM {mappings} \
             WHERE integration_id = $1 AND internal_type = $2 AND internal_id = $3 ORDER BY id",
        );
        let statement = self
            .sql(&REVERSE)
            .bind(integration_id)
            .bind(internal_type)
            .bind(internal_id);
        self.backend
            .read()
            .await?
            .query(statement)
            .await?
            .iter()
            .map(mapping)
            .collect()
    }

    async fn list(
        &self,
        integration_id: IntegrationId,
        internal_type: &InternalType,
        page: &PageRequest,
    ) -> Result<Page<Mapping>, StoreError> {
        let query = crate::page::select(&self.statements, "mappings", COLUMNS)
            .equal("integration_id", integration_id)
            .equal("internal_type", internal_type)
            .page(page);
        let rows = self.backend.read().await?.query(query).await?;
        let mappings = rows.iter().map(mapping).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::from_overfull(mappings, page, |m| m.id.0))
    }

    async fn release(
        &self,
        integration_id: IntegrationId,
        internal_type: &InternalType,
        external_id: &ExternalId,
    ) -> Result<bool, StoreError> {
        const RELEASE: Template = Template::both(
            "DELETE FROM {mappings} \
             WHERE integration_id = $1 AND internal_type = $2 AND external_id = $3",
        );
        let statement = self
            .sql(&RELEASE)
            .bind(integration_id)
            .bind(internal_type)
            .bind(external_id);
        Ok(self.backend.write().await?.execute(statement).await? > 0)
    }
}

fn mapping(row: &Row) -> Result<Mapping, StoreError> {
    let created_at: DateTime<Utc> = row.get("created_at")?;
    Ok(Mapping {
        id: row.get("id")?,
        mapping: NewMapping {
            integration_id: row.get("integration_id")?,
            external_id: row.parse("external_id")?,
            internal_type: row.parse("internal_type")?,
            internal_id: row.parse("internal_id")?,
            source_version: row.get("source_version")?,
            content_hash: row.get("content_hash")?,
            last_seen_run: row.get("last_seen_run")?,
            now: created_at,
        },
        updated_at: row.get("updated_at")?,
    })
}
