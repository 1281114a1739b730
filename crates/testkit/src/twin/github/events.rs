//! What happened: to issues, and in the repository.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};
use http::HeaderValue;
use serde_json::Value;

use super::{listing::Listing, server::Shared};

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/issues/events", get(issue_events))
        .route("/events", get(activity))
}

async fn issue_events(State(shared): State<Arc<Shared>>, listing: Listing) -> Response {
    let data = shared.data();
    let events: Vec<_> = data
        .events()
        .filter_map(|event| shared.shapes().issue_event(&data, event))
        .collect();
    listing.page(&shared, "/issues/events", &events, Value::clone)
}

async fn activity(State(shared): State<Arc<Shared>>, listing: Listing) -> Response {
    let data = shared.data();
    let events: Vec<_> = data
        .events()
        .filter_map(|event| shared.shapes().activity(&data, event))
        .collect();
    let mut response = listing.page(&shared, "/events", &events, Value::clone);
    response
        .headers_mut()
        .insert("x-poll-interval", HeaderValue::from_static("60"));
    response
}
