#![doc = include_str!("../README.md")]
//!
//! # Features
//!
//! | feature | brings | default |
//! | --- | --- | --- |
//! | `sqlite` | [`SqliteStore`] | yes |
//! | `http` | [`ReqwestTransport`] | yes |
//! | `github`, `stripe`, `zendesk`, `postmark`, `webhook` | the provider, in [`providers`] | yes |
//! | `postgres` | [`PgStore`] | no |
//! | `webhooks` | [`webhooks`]: receiver and signature schemes | no |
//! | `axum` | [`webhooks::router`]: the receiver's routes | no |
//! | `mock` | a `Mock..` of every port, in [`mock`] | no |

pub use integrations_core::*;

pub use integrations_core::client::{
    Answer, CallContext, CallError, CallErrorKind, IntegrationClient, IntegrationHandle,
    ScopedClient,
};
pub use integrations_core::integration::{Integration, Owner, Scope};
pub use integrations_encryptor::{KeyFile, KeyRing, RingEncryptor};
pub use integrations_store_sql::clock::SystemClock;

#[cfg(feature = "http")]
pub use integrations_http::ReqwestTransport;
#[cfg(feature = "postgres")]
pub use integrations_store_postgres::PgStore;
#[cfg(feature = "sqlite")]
pub use integrations_store_sqlite::SqliteStore;

/// The providers that come with the layer.
#[cfg(any(
    feature = "github",
    feature = "stripe",
    feature = "zendesk",
    feature = "postmark",
    feature = "webhook"
))]
pub mod providers {
    pub use integrations_providers::*;
}

/// The transport's own types.
#[cfg(feature = "http")]
pub mod http {
    pub use integrations_http::*;
}

/// The PostgreSQL store's own types.
#[cfg(feature = "postgres")]
pub mod postgres {
    pub use integrations_store_postgres::*;
}

/// The SQLite store's own types.
#[cfg(feature = "sqlite")]
pub mod sqlite {
    pub use integrations_store_sqlite::*;
}

/// Receiving and processing webhooks.
#[cfg(feature = "webhooks")]
pub mod webhooks {
    pub use integrations_webhooks::*;
}

/// The key ring's own types.
pub mod keys {
    pub use integrations_encryptor::*;
}
