//! What must hold under real parallel connections, on SQLite.

mod support;

use integrations_testkit::{concurrency_suite, conformance::Subject};

async fn subject() -> Subject {
    let scratch = support::Scratch::new();
    Subject::new(scratch.store().await).keeping(scratch)
}

concurrency_suite!(subject());
