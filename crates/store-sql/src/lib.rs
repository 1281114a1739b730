//! What the SQL stores of the `integrations` layer share: statements, rows and the port
//! implementations, written once for both databases. No driver is known here.
//!
//! There is no semver promise of its own: depend on an adapter crate.

pub mod backend;
pub mod bind;
pub mod dialect;
pub mod error;
pub mod ids;
pub mod page;
mod ports;
pub mod row;
pub mod statement;
pub mod store;

pub use backend::{Backend, OwnCommit, Session};
pub use dialect::Dialect;
pub use error::{SqlError, SqlErrorKind};
pub use store::SqlStore;
