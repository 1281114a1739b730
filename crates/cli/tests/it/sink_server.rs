//! A server that items are delivered to, which checks who sent them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;
use serde_json::Value as Json;
use tokio::{net::TcpListener, task::JoinHandle};

/// `whsec_` and the base64 of [`KEY`].
pub(crate) const SECRET: &str = "whsec_c2luay1zZWNyZXQ=";
const KEY: &[u8] = b"sink-secret";

#[derive(Default)]
struct Seen {
    /// What was taken.
    items: Vec<Json>,
    /// The ids of messages, refused ones included.
    ids: BTreeSet<String>,
    unsigned: usize,
    /// External ids that are answered with 500.
    poison: BTreeSet<String>,
    /// Everything is answered with 429, and not for how long.
    is_busy: bool,
}

pub(crate) struct SinkServer {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl SinkServer {
    pub(crate) async fn start() -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let routes = Router::new()
            .route("/hook", post(take))
            .with_state(Arc::clone(&seen));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, seen, task }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub(crate) fn refuse(&self, external_id: &str) {
        self.seen().poison.insert(external_id.to_owned());
    }

    pub(crate) fn refuse_nothing(&self) {
        self.seen().poison.clear();
    }

    pub(crate) fn put_off(&self, is_busy: bool) {
        self.seen().is_busy = is_busy;
    }

    /// The ids of messages, refused ones included.
    pub(crate) fn ids(&self) -> BTreeSet<String> {
        self.seen().ids.clone()
    }

    /// How often a record was taken.
    pub(crate) fn taken(&self, external_id: &str) -> usize {
        let seen = self.seen();
        let items = seen.items.iter();
        items
            .filter(|item| item["external_id"] == external_id)
            .count()
    }

    pub(crate) fn total(&self) -> usize {
        self.seen().items.len()
    }

    #[track_caller]
    pub(crate) fn assert_all_signed(&self) {
        assert_eq!(self.seen().unsigned, 0);
    }
}

impl Drop for SinkServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(
    State(seen): State<Arc<Mutex<Seen>>>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let tag = STANDARD.decode(header("webhook-signature").strip_prefix("v1,").unwrap());
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
    let signed = format!("{id}.{timestamp}.{body}");
    let is_signed = hmac::verify(&key, signed.as_bytes(), &tag.unwrap()).is_ok();
    let item: Json = serde_json::from_str(&body).unwrap();
    let mut seen = seen.lock().unwrap();
    seen.ids.insert(id);
    if !is_signed {
        seen.unsigned += 1;
        return StatusCode::UNAUTHORIZED;
    }
    if seen.is_busy {
        return StatusCode::TOO_MANY_REQUESTS;
    }
    if seen
        .poison
        .contains(item["external_id"].as_str().unwrap_or_default())
    {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    seen.items.push(item);
    StatusCode::NO_CONTENT
}
