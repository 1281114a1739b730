//! Signature schemes: over the exact bytes, in constant time, and refusing where in doubt.
//!
//! | scheme | signed | notes |
//! | --- | --- | --- |
//! | `github` | body | |
//! | `stripe` | `t.body` | several `v1`; two `t` are refused |
//! | `zendesk` | timestamp and body | the timestamp is RFC 3339 in whole seconds |
//! | `slack` | `v0:timestamp:body` | |
//! | `shopify` | body | |
//! | `standard`, `svix` | `id.timestamp.body` | `whsec_` secrets and `whpk_` Ed25519 keys |
//! | `basic` | nothing | username and password are shown |
//! | `hmac` | a template | see [`HmacScheme`](integrations_core::webhook::HmacScheme) |
//!
//! Timestamps count within [`TIMESTAMP_TOLERANCE`] on both sides. What official libraries disagree
//! on is refused: two timestamps in one header, one ahead of the tolerance, fractions of a second,
//! upper-case hexadecimal.

mod basic;
mod parts;
mod presented;
mod refusal;
mod verifier;

#[cfg(test)]
mod tests;

pub use refusal::Refusal;
pub(crate) use verifier::is_one_of;
pub use verifier::{TIMESTAMP_TOLERANCE, Verified, Verifier};
