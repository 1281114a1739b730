//! The receiver over a store in memory, from request to row.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first surprise, in its helpers too"
)]

#[path = "receiver/answers.rs"]
mod answers;
#[path = "receiver/duplicates.rs"]
mod duplicates;
#[path = "receiver/own_route.rs"]
mod own_route;
#[path = "receiver/setup.rs"]
mod setup;
