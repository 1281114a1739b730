//! A model check of the sync protocol: every order of opening, enumerating, claiming, settling,
//! losing leases, deciding and finalising, for small sizes.
//!
//! The transitions are those of `integrations_core::sync::protocol`, which the stores call too.
//! Faults that are planted on purpose have to be found, or the check could not fail.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod model;
mod properties;
mod world;

use stateright::{Checker, HasDiscoveries, Model as _};

use self::{
    model::{Fault, Sync},
    properties::names,
};

/// Walks every reachable state, or until what is looked for is found; the names of the properties
/// that do not hold, and how many states there were.
fn walk(model: Sync, until: HasDiscoveries) -> (Vec<&'static str>, usize) {
    let checker = model.checker().finish_when(until).spawn_bfs().join();
    let broken = names()
        .into_iter()
        .filter(|name| checker.discovery(name).is_some())
        .collect();
    (broken, checker.unique_state_count())
}

#[track_caller]
fn assert_holds(model: Sync) {
    let (broken, states) = walk(model, HasDiscoveries::All);
    assert_eq!(broken, [""; 0]);
    assert!(states > 100, "{states} states are no check");
}

#[track_caller]
fn assert_found(model: Sync, fault: Fault, property: &'static str) {
    let until = HasDiscoveries::AnyOf([property].into());
    let (broken, _) = walk(model.with(fault), until);
    assert!(broken.contains(&property), "{fault:?} broke {broken:?}");
}

// INV-06, INV-07: an unsorted enumeration that may fail or be taken over halfway.
#[test]
fn two_records_whose_enumeration_may_fail() {
    assert_holds(Sync::unsorted());
}

// INV-06: the cursor moves during a sorted enumeration.
#[test]
fn two_records_in_sorted_order() {
    assert_holds(Sync::sorted());
}

// INV-06: what was refused is in no row that could hold the cursor.
#[test]
fn two_records_that_may_be_refused() {
    assert_holds(Sync::unsorted().refusing());
    assert_holds(Sync::sorted().refusing());
}

// INV-08: workers that lose their leases, and versions of one record.
#[test]
fn versions_of_one_record() {
    assert_holds(Sync::versions());
}

#[test]
fn a_cursor_that_passes_what_was_not_enumerated_is_found() {
    let fault = Fault::CursorBeyondCover;
    assert_found(Sync::unsorted(), fault, properties::CURSOR);
}

#[test]
fn a_cursor_that_passes_failures_is_found() {
    assert_found(
        Sync::unsorted(),
        Fault::CursorPastFailed,
        properties::CURSOR,
    );
}

#[test]
fn a_refusal_that_is_forgotten_is_found() {
    for model in [Sync::unsorted(), Sync::sorted()] {
        let fault = Fault::RefusalForgotten;
        assert_found(model.refusing(), fault, properties::CURSOR);
    }
}

#[test]
fn a_settlement_by_a_late_worker_is_found() {
    assert_found(Sync::versions(), Fault::NoFence, properties::FENCED);
}

#[test]
fn a_run_that_ends_twice_is_found() {
    assert_found(Sync::unsorted(), Fault::EndsAgain, properties::ENDS_ONCE);
}

#[test]
fn two_versions_at_once_are_found() {
    assert_found(
        Sync::versions(),
        Fault::VersionsAtOnce,
        properties::ONE_AT_A_TIME,
    );
}

#[test]
fn a_count_that_is_off_is_found() {
    assert_found(Sync::unsorted(), Fault::CountsTwice, properties::COUNTS);
}

#[test]
fn a_cursor_that_cannot_follow_is_found() {
    assert_found(Sync::unsorted(), Fault::NothingCovered, properties::ENDS);
}
