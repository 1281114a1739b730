//! The command from outside: a process, its output, its exit status, and the database behind it.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

mod accounts;
mod cache;
mod calls;
mod chaos;
mod databases;
mod deliveries;
mod logs;
mod once;
mod operator;
mod pruning;
mod receiving;
mod schema;
mod secrets;
mod server;
mod sink_server;
mod syncs;
mod usage;
mod world;
