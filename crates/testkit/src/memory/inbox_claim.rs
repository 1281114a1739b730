//! Claims on deliveries, and the `WebhookSettlements` port.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, Uid, WebhookId},
    integration::{HealthStatus, Scope},
    store::StoreError,
    webhook::{
        Webhook, WebhookClaim, WebhookOutcome, WebhookSettled, WebhookSettlement,
        WebhookSettlements, WebhookStatus,
    },
};

use super::{
    MemoryStore,
    columns::Columns,
    state::{State, WebhookRow},
};

#[async_trait]
impl WebhookSettlements for MemoryStore {
    async fn settle(
        &self,
        settlements: &[WebhookSettlement],
    ) -> Result<Vec<WebhookSettled>, StoreError> {
        for settlement in settlements {
            Columns::check().text(error(&settlement.outcome)).of_row()?;
        }
        let mut state = self.lock();
        Ok(settlements
            .iter()
            .map(|settlement| settle(&mut state, settlement))
            .collect())
    }
}

pub(super) fn claim(state: &mut State, claim: &WebhookClaim) -> Vec<Webhook> {
    let mut shares: HashMap<Option<IntegrationId>, u32> = HashMap::new();
    let mut due: Vec<_> = state
        .webhooks
        .values()
        .filter(|row| claim.providers.contains(&row.webhook.delivery.provider))
        .filter(|row| is_due(row, claim.now))
        .filter(|row| is_processed(state, row.webhook.delivery.integration_id))
        .filter(|row| !claim.except.contains(&row.webhook.delivery.integration_id))
        .filter(|row| is_next_in_order(state, row, claim.now))
        .collect();
    due.sort_by_key(|row| (row.webhook.delivery.available_at, row.webhook.id));
    let mut due: Vec<_> = due
        .into_iter()
        .filter(|row| {
            let taken = shares.entry(row.webhook.delivery.integration_id);
            let taken = taken.or_insert(0);
            *taken += 1;
            *taken <= claim.per_integration
        })
        .map(|row| row.webhook.id)
        .take(claim.limit as usize)
        .collect();
    due.sort_unstable();
    due.into_iter()
        .filter_map(|id| {
            let row = state.webhooks.get_mut(id.0)?;
            row.webhook.status = WebhookStatus::Processing;
            row.webhook.attempts = row.webhook.attempts.saturating_add(1);
            row.webhook.lease_until = Some(claim.lease_until);
            row.webhook.updated_at = claim.now;
            row.token = Some(claim.token);
            Some(row.webhook.clone())
        })
        .collect()
}

fn is_due(row: &WebhookRow, now: DateTime<Utc>) -> bool {
    let reached = |at: DateTime<Utc>| at <= now;
    row.is_unfinished()
        && !row.is_leased(now)
        && row.webhook.duplicate_of.is_none()
        && row.webhook.delivery.available_at.is_some_and(reached)
}

/// Whether deliveries of this integration are processed at the moment. Health does not matter.
fn is_processed(state: &State, integration_id: Option<IntegrationId>) -> bool {
    integration_id.is_none_or(|id| {
        let row = state.integration(id, &Scope::Operator);
        row.is_some_and(|row| row.is_active)
    })
}

/// Whether nothing keeps deliveries of this integration parked.
fn is_well(state: &State, integration_id: Option<IntegrationId>) -> bool {
    integration_id.is_none_or(|id| {
        let row = state.integration(id, &Scope::Operator);
        row.is_some_and(|row| row.is_active && row.health.status != HealthStatus::Disabled)
    })
}

/// Whether it is the first unfinished delivery with its ordering key, and none of them is leased.
fn is_next_in_order(state: &State, row: &WebhookRow, now: DateTime<Utc>) -> bool {
    let delivery = &row.webhook.delivery;
    let place = |row: &WebhookRow| (row.webhook.delivery.now, row.webhook.id);
    delivery.ordering_key.is_none()
        || !state.webhooks.values().any(|other| {
            let known = &other.webhook.delivery;
            other.is_unfinished()
                && known.provider == delivery.provider
                && known.integration_id == delivery.integration_id
                && known.ordering_key == delivery.ordering_key
                && (other.is_leased(now) || place(other) < place(row))
        })
}

/// Moves the end of a lease; `false` when the token does not hold it.
pub(super) fn renew(state: &mut State, token: Uid, id: WebhookId, until: DateTime<Utc>) -> bool {
    let held = held_mut(state, token, id);
    held.is_some_and(|row| {
        row.webhook.lease_until = Some(until);
        true
    })
}

/// Ends leases that ran out and queues what is parked without need; how many.
pub(super) fn recover(state: &mut State, now: DateTime<Utc>, limit: u32) -> u64 {
    let abandoned: Vec<_> = state
        .webhooks
        .values()
        .filter(|row| {
            let ran_out = row.token.is_some() && !row.is_leased(now);
            let parked = row.webhook.delivery.available_at.is_none()
                && row.webhook.duplicate_of.is_none()
                && is_well(state, row.webhook.delivery.integration_id);
            row.is_unfinished() && (ran_out || parked)
        })
        .map(|row| row.webhook.id)
        .take(limit as usize)
        .collect();
    for id in &abandoned {
        if let Some(row) = state.webhooks.get_mut(id.0) {
            row.end_lease();
            row.webhook.status = WebhookStatus::Pending;
            if row.webhook.delivery.available_at.is_none() {
                row.webhook.delivery.available_at = Some(now);
                row.webhook.queued_at = now;
            }
            row.webhook.updated_at = now;
        }
    }
    abandoned.len() as u64
}

fn settle(state: &mut State, settlement: &WebhookSettlement) -> WebhookSettled {
    let Some(row) = held_mut(state, settlement.token, settlement.id) else {
        return WebhookSettled::LeaseLost;
    };
    row.end_lease();
    let webhook = &mut row.webhook;
    webhook.updated_at = settlement.now;
    webhook.error = error(&settlement.outcome).map(str::to_owned);
    match &settlement.outcome {
        WebhookOutcome::Processed => {
            webhook.status = WebhookStatus::Processed;
            webhook.processed_at = Some(settlement.now);
        }
        WebhookOutcome::Retry { at, counts, .. } => {
            webhook.status = WebhookStatus::Pending;
            webhook.delivery.available_at = Some(*at);
            if !counts {
                webhook.attempts = webhook.attempts.saturating_sub(1).max(0);
            }
        }
        WebhookOutcome::Failed { .. } => {
            webhook.status = WebhookStatus::Failed;
            webhook.processed_at = Some(settlement.now);
        }
    }
    WebhookSettled::Done
}

fn held_mut(state: &mut State, token: Uid, id: WebhookId) -> Option<&mut WebhookRow> {
    let row = state.webhooks.get_mut(id.0)?;
    (row.is_unfinished() && row.token == Some(token)).then_some(row)
}

fn error(outcome: &WebhookOutcome) -> Option<&str> {
    match outcome {
        WebhookOutcome::Processed => None,
        WebhookOutcome::Retry { error, .. } | WebhookOutcome::Failed { error } => Some(error),
    }
}
