//! The routes as an application mounts them.
#![cfg(feature = "axum")]
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first surprise, in its helpers too"
)]

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, Response, StatusCode, header};
use integrations_core::webhook::Webhook;
use integrations_providers::github::Github;
use integrations_testkit::harness::Harness;
use integrations_webhooks::{Receiver, RemoteAddr, router};
use ring::hmac;
use tower::ServiceExt as _;

const SECRET: &str = "it's a secret";

struct Setup {
    harness: Harness,
    receiver: Receiver,
    routes: Router,
    uid: String,
}

impl Setup {
    async fn new() -> Self {
        let harness = Harness::new(Github::default());
        let credentials = [("token", "ghp_x"), ("webhook_secret", SECRET)];
        let metadata = [("owner", "octo"), ("repo", "hello")];
        let installed = harness
            .install("github", None, &credentials, &metadata)
            .await;
        let receiver = Receiver::builder(&harness.client)
            .limits(|limits| limits.max_payload_bytes = 1000)
            .prefix("hooks")
            .build();
        Self {
            routes: router(receiver.clone()),
            receiver,
            harness,
            uid: installed.uid.to_string(),
        }
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.routes.clone().oneshot(request).await.unwrap()
    }

    async fn rows(&self) -> Vec<Webhook> {
        self.harness.deliveries().await
    }
}

fn signed(path: &str, body: &'static str) -> Request<Body> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hex::encode(hmac::sign(&key, body.as_bytes()));
    Request::post(path)
        .header("x-github-event", "issues")
        .header("x-github-delivery", "d-1")
        .header("x-hub-signature-256", format!("sha256={tag}"))
        .body(Body::from(body))
        .unwrap()
}

// WH-01
#[tokio::test]
async fn both_routes_are_mounted_under_the_prefix() {
    let setup = Setup::new().await;
    let own = format!("/hooks/github/{}/webhook?x=1", setup.uid);
    let mut request = signed(&own, "{}");
    let connection: SocketAddr = "192.0.2.1:1234".parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(connection));
    assert_eq!(setup.send(request).await.status(), StatusCode::ACCEPTED);
    let mut request = signed("/hooks/github/webhook", "{}");
    let told: IpAddr = "2001:db8::1".parse().unwrap();
    request.extensions_mut().insert(RemoteAddr(told));
    assert_eq!(
        setup.send(request).await.status(),
        StatusCode::OK,
        "a duplicate"
    );
    let rows = setup.rows().await;
    assert_eq!(
        rows[0].delivery.path,
        format!("/hooks/github/{}/webhook", setup.uid)
    );
    assert_eq!(rows[0].delivery.query.as_deref(), Some("x=1"));
    assert_eq!(rows[0].delivery.remote_addr.as_deref(), Some("192.0.2.1"));
    assert_eq!(rows[1].delivery.remote_addr.as_deref(), Some("2001:db8::1"));
    let elsewhere = signed("/integrations/github/webhook", "{}");
    assert_eq!(setup.send(elsewhere).await.status(), StatusCode::NOT_FOUND);
    let unknown = signed("/hooks/nobody/webhook", "{}");
    assert_eq!(setup.send(unknown).await.status(), StatusCode::NOT_FOUND);
    let mut delete = signed("/hooks/github/webhook", "{}");
    *delete.method_mut() = http::Method::DELETE;
    let refused = setup.send(delete).await;
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
}

// W-WH-5
#[tokio::test]
async fn a_body_is_read_no_further_than_it_may_be_long() {
    let setup = Setup::new().await;
    let read = Arc::new(AtomicUsize::new(0));
    let chunks = {
        let read = Arc::clone(&read);
        stream::repeat_with(move || {
            read.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b'x'; 400]))
        })
    };
    let request = Request::post("/hooks/github/webhook")
        .body(Body::from_stream(chunks.take(1_000_000)))
        .unwrap();
    let answer = setup.send(request).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(read.load(Ordering::Relaxed), 3);
    // What was not read is no request.
    assert_eq!(answer.headers()[header::CONNECTION], "close");
    // One that says so is not read at all.
    let request = Request::post("/hooks/github/webhook")
        .body(Body::from(vec![b'x'; 1001]))
        .unwrap();
    let answer = setup.send(request).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // HTTP/2 knows no such header.
    let request = Request::post("/hooks/github/webhook")
        .version(http::Version::HTTP_2)
        .body(Body::from(vec![b'x'; 1001]))
        .unwrap();
    let answer = setup.send(request).await;
    assert!(!answer.headers().contains_key(header::CONNECTION));
    let metrics = setup.receiver.metrics();
    assert_eq!((metrics.too_large, metrics.held.bytes), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let setup = Setup::new().await;
    let begins =
        stream::once(async { Ok::<_, std::convert::Infallible>(Bytes::from_static(b"{")) });
    let request = Request::post("/hooks/github/webhook")
        .body(Body::from_stream(begins.chain(stream::pending())))
        .unwrap();
    let started = tokio::time::Instant::now();
    let answer = setup.send(request).await;
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(started.elapsed(), Duration::from_secs(30));
    assert_eq!(setup.receiver.metrics().held.bytes, 0);
}

#[tokio::test]
async fn bodies_have_so_much_memory_and_no_more() {
    let setup = Setup::new().await;
    let receiver = Receiver::builder(&setup.harness.client)
        .limits(|limits| {
            limits.max_payload_bytes = 1000;
            limits.bytes_under_way = 1000;
        })
        .build();
    let routes = router(receiver.clone());
    let begins =
        stream::once(async { Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b'x'; 999])) });
    let slow = Request::post("/integrations/github/webhook")
        .body(Body::from_stream(begins.chain(stream::pending())))
        .unwrap();
    let slow = tokio::spawn(routes.clone().oneshot(slow));
    while receiver.metrics().held.bytes < 999 {
        tokio::task::yield_now().await;
    }
    assert_eq!(receiver.metrics().bounds.bytes, 1000);
    let path = format!("/integrations/github/{}/webhook", setup.uid);
    let answer = routes.clone().oneshot(signed(&path, "{}")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.headers().contains_key(http::header::RETRY_AFTER));
    assert_eq!(receiver.metrics().busy, 1);
    // Whoever goes away gives it back.
    slow.abort();
    assert!(slow.await.unwrap_err().is_cancelled());
    assert_eq!(receiver.metrics().held.bytes, 0);
    let answer = routes.oneshot(signed(&path, "{}")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
}
