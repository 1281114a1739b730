//! The transport against servers on loopback that misbehave on command.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where its preparation fails"
)]

mod egress;
mod failures;
mod limits;
mod redirects;
mod server;
mod tls;

use std::{io, net::IpAddr};

use async_trait::async_trait;
use bytes::Bytes;
use integrations_core::transport::{
    AllowPrivate, HttpTransport, Reached, TransportError, TransportErrorKind, TransportOptions,
};
use integrations_http::{ReqwestTransport, ReqwestTransportBuilder, Resolver};

/// A transport that may reach the servers of these tests.
fn local() -> ReqwestTransportBuilder {
    ReqwestTransport::builder().allow_private(AllowPrivate::Networks(vec!["127.0.0.1/32".into()]))
}

fn get(url: &str) -> http::Request<Bytes> {
    http::Request::get(url).body(Bytes::new()).unwrap()
}

fn post(url: &str, body: &'static [u8]) -> http::Request<Bytes> {
    http::Request::post(url)
        .body(Bytes::from_static(body))
        .unwrap()
}

fn with_options(
    mut request: http::Request<Bytes>,
    options: TransportOptions,
) -> http::Request<Bytes> {
    request.extensions_mut().insert(options);
    request
}

/// The error of a request that must fail so, and must not tell where it went.
async fn failure(
    transport: &ReqwestTransport,
    request: http::Request<Bytes>,
    kind: TransportErrorKind,
    reached: Reached,
) -> TransportError {
    let uri = request.uri().clone();
    let error = transport.send(request).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert_eq!((error.kind, error.reached), (kind, reached), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
    assert!(
        uri.port().is_none_or(|port| !shown.contains(port.as_str())),
        "{shown}"
    );
    error
}

/// Answers one name after another with what the function says.
struct Names<F>(F);

#[async_trait]
impl<F: Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync> Resolver for Names<F> {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        (self.0)(host)
    }
}

/// Every name has these addresses.
fn names_at(
    addresses: &'static [&'static str],
) -> Names<impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync> {
    Names(move |_: &str| {
        Ok(addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect())
    })
}

/// Never answers.
struct Silent;

#[async_trait]
impl Resolver for Silent {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}
