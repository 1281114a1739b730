//! What the twin was asked, and in which order.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header, request::Parts};
use tokio::sync::watch;

use super::auth::{self, TokenDigest};

/// A request the twin received. Holds no credentials, only a digest to compare them by.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// The method.
    pub method: Method,
    /// The path, under `/repos/{owner}/{repo}` also where it was sent as `/repositories/{id}`.
    pub path: String,
    /// The query as sent, without the question mark.
    pub query: Option<String>,
    /// The headers, without `Authorization` and `Cookie`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Whether there was an `Authorization` header.
    pub authorized: bool,
    /// Where its arrival stands in the order of all arrivals and endings.
    pub started: u64,
    /// Where its ending stands in that order; `None` while it is being answered.
    pub ended: Option<u64>,
    /// The status of the answer; `None` while there is none, and when the connection was cut.
    pub status: Option<StatusCode>,
    token: Option<TokenDigest>,
}

impl ReceivedRequest {
    /// Whether the request carried this token.
    #[must_use]
    pub fn carried_token(&self, token: &str) -> bool {
        self.token
            .is_some_and(|sent| sent == auth::token_digest(token))
    }

    /// Whether the two were being answered at the same time.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let before = |a: &Self, b: &Self| a.ended.is_some_and(|ended| ended < b.started);
        !before(self, other) && !before(other, self)
    }
}

/// The most of these requests that were being answered at one time.
pub(super) fn max_concurrent<'a>(requests: impl Iterator<Item = &'a ReceivedRequest>) -> usize {
    let requests: Vec<_> = requests.collect();
    // The largest number is reached when some request arrives.
    let running_at = |at: u64| {
        requests
            .iter()
            .filter(|request| request.started <= at && request.ended.is_none_or(|ended| ended > at))
            .count()
    };
    requests
        .iter()
        .map(|request| running_at(request.started))
        .max()
        .unwrap_or(0)
}

#[derive(Debug, Default)]
struct Entries {
    requests: Vec<ReceivedRequest>,
    sequence: u64,
}

impl Entries {
    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

/// The requests in order of arrival.
#[derive(Debug)]
pub(super) struct Log {
    entries: Mutex<Entries>,
    arrived: watch::Sender<usize>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            entries: Mutex::default(),
            arrived: watch::Sender::new(0),
        }
    }

    /// Notes an arrival. The request ends when the answer to this is dropped.
    pub(super) fn begin(&self, head: &Parts, body: Bytes) -> Entry<'_> {
        let mut headers = head.headers.clone();
        let authorized = headers.remove(header::AUTHORIZATION).is_some();
        headers.remove(header::COOKIE);
        let started = {
            let mut entries = self.lock();
            let started = entries.next();
            entries.requests.push(ReceivedRequest {
                method: head.method.clone(),
                path: head.uri.path().to_owned(),
                query: head.uri.query().map(str::to_owned),
                headers,
                body,
                authorized,
                started,
                ended: None,
                status: None,
                token: auth::sent_token(&head.headers),
            });
            started
        };
        self.arrived.send_modify(|count| *count += 1);
        Entry {
            log: self,
            started,
            status: None,
        }
    }

    pub(super) fn entries(&self) -> Vec<ReceivedRequest> {
        self.lock().requests.clone()
    }

    pub(super) fn clear(&self) {
        self.lock()
            .requests
            .retain(|request| request.ended.is_none());
    }

    pub(super) async fn wait_for(&self, count: usize) {
        let mut arrivals = self.arrived.subscribe();
        // The sender lives in `self`, so that waiting cannot fail.
        let _arrived = arrivals.wait_for(|arrived| *arrived >= count).await;
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    log: &'a Log,
    started: u64,
    status: Option<StatusCode>,
}

impl Entry<'_> {
    pub(super) fn answered(mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut entries = self.log.lock();
        let ended = entries.next();
        if let Some(request) = entries
            .requests
            .iter_mut()
            .rev()
            .find(|r| r.started == self.started)
        {
            request.ended = Some(ended);
            request.status = self.status;
        }
    }
}
