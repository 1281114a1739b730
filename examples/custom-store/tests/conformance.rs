//! The suite over a store of one's own, with a complete store behind it for the other ports.

use std::sync::Arc;

use example_custom_store::TinyStore;
use integrations::store::Ports;
use integrations_testkit::{conformance::Subject, memory::MemoryStore};

fn make_store() -> Subject {
    let tiny = Arc::new(TinyStore::default());
    Subject::new(Ports {
        leases: Arc::<TinyStore>::clone(&tiny),
        tokens: Arc::<TinyStore>::clone(&tiny),
        workers: tiny,
        ..Ports::from(MemoryStore::new())
    })
}

integrations_testkit::conformance_suite!(std::future::ready(make_store()); leases, tokens, workers);
