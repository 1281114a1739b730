//! Webhooks: what was received, and what became of it.

mod delivery;
mod inbox;

pub use delivery::*;
pub use inbox::*;
