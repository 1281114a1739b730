//! What a process remembers from claim to claim: whose turn it is, and where to begin looking.
//!
//! None of it decides what may be claimed. It spares a busy queue the walk over what it has seen
//! a moment ago: under somebody's old snapshot, rows that are long done stay in the index, and
//! every claim would step over all of them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use integrations_core::{
    id::IntegrationId,
    sync::{ItemClaim, KindSelection, SyncItem},
};

/// How many integrations one claim looks at.
pub(super) const MAX_INTEGRATIONS: u32 = 25;

/// How long a list of due integrations serves claims that come back full.
const LIST_AGE: TimeDelta = TimeDelta::milliseconds(250);

/// How long claims begin at a floor before one looks at everything again: what came back below it,
/// a lease that ran out say, waits so long at most.
const FLOOR_AGE: TimeDelta = TimeDelta::seconds(2);

/// Integrations with floors at most; behind that, all are forgotten.
const MAX_FLOORS: usize = 10_000;

/// The memory of a store and its clones.
#[derive(Debug, Default)]
pub(crate) struct Rotation(Mutex<Turn>);

#[derive(Debug, Default)]
struct Turn {
    /// The integration served last; the next claim begins behind it.
    last_served: i64,
    list: Option<List>,
    /// The kinds that `floors` are for: others may wait below them.
    kinds: Option<KindSelection>,
    floors: HashMap<i64, Floor>,
}

/// All integrations that were due for some kinds.
#[derive(Debug)]
struct List {
    kinds: KindSelection,
    due: Vec<i64>,
    at: DateTime<Utc>,
}

/// Everything due before `from` was claimed when somebody looked at `at`.
#[derive(Clone, Copy, Debug)]
struct Floor {
    from: DateTime<Utc>,
    at: DateTime<Utc>,
}

/// Whether `at` lies at most `age` before `now`, and not behind it.
fn is_fresh(at: DateTime<Utc>, now: DateTime<Utc>, age: TimeDelta) -> bool {
    at <= now && now - at < age
}

impl Rotation {
    fn lock(&self) -> MutexGuard<'_, Turn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The integration served last.
    pub(super) fn last_served(&self) -> i64 {
        self.lock().last_served
    }

    /// The integrations of a list that still serves this claim, beginning behind the last served.
    pub(super) fn listed(&self, claim: &ItemClaim) -> Option<Vec<i64>> {
        let turn = self.lock();
        let list = turn.list.as_ref()?;
        let serves = list.kinds == claim.kinds && is_fresh(list.at, claim.now, LIST_AGE);
        let (mut due, before): (Vec<_>, Vec<_>) =
            (list.due.iter().copied()).partition(|id| *id > turn.last_served);
        due.extend(before);
        serves.then_some(due)
    }

    /// Keeps a list, if it names all that are due.
    pub(super) fn keep_list(&self, claim: &ItemClaim, due: &[i64]) {
        let is_complete = due.len() < claim.limit.min(MAX_INTEGRATIONS) as usize;
        let mut due = due.to_vec();
        due.sort_unstable();
        self.lock().list = is_complete.then(|| List {
            kinds: claim.kinds.clone(),
            due,
            at: claim.now,
        });
    }

    /// Forgets the list: there may be others by now.
    pub(super) fn drop_list(&self) {
        self.lock().list = None;
    }

    /// Where to begin in each integration, and whether that leaves anything out.
    pub(super) fn floors(&self, due: &[i64], claim: &ItemClaim) -> (Vec<DateTime<Utc>>, bool) {
        let turn = self.lock();
        let is_for = turn.kinds.as_ref() == Some(&claim.kinds);
        let floor = |id| {
            let floor = turn.floors.get(id).filter(|_| is_for)?;
            is_fresh(floor.at, claim.now, FLOOR_AGE).then_some(floor.from)
        };
        let floors: Vec<_> = due.iter().map(floor).collect();
        let is_partial = floors.iter().any(Option::is_some);
        let bottom = |floor: Option<_>| floor.unwrap_or(DateTime::<Utc>::UNIX_EPOCH);
        (floors.into_iter().map(bottom).collect(), is_partial)
    }

    /// Takes note of what a claim won, in its order.
    pub(super) fn served(&self, claim: &ItemClaim, due: &[i64], claimed: &[SyncItem]) {
        let mut turn = self.lock();
        if claim.integration_id.is_none() {
            let last = claimed.last().map(|item| item.integration_id.0);
            if let Some(last) = last.or_else(|| due.last().copied()) {
                turn.last_served = last;
            }
        }
        if turn.floors.len() > MAX_FLOORS {
            turn.floors.clear();
        }
        if turn.kinds.as_ref() != Some(&claim.kinds) {
            turn.floors.clear();
            turn.kinds = Some(claim.kinds.clone());
        }
        let mut lowest: HashMap<IntegrationId, DateTime<Utc>> = HashMap::new();
        for item in claimed {
            let from = lowest
                .entry(item.integration_id)
                .or_insert(item.available_at);
            *from = (*from).min(item.available_at);
        }
        for (id, from) in lowest {
            let floor = turn.floors.entry(id.0).or_insert(Floor {
                from,
                at: claim.now,
            });
            floor.from = floor.from.max(from);
            if !is_fresh(floor.at, claim.now, FLOOR_AGE) {
                *floor = Floor {
                    from,
                    at: claim.now,
                };
            }
        }
    }
}
