//! The GitHub twin over real connections.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod client;
mod faults;
mod issues;
mod shapes;
