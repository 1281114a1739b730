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
    // Only what is on the page is rendered: a list of many pages would take the square of it.
    let events: Vec<_> = data
        .events()
        .filter(|event| event.kind.is_issue_event())
        .collect();
    listing.page(&shared, "/issues/events", &events, |event| {
        let shape = shared.shapes().issue_event(&data, event);
        shape.unwrap_or(Value::Null)
    })
}

async fn activity(State(shared): State<Arc<Shared>>, listing: Listing) -> Response {
    let data = shared.data();
    let events: Vec<_> = data
        .events()
        .filter(|event| event.kind.is_activity())
        .collect();
    let mut response = listing.page(&shared, "/events", &events, |event| {
        let shape = shared.shapes().activity(&data, event);
        shape.unwrap_or(Value::Null)
    });
    response
        .headers_mut()
        .insert("x-poll-interval", HeaderValue::from_static("60"));
    response
}
