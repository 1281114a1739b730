//! A call through the cache.

use std::{borrow::Cow, sync::Arc};

use chrono::{DateTime, Utc};
use http::{Method, StatusCode};

use super::{
    CachePolicy,
    entry::Entry,
    flight::{Boarding, Flight, Landed},
    request::{self, Asked, LocalKey},
    tier::Place,
};
use crate::{
    client::{
        Answer, AnswerSource, CallError, CallErrorKind, IntegrationHandle, attempt::Outgoing,
        connection::Connection, pipeline::CallOptions,
    },
    request::FailureClass,
    time::later,
};

impl IntegrationHandle {
    /// Makes a call that an answer from before may serve.
    pub(in crate::client) async fn cached_call(
        &self,
        connection: &Arc<Connection>,
        outgoing: Outgoing,
        options: &CallOptions,
        policy: CachePolicy,
    ) -> Result<Answer, CallError> {
        if !request::is_cacheable(&outgoing.headers) {
            return self.live_call(connection, outgoing, options).await;
        }
        let asked = Asked {
            integration_id: connection.integration.id,
            credentials_generation: connection.integration.credentials_generation,
            method: &outgoing.method,
            endpoint: &outgoing.target.label,
            uri: &outgoing.target.uri,
            headers: &outgoing.headers,
            body: &outgoing.body,
        };
        let key = asked.local_key(&asked.canonical());
        let through = Through {
            handle: self,
            connection,
            options,
            policy,
            key,
            asked_at: self.shared.ports.clock.now(),
        };
        through.run(outgoing).await
    }
}

/// One call on its way through the cache.
struct Through<'a> {
    handle: &'a IntegrationHandle,
    connection: &'a Arc<Connection>,
    options: &'a CallOptions,
    policy: CachePolicy,
    key: LocalKey,
    asked_at: DateTime<Utc>,
}

impl Through<'_> {
    async fn run(&self, outgoing: Outgoing) -> Result<Answer, CallError> {
        loop {
            if let Some(answer) = self.fresh_here() {
                return Ok(answer);
            }
            match self.board().await? {
                Boarding::Go(flight) => return self.go(outgoing, Some(flight)).await,
                // A failure is not shared: everybody asks, as they would without a cache.
                Boarding::Landed(Landed::NotKept) => return self.go(outgoing, None).await,
                Boarding::Landed(Landed::Kept) => {
                    // What came may be older than this call takes it.
                    return match self.fresh_here() {
                        Some(answer) => Ok(answer),
                        None => self.go(outgoing, None).await,
                    };
                }
                Boarding::Landed(Landed::Abandoned) => {}
            }
        }
    }

    /// Waits for whoever asks the same, not beyond the call's own deadline.
    async fn board(&self) -> Result<Boarding<'_, LocalKey>, CallError> {
        let shared = &self.handle.shared;
        let boarding = shared.cache.flights.board(&self.key);
        let Some(deadline) = self.options.deadline else {
            return Ok(boarding.await);
        };
        let clock = &shared.ports.clock;
        let at = later(self.asked_at, deadline);
        let (boarding, passed) = (std::pin::pin!(boarding), clock.sleep_until(at));
        match futures::future::select(boarding, passed).await {
            futures::future::Either::Left((boarding, _)) => Ok(boarding),
            futures::future::Either::Right(_) => {
                let message = "the call's deadline passed while the same was asked already";
                Err(CallError::new(CallErrorKind::Deadline, message))
            }
        }
    }

    /// A fresh entry of this process.
    fn fresh_here(&self) -> Option<Answer> {
        if self.policy.refresh {
            return None;
        }
        let shared = &self.handle.shared;
        let entry = shared.cache.memory().get(&self.key)?;
        let now = shared.ports.clock.now();
        let fresh = entry.is_fresh(self.policy.ttl, now);
        fresh.then(|| self.serve(&entry, AnswerSource::Cached))
    }

    /// Counts a hit and makes the answer of it.
    fn serve(&self, entry: &Entry, source: AnswerSource) -> Answer {
        let hits = &self.handle.shared.cache.hits;
        hits.count(entry.request_id, source == AnswerSource::Stale);
        entry.answer(source)
    }

    /// Asks the store, and the other side where the store has nothing that is good still.
    async fn go(
        &self,
        outgoing: Outgoing,
        flight: Option<Flight<'_, LocalKey>>,
    ) -> Result<Answer, CallError> {
        let shared = &*self.handle.shared;
        let land = |how| {
            if let Some(flight) = flight {
                flight.land(how);
            }
        };
        let Some(place) = Place::of(shared, self.connection, &self.key).await else {
            let answer = self.live(outgoing, None).await;
            land(Landed::NotKept);
            return answer;
        };
        let there = if self.policy.refresh {
            None
        } else {
            // Where the store is away, what is here may do in its place.
            let here = || shared.cache.memory().get(&self.key);
            let found = place.find().await;
            found.or_else(|| here().map(|entry| Entry::clone(&entry)))
        };
        if let Some(entry) = &there
            && entry.is_fresh(self.policy.ttl, shared.ports.clock.now())
        {
            let entry = shared.cache.remember(self.key, entry.clone());
            land(Landed::Kept);
            return Ok(self.serve(&entry, AnswerSource::Cached));
        }
        let (method, endpoint) = (outgoing.method.clone(), outgoing.target.label.clone());
        let CachePolicy {
            ttl, serve_stale, ..
        } = self.policy;
        match (self.live(outgoing, there.as_ref()).await, there) {
            (Ok(answer), Some(entry)) if answer.status == StatusCode::NOT_MODIFIED => {
                let entry = place.extend(&entry, ttl, serve_stale).await;
                let entry = shared.cache.remember(self.key, entry);
                land(Landed::Kept);
                let mut served = self.serve(&entry, AnswerSource::Revalidated);
                served.request_id = answer.request_id;
                Ok(served)
            }
            (Ok(answer), _) => {
                let kept = if answer.source == AnswerSource::Live {
                    let put = place.put(&answer, method.as_str(), &endpoint, ttl, serve_stale);
                    put.await
                } else {
                    None
                };
                land(match kept {
                    Some(entry) => {
                        shared.cache.remember(self.key, entry);
                        Landed::Kept
                    }
                    None => Landed::NotKept,
                });
                Ok(answer)
            }
            (Err(error), there) => {
                land(Landed::NotKept);
                let now = shared.ports.clock.now();
                let stale = there.filter(|entry| entry.may_be_stale(now));
                match stale {
                    Some(entry) if serve_stale && self.stale_does(&error) => {
                        Ok(self.serve(&entry, AnswerSource::Stale))
                    }
                    _ => Err(error),
                }
            }
        }
    }

    /// Asks the other side, on condition that what is there is not the same still.
    async fn live(
        &self,
        mut outgoing: Outgoing,
        there: Option<&Entry>,
    ) -> Result<Answer, CallError> {
        let asks = matches!(outgoing.method, Method::GET | Method::HEAD);
        if asks
            && self.options.key.is_none()
            && let Some(conditions) = there.and_then(Entry::conditions)
        {
            outgoing.headers.extend(conditions);
        }
        let left = self.options_left();
        let live = self.handle.live_call(self.connection, outgoing, &left);
        live.await
    }

    /// The call's options, with what is left of its deadline behind the wait for others (INV-15).
    fn options_left(&self) -> Cow<'_, CallOptions> {
        let Some(deadline) = self.options.deadline else {
            return Cow::Borrowed(self.options);
        };
        let waited = self.handle.shared.ports.clock.now() - self.asked_at;
        let waited = waited.to_std().unwrap_or_default();
        Cow::Owned(CallOptions {
            deadline: Some(deadline.saturating_sub(waited)),
            ..self.options.clone()
        })
    }

    /// Whether an older answer does in place of this failure: the other side could not be asked,
    /// or could not say. What it did say about the thing itself stands, and so does whatever
    /// concerns a key.
    fn stale_does(&self, error: &CallError) -> bool {
        if self.options.key.is_some() {
            return false;
        }
        match error.kind() {
            CallErrorKind::Failed(FailureClass::Client) => {
                let status = error.answer().map(|answer| answer.status.as_u16());
                !matches!(status, Some(401 | 403 | 404 | 410))
            }
            CallErrorKind::Failed(_)
            | CallErrorKind::Transport { .. }
            | CallErrorKind::CircuitOpen { .. }
            | CallErrorKind::RateLimited
            | CallErrorKind::Deadline
            | CallErrorKind::Store => true,
            _ => false,
        }
    }
}
