//! [`ResponseCache`] over SQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    cache::{CacheEntry, CacheKey, CachedAnswer, NewCacheEntry, ResponseCache},
    encryptor::Sealed,
    id::IntegrationId,
    store::StoreError,
};

use crate::{backend::OwnCommit, checks::Fits, row::Row, statement::Template, store::SqlStore};

/// How many digests one statement looks for: one per key of a ring, which has few.
const DIGESTS: usize = 4;

const FIND: Template = Template::both(
    "SELECT id, uid, integration_id, credentials_generation, method, endpoint, cache_key, \
     request_id, status_code, sealed, answer, sealed_answer, etag, last_modified, expires_at, \
     stale_until, updated_at FROM {response_cache} \
     WHERE integration_id = $1 AND cache_key IN ($2, $3, $4, $5)",
);

/// Nothing is put for an integration that was removed meanwhile.
const PUT: Template = Template::both(
    "INSERT INTO {response_cache} (uid, integration_id, credentials_generation, method, \
     endpoint, cache_key, request_id, status_code, sealed, answer, sealed_answer, etag, \
     last_modified, expires_at, stale_until, created_at, updated_at) \
     SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16 \
     WHERE NOT EXISTS (SELECT 1 FROM {integrations} WHERE id = $2 AND removed_at IS NOT NULL) \
     ON CONFLICT (integration_id, cache_key) DO UPDATE SET uid = excluded.uid, \
     credentials_generation = excluded.credentials_generation, method = excluded.method, \
     endpoint = excluded.endpoint, request_id = excluded.request_id, \
     status_code = excluded.status_code, sealed = excluded.sealed, answer = excluded.answer, \
     sealed_answer = excluded.sealed_answer, etag = excluded.etag, \
     last_modified = excluded.last_modified, expires_at = excluded.expires_at, \
     stale_until = excluded.stale_until, updated_at = excluded.updated_at",
);

#[async_trait]
impl<B: OwnCommit> ResponseCache for SqlStore<B> {
    async fn find(&self, keys: &[CacheKey]) -> Result<Option<CacheEntry>, StoreError> {
        let mut session = self.backend.read().await?;
        let of_one = keys.chunk_by(|a, b| a.integration_id == b.integration_id);
        for part in of_one.flat_map(|keys| keys.chunks(DIGESTS)) {
            let mut statement = self.sql(&FIND).bind(part[0].integration_id);
            // The last digest stands in for those that are missing.
            let last = &part[part.len() - 1];
            for i in 0..DIGESTS {
                let key = part.get(i).unwrap_or(last);
                statement = statement.bind(&*key.digest);
            }
            let rows = session.query(statement).await?;
            let entries = rows.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
            let found = part
                .iter()
                .find_map(|key| entries.iter().find(|entry| entry.key == *key));
            if let Some(entry) = found.cloned() {
                return Ok(Some(CacheEntry { entry }));
            }
        }
        Ok(None)
    }

    async fn put(&self, entry: &NewCacheEntry) -> Result<(), StoreError> {
        let (plain, sealed) = match &entry.answer {
            CachedAnswer::Plain(text) => (Some(text), None),
            CachedAnswer::Sealed(sealed) => (None, Some(sealed)),
        };
        Fits::new()
            .varchar(&*entry.method, 10)
            .varchar(&*entry.endpoint, 255)
            .smallint(entry.status_code)
            .text(plain.map(String::as_str))
            .text(sealed.map(Sealed::as_str))
            .text(entry.etag.as_deref())
            .text(entry.last_modified.as_deref())
            .verdict()?;
        let statement = self
            .sql(&PUT)
            .bind(&entry.uid)
            .bind(entry.key.integration_id)
            .bind(entry.key.credentials_generation)
            .bind(&entry.method)
            .bind(&entry.endpoint)
            .bind(&*entry.key.digest)
            .bind(entry.request_id)
            .bind(entry.status_code)
            .bind(sealed.is_some())
            .bind(plain)
            .bind(sealed)
            .bind(entry.etag.as_ref())
            .bind(entry.last_modified.as_ref())
            .bind(entry.expires_at)
            .bind(entry.stale_until)
            .bind(entry.now);
        self.backend.write().await?.execute(statement).await?;
        Ok(())
    }

    async fn extend(
        &self,
        key: &CacheKey,
        expires_at: DateTime<Utc>,
        stale_until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        const EXTEND: Template = Template::both(
            "UPDATE {response_cache} SET expires_at = $4, stale_until = $5, updated_at = $6 \
             WHERE integration_id = $1 AND credentials_generation = $2 AND cache_key = $3",
        );
        let statement = self
            .sql(&EXTEND)
            .bind(key.integration_id)
            .bind(key.credentials_generation)
            .bind(&*key.digest)
            .bind(expires_at)
            .bind(stale_until)
            .bind(now);
        Ok(self.backend.write().await?.execute(statement).await? > 0)
    }

    async fn clear(&self, integration_id: IntegrationId) -> Result<u64, StoreError> {
        const CLEAR: Template =
            Template::both("DELETE FROM {response_cache} WHERE integration_id = $1");
        let statement = self.sql(&CLEAR).bind(integration_id);
        Ok(self.backend.write().await?.execute(statement).await?)
    }
}

fn entry(row: &Row) -> Result<NewCacheEntry, StoreError> {
    let answer = if row.get("sealed")? {
        CachedAnswer::Sealed(row.get("sealed_answer")?)
    } else {
        CachedAnswer::Plain(row.get("answer")?)
    };
    Ok(NewCacheEntry {
        uid: row.get("uid")?,
        key: CacheKey {
            integration_id: row.get("integration_id")?,
            credentials_generation: row.get("credentials_generation")?,
            digest: row.get("cache_key")?,
        },
        method: row.get("method")?,
        endpoint: row.get("endpoint")?,
        request_id: row.get("request_id")?,
        status_code: row.get("status_code")?,
        answer,
        etag: row.get("etag")?,
        last_modified: row.get("last_modified")?,
        expires_at: row.get("expires_at")?,
        stale_until: row.get("stale_until")?,
        now: row.get("updated_at")?,
    })
}
