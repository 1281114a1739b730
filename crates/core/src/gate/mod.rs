//! Admission: circuit, budgets and suppressions that all workers share.
//!
//! What a gate decides is pure ([`GateState::admit`], [`GateState::settle`]); a store adds only
//! the row and its lock, so that every store decides alike.

mod budget;
mod circuit;
mod port;
mod rate;
mod state;

pub use budget::*;
pub use circuit::*;
pub use port::*;
pub use rate::RateBudget;
pub use state::GateState;
