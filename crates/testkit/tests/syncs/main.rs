//! The sync engine over a store in memory and a clock that moves when a test says so.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where its preparation fails"
)]

mod deletions;
mod enumeration;
mod feed;
mod items;
mod operators;
mod scheduling;
mod services;
mod world;
