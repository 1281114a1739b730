//! testkit

pub mod twin;
