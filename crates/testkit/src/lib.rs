//! What tests of the `integrations` layer, and of applications on it, are made with.
//!
//! - [`harness::Harness`]: the real client over a store in memory, a manual clock and a scripted
//!   transport, for tests of domain logic.
//! - [`fake`]: a fake of other systems for an application's tests, under the real pipeline.
//! - [`twin`]: local servers with the real shapes of providers.
//! - [`canary`]: secrets in every place a call has one, to be looked for afterwards.
//! - [`conformance_suite!`]: whether a store of one's own keeps what the ports promise.

pub mod canary;
pub mod clock;
pub mod concurrency;
pub mod conformance;
pub mod encryptor;
pub mod entropy;
pub mod fake;
pub mod harness;
pub mod memory;
pub mod transport;
pub mod twin;
