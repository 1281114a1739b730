//! Scratch, to be deleted.
mod support;
use integrations_core::store::Ports;
use integrations_testkit::{conformance::Subject, conformance_suite, memory::MemoryStore};
use std::sync::Arc;

async fn subject() -> Subject {
    let scratch = support::Scratch::new();
    let store = Arc::new(scratch.store().await);
    let ports = Ports {
        integrations: store.clone(),
        journal: store.clone(),
        requests: store.clone(),
        cache: store.clone(),
        operations: store.clone(),
        mappings: store.clone(),
        ledger: store.clone(),
        keys: store.clone(),
        ..Ports::from(MemoryStore::new())
    };
    Subject::new(ports).keeping(scratch)
}
conformance_suite!(subject(); integrations, journal, health, request_log, operation_log, ledger, ledger_operator, cache, keys, removal, sync_leases, mappings);
