//! The store's tier: finding, opening, sealing and putting entries. Nothing here fails a call.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use http::{StatusCode, header};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

use super::{entry::Entry, request::LocalKey, stored};
use crate::{
    cache::{CacheKey, CachedAnswer, NewCacheEntry},
    client::{Answer, Shared, connection::Connection},
    encryptor::{SealContext, SealedColumn, secret_bytes},
    entropy::EntropyExt as _,
    id::Uid,
    store::StoreError,
    time::later,
    value::cut_chars,
};

/// The largest body that is kept.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// How long an answer that may be served stale is kept behind its time.
const KEPT_STALE: Duration = Duration::from_hours(7 * 24);

/// What a call asks the store's tier for and puts there.
pub(super) struct Place<'a> {
    pub(super) shared: &'a Shared,
    pub(super) connection: &'a Connection,
    /// What it may be stored under, the one to store under first.
    keys: Vec<CacheKey>,
}

impl<'a> Place<'a> {
    /// Where the answer to a request is; `None` where the keys do not say.
    pub(super) async fn of(
        shared: &'a Shared,
        connection: &'a Connection,
        key: &LocalKey,
    ) -> Option<Self> {
        match key.stored(&*shared.keys.encryptor).await {
            Ok(keys) if !keys.is_empty() => Some(Self {
                shared,
                connection,
                keys,
            }),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "the response cache cannot be used");
                None
            }
        }
    }

    /// What is there, fresh or not.
    pub(super) async fn find(&self) -> Option<Entry> {
        let found = guarded("looked up", self.shared.ports.cache.find(&self.keys)).await?;
        let found = found?.entry;
        let text = match &found.answer {
            CachedAnswer::Plain(text) => SecretString::from(text.as_str()),
            CachedAnswer::Sealed(sealed) => {
                let context = self.context(found.uid);
                let opened = self.shared.keys.encryptor.open(&context, sealed).await;
                let opened = opened.map_err(|error| {
                    tracing::warn!(%error, "a cached answer does not open");
                });
                SecretString::from(std::str::from_utf8(opened.ok()?.expose_secret()).ok()?)
            }
        };
        let (headers, body) = stored::read(text.expose_secret())?;
        Some(Entry {
            status: StatusCode::from_u16(found.status_code).ok()?,
            headers,
            body,
            key: found.key,
            request_id: found.request_id,
            since: found.now,
            expires_at: found.expires_at,
            stale_until: found.stale_until,
        })
    }

    /// Makes an entry of an answer and puts it into the store; `None` where it is none to keep.
    pub(super) async fn put(
        &self,
        answer: &Answer,
        method: &str,
        endpoint: &str,
        ttl: Duration,
        serve_stale: bool,
    ) -> Option<Entry> {
        let whole = answer.status.is_success() && answer.status != StatusCode::PARTIAL_CONTENT;
        if !whole || answer.body.len() > MAX_BODY {
            return None;
        }
        let now = self.shared.ports.clock.now();
        // Counted from when the answer came: attempts before it take nothing of its time (RC-09).
        let expires_at = later(now, ttl);
        let entry = Entry {
            key: self.keys.first()?.clone(),
            status: answer.status,
            headers: stored::kept_headers(&answer.headers),
            body: answer.body.clone(),
            request_id: answer.request_id,
            since: now,
            expires_at,
            stale_until: serve_stale.then(|| later(expires_at, KEPT_STALE)),
        };
        let new = self.stored_form(&entry, method, endpoint).await?;
        guarded("filled", self.shared.ports.cache.put(&new)).await;
        Some(entry)
    }

    /// The entry with its time begun anew, as the other side says it is the same still.
    pub(super) async fn extend(&self, entry: &Entry, ttl: Duration, serve_stale: bool) -> Entry {
        let now = self.shared.ports.clock.now();
        // A caller who takes only young answers takes nothing away from others.
        let expires_at = later(now, ttl).max(entry.expires_at);
        let stale_until = if serve_stale {
            Some(later(expires_at, KEPT_STALE))
        } else {
            entry.stale_until
        };
        let cache = &self.shared.ports.cache;
        let extend = cache.extend(&entry.key, expires_at, stale_until, now);
        // Where it is gone from the store, the next process asks again.
        guarded("extended", extend).await;
        Entry {
            since: now,
            expires_at,
            stale_until,
            ..entry.clone()
        }
    }

    async fn stored_form(
        &self,
        entry: &Entry,
        method: &str,
        endpoint: &str,
    ) -> Option<NewCacheEntry> {
        let text = stored::write(&entry.headers, &entry.body)?;
        let uid = self.shared.keys.entropy.uid().ok()?;
        let answer = if self.holds_secrets(entry, &text) {
            let secret: SecretSlice<u8> = secret_bytes(&SecretString::from(text));
            let encryptor = &self.shared.keys.encryptor;
            let sealed = encryptor.seal(&self.context(uid), &secret).await;
            CachedAnswer::Sealed(
                sealed
                    .inspect_err(|error| tracing::warn!(%error, "an answer could not be sealed"))
                    .ok()?,
            )
        } else {
            CachedAnswer::Plain(text)
        };
        Some(NewCacheEntry {
            uid,
            key: entry.key.clone(),
            method: cut_chars(method, 10).to_owned(),
            endpoint: cut_chars(endpoint, 255).replace('\0', "\u{fffd}"),
            request_id: entry.request_id,
            status_code: entry.status.as_u16(),
            answer,
            etag: entry.header(&header::ETAG),
            last_modified: entry.header(&header::LAST_MODIFIED),
            expires_at: entry.expires_at,
            stale_until: entry.stale_until,
            now: entry.since,
        })
    }

    /// Whether the answer is one the log would not show whole: it is sealed then.
    fn holds_secrets(&self, entry: &Entry, text: &str) -> bool {
        let redactor = &self.connection.redactor;
        if self.connection.registered.provider.redaction().is_some() || redactor.text(text) != text
        {
            return true;
        }
        let Ok(body) = std::str::from_utf8(&entry.body) else {
            return true;
        };
        let kind = entry.header(&header::CONTENT_TYPE);
        redactor.body(body, kind.as_deref()).as_deref() != Some(body)
    }

    fn context(&self, uid: Uid) -> SealContext {
        SealContext {
            column: SealedColumn::CachedAnswer,
            uid,
            provider: self.connection.integration.provider.clone(),
        }
    }
}

/// What a store answers, where it does: one that fails or panics is passed over.
async fn guarded<T>(what: &str, work: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the response cache could not be {what}");
            None
        }
        Err(_panic) => {
            tracing::warn!("the response cache could not be {what}: the store panicked");
            None
        }
    }
}

impl super::Cache {
    /// Keeps an entry in the process.
    pub(super) fn remember(&self, key: LocalKey, entry: Entry) -> Arc<Entry> {
        let size = entry.size();
        let entry = Arc::new(entry);
        self.memory().insert(key, Arc::clone(&entry), size);
        entry
    }
}
