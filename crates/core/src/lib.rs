//! Domain types, port traits and services of the `integrations` layer.

mod state;

pub mod body;
pub mod cache;
pub mod classify;
pub mod client;
pub mod encryptor;
pub mod entropy;
pub mod event;
pub mod gate;
pub mod id;
pub mod idempotency;
pub mod integration;
pub mod key_registry;
pub mod lease;
pub mod mapping;
#[cfg(any(test, feature = "mock"))]
pub mod mock;
pub mod operation_log;
pub mod provider;
pub mod redact;
pub mod request;
pub mod retention;
pub mod store;
pub mod sync;
pub mod time;
pub mod token;
pub mod transport;
pub mod value;
pub mod webhook;
pub mod worker;
