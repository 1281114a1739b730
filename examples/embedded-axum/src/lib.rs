//! An application with routes of its own that receives webhooks beside them.
//!
//! [`application`] mounts the routes that come with the layer. [`by_hand`] hands a request to the
//! receiver itself, which works with any framework that has the types of the crate `http`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{Router, body::Body, extract::State, routing::get};
use bytes::Bytes;
use http::{Request, Response};
use integrations::{
    IntegrationClient,
    value::ProviderKey,
    webhooks::{Delivery, Handled, HandlerError, Processor, Receiver, Route, router},
};

/// What the application makes of deliveries: the titles of issues.
#[derive(Clone, Debug, Default)]
pub struct Titles(Arc<Mutex<Vec<String>>>);

impl Titles {
    /// Those so far.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn add(&self, title: String) {
        let mut titles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        titles.push(title);
    }
}

/// The application's own routes, and those that receive webhooks.
pub fn application(titles: Titles, receiver: Receiver) -> Router {
    let listed = async |State(titles): State<Titles>| titles.all().join("\n");
    Router::new()
        .route("/titles", get(listed))
        .with_state(titles)
        .merge(router(receiver))
}

/// Receives without the routes: whoever has read a request hands it over.
pub async fn by_hand(receiver: &Receiver, uid: &str, request: Request<Bytes>) -> Response<Body> {
    let route = Route::integration("github", uid);
    receiver
        .receive(&route, request, None)
        .await
        .map(Body::from)
}

/// Handles the deliveries: each of them at least once, so that what it does twice it does once.
#[must_use]
pub fn processor(client: &IntegrationClient, github: ProviderKey, titles: Titles) -> Processor {
    let on_issue = move |delivery: Delivery| {
        let titles = titles.clone();
        async move {
            let event: IssueEvent = delivery.json()?;
            titles.add(event.issue.title);
            Ok::<_, HandlerError>(Handled::Done)
        }
    };
    Processor::builder(client)
        .on(github, "issues", on_issue)
        .build()
}

#[derive(serde::Deserialize)]
struct IssueEvent {
    issue: Issue,
}

#[derive(serde::Deserialize)]
struct Issue {
    title: String,
}
