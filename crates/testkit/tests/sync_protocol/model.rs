//! What may happen next, and how far it is followed.

use integrations_core::{
    id::{SyncItemId, SyncRunId},
    sync::{ItemOutcome, ItemStatus, ItemVerdict},
};
use stateright::{Model, Property};

use super::{
    properties,
    world::{Told, Version, World, now},
};

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The cursor moves to whatever was resolved, enumerated completely or not.
    CursorBeyondCover,
    /// Failed items do not hold the cursor.
    CursorPastFailed,
    /// The token of a settlement is not looked at.
    NoFence,
    /// A run that ended is ended again.
    EndsAgain,
    /// Claims do not look at other versions of the record.
    VersionsAtOnce,
    /// What is settled is counted twice.
    CountsTwice,
    /// Nobody takes note of how far a stream was enumerated.
    NothingCovered,
    /// Nobody takes note of what was refused.
    RefusalForgotten,
}

/// The steps of one stream, within bounds.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each switches on a kind of step of its own"
)]
pub(crate) struct Sync {
    pub(crate) upstream: &'static [Version],
    pub(crate) sorted: bool,
    /// Whether enumeration may fail.
    fails: bool,
    /// Whether the store may refuse an item.
    refuses: bool,
    runs: usize,
    claims: u8,
    takeovers: u8,
    decisions: u8,
    /// Whether handlers may ask for a pause.
    puts_back: bool,
    pub(crate) fault: Option<Fault>,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Open,
    TakeOver,
    Page(usize),
    PageFails(usize),
    PageRefused(usize),
    Claim(SyncItemId),
    Expire(SyncItemId),
    Settle(usize, ItemOutcome),
    Retry(SyncItemId),
    Skip(SyncItemId),
    Finalise(SyncRunId),
    Advance,
}

const fn version(record: &'static str, checkpoint: i64) -> Version {
    Version { record, checkpoint }
}

impl Sync {
    /// The greater checkpoint comes first, and the enumeration may end between them.
    pub(crate) fn unsorted() -> Self {
        const UPSTREAM: &[Version] = &[version("b", 2), version("a", 1)];
        Self {
            upstream: UPSTREAM,
            sorted: false,
            fails: true,
            refuses: false,
            runs: 2,
            claims: 3,
            takeovers: 1,
            decisions: 1,
            puts_back: false,
            fault: None,
        }
    }

    pub(crate) fn sorted() -> Self {
        const UPSTREAM: &[Version] = &[version("a", 1), version("b", 2)];
        Self {
            upstream: UPSTREAM,
            sorted: true,
            claims: 2,
            ..Self::unsorted()
        }
    }

    /// An enumeration that is told to its end, of which the store may refuse any item.
    pub(crate) fn refusing(self) -> Self {
        Self {
            fails: false,
            refuses: true,
            claims: 2,
            decisions: 0,
            ..self
        }
    }

    /// Three versions of one record in one run, the oldest last.
    pub(crate) fn versions() -> Self {
        const UPSTREAM: &[Version] = &[version("a", 2), version("a", 3), version("a", 1)];
        Self {
            upstream: UPSTREAM,
            fails: false,
            runs: 1,
            claims: 4,
            takeovers: 0,
            puts_back: true,
            ..Self::unsorted()
        }
    }

    pub(crate) fn with(self, fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..self
        }
    }
}

impl Model for Sync {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let goes_on = world.running().is_some();
        if !goes_on && world.runs.len() < self.runs {
            steps.push(Step::Open);
        }
        let enumerates = world.running().is_some_and(|run| !run.enumerated);
        if enumerates && world.takeovers < self.takeovers {
            steps.push(Step::TakeOver);
        }
        for who in 0..world.enumerators.len() {
            steps.push(Step::Page(who));
            if self.fails {
                steps.push(Step::PageFails(who));
            }
            if self.refuses {
                steps.push(Step::PageRefused(who));
            }
        }
        if world.claims < self.claims {
            let claimable = world.claimable(self.fault).into_iter();
            steps.extend(claimable.map(Step::Claim));
        }
        for item in world.items.values().filter(|item| item.is_leased(now())) {
            steps.push(Step::Expire(item.id));
        }
        for who in 0..world.workers.len() {
            let failed = ItemOutcome::Failed {
                error: "refused".to_owned(),
            };
            steps.push(Step::Settle(who, ItemOutcome::Succeeded));
            steps.push(Step::Settle(who, failed));
            if self.puts_back {
                let pause = ItemOutcome::PutBack { at: now() };
                steps.push(Step::Settle(who, pause));
            }
        }
        if world.decisions < self.decisions {
            for item in world.items.values() {
                match item.shown(now()) {
                    ItemStatus::Failed => {
                        steps.extend([Step::Retry(item.id), Step::Skip(item.id)]);
                    }
                    ItemStatus::Pending => steps.push(Step::Skip(item.id)),
                    _ => {}
                }
            }
        }
        steps.extend(world.runs.keys().copied().map(Step::Finalise));
        if self.sorted && goes_on {
            steps.push(Step::Advance);
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        match step {
            Step::Open => world.open(self.upstream, self.sorted),
            Step::TakeOver => {
                world.takeovers += 1;
                world.open(self.upstream, self.sorted);
            }
            Step::Page(who) => world.page(who, Told::Stored, self.fault),
            Step::PageFails(who) => world.page(who, Told::Nothing, self.fault),
            Step::PageRefused(who) => world.page(who, Told::Refused, self.fault),
            Step::Claim(id) => world.claim(id),
            Step::Expire(id) => world.expire(id),
            Step::Settle(who, outcome) => world.settle(who, outcome, self.fault),
            Step::Retry(id) => world.decide(id, ItemVerdict::Retry),
            Step::Skip(id) => {
                let reason = "let go".to_owned();
                world.decide(id, ItemVerdict::Skip { reason });
            }
            Step::Finalise(id) => world.finalise(id, self.fault),
            Step::Advance => world.follow(self.fault),
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
