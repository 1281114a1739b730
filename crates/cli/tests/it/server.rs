//! `serve` as a process, and senders of webhooks.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use crate::world::World;

/// A `serve` that runs; it is killed when this is dropped.
pub(crate) struct Serving {
    child: Child,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl World {
    /// Starts `serve` on free ports and waits until it listens.
    pub(crate) fn serve(&self, more: &[&str]) -> Serving {
        let mut args = vec!["serve", "--listen", "127.0.0.1:0"];
        args.extend(more);
        let mut child = self
            .command(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let mut heard = String::new();
        let mut address = |what: &str| -> SocketAddr {
            loop {
                let line = lines.next().unwrap_or_else(|| panic!("it ended: {heard}"));
                let line = line.unwrap();
                heard.push_str(&line);
                if let Some((_, url)) = line.split_once(&format!("{what}: http://")) {
                    return url.split('/').next().unwrap().parse().unwrap();
                }
            }
        };
        let (public, admin) = (address("webhooks"), address("health and metrics"));
        let told = Arc::clone(&said);
        let reader = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut told = told.lock().unwrap();
                told.push_str(&line);
                told.push('\n');
            }
        });
        Serving {
            child,
            public,
            admin,
            said,
            reader: Some(reader),
        }
    }
}

impl Serving {
    /// Asks it to stop, and waits; its exit status and what it said.
    pub(crate) fn stop(mut self) -> (i32, String) {
        let id = self.child.id().to_string();
        let told = std::process::Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap();
        assert!(told.success());
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        let said = self.said.lock().unwrap().clone();
        (status.code().expect("it ended by itself"), said)
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        send(self.admin, "GET", path, &[], b"").unwrap()
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        send(self.public, "POST", path, headers, body).unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.body).expect("the answer is JSON")
    }
}

/// One request on a connection of its own; `None` where it is cut off before an answer.
pub(crate) fn send(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let mut head = vec![
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close"),
        format!("content-length: {}", body.len()),
    ];
    head.extend(
        headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}")),
    );
    let head = head.join("\r\n") + "\r\n\r\n";
    let mut stream = TcpStream::connect(to).ok()?;
    stream.write_all(head.as_bytes()).ok()?;
    // A body that nobody wants may not be sent to its end.
    let _ = stream.write_all(body);
    answer(&mut stream)
}

/// Reads an answer to the end of the connection.
pub(crate) fn answer(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// GitHub's signature of a body, by RFC 2104 and nothing of ours.
pub(crate) fn github_signature(secret: &str, body: &[u8]) -> String {
    format!("sha256={}", hex::encode(hmac(secret.as_bytes(), body)))
}

/// HMAC-SHA256 of a key no longer than a block.
pub(crate) fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64, "a key longer than a block is hashed first");
    let pad = |with: u8| -> Vec<u8> {
        (0..64)
            .map(|at| key.get(at).copied().unwrap_or(0) ^ with)
            .collect()
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message);
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner.finalize())
        .finalize()
        .to_vec()
}

#[test]
fn the_signature_is_that_of_githubs_documentation() {
    // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    assert_eq!(
        github_signature("It's a Secret to Everybody", b"Hello, World!"),
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    );
}
