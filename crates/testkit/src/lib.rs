//! testkit

pub mod conformance;
pub mod twin;
