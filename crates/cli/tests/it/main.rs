//! The command from outside: a process, its output, its exit status, and the database behind it.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

mod accounts;
mod cache;
mod calls;
mod databases;
mod logs;
mod operator;
mod receiving;
mod schema;
mod secrets;
mod server;
mod usage;
mod world;
