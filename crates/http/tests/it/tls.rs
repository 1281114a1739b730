//! TLS: who is trusted, and what a failed handshake means.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use integrations_core::transport::{
    HttpTransport,
    Reached::{MaybeSent, NotSent},
    TransportErrorKind as Kind, TransportOptions,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

use crate::{
    failure, get, local,
    server::{Reply, Server},
    with_options,
};

/// Accepts TLS as `name` speaking `alpn`, sends `reply` and then waits. Also its certificate.
async fn start(name: &str, alpn: &[u8], reply: &'static [u8]) -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust the certificate ends the handshake here.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut received = vec![0; 4096];
            if stream.read(&mut received).await.is_ok_and(|read| read > 0) {
                stream.write_all(reply).await.unwrap();
                while stream.read(&mut received).await.is_ok_and(|read| read > 0) {}
            }
        }
    });
    (address, made.cert.pem())
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_certificate_that_is_trusted_is_accepted() {
    let (address, pem) = start("127.0.0.1", b"http/1.1", OK).await;
    let transport = local().extra_root_certificates(pem).build().unwrap();
    let answer = transport
        .send(get(&format!("https://{address}/")))
        .await
        .unwrap();
    assert_eq!(&answer.body()[..], b"ok");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_ends_before_anything_is_sent() {
    let (address, _) = start("127.0.0.1", b"http/1.1", OK).await;
    let url = format!("https://{address}/canary");
    let error = failure(&local().build().unwrap(), get(&url), Kind::Connect, NotSent).await;
    assert_eq!(
        error.to_string(),
        "the TLS handshake failed: the certificate's issuer is not trusted"
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let (address, pem) = start("other.test", b"http/1.1", OK).await;
    let transport = local().extra_root_certificates(pem).build().unwrap();
    let url = format!("https://{address}/canary");
    let error = failure(&transport, get(&url), Kind::Connect, NotSent).await;
    assert_eq!(
        error.to_string(),
        "the TLS handshake failed: the certificate is for another name"
    );
}

#[tokio::test]
async fn a_server_without_tls_is_a_failed_connection() {
    // A hello in TLS has no blank line: the server answers only when the connection ends.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/canary", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
    });
    failure(&local().build().unwrap(), get(&url), Kind::Connect, NotSent).await;

    let silent = Server::start([Reply::AndHang(Vec::new())]).await;
    let transport = local()
        .connect_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let url = silent.url("/canary").replacen("http", "https", 1);
    failure(&transport, get(&url), Kind::Timeout, NotSent).await;
}

#[tokio::test]
async fn over_http_2_a_request_without_answer_may_have_been_sent() {
    // An empty SETTINGS frame is all that this server ever says.
    let (address, pem) = start("127.0.0.1", b"h2", &[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    let transport = local().extra_root_certificates(pem).build().unwrap();
    let timeout = Some(Duration::from_millis(200));
    let options = TransportOptions {
        timeout,
        ..TransportOptions::default()
    };
    let request = with_options(get(&format!("https://{address}/canary")), options);
    failure(&transport, request, Kind::Timeout, MaybeSent).await;
}
