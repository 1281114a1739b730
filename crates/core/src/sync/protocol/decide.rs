//! Operators' words on items.

use std::collections::BTreeMap;

use super::{Changes, ItemState};
use crate::{
    id::{SyncItemId, SyncRunId},
    sync::{ItemDecision, ItemStatus},
};

/// What came of a decision, before the counts are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// It stands, in this run.
    Done(SyncRunId),
    /// The item is in this status, in which that is not possible.
    NotPossible(ItemStatus),
    /// There is no such item, or not within the scope.
    NotFound,
}

/// What `decisions` change of `items`, one after the other. `within` says of each whether its item
/// is within its scope.
#[must_use]
pub fn decide(
    decisions: &[ItemDecision],
    within: &[bool],
    items: &BTreeMap<SyncItemId, ItemState>,
) -> (Changes, Vec<Decided>) {
    let mut changes = Changes::default();
    let answer = |(decision, within): (&ItemDecision, &bool)| {
        let present = changes.items.get(&decision.id);
        let Some(before) = present
            .or_else(|| items.get(&decision.id))
            .filter(|_| *within)
        else {
            return Decided::NotFound;
        };
        let before = before.clone();
        match before.decided(decision) {
            Err(status) => Decided::NotPossible(status),
            Ok(after) => {
                let run = after.run_id;
                let is_let_go = after.status == ItemStatus::Skipped;
                changes.change(&before, after.clone());
                if is_let_go {
                    changes.resolve(&after);
                }
                Decided::Done(run)
            }
        }
    };
    let answers = decisions.iter().zip(within).map(answer).collect();
    (changes, answers)
}
