//! The response cache: real answers, apart from the redacted log.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    encryptor::Sealed,
    id::{IntegrationId, RequestId, Uid},
    store::StoreError,
};

/// What an entry is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    /// The integration.
    pub integration_id: IntegrationId,
    /// The generation of the credentials the request was made with; another one never matches.
    pub credentials_generation: i64,
    /// A keyed digest of method, endpoint and the request as sent.
    pub digest: Vec<u8>,
}

/// An answer as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CachedAnswer {
    /// As it came.
    Plain(String),
    /// Sealed for the entry's uid, where the provider redacts.
    Sealed(Sealed),
}

/// An entry to put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCacheEntry {
    /// What the answer is sealed for.
    pub uid: Uid,
    /// What it is found by.
    pub key: CacheKey,
    /// The method, at most 10 characters.
    pub method: String,
    /// The endpoint, at most 255 characters.
    pub endpoint: String,
    /// The row of the request that brought it.
    pub request_id: Option<RequestId>,
    /// The answer's status.
    pub status_code: u16,
    /// The answer.
    pub answer: CachedAnswer,
    /// For `If-None-Match`.
    pub etag: Option<String>,
    /// For `If-Modified-Since`.
    pub last_modified: Option<String>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
    /// Until when it may be served stale; `None`: for as long as it is there.
    pub stale_until: Option<DateTime<Utc>>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// An entry as found, fresh or expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// What was put, with the times of the last put or [`extend`](ResponseCache::extend).
    pub entry: NewCacheEntry,
}

/// The store's tier of the response cache.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait ResponseCache: Send + Sync {
    /// The first entry under any of `keys`, which are one request under each key of the ring.
    ///
    /// MUST answer expired entries too: whether they may be served is for the caller to say. MUST
    /// NOT answer one of another integration or credential generation.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn find(&self, keys: &[CacheKey]) -> Result<Option<CacheEntry>, StoreError>;

    /// Puts an entry in place of one with the same integration and digest.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; the old entry stands then.
    async fn put(&self, entry: &NewCacheEntry) -> Result<(), StoreError>;

    /// Moves the expiry of an entry the other side says is still valid; `false` when it is gone.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn extend(
        &self,
        key: &CacheKey,
        expires_at: DateTime<Utc>,
        stale_until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError>;

    /// Drops every entry of an integration; how many there were.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn clear(&self, integration_id: IntegrationId) -> Result<u64, StoreError>;
}
