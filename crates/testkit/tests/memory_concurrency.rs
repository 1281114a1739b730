//! The concurrency suite over the store in memory.

use std::{future::ready, sync::Arc};

use integrations_testkit::memory::MemoryStore;

integrations_testkit::concurrency_suite!(ready(Arc::new(MemoryStore::new())));
