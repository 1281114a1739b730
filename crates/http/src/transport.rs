//! [`ReqwestTransport`]: one exchange, from the request to the whole answer.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, header};
use integrations_core::transport::{HttpTransport, Reached, TransportError, TransportOptions};
use url::Url;

use crate::{
    body::{self, Coding, OutgoingBody, SentFlag},
    builder::{BuildError, ReqwestTransportBuilder},
    clients::Clients,
    error::{Failure, elapsed, request_error},
    guard::{Allowance, Egress},
    redirect::{self, Hop},
};

/// Sends requests with `reqwest`. Cloning is cheap and shares connections.
#[derive(Clone)]
pub struct ReqwestTransport {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) clients: Clients,
    pub(crate) allowance: Allowance,
    pub(crate) timeout: Duration,
    pub(crate) max_response_bytes: usize,
}

impl ReqwestTransport {
    /// A transport with the limits that [`ReqwestTransportBuilder`] documents.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError`] when the HTTP client cannot be made.
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// A transport with limits of your own.
    pub fn builder() -> ReqwestTransportBuilder {
        ReqwestTransportBuilder::default()
    }

    pub(crate) fn from_shared(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
        }
    }

    async fn exchange(
        &self,
        request: Request<Bytes>,
        options: &TransportOptions,
        sent: &SentFlag,
    ) -> Result<Response<Bytes>, TransportError> {
        let allowance = Allowance::parse(&options.allow_private).map_err(Failure::from)?;
        let allowance = self.shared.allowance.union(&allowance);
        let mut hop = first_hop(request)?;
        // Whoever asks for a coding, or for a part of the coded bytes, gets the bytes as they are.
        let as_they_are = [header::ACCEPT_ENCODING, header::RANGE];
        let decode = !as_they_are
            .iter()
            .any(|name| hop.headers.contains_key(name));
        if decode {
            hop.headers
                .insert(header::ACCEPT_ENCODING, body::ACCEPT_ENCODING);
        }

        let mut followed = 0;
        loop {
            let response = self
                .send_hop(&allowance, &hop, sent)
                .await
                .map_err(|mut error| {
                    if followed > 0 {
                        // However this hop failed, a server has seen the first.
                        error.reached = Reached::MaybeSent;
                    }
                    error
                })?;
            let next = match &options.redirect_origins[..] {
                [] => None,
                origins => redirect::next(&hop, response.status(), response.headers(), origins)?,
            };
            match next {
                None => return self.read(response, decode).await,
                Some(_) if followed == redirect::MAX_HOPS => {
                    return Err(redirect::refused(
                        "there were more redirects than are followed",
                    ));
                }
                Some(next) => hop = next,
            }
            followed += 1;
        }
    }

    async fn send_hop(
        &self,
        allowance: &Allowance,
        hop: &Hop,
        sent: &SentFlag,
    ) -> Result<reqwest::Response, TransportError> {
        let egress = Egress {
            allowance: allowance.clone(),
            plaintext: hop.url.scheme() == "http",
        };
        self.shared.clients.check(&egress, &hop.url).await?;
        let client = self
            .shared
            .clients
            .get(&egress)
            .map_err(|e| request_error(&e, false))?;

        let mut request = reqwest::Request::new(hop.method.clone(), hop.url.clone());
        request.headers_mut().clone_from(&hop.headers);
        let body = OutgoingBody::new(hop.body.clone(), sent.clone());
        *request.body_mut() = Some(reqwest::Body::wrap(body));
        client
            .execute(request)
            .await
            .map_err(|error| request_error(&error, sent.is_set()))
    }

    async fn read(
        &self,
        response: reqwest::Response,
        decode: bool,
    ) -> Result<Response<Bytes>, TransportError> {
        let limit = self.shared.max_response_bytes;
        if response
            .content_length()
            .is_some_and(|length| length > limit as u64)
        {
            return Err(body::too_large());
        }
        let (status, version) = (response.status(), response.version());
        let mut headers = response.headers().clone();
        let coding = Coding::of(&headers).filter(|_| decode);
        let body = body::read(response, coding, limit).await?;
        if coding.is_some() {
            // They describe what was received, not what is handed on.
            headers.remove(header::CONTENT_ENCODING);
            headers.remove(header::CONTENT_LENGTH);
        }

        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        *answer.version_mut() = version;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

#[async_trait]
impl HttpTransport for ReqwestTransport {
    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let options = request
            .extensions_mut()
            .remove::<TransportOptions>()
            .unwrap_or_default();
        let limit = options.timeout.unwrap_or(self.shared.timeout);
        let sent = SentFlag::default();
        let exchange = Box::pin(self.exchange(request, &options, &sent));
        let answer = tokio::time::timeout(limit, exchange).await;
        answer.unwrap_or_else(|_| Err(elapsed(sent.is_set())))
    }
}

impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestTransport")
            .field("timeout", &self.shared.timeout)
            .field("max_response_bytes", &self.shared.max_response_bytes)
            .finish_non_exhaustive()
    }
}

fn first_hop(request: Request<Bytes>) -> Result<Hop, Failure> {
    let (parts, body) = request.into_parts();
    let url = parse_url(&parts.uri.to_string())?;
    Ok(Hop {
        method: parts.method,
        url,
        headers: parts.headers,
        body,
    })
}

/// An absolute URL of a scheme that is spoken here. The parser also turns the many spellings of an
/// IPv4 address into one, so that the guard and the client see the same host.
pub(crate) fn parse_url(text: &str) -> Result<Url, Failure> {
    let url = Url::parse(text).map_err(|_| Failure::BadUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Failure::BadUrl);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::UserInfo);
    }
    Ok(url)
}
