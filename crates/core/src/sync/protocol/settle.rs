//! Settling: what the ends of attempts change.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{ItemState, RecordKey, Recount, SUPERSEDED, record::resolves};
use crate::{
    id::{SyncItemId, SyncRunId},
    sync::{ItemSettlement, ItemStatus},
};

/// What changes of items and their runs.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The items that changed, as they are now.
    pub items: BTreeMap<SyncItemId, ItemState>,
    /// The newest version of each record that was handled or let go.
    pub resolved: BTreeMap<RecordKey, SyncItemId>,
    /// What is counted for their runs.
    pub recount: Recount,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The versions that resolve their records.
    pub fn resolutions(&self) -> impl Iterator<Item = (&RecordKey, &ItemState)> {
        let of = |(key, id)| Some((key, self.items.get(id)?));
        self.resolved.iter().filter_map(of)
    }

    /// Takes note of what became of an item.
    pub(super) fn change(&mut self, before: &ItemState, after: ItemState) {
        self.recount
            .moved(after.run_id, &before.status, &after.status);
        self.items.insert(after.id, after);
    }

    /// Takes note of what else changed.
    pub(super) fn join(&mut self, more: Self) {
        self.items.extend(more.items);
        self.resolved.extend(more.resolved);
        self.recount.join(more.recount);
    }

    /// Takes note of an item that resolves its record.
    pub(super) fn resolve(&mut self, item: &ItemState) {
        let Some(key) = item.record() else { return };
        let is_newer = |known: &SyncItemId| {
            let known = self.items.get(known);
            known.is_none_or(|known| known.age() < item.age())
        };
        if self.resolved.get(&key).is_none_or(is_newer) {
            self.resolved.insert(key, item.id);
        }
    }
}

/// What `settlements` change of `items`: those they name, and every unresolved version of the
/// same records. The run of each settlement that stands is answered; `None` where its token holds
/// no live claim.
#[must_use]
pub fn settle(
    settlements: &[ItemSettlement],
    items: &BTreeMap<SyncItemId, ItemState>,
) -> (Changes, Vec<Option<SyncRunId>>) {
    let mut changes = Changes::default();
    let mut successes = BTreeSet::new();
    let answer = |settlement: &ItemSettlement| {
        // An item that is given twice is settled once: its lease is gone then.
        let present = changes.items.get(&settlement.id);
        let before = present.or_else(|| items.get(&settlement.id))?.clone();
        let after = before.settled(settlement)?;
        let run = after.run_id;
        if after.status == ItemStatus::Success {
            successes.insert(after.id);
        }
        let resolves = resolves(&after.status);
        changes.change(&before, after.clone());
        if resolves {
            changes.resolve(&after);
        }
        Some(run)
    };
    let runs = settlements.iter().map(answer).collect();
    let now = settlements.iter().map(|one| one.now).max();
    if let Some(now) = now {
        supersede(&mut changes, &successes, items, now);
    }
    (changes, runs)
}

/// Lets go of what is older than the versions that succeeded, but for what somebody works on.
fn supersede(
    changes: &mut Changes,
    successes: &BTreeSet<SyncItemId>,
    items: &BTreeMap<SyncItemId, ItemState>,
    now: DateTime<Utc>,
) {
    let mut newest: BTreeMap<RecordKey, ItemState> = BTreeMap::new();
    for item in successes.iter().filter_map(|id| changes.items.get(id)) {
        let Some(key) = item.record() else { continue };
        let known = newest.entry(key).or_insert_with(|| item.clone());
        if known.age() < item.age() {
            *known = item.clone();
        }
    }
    for before in items.values() {
        let before = changes.items.get(&before.id).unwrap_or(before).clone();
        let is_older = |key| (newest.get(&key)).is_some_and(|newer| before.age() < newer.age());
        let is_superseded = before.is_unresolved()
            && !before.is_leased(now)
            && before.record().is_some_and(is_older);
        if is_superseded {
            let after = before.let_go(SUPERSEDED, now);
            changes.change(&before, after);
        }
    }
}
