//! The sum of the storage ports, and what they share.

mod error;
mod page;
mod ports;

pub use error::{Batch, Rejected, StoreError, StoreErrorKind};
pub use page::{Order, Page, PageRequest};
#[cfg(any(test, feature = "mock"))]
pub use ports::MockStoreClock;
pub use ports::{Ports, Store, StoreClock};
