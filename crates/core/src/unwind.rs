//! Panics of code that is not ours.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `code`, which a provider, an SDK or an application brought; `None` when it panicked.
///
/// Used where the other side has answered already: what goes wrong then must not cost the caller
/// the answer (INV-01).
pub(crate) fn caught<T>(what: &str, code: impl FnOnce() -> T) -> Option<T> {
    let outcome = catch_unwind(AssertUnwindSafe(code));
    if outcome.is_err() {
        tracing::error!(what, "code of a provider or application panicked");
    }
    outcome.ok()
}
