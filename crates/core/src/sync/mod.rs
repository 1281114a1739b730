//! Syncs: runs, their items, and the records they are versions of.

mod checkpoint;
mod deletion;
pub mod engine;
mod item;
pub mod protocol;
mod run;
mod store;

pub use checkpoint::{Checkpoint, CheckpointOrder};
pub use deletion::{Sweep, Swept};
pub use item::*;
pub use run::*;
pub use store::*;
