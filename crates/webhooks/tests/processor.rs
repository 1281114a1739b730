//! The processor over a store in memory.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first surprise, in its helpers too"
)]

#[path = "processor/attempts.rs"]
mod attempts;
#[path = "processor/replays.rs"]
mod replays;
#[path = "processor/setup.rs"]
mod setup;
#[path = "processor/workers.rs"]
mod workers;
