//! The storage ports, written once for both databases, one file per aggregate as in core.

mod cache;
mod gate;
mod idempotency;
mod inbox;
mod inbox_claim;
mod inbox_receive;
mod inbox_rows;
mod integration;
mod journal;
mod key_registry;
mod lease;
mod mapping;
mod operation_log;
mod payload;
mod request_log;
mod retention;
mod sync_claim;
mod sync_cursor;
mod sync_decide;
mod sync_finalise;
mod sync_items;
mod sync_known;
mod sync_rotation;
mod sync_rows;
mod sync_runs;
mod sync_settlement;
mod sync_state;
mod sync_store;
mod sync_sweep;
mod token;
mod wake;
mod webhook_settlements;
mod worker;

pub(crate) use sync_rotation::Rotation;
