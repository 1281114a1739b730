//! An entry of the cache, opened.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    cache::CacheKey,
    client::{Answer, AnswerSource},
    id::RequestId,
    time::later,
};

/// An answer that was kept, and how long it is good.
#[derive(Clone)]
pub(super) struct Entry {
    /// What it is stored under.
    pub(super) key: CacheKey,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The row of the request that brought it.
    pub(super) request_id: Option<RequestId>,
    /// When it came, or was last found to be the same still.
    pub(super) since: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) stale_until: Option<DateTime<Utc>>,
}

impl Entry {
    /// Whether it answers a caller who takes answers of at most this age.
    pub(super) fn is_fresh(&self, ttl: Duration, now: DateTime<Utc>) -> bool {
        now < self.expires_at && now < later(self.since, ttl)
    }

    /// Whether it may be served where the other side cannot be asked.
    pub(super) fn may_be_stale(&self, now: DateTime<Utc>) -> bool {
        self.stale_until.is_none_or(|until| now < until)
    }

    /// The conditions under which the other side need not send it again.
    pub(super) fn conditions(&self) -> Option<HeaderMap> {
        let pairs = [
            (header::IF_NONE_MATCH, self.headers.get(header::ETAG)),
            (
                header::IF_MODIFIED_SINCE,
                self.headers.get(header::LAST_MODIFIED),
            ),
        ];
        let mut conditions = HeaderMap::new();
        for (name, value) in pairs {
            if let Some(value) = value {
                conditions.insert(name, value.clone());
            }
        }
        (!conditions.is_empty()).then_some(conditions)
    }

    /// A header as text.
    pub(super) fn header(&self, name: &header::HeaderName) -> Option<String> {
        let value = self.headers.get(name).map(HeaderValue::to_str)?;
        value.ok().map(str::to_owned)
    }

    /// Bytes it takes up, about.
    pub(super) fn size(&self) -> usize {
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(n, v)| n.as_str().len() + v.len() + 64).sum();
        self.body.len() + headers + size_of::<Self>() + 128
    }

    /// The answer for a caller.
    pub(super) fn answer(&self, source: AnswerSource) -> Answer {
        Answer {
            status: self.status,
            headers: self.headers.clone(),
            body: self.body.clone(),
            request_id: self.request_id,
            source,
        }
    }
}
