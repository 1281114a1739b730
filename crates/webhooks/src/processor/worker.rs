//! The worker: what it holds, and what it does next.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use integrations_core::{
    encryptor::EncryptionError,
    entropy::EntropyExt as _,
    id::{IntegrationId, Uid, WebhookId},
    store::{StoreError, StoreErrorKind},
    time::later,
    wake::WakeChannel,
    webhook::{Webhook, WebhookClaim},
};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use super::{Delivery, HandlerError, Shared};

/// How many parked and abandoned deliveries are looked after at a time.
const RECOVERED: u32 = 1000;

/// A delivery under way.
struct UnderWay {
    token: Uid,
    integration: Option<IntegrationId>,
    abort: AbortHandle,
}

/// What a worker holds.
#[derive(Default)]
struct Held {
    running: JoinSet<WebhookId>,
    under_way: HashMap<WebhookId, UnderWay>,
    renew_at: Option<DateTime<Utc>>,
}

impl Held {
    fn count(&self) -> u32 {
        u32::try_from(self.under_way.len()).unwrap_or(u32::MAX)
    }

    /// Integrations of which more than so many are under way.
    fn with_more_than(&self, limit: u32) -> Vec<Option<IntegrationId>> {
        let mut counts: HashMap<Option<IntegrationId>, u32> = HashMap::new();
        for one in self.under_way.values() {
            *counts.entry(one.integration).or_default() += 1;
        }
        let full = counts.into_iter().filter(|(_, count)| *count > limit);
        full.map(|(id, _)| id).collect()
    }

    fn ended(&mut self, joined: Result<WebhookId, tokio::task::JoinError>) {
        match joined {
            Ok(id) => drop(self.under_way.remove(&id)),
            // Aborted, or a panic outside of the handler: found by its task.
            Err(error) => {
                if error.is_panic() {
                    tracing::error!("a task that processes a webhook panicked");
                }
                let task = error.id();
                self.under_way.retain(|_, one| one.abort.id() != task);
            }
        }
    }
}

impl Shared {
    /// Works until it is told to stop, then drains.
    pub(super) async fn work(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let clock = Arc::clone(&self.client.ports().clock);
        let mut bell = self.client.ports().wake.listen(WakeChannel::Webhooks);
        let mut held = Held::default();
        let mut recover_at = clock.now();
        while !*stopping.borrow() {
            if clock.now() >= recover_at {
                self.recover().await;
                recover_at = later(clock.now(), self.policy.recover_every);
            }
            // A worker that got all it asked for looks again at once.
            let more = match self.claim(&mut held).await {
                Ok(claimed) => claimed > 0 && held.count() < self.policy.concurrency,
                Err(error) => {
                    tracing::error!(%error, "webhooks cannot be claimed");
                    false
                }
            };
            if more {
                continue;
            }
            let next_look = later(clock.now(), self.policy.poll);
            let wait_until = held.renew_at.map_or(next_look, |at| at.min(next_look));
            tokio::select! {
                Some(joined) = held.running.join_next() => held.ended(joined),
                () = bell.rung(), if held.count() < self.policy.concurrency => {}
                () = clock.sleep_until(wait_until) => {}
                _ = stopping.changed() => {}
            }
            self.renew(&mut held).await;
        }
        self.drain(held).await;
    }

    pub(super) async fn run_until_idle(self: &Arc<Self>) -> Result<u64, StoreError> {
        let clock = &self.client.ports().clock;
        let mut held = Held::default();
        let mut attempts: u64 = 0;
        self.recover().await;
        loop {
            let claimed = self.claim(&mut held).await?;
            attempts = attempts.saturating_add(u64::from(claimed));
            if claimed > 0 && held.count() < self.policy.concurrency {
                continue;
            }
            let Some(renew_at) = held.renew_at.filter(|_| !held.under_way.is_empty()) else {
                return Ok(attempts);
            };
            tokio::select! {
                Some(joined) = held.running.join_next() => held.ended(joined),
                () = clock.sleep_until(renew_at) => {}
            }
            self.renew(&mut held).await;
        }
    }

    /// Claims what there is room for, and begins it; how many.
    async fn claim(self: &Arc<Self>, held: &mut Held) -> Result<u32, StoreError> {
        let ports = self.client.ports();
        let now = ports.clock.now();
        let token = self
            .client
            .keys()
            .entropy
            .uid()
            .map_err(|error| StoreError::new(StoreErrorKind::Unavailable, error.to_string()))?;
        // Only who has half of its share or less may have the other half: so nobody gets too much.
        let half = self.policy.per_integration / 2;
        let claim = WebhookClaim {
            providers: self.handlers.providers(),
            except: held.with_more_than(half),
            limit: self.policy.concurrency.saturating_sub(held.count()),
            per_integration: self.policy.per_integration.max(1) - half,
            token,
            lease_until: later(now, self.policy.lease),
            now,
        };
        if claim.limit == 0 || claim.providers.is_empty() {
            return Ok(0);
        }
        let claimed = ports.inbox.claim(&claim).await?;
        let count = u32::try_from(claimed.len()).unwrap_or(u32::MAX);
        if count > 0 && held.renew_at.is_none() {
            held.renew_at = Some(self.next_renewal(now));
        }
        for webhook in claimed {
            self.begin(held, webhook, token);
        }
        Ok(count)
    }

    fn begin(self: &Arc<Self>, held: &mut Held, webhook: Webhook, token: Uid) {
        let (id, integration) = (webhook.id, webhook.delivery.integration_id);
        let shared = Arc::clone(self);
        let abort = held.running.spawn(async move {
            shared.process(webhook, token).await;
            id
        });
        let under_way = UnderWay {
            token,
            integration,
            abort,
        };
        held.under_way.insert(id, under_way);
    }

    async fn process(&self, webhook: Webhook, token: Uid) {
        let (delivery, sealed) = Delivery::open(&self.client, webhook, token).await;
        let ended = match sealed {
            None => self.attempt(&delivery).await,
            Some(error) => {
                tracing::error!(webhook = %delivery.id(), %error, "a webhook's body does not open");
                let message = format!("the stored body does not open: {error}");
                let result = Err(match error {
                    EncryptionError::Unavailable => HandlerError::put_back(None, message),
                    _ => HandlerError::permanent(message),
                });
                self.ended(&delivery, result, Duration::ZERO).await
            }
        };
        self.settle(&delivery, ended).await;
    }

    fn next_renewal(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        later(now, self.policy.lease / 3)
    }

    /// Keeps the leases of what is under way. What a handler does after its lease is lost cannot be
    /// settled any more.
    async fn renew(&self, held: &mut Held) {
        let ports = self.client.ports();
        let now = ports.clock.now();
        if held.under_way.is_empty() {
            held.renew_at = None;
            return;
        }
        if held.renew_at.is_none_or(|at| now < at) {
            return;
        }
        let mut by_token: HashMap<Uid, Vec<WebhookId>> = HashMap::new();
        for (id, one) in &held.under_way {
            by_token.entry(one.token).or_default().push(*id);
        }
        let until = later(now, self.policy.lease);
        for (token, ids) in by_token {
            match ports.inbox.renew(token, &ids, until).await {
                // One that was settled a moment ago is no longer held either, and ends by itself.
                Ok(lost) => {
                    for id in lost {
                        let one = held.under_way.get(&id);
                        if one.is_some_and(|one| !one.abort.is_finished()) {
                            tracing::warn!(webhook = %id, "the lease on a webhook is lost or ended");
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "leases on webhooks could not be renewed"),
            }
        }
        held.renew_at = Some(self.next_renewal(now));
    }

    async fn recover(&self) {
        let ports = self.client.ports();
        let mut recovered = 0;
        loop {
            match ports.inbox.recover(ports.clock.now(), RECOVERED).await {
                Ok(count) => {
                    recovered += count;
                    if count >= u64::from(RECOVERED) {
                        continue;
                    }
                }
                Err(error) => tracing::warn!(%error, "webhooks could not be recovered"),
            }
            break;
        }
        if recovered > 0 {
            tracing::info!(recovered, "parked or abandoned webhooks are queued again");
        }
    }

    async fn drain(&self, mut held: Held) {
        let clock = &self.client.ports().clock;
        let end = later(clock.now(), self.policy.drain);
        while !held.under_way.is_empty() {
            let wait_until = held.renew_at.map_or(end, |at| at.min(end));
            tokio::select! {
                Some(joined) = held.running.join_next() => held.ended(joined),
                () = clock.sleep_until(wait_until) => {}
            }
            if clock.now() >= end {
                let count = held.under_way.len();
                tracing::warn!(count, "webhooks were under way when time was up");
                held.running.abort_all();
                break;
            }
            self.renew(&mut held).await;
        }
    }
}
