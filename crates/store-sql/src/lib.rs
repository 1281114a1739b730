//! What the SQL stores of the `integrations` layer share: statements, rows and the port
//! implementations, written once for both databases. No driver is known here.
//!
//! There is no semver promise of its own: depend on an adapter crate.

pub mod adapter;
pub mod at_hand;
pub mod backend;
pub mod bind;
mod checks;
pub mod clock;
pub mod dialect;
pub mod error;
pub mod ids;
pub mod migration;
pub mod migrator;
pub mod page;
mod ports;
pub mod row;
mod scope;
pub mod statement;
pub mod store;
pub mod wake;

pub use adapter::{Adapter, OpenError};
pub use backend::{Backend, OwnCommit, Session};
pub use clock::SystemClock;
pub use dialect::Dialect;
pub use error::{SqlError, SqlErrorKind};
pub use migration::{Migration, PublishedFile, SchemaState};
pub use store::SqlStore;
