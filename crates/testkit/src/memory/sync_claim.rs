//! Claims on items.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, SyncItemId, Uid},
    integration::Scope,
    sync::{CheckpointOrder, ItemClaim, ItemStatus, KindSelection, SyncItem},
    value::ItemKind,
};

use super::state::{ItemRow, RecordKey, State};

pub(super) fn claim(state: &mut State, claim: &ItemClaim) -> Vec<SyncItem> {
    let waiting = waiting(state, claim);
    let chosen = share_out(waiting, claim.limit as usize, state.last_served);
    if let Some((last, _)) = chosen.last() {
        state.last_served = Some(*last);
    }
    chosen
        .into_iter()
        .filter_map(|(_, id)| {
            let row = state.items.get_mut(id.0)?;
            row.item.status = ItemStatus::Processing;
            row.item.attempts = row.item.attempts.saturating_add(1);
            row.item.lease_until = Some(claim.lease_until);
            row.item.updated_at = claim.now;
            row.token = Some(claim.token);
            Some(row.item.clone())
        })
        .collect()
}

/// The items a claim may take, the longest due first, by integration.
fn waiting(state: &State, claim: &ItemClaim) -> BTreeMap<IntegrationId, VecDeque<SyncItemId>> {
    let records = Records::of(state, claim.now);
    let mut due: Vec<_> = state
        .items
        .values()
        .filter(|row| is_due(row, claim) && takes_items(state, row.item.integration_id))
        .filter(|row| records.allow(row))
        .collect();
    due.sort_by_key(|row| (row.item.available_at, row.item.id));

    let mut waiting = BTreeMap::<_, VecDeque<_>>::new();
    for row in due {
        let of_integration = waiting.entry(row.item.integration_id).or_default();
        of_integration.push_back(row.item.id);
    }
    waiting
}

fn is_due(row: &ItemRow, claim: &ItemClaim) -> bool {
    let handled = match &claim.kinds {
        KindSelection::All => true,
        KindSelection::Only(kinds) => kinds.contains(&row.item.kind),
    };
    handled
        && row.is_unfinished()
        && !row.is_leased(claim.now)
        && row.item.available_at <= claim.now
        && (claim.integration_id).is_none_or(|id| id == row.item.integration_id)
}

fn takes_items(state: &State, id: IntegrationId) -> bool {
    let row = state.integrations.get(id.0);
    row.is_some_and(|row| row.refusal().is_none())
}

/// What keeps versions of a record apart: one at a time, the oldest first.
struct Records {
    leased: BTreeSet<RecordKey>,
    oldest: BTreeMap<RecordKey, (Option<CheckpointOrder>, i64)>,
}

impl Records {
    fn of(state: &State, now: DateTime<Utc>) -> Self {
        let mut records = Self {
            leased: BTreeSet::new(),
            oldest: BTreeMap::new(),
        };
        for row in state.items.values().filter(|row| row.is_unfinished()) {
            let Some(key) = row.record() else { continue };
            if row.is_leased(now) {
                records.leased.insert(key.clone());
            }
            let oldest = records.oldest.entry(key).or_insert_with(|| row.age());
            if row.age() < *oldest {
                *oldest = row.age();
            }
        }
        records
    }

    fn allow(&self, row: &ItemRow) -> bool {
        row.record().is_none_or(|key| {
            !self.leased.contains(&key) && self.oldest.get(&key) == Some(&row.age())
        })
    }
}

/// An equal share for each integration, beginning behind the one served last, then whatever is
/// left in the same order.
fn share_out(
    mut waiting: BTreeMap<IntegrationId, VecDeque<SyncItemId>>,
    limit: usize,
    last_served: Option<IntegrationId>,
) -> Vec<(IntegrationId, SyncItemId)> {
    let (mut order, before): (Vec<_>, Vec<_>) =
        (waiting.keys().copied()).partition(|id| Some(*id) > last_served);
    order.extend(before);
    let share = (limit / order.len().max(1)).max(1);

    let mut chosen = Vec::new();
    for most in [share, limit] {
        for id in &order {
            let Some(queue) = waiting.get_mut(id) else {
                continue;
            };
            let room = most.min(limit - chosen.len()).min(queue.len());
            chosen.extend(queue.drain(..room).map(|item| (*id, item)));
        }
    }
    chosen
}

/// Moves the end of a lease; `false` when the token does not hold it.
pub(super) fn renew(state: &mut State, token: Uid, id: SyncItemId, until: DateTime<Utc>) -> bool {
    let row = state.items.get_mut(id.0);
    let held = row.filter(|row| row.is_unfinished() && row.token == Some(token));
    held.is_some_and(|row| {
        row.item.lease_until = Some(until);
        true
    })
}

/// Ends leases that ran out; how many.
pub(super) fn reclaim(state: &mut State, now: DateTime<Utc>, limit: u32) -> u64 {
    let ran_out =
        |row: &&mut ItemRow| row.is_unfinished() && row.token.is_some() && !row.is_leased(now);
    let mut ended = 0;
    for row in (state.items.values_mut())
        .filter(ran_out)
        .take(limit as usize)
    {
        row.end_lease();
        row.item.status = ItemStatus::Pending;
        row.item.updated_at = now;
        ended += 1;
    }
    ended
}

/// Kinds with items nobody has, and how many.
pub(super) fn waiting_kinds(state: &State) -> Vec<(ItemKind, u64)> {
    let mut kinds = BTreeMap::<_, u64>::new();
    for row in state.items.values() {
        let live = state.integration(row.item.integration_id, &Scope::Operator);
        if row.item.status == ItemStatus::Pending && live.is_some() {
            *kinds.entry(row.item.kind.clone()).or_default() += 1;
        }
    }
    kinds.into_iter().collect()
}
