//! The request pipeline over a store in memory and a scripted transport.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where its preparation fails"
)]

mod accounts;
mod acme;
mod cache;
mod calls;
mod fake;
mod faults;
mod gates;
mod health;
mod log;
mod once;
mod operate;
mod operations;
mod pages;
mod retries;
mod sdk;
