//! The conformance suite over the store in memory.

use std::sync::Arc;

use integrations_testkit::memory::MemoryStore;

async fn fresh_store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new())
}

integrations_testkit::conformance_suite!(fresh_store());
