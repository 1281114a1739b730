//! A server on loopback, asked by hand.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Router,
    body::Bytes,
    extract::ConnectInfo,
    routing::{get, post},
};
use integrations_core::time::Clock;
use integrations_server::{
    AdminToken, Drained, Limits, RequestId, Server, ServerBuilder,
    health::{DatabaseCheck, ReadinessCheck},
    metrics::Queues,
};
use integrations_testkit::{clock::ManualClock, entropy::SeededEntropy, memory::MemoryStore};
use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Notify, oneshot},
    task::JoinHandle,
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A server that runs until it is told to stop.
struct Running {
    public: SocketAddr,
    admin: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Drained>,
}

fn builder() -> ServerBuilder {
    Server::builder(Arc::new(ManualClock::default()) as Arc<dyn Clock>)
}

/// Runs a server with these routes.
async fn run(builder: ServerBuilder, routes: Router) -> Running {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let builder = builder.public(free, routes).admin(free);
    let server = builder.bind(&SeededEntropy::default()).await.unwrap();
    let (public, admin) = (
        server.public_address().unwrap(),
        server.admin_address().unwrap(),
    );
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Running {
        public,
        admin,
        stop,
        ended,
    }
}

/// Sends bytes and reads until the other side is done.
async fn exchange(address: SocketAddr, sent: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is reset has nothing more to say either.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get_at(address: SocketAddr, path: &str, headers: &str) -> String {
    let sent = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n");
    exchange(address, &sent).await
}

#[tokio::test]
async fn operators_have_a_listener_of_their_own() {
    let server = run(builder(), Router::new()).await;
    for address in [server.public, server.admin] {
        let live = get_at(address, "/health/live", "").await;
        assert!(live.starts_with("HTTP/1.1 200"), "{live}");
    }
    for path in ["/health/ready", "/metrics"] {
        let there = get_at(server.admin, path, "").await;
        assert!(there.starts_with("HTTP/1.1 200"), "{there}");
        let hidden = get_at(server.public, path, "").await;
        assert!(hidden.starts_with("HTTP/1.1 404"), "{hidden}");
        assert!(
            hidden.contains("content-type: application/problem+json")
                && hidden.ends_with(r#"{"status":404,"title":"Not Found","type":"about:blank"}"#),
            "{hidden}"
        );
    }
    let wrong = exchange(
        server.public,
        "POST /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(wrong.starts_with("HTTP/1.1 405"), "{wrong}");
}

#[tokio::test]
async fn the_admin_token_opens_them_on_the_public_listener() {
    let token = AdminToken::new(SecretString::from(TOKEN)).unwrap();
    let server = run(builder().admin_token(token), Router::new()).await;
    let with = async |header: &str| get_at(server.public, "/metrics", header).await;
    let open = with(&format!("authorization: Bearer {TOKEN}\r\n")).await;
    assert!(
        open.starts_with("HTTP/1.1 200") && open.contains("integrations_build_info"),
        "{open}"
    );
    let longer = format!("authorization: Bearer {TOKEN}0\r\n");
    let shorter = format!("authorization: Bearer {}\r\n", &TOKEN[1..]);
    let basic = format!("authorization: Basic {TOKEN}\r\n");
    for closed in ["", &longer, &shorter, &basic] {
        let answer = with(closed).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{closed:?}: {answer}");
    }
}

#[test]
fn an_admin_token_that_could_be_guessed_is_refused() {
    let short = AdminToken::new(SecretString::from(&TOKEN[1..])).unwrap_err();
    assert_eq!(
        short.to_string(),
        "an admin token has at least 32 characters"
    );
    assert!(AdminToken::new(SecretString::from(" ".repeat(40))).is_err());
    let token = AdminToken::new(SecretString::from(TOKEN)).unwrap();
    assert!(!format!("{token:?}").contains(TOKEN));
}

#[tokio::test]
async fn requests_have_an_id_and_know_where_they_came_from() {
    let told = get(
        async |ConnectInfo(remote): ConnectInfo<SocketAddr>,
               axum::Extension(id): axum::Extension<RequestId>| {
            format!("{} {id}", remote.ip())
        },
    );
    let server = run(builder(), Router::new().route("/", told)).await;
    let named = get_at(server.public, "/", "x-request-id: mine-1\r\n").await;
    assert!(
        named.contains("x-request-id: mine-1") && named.ends_with("127.0.0.1 mine-1"),
        "{named}"
    );
    let made = get_at(server.public, "/", "x-request-id: a b\r\n").await;
    assert!(
        made.contains("x-request-id: ") && !made.contains("a b"),
        "{made}"
    );
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_server_goes_on() {
    let panics = get(async || -> &'static str { panic!("on purpose") });
    let server = run(builder(), Router::new().route("/", panics)).await;
    let answer = get_at(server.public, "/", "").await;
    assert!(
        answer.starts_with("HTTP/1.1 500") && !answer.contains("purpose"),
        "{answer}"
    );
    let live = get_at(server.public, "/health/live", "").await;
    assert!(live.starts_with("HTTP/1.1 200"), "{live}");
}

// The paused clock moves on by itself once everybody waits.
#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_cut_off() {
    let server = run(builder(), Router::new()).await;
    for slow in ["", "GET / HTTP/1.1\r\nhost: x\r\nx-a: "] {
        let answer = exchange(server.public, slow).await;
        assert!(!answer.contains("200"), "{answer}");
    }
    let metrics = get_at(server.admin, "/metrics", "").await;
    assert!(
        metrics.contains("integrations_http_heads_late_total{listener=\"public\"} 2"),
        "{metrics}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_a_408() {
    let reads = post(async |body: Bytes| body.len().to_string());
    let server = run(builder(), Router::new().route("/", reads)).await;
    let slow = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc";
    let answer = exchange(server.public, slow).await;
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("connection: close"),
        "{answer}"
    );
}

#[tokio::test]
async fn heads_are_bounded() {
    let limits = Limits {
        head_bytes: 8 * 1024,
        headers: 10,
        ..Limits::default()
    };
    let server = run(builder().limits(limits), Router::new()).await;
    let long = format!("x-a: {}\r\n", "a".repeat(9 * 1024));
    let many = "x-a: b\r\n".repeat(11);
    for head in [long, many] {
        let answer = get_at(server.public, "/health/live", &head).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

/// A route that tells when it was entered and waits to be let go.
fn held() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inside, wait) = (Arc::clone(&entered), Arc::clone(&release));
    let hold = get(async move || {
        inside.notify_one();
        wait.notified().await;
        "done"
    });
    (Router::new().route("/hold", hold), entered, release)
}

#[tokio::test]
async fn connections_are_bounded() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let (routes, entered, release) = held();
    let server = run(builder().limits(limits), routes).await;
    let public = server.public;
    let first = tokio::spawn(async move { get_at(public, "/hold", "").await });
    entered.notified().await;
    // It is connected by the system and waits there.
    let second = tokio::spawn(async move { get_at(public, "/health/live", "").await });
    let metrics = get_at(server.admin, "/metrics", "").await;
    assert!(
        metrics.contains("integrations_http_connections{listener=\"public\"} 1"),
        "{metrics}"
    );
    assert!(!second.is_finished());
    release.notify_one();
    assert!(first.await.unwrap().ends_with("done"));
    assert!(second.await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn stopping_lets_requests_under_way_end() {
    let (routes, entered, release) = held();
    let server = run(builder(), routes).await;
    let public = server.public;
    let request = tokio::spawn(async move { get_at(public, "/hold", "").await });
    entered.notified().await;
    let mut idle = TcpStream::connect(public).await.unwrap();
    server.stop.send(()).unwrap();
    // An idle connection is closed at once, and then nobody is let in.
    assert_eq!(rest(&mut idle).await, "");
    assert!(TcpStream::connect(public).await.is_err());
    let ready = get_at(server.admin, "/health/ready", "").await;
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("stopping"),
        "{ready}"
    );
    release.notify_one();
    assert!(request.await.unwrap().ends_with("done"));
    assert_eq!(server.ended.await.unwrap(), Drained { cut_off: 0 });
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_is_cut_off() {
    let limits = Limits {
        request: Duration::from_hours(1),
        ..Limits::default()
    };
    let (routes, entered, _release) = held();
    let server = run(builder().limits(limits), routes).await;
    let public = server.public;
    let request = tokio::spawn(async move { get_at(public, "/hold", "").await });
    entered.notified().await;
    server.stop.send(()).unwrap();
    assert_eq!(server.ended.await.unwrap(), Drained { cut_off: 1 });
    assert_eq!(request.await.unwrap(), "");
}

struct Broken;

#[async_trait]
impl ReadinessCheck for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    async fn is_ready(&self) -> bool {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_ready_when_everything_it_needs_is_there() {
    let ports = integrations_core::store::Ports::from(MemoryStore::default());
    let good = builder().ready_when(DatabaseCheck(ports.clone()));
    let server = run(good, Router::new()).await;
    let ready = get_at(server.admin, "/health/ready", "").await;
    assert!(
        ready.ends_with(r#"{"checks":{"database":"ok"},"status":"ready"}"#),
        "{ready}"
    );
    let bad = builder()
        .ready_when(DatabaseCheck(ports))
        .ready_when(Broken);
    let server = run(bad, Router::new()).await;
    let answer = get_at(server.admin, "/health/ready", "").await;
    assert!(
        answer.starts_with("HTTP/1.1 503")
            && answer.contains(r#""broken":"failed","database":"ok""#),
        "{answer}"
    );
}

#[tokio::test]
async fn metrics_count_requests_and_queues() {
    let ports = integrations_core::store::Ports::from(MemoryStore::default());
    let server = run(builder().metrics(Queues(ports)), Router::new()).await;
    get_at(server.public, "/health/live", "").await;
    get_at(server.public, "/secret?token=canary", "").await;
    let metrics = get_at(server.admin, "/metrics", "").await;
    for line in [
        "integrations_http_requests_total{listener=\"public\",status=\"200\"} 1",
        "integrations_http_requests_total{listener=\"public\",status=\"404\"} 1",
        "integrations_http_request_seconds_count{listener=\"public\"} 2",
        "integrations_webhook_queue{status=\"pending\"} 0",
        "content-type: text/plain; version=0.0.4",
    ] {
        assert!(metrics.contains(line), "{line} is missing from {metrics}");
    }
    assert!(!metrics.contains("canary"));
}
