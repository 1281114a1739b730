//! The storage ports, written once for both databases, one file per aggregate as in core.

mod cache;
mod idempotency;
mod integration;
mod journal;
mod key_registry;
mod mapping;
mod operation_log;
mod request_log;
