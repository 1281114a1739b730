//! The `Retention` port.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, LogId, WebhookId},
    idempotency::ReservationState,
    retention::{Prunable, PruneBatch, Pruned, Retention},
    store::{StoreError, StoreErrorKind},
    webhook::WebhookStatus,
};

use super::{
    MemoryStore,
    state::{State, WebhookRow},
    table::Table,
};

#[async_trait]
impl Retention for MemoryStore {
    async fn prune(&self, batch: &PruneBatch) -> Result<Pruned, StoreError> {
        let mut state = self.lock();
        let walk = walk(&state, batch)?;
        let mut deleted = 0;
        for id in walk.ids {
            deleted += delete(&mut state, batch, id);
        }
        Ok(Pruned {
            deleted,
            resume_after: walk.resume_after,
        })
    }

    async fn purge_removed(&self, limit: u32) -> Result<u64, StoreError> {
        let mut state = self.lock();
        let removed: Vec<_> = state
            .integrations
            .values()
            .filter(|row| row.removed_at.is_some())
            .map(|row| row.id)
            .collect();
        let mut left = u64::from(limit);
        for id in removed {
            left -= purge(&mut state, id, left);
        }
        Ok(u64::from(limit) - left)
    }
}

/// The rows of a batch that may go, and where the next one begins.
struct Walk {
    ids: Vec<i64>,
    resume_after: Option<i64>,
}

/// What a walk makes of a row.
enum Step {
    /// It is not old enough, and so are those behind it.
    Stop,
    /// It stays, whatever its age.
    Keep,
    Delete,
}

impl Step {
    fn by_age(is_old: bool, may_go: bool) -> Self {
        match (is_old, may_go) {
            (false, _) => Self::Stop,
            (true, false) => Self::Keep,
            (true, true) => Self::Delete,
        }
    }
}

fn walk(state: &State, batch: &PruneBatch) -> Result<Walk, StoreError> {
    let old = |at: DateTime<Utc>| at < batch.before;
    Ok(match batch.what {
        Prunable::Requests => steps(&state.requests, batch, |row| {
            Step::by_age(old(row.attempt.created_at), true)
        }),
        Prunable::RequestBodies => steps(&state.requests, batch, |row| {
            let has_one = row.attempt.request_data.is_some() || row.attempt.response_data.is_some();
            Step::by_age(old(row.attempt.created_at), has_one)
        }),
        Prunable::ItemPayloads => steps(&state.items, batch, |row| {
            let may_go = row.item.status.is_resolved() && row.item.payload.is_some();
            Step::by_age(old(row.item.created_at), may_go)
        }),
        Prunable::Operations => {
            let mut held: BTreeSet<_> = (state.items.values())
                .filter(|row| !row.item.status.is_resolved())
                .filter_map(|row| row.item.sync_log_id)
                .collect();
            let running = state.runs.values().filter(|run| !run.state.is_final());
            held.extend(running.filter_map(|run| run.log_id));
            steps(&state.operations, batch, |row| {
                Step::by_age(old(row.entry.now), !held.contains(&row.id))
            })
        }
        Prunable::IdempotencyKeys => steps(&state.reservations, batch, |row| {
            let settled = row.record.state == ReservationState::Succeeded;
            Step::by_age(old(row.record.created_at), settled)
        }),
        Prunable::SyncItems => steps(&state.items, batch, |row| {
            Step::by_age(old(row.item.created_at), row.item.status.is_resolved())
        }),
        Prunable::SyncRuns => {
            let held: BTreeSet<_> = state.items.values().map(|row| row.item.run_id).collect();
            steps(&state.runs, batch, |row| {
                let done = row.state.is_final() && !held.contains(&row.id);
                Step::by_age(old(row.started_at), done)
            })
        }
        Prunable::ProcessedWebhooks => steps(&state.webhooks, batch, |row| {
            let done = is_original(row, &WebhookStatus::Processed);
            Step::by_age(old(row.webhook.delivery.now), done)
        }),
        Prunable::FailedWebhooks => steps(&state.webhooks, batch, |row| {
            let failed = is_original(row, &WebhookStatus::Failed);
            Step::by_age(old(row.webhook.delivery.now), failed)
        }),
        // These do not age in the order of their ids: a young one stops nothing.
        Prunable::CachedResponses => steps(&state.cache, batch, |row| {
            keep_or_delete(old(row.expires_at) && row.stale_until.is_none_or(old))
        }),
        Prunable::Tokens => steps(&state.tokens, batch, |row| keep_or_delete(old(row.until))),
        _ => {
            return Err(StoreError::new(
                StoreErrorKind::Unsupported,
                "this version cannot prune that",
            ));
        }
    })
}

fn keep_or_delete(is_old: bool) -> Step {
    if is_old { Step::Delete } else { Step::Keep }
}

fn steps<T>(table: &Table<T>, batch: &PruneBatch, step: impl Fn(&T) -> Step) -> Walk {
    let limit = batch.limit as usize;
    let mut ids = Vec::new();
    let mut last = batch.after;
    for (looked_at, (id, row)) in table.iter_after(batch.after).enumerate() {
        if looked_at == limit {
            return Walk {
                ids,
                resume_after: Some(last),
            };
        }
        match step(row) {
            Step::Stop => break,
            Step::Keep => {}
            Step::Delete => ids.push(id),
        }
        last = id;
    }
    Walk {
        ids,
        resume_after: None,
    }
}

fn is_original(row: &WebhookRow, status: &WebhookStatus) -> bool {
    row.webhook.duplicate_of.is_none() && row.webhook.status == *status
}

/// Deletes a row as the foreign keys to it say; how many rows went.
fn delete(state: &mut State, batch: &PruneBatch, id: i64) -> u64 {
    let is_duplicate = |row: &WebhookRow| row.webhook.duplicate_of == Some(WebhookId(id));
    match batch.what {
        Prunable::ProcessedWebhooks | Prunable::FailedWebhooks if batch.dry_run => {
            let rows = state.webhooks.values();
            return 1 + rows.filter(|row| is_duplicate(row)).count() as u64;
        }
        _ if batch.dry_run => return 1,
        Prunable::Requests => drop(state.requests.remove(id)),
        Prunable::RequestBodies => {
            if let Some(row) = state.requests.get_mut(id) {
                row.attempt.request_data = None;
                row.attempt.response_data = None;
            }
        }
        Prunable::ItemPayloads => {
            if let Some(row) = state.items.get_mut(id) {
                row.item.payload = None;
            }
        }
        Prunable::Operations => delete_operation(state, LogId(id)),
        Prunable::IdempotencyKeys => drop(state.reservations.remove(id)),
        Prunable::SyncItems => drop(state.items.remove(id)),
        Prunable::SyncRuns => drop(state.runs.remove(id)),
        Prunable::ProcessedWebhooks | Prunable::FailedWebhooks => {
            state.webhooks.remove(id);
            return 1 + state.webhooks.delete_where(is_duplicate);
        }
        Prunable::CachedResponses => drop(state.cache.remove(id)),
        Prunable::Tokens => drop(state.tokens.remove(id)),
        _ => return 0,
    }
    1
}

fn delete_operation(state: &mut State, id: LogId) {
    state.operations.remove(id.0);
    for row in state.operations.values_mut() {
        row.entry.parent_id = row.entry.parent_id.filter(|parent| *parent != id);
    }
    for row in state.items.values_mut() {
        row.item.sync_log_id = row.item.sync_log_id.filter(|log| *log != id);
    }
    for row in state.runs.values_mut() {
        row.log_id = row.log_id.filter(|log| *log != id);
    }
}

/// Deletes at most `limit` rows of a removed integration, itself the last; how many.
fn purge(state: &mut State, id: IntegrationId, limit: u64) -> u64 {
    let mut left = limit;
    let State {
        requests,
        operations,
        mappings,
        reservations,
        runs,
        items,
        records,
        webhooks,
        cache,
        tokens,
        gates,
        ..
    } = state;
    left -= take(items, left, |row| row.item.integration_id == id);
    left -= take(runs, left, |row| row.integration_id == id);
    left -= take(requests, left, |row| row.attempt.integration_id == id);
    left -= take(mappings, left, |row| row.mapping.integration_id == id);
    left -= take(reservations, left, |row| row.record.integration_id == id);
    left -= take(cache, left, |row| row.key.integration_id == id);
    left -= take(tokens, left, |row| row.integration_id == Some(id));
    // The newest first, so that no duplicate outlives its original.
    left -= take(webhooks, left, |row| {
        row.webhook.delivery.integration_id == Some(id)
    });
    left -= take(operations, left, |row| row.entry.integration_id == id);
    while left > 0
        && let Some(key) = records.keys().find(|key| key.integration_id == id).cloned()
    {
        records.remove(&key);
        left -= 1;
    }
    if left > 0 && gates.remove(&id).is_some() {
        left -= 1;
    }
    if left > 0 {
        state.integrations.remove(id.0);
        left -= 1;
    }
    limit - left
}

/// Deletes at most `limit` of the rows `of` selects, the newest first; how many.
fn take<T>(table: &mut Table<T>, limit: u64, of: impl Fn(&T) -> bool) -> u64 {
    let ids: Vec<_> = table
        .iter()
        .rev()
        .filter(|(_, row)| of(row))
        .take(usize::try_from(limit).unwrap_or(usize::MAX))
        .map(|(id, _)| id)
        .collect();
    for id in &ids {
        table.remove(*id);
    }
    ids.len() as u64
}
