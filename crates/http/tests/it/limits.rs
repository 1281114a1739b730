//! The size of an answer is bounded, before and after decompression.

use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder};
use bytes::Bytes;
use integrations_core::transport::{HttpTransport, Reached::MaybeSent, TransportErrorKind as Kind};
use tokio::io::AsyncWriteExt;

use crate::{
    failure, get, local,
    server::{Reply, Server, response},
};

const MIB: usize = 1024 * 1024;

async fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(data).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

async fn brotli(data: &[u8]) -> Vec<u8> {
    let mut encoder = BrotliEncoder::new(Vec::new());
    encoder.write_all(data).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

async fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new());
    encoder.write_all(data).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

fn chunked(body: &[u8]) -> Reply {
    let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(64 * 1024) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    Reply::Bytes(bytes)
}

#[tokio::test]
async fn twenty_megabytes_are_too_large() {
    let body = vec![b'x'; 20 * MIB];
    for reply in [response("200 OK", &[], &body), chunked(&body)] {
        let server = Server::start([reply]).await;
        let transport = local().build().unwrap();
        failure(&transport, get(&server.url("/")), Kind::TooLarge, MaybeSent).await;
    }
}

#[tokio::test]
async fn the_limit_itself_is_allowed_and_one_more_is_not() {
    let transport = local().max_response_bytes(1000).build().unwrap();
    for (length, fits) in [(999, true), (1000, true), (1001, false)] {
        let body = vec![b'x'; length];
        for reply in [response("200 OK", &[], &body), chunked(&body)] {
            let server = Server::start([reply]).await;
            let answer = transport.send(get(&server.url("/"))).await;
            assert_eq!(
                answer.map(|answer| answer.body().len()).ok(),
                fits.then_some(length)
            );
        }
    }
}

#[tokio::test]
async fn a_decompression_bomb_is_too_large() {
    let zeros = vec![0; 8 * MIB];
    for (coding, bomb) in [
        ("gzip", gzip(&zeros).await),
        ("br", brotli(&zeros).await),
        ("deflate", deflate(&zeros).await),
    ] {
        assert!(bomb.len() < MIB / 64, "{coding}: {}", bomb.len());
        let header = format!("content-encoding: {coding}");
        let server = Server::start([response("200 OK", &[&header], &bomb)]).await;
        let transport = local().max_response_bytes(MIB).build().unwrap();
        failure(&transport, get(&server.url("/")), Kind::TooLarge, MaybeSent).await;
    }
}

#[tokio::test]
async fn reading_ends_at_the_limit_and_not_at_the_end() {
    let bomb = gzip(&vec![0; 8 * MIB]).await;
    let head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n";
    // The end never comes: whoever waits for it runs into a timeout.
    let half = [&head[..], &bomb[..bomb.len() / 2]].concat();
    let server = Server::start([Reply::AndHang(half)]).await;
    let transport = local().max_response_bytes(MIB).build().unwrap();
    failure(&transport, get(&server.url("/")), Kind::TooLarge, MaybeSent).await;
}

#[tokio::test]
async fn compressed_bytes_count_even_where_they_mean_nothing() {
    let endless = gzip(b"").await.repeat(100);
    let head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n";
    let server = Server::start([Reply::AndClose([&head[..], &endless].concat())]).await;
    let transport = local().max_response_bytes(1000).build().unwrap();
    failure(&transport, get(&server.url("/")), Kind::TooLarge, MaybeSent).await;
}

#[tokio::test]
async fn every_coding_that_is_asked_for_is_decoded() {
    let data = b"{\"a\": 1}".repeat(100);
    for (coding, body) in [
        ("gzip", gzip(&data).await),
        ("BR", brotli(&data).await),
        ("deflate", deflate(&data).await),
    ] {
        let header = format!("content-encoding: {coding}");
        let server = Server::start([response("200 OK", &[&header], &body)]).await;
        let answer = local()
            .build()
            .unwrap()
            .send(get(&server.url("/")))
            .await
            .unwrap();
        assert_eq!(answer.body(), &data, "{coding}");
        assert!(!answer.headers().contains_key("content-encoding"));
        assert!(!answer.headers().contains_key("content-length"));
        assert!(server.requests()[0].contains("accept-encoding: gzip, br, deflate\r\n"));
    }
}

#[tokio::test]
async fn who_asks_for_a_coding_gets_the_bytes_as_they_are() {
    let body = gzip(b"data").await;
    let server = Server::start([response("200 OK", &["content-encoding: gzip"], &body)]).await;
    let mut request = get(&server.url("/"));
    request
        .headers_mut()
        .insert("accept-encoding", "gzip".parse().unwrap());
    let answer = local().build().unwrap().send(request).await.unwrap();
    assert_eq!(answer.body(), &body);
    assert_eq!(answer.headers()["content-encoding"], "gzip");
}

#[tokio::test]
async fn an_answer_without_body_is_empty_whatever_coding_it_declares() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 20\r\n\r\n";
    let server = Server::start([Reply::Bytes(head.to_vec())]).await;
    let request = http::Request::head(server.url("/"))
        .body(Bytes::new())
        .unwrap();
    let answer = local().build().unwrap().send(request).await.unwrap();
    assert!(answer.body().is_empty());
}
