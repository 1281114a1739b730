//! Claims on items.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, SyncItemId, Uid},
    integration::Scope,
    sync::{
        ItemClaim, KindSelection, SyncItem,
        protocol::{ItemLease, ItemState},
    },
    value::ItemKind,
};

use super::state::{ItemRow, State};

pub(super) fn claim(state: &mut State, claim: &ItemClaim) -> Vec<SyncItem> {
    let waiting = waiting(state, claim);
    let chosen = share_out(waiting, claim.limit as usize, state.last_served);
    // A claim that names its integration takes nobody's turn.
    if let (None, Some((last, _))) = (claim.integration_id, chosen.last()) {
        state.last_served = Some(*last);
    }
    let lease = ItemLease {
        token: claim.token,
        until: claim.lease_until,
    };
    chosen
        .into_iter()
        .filter_map(|(_, id)| {
            let row = state.items.get_mut(id.0)?;
            row.put(row.state().claimed(lease, claim.now));
            Some(row.at(claim.now))
        })
        .collect()
}

/// The items a claim may take, the longest due first, by integration.
fn waiting(state: &State, claim: &ItemClaim) -> BTreeMap<IntegrationId, VecDeque<SyncItemId>> {
    let present: Vec<ItemState> = (state.items.values())
        .map(ItemRow::state)
        .filter(|item| !item.is_over())
        .collect();
    let mut versions = BTreeMap::<_, Vec<&ItemState>>::new();
    for item in &present {
        if let Some(key) = item.record() {
            versions.entry(key).or_default().push(item);
        }
    }
    let may_go = |item: &&ItemState| {
        let record = item.record().and_then(|key| versions.get(&key));
        let mut others = record.into_iter().flatten();
        !others.any(|other| item.waits_for(other, claim.now))
    };
    let mut due: Vec<_> = present
        .iter()
        .filter(|item| is_asked_for(item, claim) && item.is_due(claim.now))
        .filter(|item| takes_items(state, item.integration_id))
        .filter(may_go)
        .collect();
    due.sort_by_key(|item| (item.available_at, item.id));

    let mut waiting = BTreeMap::<_, VecDeque<_>>::new();
    for item in due {
        let of_integration = waiting.entry(item.integration_id).or_default();
        of_integration.push_back(item.id);
    }
    waiting
}

fn is_asked_for(item: &ItemState, claim: &ItemClaim) -> bool {
    let handled = match &claim.kinds {
        KindSelection::All => true,
        KindSelection::Only(kinds) => kinds.contains(&item.kind),
    };
    handled && (claim.integration_id).is_none_or(|id| id == item.integration_id)
}

fn takes_items(state: &State, id: IntegrationId) -> bool {
    let row = state.integrations.get(id.0);
    row.is_some_and(|row| row.refusal().is_none())
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
    let Some(row) = state.items.get_mut(id.0) else {
        return false;
    };
    let renewed = row.state().renewed(token, until);
    renewed.is_some_and(|renewed| {
        row.put(renewed);
        true
    })
}

/// Ends leases that ran out; how many.
pub(super) fn reclaim(state: &mut State, now: DateTime<Utc>, limit: u32) -> u64 {
    let ran_out = |row: &mut ItemRow| {
        let reclaimed = row.state().reclaimed(now)?;
        row.put(reclaimed);
        Some(())
    };
    let ended = state.items.values_mut().filter_map(ran_out);
    ended.take(limit as usize).count() as u64
}

/// Kinds with items nobody has, and how many.
pub(super) fn waiting_kinds(state: &State) -> Vec<(ItemKind, u64)> {
    let mut kinds = BTreeMap::<_, u64>::new();
    for row in state.items.values() {
        let live = state.integration(row.item.integration_id, &Scope::Operator);
        if row.item.status.is_unfinished() && row.token.is_none() && live.is_some() {
            *kinds.entry(row.item.kind.clone()).or_default() += 1;
        }
    }
    kinds.into_iter().collect()
}
