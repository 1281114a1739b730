//! The [`HttpTransport`] port, over the types of the `http` crate.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use url::Origin;

use crate::{id::IntegrationId, value::ProviderKey};

/// How far a request that failed had come. Decides whether it may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reached {
    /// Nothing was sent: sending again cannot do the work twice.
    NotSent,
    /// Some or all of it may have been sent; the server may have acted on it.
    MaybeSent,
}

/// What went wrong with a request that got no usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The request itself is wrong (no host, unknown scheme). Never retry.
    Invalid,
    /// The egress guard refused the address or the origin. Never retry.
    Refused,
    /// The name did not resolve. Retrying may help.
    Resolve,
    /// No connection, or the TLS handshake failed. Retrying may help.
    Connect,
    /// A time limit passed. Retrying may help, if it is safe.
    Timeout,
    /// The connection broke while sending or reading. Retrying may help, if it is safe.
    Interrupted,
    /// The answer is larger than the limit, before or after decompression. Never retry.
    TooLarge,
    /// The answer could not be decoded. Never retry.
    Decode,
    /// A redirect that was not followed because it left the allowed origins. Never retry.
    Redirect,
}

impl TransportErrorKind {
    /// Whether the other side, rather than the request, is what failed.
    #[must_use]
    pub const fn is_upstream(self) -> bool {
        matches!(
            self,
            Self::Resolve | Self::Connect | Self::Timeout | Self::Interrupted
        )
    }
}

/// A request that got no usable answer. Never names a URL, a header or a body.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransportError {
    /// What went wrong.
    pub kind: TransportErrorKind,
    /// Whether the server may have seen it.
    pub reached: Reached,
    message: String,
    #[source]
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl TransportError {
    /// An error with a message for a person. The message MUST NOT hold a URL or a secret.
    #[must_use]
    pub fn new(kind: TransportErrorKind, reached: Reached, message: impl Into<String>) -> Self {
        Self {
            kind,
            reached,
            message: message.into(),
            source: None,
        }
    }

    /// The same with the error behind it, which MUST NOT print a URL.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }
}

/// Limits and permissions of one request, carried in `http::Request::extensions`.
///
/// Everything a transport is told per request travels here, so that the port stays
/// `http::Request<Bytes>` in, `http::Response<Bytes>` out.
#[derive(Clone, Debug, Default)]
pub struct TransportOptions {
    /// The whole exchange must end within this; `None` leaves the transport's own limit.
    pub timeout: Option<Duration>,
    /// Where a redirect may lead, if it may be followed at all. Empty: redirects are answers.
    pub redirect_origins: Vec<Origin>,
    /// Private networks this request may reach, beside what the transport allows anyway.
    pub allow_private: AllowPrivate,
}

/// Whose call a request is, carried in `http::Request::extensions`. Requests of a probe have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallOrigin {
    /// The provider.
    pub provider: ProviderKey,
    /// The integration.
    pub integration_id: IntegrationId,
    /// The template of the endpoint.
    pub endpoint: String,
}

/// Which addresses that are not public a request may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowPrivate {
    /// None.
    #[default]
    No,
    /// Loopback and private ranges. Never link-local or metadata addresses.
    All,
    /// These networks, as CIDR text. Never link-local or metadata addresses.
    Networks(Vec<String>),
}

/// Sends one request and reads its whole answer.
///
/// A status outside 2xx is an answer, not an error. Implementations MUST NOT retry, MUST NOT
/// follow redirects unless [`TransportOptions`] allow the origin, MUST bound the size of the
/// answer they buffer, and MUST say in [`TransportError::reached`] whether the server may have
/// seen the request, answering [`Reached::MaybeSent`] when in doubt.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait HttpTransport: Send + Sync {
    /// Sends `request`, which has an absolute URI and may carry [`TransportOptions`].
    ///
    /// Dropping the future gives the request up; the server may have seen it.
    ///
    /// # Errors
    ///
    /// Returns [`TransportError`] when there is no complete answer.
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError>;
}
