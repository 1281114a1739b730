//! A server that answers each request with the next of its replies, byte for byte.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

pub(crate) enum Reply {
    /// These bytes; the connection stays open for the next request.
    Bytes(Vec<u8>),
    /// These bytes, then the end of the connection.
    AndClose(Vec<u8>),
    /// These bytes, then nothing more.
    AndHang(Vec<u8>),
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    pub(crate) received: Arc<Notify>,
    pub(crate) closed: Arc<Notify>,
}

impl Server {
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            received: Arc::default(),
            closed: Arc::default(),
        };
        let replies = Arc::new(Mutex::new(replies.into_iter().collect::<VecDeque<_>>()));
        let (requests, received, closed) = (
            Arc::clone(&server.requests),
            Arc::clone(&server.received),
            Arc::clone(&server.closed),
        );
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (replies, requests) = (Arc::clone(&replies), Arc::clone(&requests));
                let (received, closed) = (Arc::clone(&received), Arc::clone(&closed));
                tokio::spawn(async move {
                    while let Some(request) = read_request(&mut stream).await {
                        requests.lock().unwrap().push(request);
                        received.notify_one();
                        let reply = replies.lock().unwrap().pop_front();
                        if !answer(&mut stream, reply).await {
                            break;
                        }
                    }
                    closed.notify_one();
                });
            }
        });
        server
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was received: head and body of each request.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A whole answer with a `Content-Length`.
pub(crate) fn response(status: &str, headers: &[&str], body: &[u8]) -> Reply {
    let headers = [headers, &[""]].concat().join("\r\n");
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    Reply::Bytes([head.as_bytes(), body].concat())
}

/// Sends a reply; whether the connection goes on.
async fn answer(stream: &mut TcpStream, reply: Option<Reply>) -> bool {
    // The other side may have hung up in the middle, which is what some tests are about.
    match reply {
        Some(Reply::Bytes(bytes)) => stream.write_all(&bytes).await.is_ok(),
        Some(Reply::AndClose(bytes)) => {
            let _ = stream.write_all(&bytes).await;
            false
        }
        Some(Reply::AndHang(bytes)) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.read(&mut [0; 16]).await;
            false
        }
        None => false,
    }
}

/// The next request, or `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut received = Vec::new();
    let end = loop {
        if stream.read_buf(&mut received).await.ok()? == 0 {
            return None;
        }
        if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    while received.len() < end + length {
        if stream.read_buf(&mut received).await.ok()? == 0 {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&received).into_owned())
}
