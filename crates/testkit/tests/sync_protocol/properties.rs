//! What has to hold in every state.

use integrations_core::{
    id::SyncRunId,
    sync::{ItemOutcome, ItemStatus, ItemVerdict, RunCounts, SyncRun, protocol::count},
    value::ExternalId,
};
use stateright::Property;

use super::{
    model::Sync,
    world::{Told, Version, World, now, number},
};

/// INV-06
pub(crate) const CURSOR: &str = "the cursor passes nothing that is not done";
/// INV-07
pub(crate) const ENDS: &str = "a run can always end, and the cursor follow";
/// INV-07
pub(crate) const ENDS_ONCE: &str = "a run ends once";
/// INV-08
pub(crate) const FENCED: &str = "a late worker settles nothing";
/// SYN-20
pub(crate) const COUNTS: &str = "the counts of a run are those of its items";
/// Older versions first.
pub(crate) const ONE_AT_A_TIME: &str = "one version of a record is handled at a time";

pub(crate) fn names() -> [&'static str; 6] {
    [CURSOR, ENDS, ENDS_ONCE, FENCED, COUNTS, ONE_AT_A_TIME]
}

pub(crate) fn all() -> Vec<Property<Sync>> {
    vec![
        Property::always(CURSOR, |model: &Sync, world: &World| {
            let is_behind = |checkpoint| Some(checkpoint) <= world.cursor;
            let mut passed =
                (model.upstream.iter()).filter(|version| is_behind(version.checkpoint));
            let mut unresolved = world.items.values().filter(|item| item.is_unresolved());
            passed.all(|version| is_done(world, *version))
                && !unresolved.any(|item| {
                    item.checkpoint
                        .as_ref()
                        .is_some_and(|o| is_behind(number(o)))
                })
        }),
        Property::always(ENDS, |model: &Sync, world: &World| drains(model, world)),
        Property::always(ENDS_ONCE, |_, world: &World| {
            world.ends.values().all(|ends| *ends <= 1)
        }),
        Property::always(FENCED, |_, world: &World| !world.late_was_taken),
        Property::always(COUNTS, |_, world: &World| {
            world.runs.values().all(|run| run.counts_are_right(world))
        }),
        Property::always(ONE_AT_A_TIME, |_, world: &World| {
            let leased = || world.items.values().filter(|item| item.is_leased(now()));
            leased().all(|a| !leased().any(|b| a.id != b.id && a.is_version_of_same(b)))
        }),
    ]
}

/// Whether a version was handled or let go, or a newer one of its record was.
fn is_done(world: &World, version: Version) -> bool {
    world.items.values().any(|item| {
        let order = item.checkpoint.as_ref().map(number);
        let of_record = item.external_id.as_ref().map(ExternalId::as_str) == Some(version.record);
        item.status.is_resolved() && of_record && order >= Some(version.checkpoint)
    })
}

trait CountsAreRight {
    fn counts_are_right(&self, world: &World) -> bool;
}

impl CountsAreRight for SyncRun {
    fn counts_are_right(&self, world: &World) -> bool {
        let mut counts = RunCounts {
            duplicates: self.counts.duplicates,
            ..RunCounts::default()
        };
        for item in world.items.values().filter(|item| item.run_id == self.id) {
            count(&mut counts, &item.status, 1);
        }
        counts == self.counts
    }
}

/// Whether from here, once nothing fails any more, every run ends and the cursor comes to the end:
/// leases run out, somebody takes over the enumeration, what is open succeeds, what failed is
/// retried, and one more sync is run.
fn drains(model: &Sync, world: &World) -> bool {
    // A worker that is killed leaves what it has as it is once it has given up.
    if !world.workers.is_empty() {
        return true;
    }
    let mut world = world.clone();
    world.enumerators.clear();
    let leased: Vec<_> = world.items.keys().copied().collect();
    for id in leased {
        world.expire(id);
    }
    let unfinished = world.running().is_some_and(|run| !run.enumerated);
    if unfinished {
        world.open(model.upstream, model.sorted);
    }
    finish(model, &mut world);
    if world.running().is_some() {
        return false;
    }
    world.open(model.upstream, model.sorted);
    finish(model, &mut world);
    let last = model
        .upstream
        .iter()
        .map(|version| version.checkpoint)
        .max();
    world.running().is_none() && world.cursor == last
}

/// Enumerates, handles and finalises whatever there is.
fn finish(model: &Sync, world: &mut World) {
    while !world.enumerators.is_empty() {
        world.page(0, Told::Stored, model.fault);
    }
    let failed: Vec<_> = (world.items.values())
        .filter(|item| item.status == ItemStatus::Failed)
        .map(|item| item.id)
        .collect();
    for id in failed {
        world.decide(id, ItemVerdict::Retry);
    }
    while let Some(id) = world.claimable(model.fault).first().copied() {
        world.claim(id);
        world.settle(0, ItemOutcome::Succeeded, model.fault);
    }
    let runs: Vec<SyncRunId> = world.runs.keys().copied().collect();
    for id in runs {
        world.finalise(id, model.fault);
    }
}
