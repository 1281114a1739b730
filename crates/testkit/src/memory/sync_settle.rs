//! Settling items: by their workers and by operators.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    id::{SyncItemId, SyncRunId},
    store::StoreError,
    sync::{
        ItemDecided, ItemDecision, ItemOutcome, ItemSettled, ItemSettlement, ItemStatus,
        ItemVerdict, SyncSettlement,
    },
};

use super::{
    MemoryStore,
    columns::Columns,
    state::{ItemRow, State},
    sync_runs::{is_exhausted, is_finalisable, recount},
};

/// Why an older version of a record was let go.
const SUPERSEDED: &str = "superseded by a newer version";

#[async_trait]
impl SyncSettlement for MemoryStore {
    async fn settle_items(
        &self,
        settlements: &[ItemSettlement],
    ) -> Result<Vec<ItemSettled>, StoreError> {
        for settlement in settlements {
            let (ItemOutcome::Retry { error: text, .. }
            | ItemOutcome::Failed { error: text }
            | ItemOutcome::Skipped { reason: text }) = &settlement.outcome
            else {
                continue;
            };
            Columns::check().text(text.as_str()).of_row()?;
        }
        let mut state = self.lock();
        let mut in_order: Vec<_> = settlements.iter().enumerate().collect();
        in_order.sort_by_key(|(_, settlement)| settlement.id);
        let mut runs = vec![None; settlements.len()];
        for (index, settlement) in in_order {
            runs[index] = settle(&mut state, settlement);
        }
        Ok(runs.into_iter().map(|run| settled(&state, run)).collect())
    }
}

/// How a run stands once everything of the call is settled.
fn settled(state: &State, run: Option<SyncRunId>) -> ItemSettled {
    run.map_or(ItemSettled::LeaseLost, |run_id| {
        let run = state.runs.get(run_id.0);
        ItemSettled::Done {
            run_id,
            open: run.map_or(0, |run| run.counts.open),
            finalisable: run.is_some_and(is_finalisable),
        }
    })
}

/// Ends an attempt; the item's run, or `None` when the token holds no live claim on it.
fn settle(state: &mut State, settlement: &ItemSettlement) -> Option<SyncRunId> {
    let now = settlement.now;
    let row = state.items.get_mut(settlement.id.0)?;
    if row.token != Some(settlement.token) || !row.is_leased(now) {
        return None;
    }
    row.end_lease();
    let (status, error) = match &settlement.outcome {
        ItemOutcome::Succeeded => (ItemStatus::Success, None),
        ItemOutcome::Retry { at, error } => {
            row.item.available_at = *at;
            (ItemStatus::Pending, Some(error.clone()))
        }
        ItemOutcome::PutBack { at } => {
            row.item.available_at = *at;
            row.item.attempts = row.item.attempts.saturating_sub(1).max(0);
            (ItemStatus::Pending, row.item.error.clone())
        }
        ItemOutcome::Failed { error } => (ItemStatus::Failed, Some(error.clone())),
        ItemOutcome::Skipped { reason } => (ItemStatus::Skipped, Some(reason.clone())),
    };
    let run_id = row.item.run_id;
    let succeeded = status == ItemStatus::Success;
    move_to(state, settlement.id, status, error, now);
    if succeeded {
        record_success(state, settlement.id, now);
    }
    Some(run_id)
}

/// Moves an item to a state, and the counts of its run with it.
fn move_to(
    state: &mut State,
    id: SyncItemId,
    status: ItemStatus,
    error: Option<String>,
    now: DateTime<Utc>,
) {
    let Some(row) = state.items.get_mut(id.0) else {
        return;
    };
    if let Some(run) = state.runs.get_mut(row.item.run_id.0) {
        recount(&mut run.counts, &row.item.status, &status);
    }
    row.item.completed_at = (status != ItemStatus::Pending).then_some(now);
    row.item.status = status;
    row.item.error = error;
    row.item.updated_at = now;
}

/// Moves the record forwards and lets go of its older versions.
fn record_success(state: &mut State, id: SyncItemId, now: DateTime<Utc>) {
    let Some(row) = state.items.get(id.0) else {
        return;
    };
    let Some(key) = row.record() else { return };
    let age = row.age();
    let record = state.records.entry(key.clone()).or_default();
    if row.item.checkpoint_order.is_some() {
        record.succeeded_order = age.0.clone().max(record.succeeded_order.take());
    } else if row.digest.is_some() {
        record.succeeded_digest.clone_from(&row.digest);
    }
    record.failing_runs = 0;
    record.stuck_reported = false;

    let is_superseded = |other: &&ItemRow| {
        other.is_unresolved()
            && !other.is_leased(now)
            && !matches!(other.item.status, ItemStatus::Unrecognised(_))
            && other.age() < age
            && other.record().as_ref() == Some(&key)
    };
    let superseded: Vec<_> = (state.items.values().filter(is_superseded))
        .map(|other| other.item.id)
        .collect();
    for older in superseded {
        if let Some(row) = state.items.get_mut(older.0) {
            row.end_lease();
        }
        let why = Some(SUPERSEDED.to_owned());
        move_to(state, older, ItemStatus::Skipped, why, now);
    }
}

/// Takes in operators' words.
pub(super) fn decide(
    state: &mut State,
    decisions: &[ItemDecision],
) -> Result<Vec<ItemDecided>, StoreError> {
    for decision in decisions {
        if let ItemVerdict::Skip { reason } = &decision.verdict {
            Columns::check().text(reason.as_str()).of_row()?;
        }
    }
    Ok(decisions
        .iter()
        .map(|decision| decide_one(state, decision))
        .collect())
}

fn decide_one(state: &mut State, decision: &ItemDecision) -> ItemDecided {
    let ItemDecision {
        id,
        scope,
        verdict,
        now,
    } = decision;
    let row = state.items.get(id.0);
    let Some(row) = row.filter(|row| state.admits(row.item.integration_id, scope)) else {
        return ItemDecided::NotFound;
    };
    let (run_id, status) = (row.item.run_id, row.at(*now).status);
    match (verdict, &status) {
        (ItemVerdict::Retry, ItemStatus::Failed) => {
            let error = row.item.error.clone();
            move_to(state, *id, ItemStatus::Pending, error, *now);
            if let Some(row) = state.items.get_mut(id.0) {
                row.queue_again(*now);
            }
        }
        (ItemVerdict::Skip { reason }, ItemStatus::Failed | ItemStatus::Pending) => {
            let reason = Some(reason.clone());
            move_to(state, *id, ItemStatus::Skipped, reason, *now);
            if let Some(row) = state.items.get_mut(id.0) {
                row.end_lease();
            }
        }
        _ => return ItemDecided::NotPossible(status),
    }
    ItemDecided::Done {
        run_id,
        finalisable: state.runs.get(run_id.0).is_some_and(is_exhausted),
    }
}
