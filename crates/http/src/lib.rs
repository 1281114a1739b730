//! [`ReqwestTransport`]: the `HttpTransport` port over `reqwest`, with limits and an egress guard.
//!
//! ```no_run
//! use bytes::Bytes;
//! use integrations_core::transport::HttpTransport;
//! use integrations_http::ReqwestTransport;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let transport = ReqwestTransport::new()?;
//! let request = http::Request::get("https://api.example.com/health").body(Bytes::new())?;
//! let response = transport.send(request).await?;
//! assert!(response.status().is_success());
//! # Ok(())
//! # }
//! ```
//!
//! # What it refuses
//!
//! - Addresses that are not public: the guard judges what a name *resolved to*, at the moment of
//!   connecting, so a name that changes its address cannot get around it. [`AllowPrivate`] opens
//!   loopback and private networks, for the whole transport or for one request; nothing opens
//!   link-local and metadata addresses.
//! - `http://` to anything but loopback and private addresses that are allowed.
//! - Answers larger than the limit, before or after decompression.
//! - Redirects, unless `TransportOptions::redirect_origins` names where they lead. Once a
//!   redirect changed the origin, no header goes along that could carry a credential.
//!
//! Proxies of the environment are ignored. TLS is `rustls` over `ring`; no process-wide provider
//! is needed or installed.
//!
//! [`AllowPrivate`]: integrations_core::transport::AllowPrivate

mod address;
mod body;
mod builder;
mod clients;
mod error;
mod guard;
mod redirect;
mod resolve;
mod tls;
mod transport;

pub use self::{
    builder::{BuildError, ReqwestTransportBuilder},
    guard::InvalidNetwork,
    resolve::{Resolver, SystemResolver},
    transport::ReqwestTransport,
};
