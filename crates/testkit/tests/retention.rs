//! The pruner over a store in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use integrations_core::{
    integration::Removal,
    lease::{LeaseAnswer, LeaseRequest},
    request::RequestFilter,
    retention::{Pass, Prunable, Pruner, RetentionPolicy},
    store::{PageRequest, Ports},
    time::{Clock as _, later},
    value::LeaseName,
};
use integrations_testkit::{
    clock::ManualClock,
    conformance::fixtures::{attempt, holder, neutral, new_integration},
    memory::MemoryStore,
};

const DAY: Duration = Duration::from_hours(24);

struct World {
    clock: ManualClock,
    ports: Ports,
    pruner: Pruner,
}

fn world() -> World {
    let clock = ManualClock::default();
    let ports = Ports::from(MemoryStore::with_clock(Arc::new(clock.clone())));
    let pruner = Pruner::new(&ports, RetentionPolicy::default());
    World {
        clock,
        ports,
        pruner,
    }
}

impl World {
    /// So many calls of one integration, now.
    async fn calls(&self, count: usize) {
        let mut new = new_integration();
        new.now = self.clock.now();
        let integration = self.ports.integrations.create(&new).await.unwrap();
        let mut call = attempt(integration.id);
        call.created_at = self.clock.now();
        let outcomes = vec![neutral(call); count];
        self.ports.journal.record(&outcomes).await.unwrap();
    }

    async fn rows(&self) -> usize {
        let filter = RequestFilter::default();
        let scope = integrations_core::integration::Scope::Operator;
        let page = PageRequest::oldest(PageRequest::MAX_LIMIT);
        let found = self.ports.requests.query(&filter, &scope, &page).await;
        found.unwrap().items.len()
    }
}

fn pruned(report: &integrations_core::retention::PruneReport, what: Prunable) -> u64 {
    let mut rows = report.rows.iter();
    rows.find(|(kind, _)| *kind == what).unwrap().1
}

// PRU-01, PRU-03
#[tokio::test]
async fn a_pass_takes_as_many_batches_as_it_needs() {
    let world = world();
    world.calls(2_500).await;
    world.clock.advance(89 * DAY);
    world.calls(3).await;
    world.clock.advance(2 * DAY);

    let counted = world.pruner.dry_run().await.unwrap();
    assert_eq!(pruned(&counted, Prunable::Requests), 2_500);
    let report = world.pruner.prune().await.unwrap();
    assert_eq!(pruned(&report, Prunable::Requests), 2_500);
    assert_eq!(world.rows().await, 3);
}

// DESIGN: `remove` is finished in batches
#[tokio::test]
async fn removed_integrations_go() {
    let world = world();
    world.calls(1_500).await;
    let integrations = &world.ports.integrations;
    let scope = integrations_core::integration::Scope::Operator;
    let page = PageRequest::newest(1);
    let found = integrations.list(&<_>::default(), &scope, &page).await;
    let id = found.unwrap().items[0].id;
    let removed = integrations
        .remove(id, &scope, true, world.clock.now())
        .await;
    assert!(matches!(removed.unwrap(), Removal::Removed));

    let report = world.pruner.prune().await.unwrap();

    assert_eq!(report.removed, 1_501);
    assert_eq!(world.rows().await, 0);
}

#[tokio::test]
async fn of_a_fleet_one_prunes_each_day() {
    let world = world();
    let (one, two) = (holder("one"), holder("two"));
    let done = world.pruner.pass_if_due(&one).await.unwrap();
    assert!(matches!(done, Pass::Done(_)));
    let tomorrow = later(world.clock.now(), DAY);
    for holder in [&one, &two] {
        let looked = world.pruner.pass_if_due(holder).await.unwrap();
        assert_eq!(looked, Pass::NotDue { until: tomorrow });
    }
    world.clock.advance(DAY);
    let done = world.pruner.pass_if_due(&two).await.unwrap();
    assert!(matches!(done, Pass::Done(_)));
}

#[tokio::test]
async fn a_pruner_that_was_killed_is_followed_within_minutes() {
    let world = world();
    let now = world.clock.now();
    let killed = LeaseRequest {
        name: LeaseName::new("retention").unwrap(),
        holder: holder("killed"),
        until: later(now, Duration::from_mins(10)),
        now,
    };
    let acquired = world.ports.leases.acquire(&killed).await.unwrap();
    assert!(matches!(acquired, LeaseAnswer::Acquired(_)));
    let next = holder("next");
    let looked = world.pruner.pass_if_due(&next).await.unwrap();
    let Pass::NotDue { until } = looked else {
        panic!("{looked:?}");
    };
    world.clock.set(until);
    let done = world.pruner.pass_if_due(&next).await.unwrap();
    assert!(matches!(done, Pass::Done(_)));
}
