//! The `WebhookInbox` port, but for claims and what follows from them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    id::{Uid, WebhookId},
    integration::Scope,
    store::{Batch, Page, PageRequest, Rejected, StoreError},
    sync::Payload,
    webhook::{
        DuplicateReason, NewWebhook, OtherDigests, Received, Webhook, WebhookClaim, WebhookFilter,
        WebhookGroup, WebhookInbox, WebhookPayload, WebhookStatus, WebhookSummary,
    },
};

use super::{
    MemoryStore,
    columns::Columns,
    inbox_claim,
    state::{State, WebhookRow},
};

#[async_trait]
impl WebhookInbox for MemoryStore {
    async fn receive(&self, deliveries: &[NewWebhook]) -> Batch<Received> {
        let mut state = self.lock();
        let received = deliveries.iter().map(|new| receive(&mut state, new));
        Ok(received.collect())
    }

    async fn claim(&self, claim: &WebhookClaim) -> Result<Vec<Webhook>, StoreError> {
        Ok(inbox_claim::claim(&mut self.lock(), claim))
    }

    async fn renew(
        &self,
        token: Uid,
        deliveries: &[WebhookId],
        until: DateTime<Utc>,
    ) -> Result<Vec<WebhookId>, StoreError> {
        let mut state = self.lock();
        let lost = deliveries
            .iter()
            .copied()
            .filter(|id| !inbox_claim::renew(&mut state, token, *id, until));
        Ok(lost.collect())
    }

    async fn replay(
        &self,
        deliveries: &[WebhookId],
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<Vec<WebhookId>, StoreError> {
        let mut state = self.lock();
        let mut queued = Vec::new();
        for id in deliveries {
            let within = (state.webhooks.get(id.0))
                .is_some_and(|row| is_within(&state, &row.webhook, scope));
            if !within || queued.contains(id) {
                continue;
            }
            let row = state.webhooks.get_mut(id.0);
            let idle = row.filter(|row| row.webhook.duplicate_of.is_none() && !row.is_leased(now));
            if let Some(row) = idle {
                row.queue_again(Some(now), now);
                row.webhook.replayed = true;
                queued.push(*id);
            }
        }
        Ok(queued)
    }

    async fn recover(&self, now: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        Ok(inbox_claim::recover(&mut self.lock(), now, limit))
    }

    async fn find(
        &self,
        id: WebhookId,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<Option<Webhook>, StoreError> {
        let state = self.lock();
        let row = state.webhooks.get(id.0);
        let within = row.filter(|row| is_within(&state, &row.webhook, scope));
        Ok(within.map(|row| row.at(now)))
    }

    async fn query(
        &self,
        filter: &WebhookFilter,
        scope: &Scope,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<WebhookSummary>, StoreError> {
        let state = self.lock();
        let read = |row: &WebhookRow| {
            let webhook = row.at(now);
            let selected = selects(filter, &webhook) && is_within(&state, &webhook, scope);
            selected.then(|| webhook.summary())
        };
        Ok(state.webhooks.page(page, read, |webhook| webhook.id.0))
    }

    async fn ids(
        &self,
        filter: &WebhookFilter,
        scope: &Scope,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<WebhookId>, StoreError> {
        let page = self.query(filter, scope, page, now).await?;
        Ok(Page {
            items: page.items.iter().map(|webhook| webhook.id).collect(),
            next: page.next,
        })
    }

    async fn count(
        &self,
        filter: &WebhookFilter,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let state = self.lock();
        let selected = state
            .webhooks
            .values()
            .map(|row| row.at(now))
            .filter(|webhook| selects(filter, webhook) && is_within(&state, webhook, scope));
        Ok(selected.count() as u64)
    }

    async fn count_by_type(
        &self,
        filter: &WebhookFilter,
        scope: &Scope,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<WebhookGroup>, StoreError> {
        let state = self.lock();
        let mut groups: Vec<WebhookGroup> = Vec::new();
        for webhook in state.webhooks.values().map(|row| row.at(now)) {
            if !selects(filter, &webhook) || !is_within(&state, &webhook, scope) {
                continue;
            }
            let delivery = &webhook.delivery;
            let known = groups.iter_mut().find(|group| {
                group.provider == delivery.provider
                    && group.integration_id == delivery.integration_id
                    && group.event_type == delivery.event_type
            });
            match known {
                Some(group) => group.count += 1,
                None => groups.push(WebhookGroup {
                    provider: delivery.provider.clone(),
                    integration_id: delivery.integration_id,
                    event_type: delivery.event_type.clone(),
                    count: 1,
                }),
            }
        }
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups.truncate(limit as usize);
        Ok(groups)
    }
}

/// Stores one delivery, as the first of its kind or as a duplicate.
fn receive(state: &mut State, new: &NewWebhook) -> Result<Received, Rejected> {
    columns(new).of_entry()?;
    if let Some(id) = new.integration_id {
        state.references(id)?;
    }
    if (state.webhooks.values()).any(|row| row.webhook.delivery.uid == new.uid) {
        return Err(Rejected::Constraint);
    }
    let Some((of, reason)) = first_of_its_kind(state, new) else {
        let id = insert(state, new, WebhookStatus::Pending, None);
        return Ok(Received::New(id));
    };
    let id = insert(state, new, WebhookStatus::Processed, Some((of, reason)));
    let failed = state
        .webhooks
        .get_mut(of.0)
        .filter(|row| row.webhook.status == WebhookStatus::Failed);
    let requeued = failed.is_some_and(|row| {
        row.queue_again(new.available_at, new.now);
        true
    });
    Ok(Received::Duplicate { id, of, requeued })
}

fn columns(new: &NewWebhook) -> Columns {
    let payload = match &new.payload {
        WebhookPayload::Plain(Payload::Text(text)) => Some(text.as_str()),
        WebhookPayload::Plain(Payload::Binary(_)) => None,
        WebhookPayload::Sealed(sealed) => Some(sealed.as_str()),
    };
    let row = Columns::check()
        .varchar(new.event_type.as_deref(), 255)
        .varchar(new.delivery_id.as_deref(), 255)
        .varchar(new.dedup_key.as_deref(), 255)
        .text(payload)
        .varchar(new.method.as_str(), 10)
        .text(new.path.as_str())
        .text(new.query.as_deref())
        .varchar(new.remote_addr.as_deref(), 45)
        .varchar(new.ordering_key.as_deref(), 191);
    (new.headers.iter()).fold(row, |row, (name, value)| {
        row.text(name.as_str()).text(value.as_str())
    })
}

fn first_of_its_kind(state: &State, new: &NewWebhook) -> Option<(WebhookId, DuplicateReason)> {
    let first = |same: &dyn Fn(&NewWebhook) -> bool| {
        let mut originals = state
            .webhooks
            .values()
            .map(|row| &row.webhook)
            .filter(|webhook| webhook.duplicate_of.is_none())
            .filter(|webhook| {
                webhook.delivery.provider == new.provider
                    && webhook.delivery.integration_id == new.integration_id
            });
        originals
            .find(|webhook| same(&webhook.delivery))
            .map(|webhook| webhook.id)
    };
    let has_key = |key: &str| first(&|known| known.dedup_key.as_deref() == Some(key));
    if let Some(id) = new.dedup_keys().find_map(has_key) {
        return Some((id, DuplicateReason::DedupKey));
    }
    let since = new.digest_duplicate_since?;
    let has_digest = |known: &NewWebhook| {
        new.body_digests()
            .any(|own| known.body_digest.as_deref() == Some(own))
    };
    let id = first(&|known| known.now >= since && has_digest(known))?;
    Some((id, DuplicateReason::BodyDigest))
}

fn insert(
    state: &mut State,
    new: &NewWebhook,
    status: WebhookStatus,
    duplicate: Option<(WebhookId, DuplicateReason)>,
) -> WebhookId {
    WebhookId(state.webhooks.insert(|id| WebhookRow {
        webhook: Webhook {
            id: WebhookId(id),
            delivery: NewWebhook {
                other_digests: OtherDigests::default(),
                ..new.clone()
            },
            status,
            duplicate_of: duplicate.map(|(of, _)| of),
            duplicate_reason: duplicate.map(|(_, reason)| reason.as_str().to_owned()),
            attempts: 0,
            replayed: false,
            queued_at: new.now,
            error: None,
            lease_until: None,
            processed_at: None,
            updated_at: new.now,
        },
        token: None,
    }))
}

fn is_within(state: &State, webhook: &Webhook, scope: &Scope) -> bool {
    match webhook.delivery.integration_id {
        Some(id) => state.admits(id, scope),
        None => *scope == Scope::Operator,
    }
}

fn selects(filter: &WebhookFilter, webhook: &Webhook) -> bool {
    let delivery = &webhook.delivery;
    (filter.integration_id.is_none() || filter.integration_id == delivery.integration_id)
        && (filter.provider.as_ref()).is_none_or(|provider| *provider == delivery.provider)
        && (filter.status.as_ref()).is_none_or(|status| *status == webhook.status)
        && (filter.event_type.is_none() || filter.event_type == delivery.event_type)
        && (filter.delivery_id.is_none() || filter.delivery_id == delivery.delivery_id)
        && filter.since.is_none_or(|since| delivery.now >= since)
        && filter.until.is_none_or(|until| delivery.now < until)
        && !(filter.originals_only && webhook.duplicate_of.is_some())
}
