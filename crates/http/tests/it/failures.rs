//! Each kind of failure, and whether the server may have seen the request.

use std::{io, time::Duration};

use crate::{
    Names, Silent, failure, get, local, names_at, post,
    server::{Reply, Server, response},
    with_options,
};
use integrations_core::transport::{
    AllowPrivate, HttpTransport,
    Reached::{MaybeSent, NotSent},
    TransportErrorKind as Kind, TransportOptions,
};

const SHORT: Duration = Duration::from_millis(50);

fn within(timeout: Duration) -> TransportOptions {
    TransportOptions {
        timeout: Some(timeout),
        ..TransportOptions::default()
    }
}

#[tokio::test]
async fn any_status_is_an_answer_and_is_not_asked_for_twice() {
    let server = Server::start([
        response("503 Service Unavailable", &["retry-after: 1"], b"later"),
        response("200 OK", &[], b"{}"),
    ])
    .await;
    let transport = local().build().unwrap();
    let answer = transport
        .send(post(&server.url("/a?b=c"), b"body"))
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (503, &b"later"[..])
    );
    assert_eq!(answer.headers()["retry-after"], "1");

    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert!(
        requests[0].starts_with("POST /a?b=c HTTP/1.1\r\n"),
        "{requests:?}"
    );
    assert!(requests[0].ends_with("\r\n\r\nbody"), "{requests:?}");
    assert!(
        requests[0].contains("content-length: 4\r\n"),
        "{requests:?}"
    );
    assert!(
        requests[0].contains("user-agent: integrations/"),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_wrong_request_is_invalid() {
    let transport = local().build().unwrap();
    for url in [
        "/canary",
        "ftp://host/canary",
        "http://canary:canary@127.0.0.1:1/",
    ] {
        failure(&transport, get(url), Kind::Invalid, NotSent).await;
    }
    let allow_private = AllowPrivate::Networks(vec!["10.0.0.0/33".into()]);
    let options = TransportOptions {
        allow_private,
        ..TransportOptions::default()
    };
    failure(
        &transport,
        with_options(get("http://127.0.0.1"), options),
        Kind::Invalid,
        NotSent,
    )
    .await;
}

#[tokio::test]
async fn a_name_without_address_does_not_resolve() {
    let nothing = local().resolver(names_at(&[])).build().unwrap();
    failure(
        &nothing,
        get("https://canary.test/"),
        Kind::Resolve,
        NotSent,
    )
    .await;
    let broken = Names(|_: &str| Err(io::Error::other("canary")));
    let broken = local().resolver(broken).build().unwrap();
    failure(&broken, get("http://canary.test/"), Kind::Resolve, NotSent).await;
}

#[tokio::test]
async fn a_closed_port_was_not_sent_to() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/?key=canary", listener.local_addr().unwrap());
    drop(listener);
    let transport = local().build().unwrap();
    let error = failure(&transport, post(&url, b"canary"), Kind::Connect, NotSent).await;
    assert_eq!(error.to_string(), "no connection: connection refused");
}

#[tokio::test]
async fn while_connecting_a_timeout_means_not_sent() {
    let transport = local().resolver(Silent).build().unwrap();
    let request = with_options(get("https://canary.test/"), within(SHORT));
    failure(&transport, request, Kind::Timeout, NotSent).await;
    let request = with_options(post("https://canary.test/", b"canary"), within(SHORT));
    failure(&transport, request, Kind::Timeout, NotSent).await;

    let transport = local()
        .resolver(Silent)
        .connect_timeout(SHORT)
        .build()
        .unwrap();
    failure(
        &transport,
        post("https://canary.test/", b"x"),
        Kind::Timeout,
        NotSent,
    )
    .await;
}

#[tokio::test]
async fn without_an_answer_in_time_it_may_have_been_sent() {
    for request in [get, |url: &str| post(url, b"canary")] {
        let server = Server::start([Reply::AndHang(Vec::new())]).await;
        let request = with_options(request(&server.url("/canary")), within(SHORT));
        failure(&local().build().unwrap(), request, Kind::Timeout, MaybeSent).await;
    }
    let server = Server::start([Reply::AndHang(Vec::new())]).await;
    let transport = local().read_timeout(SHORT).build().unwrap();
    failure(
        &transport,
        get(&server.url("/canary")),
        Kind::Timeout,
        MaybeSent,
    )
    .await;
}

#[tokio::test]
async fn silence_within_the_body_is_a_timeout() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec();
    let server = Server::start([Reply::AndHang(half.clone()), Reply::AndHang(half)]).await;
    let transport = local().read_timeout(SHORT).build().unwrap();
    failure(&transport, get(&server.url("/")), Kind::Timeout, MaybeSent).await;
    let request = with_options(get(&server.url("/")), within(SHORT));
    failure(&local().build().unwrap(), request, Kind::Timeout, MaybeSent).await;
}

#[tokio::test]
async fn a_connection_that_breaks_is_interrupted() {
    for bytes in [
        "",
        "HTTP/1.1 200",
        "canary is not HTTP\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 10\r\n\r\n\x1f",
    ] {
        let server = Server::start([Reply::AndClose(bytes.into())]).await;
        let transport = local().build().unwrap();
        failure(
            &transport,
            post(&server.url("/"), b"x"),
            Kind::Interrupted,
            MaybeSent,
        )
        .await;
    }
}

#[tokio::test]
async fn what_does_not_decompress_is_a_decode_error() {
    for coding in ["gzip", "br", "deflate"] {
        let header = format!("content-encoding: {coding}");
        let server = Server::start([response("200 OK", &[&header], b"\xffcanary")]).await;
        let transport = local().build().unwrap();
        failure(&transport, get(&server.url("/")), Kind::Decode, MaybeSent).await;
    }
}

#[tokio::test]
async fn dropping_the_future_hangs_up() {
    let server = Server::start([Reply::AndHang(Vec::new())]).await;
    let transport = local().build().unwrap();
    let url = server.url("/");
    let call = tokio::spawn(async move { transport.send(get(&url)).await });
    server.received.notified().await;
    call.abort();
    server.closed.notified().await;
    assert!(call.await.unwrap_err().is_cancelled());
}
