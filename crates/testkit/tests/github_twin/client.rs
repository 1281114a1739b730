//! A client with a connection per request.

use axum::body::{self, Body};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use integrations_testkit::twin::github::{DEFAULT_TOKEN, GithubTwin};
use serde_json::Value;
use tokio::net::TcpStream;

pub(super) const REPOSITORY: &str = "/repos/acme/widgets";

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The numbers of the issues in a list.
    pub(super) fn numbers(&self) -> Vec<u64> {
        let list = self.json();
        list.as_array()
            .unwrap()
            .iter()
            .map(|issue| issue["number"].as_u64().unwrap())
            .collect()
    }

    pub(super) fn link(&self, rel: &str) -> Option<&str> {
        let wanted = format!("rel=\"{rel}\"");
        let link = self
            .header("link")
            .split(", ")
            .find(|link| link.ends_with(&wanted))?;
        link.strip_prefix('<')?.split('>').next()
    }
}

pub(super) fn request(method: Method, target: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(target)
        .header("user-agent", "test")
        .header("authorization", format!("Bearer {DEFAULT_TOKEN}"))
}

/// Sends over a connection of its own. The error says where the exchange broke.
pub(super) async fn send(
    twin: &GithubTwin,
    request: Request<Body>,
) -> Result<Answer, &'static str> {
    let address = twin.base_url().strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).await.map_err(|_| "connect")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let response = sender
        .send_request(request)
        .await
        .map_err(|_| "before headers")?;
    let (head, incoming) = response.into_parts();
    let body = body::to_bytes(Body::new(incoming), usize::MAX)
        .await
        .map_err(|_| "in the body")?;
    connection.abort();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body,
    })
}

pub(super) async fn get(twin: &GithubTwin, target: &str) -> Answer {
    send(
        twin,
        request(Method::GET, target).body(Body::empty()).unwrap(),
    )
    .await
    .unwrap()
}

pub(super) async fn get_with(twin: &GithubTwin, target: &str, name: &str, value: &str) -> Answer {
    let request = request(Method::GET, target).header(name, value);
    send(twin, request.body(Body::empty()).unwrap())
        .await
        .unwrap()
}

pub(super) async fn submit(twin: &GithubTwin, method: Method, path: &str, body: &Value) -> Answer {
    let target = format!("{REPOSITORY}{path}");
    let request = request(method, &target)
        .body(Body::from(body.to_string()))
        .unwrap();
    send(twin, request).await.unwrap()
}
