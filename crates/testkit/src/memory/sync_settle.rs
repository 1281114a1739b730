//! Settling items: by their workers and by operators.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use integrations_core::{
    id::{SyncItemId, SyncRunId},
    store::StoreError,
    sync::{
        ItemDecided, ItemDecision, ItemOutcome, ItemSettled, ItemSettlement, ItemVerdict, SyncRun,
        SyncSettlement,
        protocol::{Changes, Decided, ItemState, decide as decided_by, settle},
    },
};

use super::{
    MemoryStore,
    columns::Columns,
    state::{ItemRow, State},
    sync_runs::count_changes,
};

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
        let items = with_versions(&state, settlements.iter().map(|one| one.id));
        let (changes, runs) = settle(settlements, &items);
        write(&mut state, changes);
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
            finalisable: run.is_some_and(SyncRun::is_finalisable),
        }
    })
}

/// Some items, and the unresolved versions of the same records.
fn with_versions(
    state: &State,
    ids: impl Iterator<Item = SyncItemId>,
) -> BTreeMap<SyncItemId, ItemState> {
    let ids: BTreeSet<_> = ids.collect();
    let named = |id: &SyncItemId| state.items.get(id.0).map(ItemRow::state);
    let records: BTreeSet<_> = ids.iter().filter_map(|id| named(id)?.record()).collect();
    let items = state.items.values().map(ItemRow::state);
    items
        .filter(|item| {
            let is_version = item.is_unresolved()
                && (item.record()).is_some_and(|record| records.contains(&record));
            ids.contains(&item.id) || is_version
        })
        .map(|item| (item.id, item))
        .collect()
}

fn write(state: &mut State, changes: Changes) {
    for (key, item) in changes.resolutions() {
        let record = state.records.remove(key).unwrap_or_default();
        state.records.insert(key.clone(), record.resolved(item));
    }
    count_changes(state, &changes.recount);
    for (id, item) in changes.items {
        if let Some(row) = state.items.get_mut(id.0) {
            row.put(item);
        }
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
    let within = |decision: &ItemDecision| {
        let row = state.items.get(decision.id.0);
        row.is_some_and(|row| state.admits(row.item.integration_id, &decision.scope))
    };
    let within: Vec<bool> = decisions.iter().map(within).collect();
    let items = with_versions(state, decisions.iter().map(|one| one.id));
    let (changes, answers) = decided_by(decisions, &within, &items);
    write(state, changes);
    let answer = |decided| match decided {
        Decided::NotFound => ItemDecided::NotFound,
        Decided::NotPossible(status) => ItemDecided::NotPossible(status),
        Decided::Done(run_id) => ItemDecided::Done {
            run_id,
            finalisable: (state.runs.get(run_id.0)).is_some_and(SyncRun::is_exhausted),
        },
    };
    Ok(answers.into_iter().map(answer).collect())
}
