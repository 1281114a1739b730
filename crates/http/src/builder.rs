//! [`ReqwestTransportBuilder`]: the limits of a transport.

use std::{fmt, sync::Arc, time::Duration};

use integrations_core::transport::AllowPrivate;

use crate::{
    clients::{ClientSettings, Clients},
    guard::{Allowance, Egress, InvalidNetwork},
    resolve::{Resolver, SystemResolver},
    tls,
    transport::{ReqwestTransport, Shared},
};

/// Why a transport could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A network to allow is none.
    #[error(transparent)]
    Network(#[from] InvalidNetwork),
    /// The proxy's URL, which may hold a password and is not shown.
    #[error("the proxy is not a valid URL of http:// or https://")]
    Proxy,
    /// An extra root certificate.
    #[error("an extra root certificate is not a valid PEM certificate")]
    RootCertificate,
    /// The TLS library does not support what it is asked for.
    #[error("TLS could not be set up")]
    Tls,
    /// The user agent holds characters that a header cannot.
    #[error("the user agent is not valid as the value of a header")]
    UserAgent,
    /// The HTTP client could not be made.
    #[error("the HTTP client could not be set up")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Makes a [`ReqwestTransport`].
#[must_use]
pub struct ReqwestTransportBuilder {
    connect_timeout: Duration,
    read_timeout: Duration,
    timeout: Duration,
    max_response_bytes: usize,
    user_agent: String,
    proxy: Option<String>,
    allow_private: AllowPrivate,
    extra_roots_pem: Vec<Vec<u8>>,
    resolver: Arc<dyn Resolver>,
}

impl Default for ReqwestTransportBuilder {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            timeout: Duration::from_mins(1),
            max_response_bytes: 10 * 1024 * 1024,
            user_agent: concat!("integrations/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxy: None,
            allow_private: AllowPrivate::No,
            extra_roots_pem: Vec::new(),
            resolver: Arc::new(SystemResolver),
        }
    }
}

impl ReqwestTransportBuilder {
    /// How long looking up the name, connecting and the TLS handshake may take; 10 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the other side may be silent; 30 s by default.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// How long an exchange may take with all its redirects, unless a request says otherwise; 60 s
    /// by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many bytes an answer's body may have, both as received and decompressed; 10 MiB by
    /// default.
    pub fn max_response_bytes(mut self, bytes: usize) -> Self {
        self.max_response_bytes = bytes;
        self
    }

    /// The `User-Agent` of requests that have none.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// A proxy for every request, as `http://` or `https://` URL that may hold user and password.
    /// By default there is none, and those of the environment are ignored.
    ///
    /// Targets are resolved here as well, and judged by every address they have; the proxy itself
    /// may be anywhere.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// Addresses that are not public and may be reached all the same; none by default.
    pub fn allow_private(mut self, allow: AllowPrivate) -> Self {
        self.allow_private = allow;
        self
    }

    /// Certificates to trust beside the system's, as PEM.
    pub fn extra_root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.extra_roots_pem.push(pem.into());
        self
    }

    /// What looks names up; the operating system by default. The guard judges its answers too.
    pub fn resolver(mut self, resolver: impl Resolver + 'static) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Makes the transport.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError`] naming what of the above is not valid.
    pub fn build(self) -> Result<ReqwestTransport, BuildError> {
        let allowance = Allowance::parse(&self.allow_private)?;
        http::HeaderValue::from_str(&self.user_agent).map_err(|_| BuildError::UserAgent)?;
        let clients = Clients::new(ClientSettings {
            connect_timeout: self.connect_timeout,
            read_timeout: self.read_timeout,
            user_agent: self.user_agent,
            proxy: self.proxy.as_deref().map(parse_proxy).transpose()?,
            tls: tls::client_config(&self.extra_roots_pem)?,
            resolver: self.resolver,
        });
        // The client that most requests need: should it fail, then here.
        let common = Egress {
            allowance: allowance.clone(),
            plaintext: false,
        };
        clients
            .get(&common)
            .map_err(|error| BuildError::Client(error.without_url().into()))?;
        Ok(ReqwestTransport::from_shared(Shared {
            clients,
            allowance,
            timeout: self.timeout,
            max_response_bytes: self.max_response_bytes,
        }))
    }
}

impl fmt::Debug for ReqwestTransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestTransportBuilder")
            .field("connect_timeout", &self.connect_timeout)
            .field("read_timeout", &self.read_timeout)
            .field("timeout", &self.timeout)
            .field("max_response_bytes", &self.max_response_bytes)
            .field("user_agent", &self.user_agent)
            .field("allow_private", &self.allow_private)
            .finish_non_exhaustive()
    }
}

fn parse_proxy(url: &str) -> Result<reqwest::Proxy, BuildError> {
    let parsed = url::Url::parse(url).map_err(|_| BuildError::Proxy)?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(BuildError::Proxy);
    }
    reqwest::Proxy::all(parsed).map_err(|_| BuildError::Proxy)
}
