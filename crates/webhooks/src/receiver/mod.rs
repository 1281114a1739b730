//! Receiving: limit, verify, store, answer, in this order.

mod accounts;
mod answer;
mod builder;
mod headers;
mod identify;
mod intake;
mod metrics;
mod route;
mod writer;

use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response};
use integrations_core::{
    batch::{NotWritten, SharedWrites},
    client::IntegrationClient,
    event::{Event, EventKind},
    provider::{Registered, WebhookSource},
    value::ProviderKey,
    wake::WakeChannel,
    webhook::{Handshake, Inbound, Received, SignatureScheme},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::{
    accounts::Accounts,
    builder::OrderBy,
    identify::{Identified, NotIdentified},
    intake::Genuine,
    metrics::Counters,
    writer::{Entry, NotStored},
};
use crate::schemes::Refusal;

#[cfg_attr(
    not(feature = "axum"),
    expect(unused_imports, reason = "the router answers too")
)]
pub(crate) use answer::Answer;
pub use builder::{Limits, ReceiverBuilder};
pub use metrics::{Held, Metrics};
pub use route::Route;

/// Takes deliveries: cheap to clone, and safe to share.
///
/// A delivery is answered with 2xx only once it is on disk. Deliveries that come at the same time
/// share a commit; one that comes alone waits for nobody.
#[derive(Clone)]
pub struct Receiver {
    inner: Arc<Inner>,
}

struct Inner {
    client: IntegrationClient,
    accounts: Accounts,
    writer: SharedWrites<Entry, Result<Received, NotStored>>,
    limits: Limits,
    keep: Vec<HeaderName>,
    orders: HashMap<ProviderKey, OrderBy>,
    prefix: String,
    /// Bytes of bodies that may be in memory.
    bytes: Arc<Semaphore>,
    /// Deliveries that may be verified at the same time.
    unverified: Semaphore,
    counters: Counters,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("limits", &self.inner.limits)
            .field("prefix", &self.inner.prefix)
            .finish_non_exhaustive()
    }
}

/// Room for the bytes of a body, given back when it is dropped.
pub(crate) struct Room(OwnedSemaphorePermit);

impl Room {
    /// Room for what both have room for.
    #[cfg_attr(
        not(feature = "axum"),
        expect(dead_code, reason = "bodies are read by the router")
    )]
    pub(crate) fn join(&mut self, other: Self) {
        self.0.merge(other.0);
    }
}

impl Receiver {
    /// Begins a receiver for the providers and the store of `client`.
    pub fn builder(client: &IntegrationClient) -> ReceiverBuilder {
        ReceiverBuilder::new(client.clone())
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// What the paths of its routes begin with, `/integrations` for instance.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.inner.prefix
    }

    /// What it counted so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let Inner {
            limits,
            bytes,
            unverified,
            writer,
            counters,
            ..
        } = &*self.inner;
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let taken =
            |of: usize, left: &Semaphore| count(of.saturating_sub(left.available_permits()));
        let held = Held {
            bytes: taken(limits.bytes_under_way, bytes),
            unverified: taken(limits.unverified, unverified),
            waiting: count(writer.waiting()),
        };
        let bounds = Held {
            bytes: count(limits.bytes_under_way),
            unverified: count(limits.unverified),
            waiting: count(limits.queue),
        };
        counters.read(writer.batches(), held, bounds)
    }

    /// Takes a request to a webhook's route, and answers it.
    ///
    /// The body is already in memory here, so whoever reads it should stop at
    /// [`Limits::max_payload_bytes`], as the axum router does.
    ///
    /// Cancel safe: a delivery that was handed to the store is stored, whether or not somebody
    /// waits for the answer.
    pub async fn receive(
        &self,
        route: &Route,
        request: Request<Bytes>,
        remote_addr: Option<IpAddr>,
    ) -> Response<Bytes> {
        let size = request.body().len();
        if size > self.inner.limits.max_payload_bytes {
            return self.answered(Answer::TooLarge);
        }
        match self.room_for(size) {
            Some(room) => {
                self.receive_within(room, route, &request, remote_addr)
                    .await
            }
            None => self.answered(Answer::Busy),
        }
    }

    /// Waits until what was taken is stored, and takes no more.
    pub async fn shutdown(&self) {
        self.inner.writer.shutdown().await;
    }

    /// Room for a body of this size, if there is.
    pub(crate) fn room_for(&self, bytes: usize) -> Option<Room> {
        let permits = u32::try_from(bytes).ok()?;
        let room = Arc::clone(&self.inner.bytes).try_acquire_many_owned(permits);
        room.ok().map(Room)
    }

    /// Counts an answer, and makes it a response.
    pub(crate) fn answered(&self, answer: Answer) -> Response<Bytes> {
        self.inner.counters.answered(&answer);
        answer.into_response()
    }

    /// Takes a request whose body has room.
    pub(crate) async fn receive_within(
        &self,
        room: Room,
        route: &Route,
        request: &Request<Bytes>,
        remote_addr: Option<IpAddr>,
    ) -> Response<Bytes> {
        let answer = self.inner.decide(room, route, request, remote_addr).await;
        self.answered(answer)
    }
}

/// A provider that sends webhooks.
pub(super) struct Sender<'a> {
    key: &'a ProviderKey,
    registered: &'a Registered,
    source: &'a dyn WebhookSource,
}

impl Inner {
    async fn decide(
        &self,
        room: Room,
        route: &Route,
        request: &Request<Bytes>,
        remote_addr: Option<IpAddr>,
    ) -> Answer {
        let Some(sender) = self.sender(&route.provider) else {
            return Answer::NotFound;
        };
        if !matches!(*request.method(), Method::GET | Method::POST) {
            return Answer::MethodNotAllowed;
        }
        let inbound = Inbound {
            method: request.method(),
            path: request.uri().path(),
            query: request.uri().query(),
            headers: request.headers(),
            body: request.body(),
        };
        let handshake = sender.source.handshake(&inbound);
        if let Some(Handshake::Open(challenge)) = handshake {
            return Answer::Challenge(challenge);
        }
        let identified = {
            let Ok(_turn) = self.unverified.try_acquire() else {
                return Answer::Busy;
            };
            match handshake {
                Some(Handshake::Token { token, answer }) => {
                    return match self.shows_secret(&sender, route, &token).await {
                        Ok(()) => Answer::Challenge(answer),
                        Err(error) => self.not_identified(&sender, route, &error),
                    };
                }
                _ => self.identify(&sender, route, &inbound).await,
            }
        };
        let identified = match identified {
            Ok(identified) => identified,
            Err(error) => return self.not_identified(&sender, route, &error),
        };
        if identified.is_switched_off() {
            return Answer::Gone;
        }
        if let Some(challenge) = sender.source.challenge(identified.scheme(), &inbound) {
            return Answer::Challenge(challenge);
        }
        self.store(room, &sender, identified, inbound, remote_addr)
            .await
    }

    /// The provider of a path, if it sends webhooks.
    fn sender(&self, provider: &str) -> Option<Sender<'_>> {
        let key = ProviderKey::new(provider).ok()?;
        let (key, registered) = self
            .client
            .providers()
            .iter()
            .find(|(known, _)| **known == key)?;
        let source = registered.provider.webhook_source()?;
        Some(Sender {
            key,
            registered,
            source,
        })
    }

    /// Refuses, telling why here and nowhere else.
    fn not_identified(&self, sender: &Sender<'_>, route: &Route, error: &NotIdentified) -> Answer {
        match error {
            NotIdentified::Refused(refusal) => {
                self.counters.refused(*refusal);
                self.log_refusal(sender, route, *refusal);
                Answer::Unauthorized
            }
            NotIdentified::ForNow(reason) => {
                tracing::error!(provider = %sender.key, %reason, "a webhook could not be verified");
                Answer::Unavailable
            }
        }
    }

    #[expect(clippy::unused_self, reason = "beside the counters, which need it")]
    fn log_refusal(&self, sender: &Sender<'_>, route: &Route, refusal: Refusal) {
        let (provider, reason) = (sender.key, refusal.reason());
        let own_route = route.integration.is_some();
        if refusal.is_ours() {
            tracing::warn!(%provider, own_route, reason, %refusal, "a webhook was refused");
        } else {
            tracing::info!(%provider, own_route, reason, %refusal, "a webhook was refused");
        }
    }

    async fn store(
        &self,
        room: Room,
        sender: &Sender<'_>,
        identified: Identified<'_>,
        request: Inbound<'_>,
        remote_addr: Option<IpAddr>,
    ) -> Answer {
        let is_paused = identified.is_paused();
        let integration_id = identified.integration_id();
        let scheme: SignatureScheme = identified.scheme().clone();
        let redactor = identified.redactor(&self.client, sender);
        let genuine = Genuine {
            provider: sender.key,
            source: sender.source,
            scheme: &scheme,
            redactor: &redactor,
            integration_id,
            request,
            verified: identified.verified,
            remote_addr,
            is_paused,
            order: self.orders.get(sender.key),
        };
        let new = match genuine.prepare(&self.client, &self.keep).await {
            Ok(new) => new,
            Err(error) => {
                tracing::error!(provider = %sender.key, %error, "a webhook could not be stored");
                return Answer::Unavailable;
            }
        };
        let event_type = new.event_type.clone();
        match self.writer.try_write(Entry { new, room }).await {
            Ok(Ok(Received::New(webhook_id))) => {
                self.client.emit(Event {
                    at: self.client.ports().clock.now(),
                    integration_id,
                    kind: EventKind::WebhookReceived {
                        webhook_id,
                        event_type,
                    },
                });
                if is_paused {
                    return Answer::Parked;
                }
                self.client.ports().wake.ring(WakeChannel::Webhooks);
                Answer::Queued
            }
            Ok(Ok(Received::Duplicate { requeued, .. })) => {
                if requeued {
                    self.client.ports().wake.ring(WakeChannel::Webhooks);
                }
                Answer::Duplicate
            }
            Ok(Err(error)) => {
                tracing::error!(provider = %sender.key, %error, "a webhook could not be stored");
                Answer::Unavailable
            }
            Err(NotWritten::Full) => Answer::Unavailable,
            Err(error) => {
                tracing::error!(provider = %sender.key, %error, "a webhook could not be stored");
                Answer::Unavailable
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use integrations_providers::github::Github;
    use integrations_testkit::harness::Harness;

    use super::*;

    // W-WH-12
    #[tokio::test]
    async fn unverified_work_is_limited() {
        let harness = Harness::new(Github::default());
        let receiver = Receiver::builder(&harness.client)
            .limits(|limits| limits.unverified = 1)
            .build();
        let route = Route::provider("github");
        let post = || Request::post("/").body(Bytes::from_static(b"{}")).unwrap();
        let turn = receiver.inner.unverified.try_acquire().unwrap();
        let metrics = receiver.metrics();
        assert_eq!((metrics.held.unverified, metrics.bounds.unverified), (1, 1));
        let answer = receiver.receive(&route, post(), None).await;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(answer.headers().contains_key(http::header::RETRY_AFTER));
        assert_eq!(receiver.metrics().busy, 1);
        drop(turn);
        let answer = receiver.receive(&route, post(), None).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn a_body_has_its_room_back_once_it_is_written() {
        let harness = Harness::new(Github::default());
        let receiver = Receiver::builder(&harness.client).build();
        let credentials = [("token", "ghp_x"), ("webhook_secret", "s")];
        let metadata = [("owner", "octo"), ("repo", "hello")];
        let own = harness.install("github", None, &credentials, &metadata);
        let route = Route::integration("github", own.await.uid.to_string());
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"s");
        let tag = hex::encode(ring::hmac::sign(&key, b"{}"));
        let request = Request::post("/")
            .header("x-hub-signature-256", format!("sha256={tag}"))
            .body(Bytes::from_static(b"{}"))
            .unwrap();
        let answer = receiver.receive(&route, request, None).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        assert_eq!(receiver.metrics().held.bytes, 0);
        assert_eq!(receiver.metrics().in_batches, 1);
    }
}
