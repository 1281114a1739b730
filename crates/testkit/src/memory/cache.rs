//! The `ResponseCache` port.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    cache::{CacheEntry, CacheKey, CachedAnswer, NewCacheEntry, ResponseCache},
    id::IntegrationId,
    store::{Rejected, StoreError},
};

use super::{
    MemoryStore,
    columns::{Columns, refused},
    state::State,
};

#[async_trait]
impl ResponseCache for MemoryStore {
    async fn find(&self, keys: &[CacheKey]) -> Result<Option<CacheEntry>, StoreError> {
        let state = self.lock();
        let found = keys.iter().find_map(|key| {
            let entry = state.cache.values().find(|entry| entry.key == *key)?;
            Some(CacheEntry {
                entry: entry.clone(),
            })
        });
        Ok(found)
    }

    async fn put(&self, entry: &NewCacheEntry) -> Result<(), StoreError> {
        columns(entry).of_row()?;
        let mut state = self.lock();
        (state.references(entry.key.integration_id)).map_err(|rejected| refused(&rejected))?;
        let former = slot(&state, &entry.key);
        let uid_is_taken =
            (state.cache.iter()).any(|(id, other)| Some(id) != former && other.uid == entry.uid);
        if uid_is_taken {
            return Err(refused(&Rejected::Constraint));
        }
        match former.and_then(|id| state.cache.get_mut(id)) {
            Some(row) => row.clone_from(entry),
            None => {
                state.cache.insert(|_| entry.clone());
            }
        }
        Ok(())
    }

    async fn extend(
        &self,
        key: &CacheKey,
        expires_at: DateTime<Utc>,
        stale_until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let found = state.cache.values_mut().find(|entry| entry.key == *key);
        Ok(found.is_some_and(|entry| {
            entry.expires_at = expires_at;
            entry.stale_until = stale_until;
            entry.now = now;
            true
        }))
    }

    async fn clear(&self, integration_id: IntegrationId) -> Result<u64, StoreError> {
        Ok(self
            .lock()
            .cache
            .delete_where(|entry| entry.key.integration_id == integration_id))
    }
}

/// The row of the same integration and digest, of whatever generation.
fn slot(state: &State, key: &CacheKey) -> Option<i64> {
    state
        .cache
        .iter()
        .find(|(_, row)| {
            row.key.integration_id == key.integration_id && row.key.digest == key.digest
        })
        .map(|(id, _)| id)
}

fn columns(entry: &NewCacheEntry) -> Columns {
    let answer = match &entry.answer {
        CachedAnswer::Plain(text) => text.as_str(),
        CachedAnswer::Sealed(sealed) => sealed.as_str(),
    };
    Columns::check()
        .varchar(entry.method.as_str(), 10)
        .varchar(entry.endpoint.as_str(), 255)
        .smallint(Some(entry.status_code))
        .text(answer)
        .text(entry.etag.as_deref())
        .text(entry.last_modified.as_deref())
}
