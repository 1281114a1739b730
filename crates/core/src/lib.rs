//! Domain types, port traits and the client of the `integrations` layer.
//!
//! This crate does no I/O. It says what the layer is made of (an [`Integration`], an attempt, a
//! mapping, a sync run), what it needs from outside (*ports*, traits that adapter crates or an
//! application implement), and what it does ([`IntegrationClient`]).
//!
//! | to | see |
//! | --- | --- |
//! | make calls | [`client`] |
//! | teach it another system | [`provider`] |
//! | keep its rows elsewhere | [`store`], whose [`Store`](store::Store) is the sum of the storage ports |
//! | send requests another way | [`transport`] |
//! | seal with a key service | [`encryptor`] |
//! | hear what happens | [`event`] |
//!
//! # Implementing a port
//!
//! A port's documentation says what an implementation MUST do, and for storage ports the suite in
//! `integrations-testkit` checks it. Ports are object-safe, take values and hold no default bodies:
//!
//! ```
//! use async_trait::async_trait;
//! use bytes::Bytes;
//! use integrations_core::transport::{HttpTransport, TransportError};
//!
//! /// Answers every request with 204.
//! struct Void;
//!
//! #[async_trait]
//! impl HttpTransport for Void {
//!     async fn send(
//!         &self,
//!         _request: http::Request<Bytes>,
//!     ) -> Result<http::Response<Bytes>, TransportError> {
//!         let mut answer = http::Response::new(Bytes::new());
//!         *answer.status_mut() = http::StatusCode::NO_CONTENT;
//!         Ok(answer)
//!     }
//! }
//! ```
//!
//! # Features
//!
//! | feature | brings |
//! | --- | --- |
//! | `mock` | a `Mock..` of every port in `mock`, made by mockall; exempt from semver |
//!
//! [`Integration`]: integration::Integration
//! [`IntegrationClient`]: client::IntegrationClient

mod state;
mod unwind;

pub mod batch;
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
pub mod trace;
pub mod transport;
pub mod value;
pub mod wake;
pub mod webhook;
pub mod work;
pub mod worker;
