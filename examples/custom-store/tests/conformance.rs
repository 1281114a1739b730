//! The suite over a store of one's own, with a complete store behind it for the other ports.

use std::sync::Arc;

use example_custom_store::TinyStore;
use integrations::store::Ports;
use integrations_testkit::{conformance::Subject, memory::MemoryStore};

async fn make_store() -> Subject {
    let tiny = Arc::new(TinyStore::default());
    let database = Ports::from(MemoryStore::new());
    Subject::new(Ports {
        leases: tiny.clone(),
        tokens: tiny.clone(),
        workers: tiny,
        ..database
    })
}

integrations_testkit::conformance_suite!(make_store(); leases, tokens, workers);
