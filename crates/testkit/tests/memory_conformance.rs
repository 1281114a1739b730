//! The conformance suite over the store in memory.

use std::future::ready;

use integrations_testkit::memory::MemoryStore;

integrations_testkit::conformance_suite!(ready(MemoryStore::new()));
