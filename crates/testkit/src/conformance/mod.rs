//! The conformance suite: what every store has to keep, as tests any store can run.
//!
//! A case is an ordinary function that takes a [`Subject`], writes through the ports and asserts
//! what they answer. It brings its own instants, counts on nothing but the rows it made, and takes
//! no id for granted. [`conformance_suite!`](crate::conformance_suite) stamps a test for each.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a case fails by panicking"
)]

mod feed;
pub mod fixtures;
mod newer;
mod partial;
mod suite;
mod suite_syncs;

#[doc(hidden)]
pub mod cache;
#[doc(hidden)]
pub mod concurrency;
#[doc(hidden)]
pub mod gate;
#[doc(hidden)]
pub mod gate_circuit;
#[doc(hidden)]
pub mod health;
#[doc(hidden)]
pub mod inbox;
#[doc(hidden)]
pub mod inbox_claims;
#[doc(hidden)]
pub mod inbox_digests;
#[doc(hidden)]
pub mod integrations;
#[doc(hidden)]
pub mod journal;
#[doc(hidden)]
pub mod journal_unlogged;
#[doc(hidden)]
pub mod keys;
#[doc(hidden)]
pub mod leases;
#[doc(hidden)]
pub mod ledger;
#[doc(hidden)]
pub mod ledger_operator;
#[doc(hidden)]
pub mod mappings;
#[doc(hidden)]
pub mod operation_log;
#[doc(hidden)]
pub mod removal;
#[doc(hidden)]
pub mod request_log;
#[doc(hidden)]
pub mod retention;
#[doc(hidden)]
pub mod sync_claims;
#[doc(hidden)]
pub mod sync_cursor;
#[doc(hidden)]
pub mod sync_decisions;
#[doc(hidden)]
pub mod sync_deletions;
#[doc(hidden)]
pub mod sync_finalise;
#[doc(hidden)]
pub mod sync_items;
#[doc(hidden)]
pub mod sync_leases;
#[doc(hidden)]
pub mod sync_mirror;
#[doc(hidden)]
pub mod sync_runs;
#[doc(hidden)]
pub mod sync_settlement;
#[doc(hidden)]
pub mod sync_told_cursor;
#[doc(hidden)]
pub mod tokens;
#[doc(hidden)]
pub mod wake;
#[doc(hidden)]
pub mod workers;

use std::{any::Any, fmt};

use integrations_core::store::Ports;

pub use newer::leaves_newer_states_alone;
pub use partial::{
    what_is_new_stays_when_duplicates_fail, what_is_stored_stays_when_the_rest_fails,
};

/// The store under test, fresh for each case.
///
/// A store that implements some of the ports only takes the others from a complete store:
///
/// ```
/// # use integrations_core::store::Ports;
/// # use std::sync::Arc;
/// use integrations_testkit::conformance::Subject;
///
/// fn subject(complete: Ports, own: Arc<dyn integrations_core::mapping::MappingStore>) -> Subject {
///     Subject::new(Ports { mappings: own, ..complete })
/// }
/// ```
pub struct Subject {
    /// What the cases call.
    pub ports: Ports,
    kept: Vec<Box<dyn Any + Send + Sync>>,
}

impl Subject {
    /// The subject behind these ports; a store of any form converts to them.
    #[must_use]
    pub fn new(ports: impl Into<Ports>) -> Self {
        Self {
            ports: ports.into(),
            kept: Vec::new(),
        }
    }

    /// The same, dropping `guard` once the case is over: a temporary directory, a container.
    #[must_use]
    pub fn keeping(mut self, guard: impl Any + Send + Sync) -> Self {
        self.kept.push(Box::new(guard));
        self
    }
}

impl<T: Into<Ports>> From<T> for Subject {
    fn from(ports: T) -> Self {
        Self::new(ports)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("kept", &self.kept.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    // A case that nobody stamps would look like one that passes.
    #[test]
    fn every_case_is_listed() {
        for (aggregate, listed, source) in crate::__conformance_cases!(names all) {
            let written: Vec<_> = source
                .lines()
                .filter_map(|line| line.strip_prefix("pub async fn "))
                .filter_map(|rest| rest.split('(').next())
                .collect();
            assert_eq!(written, listed, "cases of `{aggregate}`, in their order");
        }
    }

    #[test]
    fn every_aggregate_is_listed() {
        let listed = crate::__conformance_cases!(names all).map(|(aggregate, ..)| aggregate);
        let mut listed = listed.to_vec();
        listed.sort_unstable();
        let modules: Vec<_> = include_str!("mod.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
            .filter(|module| *module != "fixtures")
            .collect();
        assert_eq!(listed, modules);
    }
}
