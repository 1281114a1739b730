//! testkit

pub mod clock;
pub mod conformance;
pub mod encryptor;
pub mod entropy;
pub mod memory;
pub mod twin;
