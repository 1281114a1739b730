//! The conformance suite on PostgreSQL.

mod support;

use integrations_testkit::{conformance::Subject, conformance_suite};

async fn subject() -> Subject {
    let scratch = support::Scratch::new();
    Subject::new(scratch.store().await).keeping(scratch)
}

conformance_suite!(subject());
