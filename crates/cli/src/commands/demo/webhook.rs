//! The demo's webhook: signed as GitHub signs, received, told apart from what is not genuine.

use bytes::Bytes;
use http::Request;
use integrations::{
    client::IntegrationClient,
    integration::{Integration, Scope},
    store::PageRequest,
    webhook::{WebhookFilter, WebhookSummary},
    webhooks::{Receiver, Route},
};
use integrations_testkit::twin::github::{GithubTwin, signed_delivery};
use secrecy::{ExposeSecret as _, SecretString};

use crate::exit::{Failure, Outcome};

/// Delivers an event, the same again, and one that was tampered with; what each was answered.
pub(super) async fn deliver(
    client: &IntegrationClient,
    integration: &Integration,
    twin: &GithubTwin,
    secret: &SecretString,
) -> Outcome<Vec<String>> {
    let number = twin.add_issue("Opened while the demo runs");
    let event = twin.issues_event("opened", number);
    let event = event.ok_or_else(|| Failure::failed("the stand-in lost an issue"))?;
    // No delivery is told from another by its id alone: the issue's number is in the body.
    let id = format!("demo-{}-{number}", twin.now().timestamp());
    let genuine = signed_delivery(secret.expose_secret().as_bytes(), &event, &id);
    let genuine = genuine.map_err(|_| Failure::failed("the delivery cannot be put together"))?;

    let receiver = Receiver::builder(client).build();
    let route = Route::integration("github", integration.uid.as_str());
    let mut lines = Vec::new();
    for (what, request) in [
        ("an issue was opened", genuine.clone()),
        ("the same delivery again", genuine.clone()),
        ("one byte of it changed", tampered(&genuine)),
    ] {
        let answer = receiver.receive(&route, request, None).await;
        let body = String::from_utf8_lossy(answer.body());
        lines.push(format!("{what}: {} {body}", answer.status().as_u16()));
    }
    receiver.shutdown().await;
    Ok(lines)
}

fn tampered(genuine: &Request<Bytes>) -> Request<Bytes> {
    genuine.clone().map(|body| {
        let mut body = body.to_vec();
        if let Some(last) = body.last_mut() {
            *last = b' ';
        }
        Bytes::from(body)
    })
}

/// The deliveries of an integration since an instant, the oldest first.
pub(super) async fn received(
    client: &IntegrationClient,
    integration: &Integration,
    since: chrono::DateTime<chrono::Utc>,
) -> Outcome<Vec<WebhookSummary>> {
    let filter = WebhookFilter {
        integration_id: Some(integration.id),
        since: Some(since),
        ..WebhookFilter::default()
    };
    let ports = client.ports();
    let now = ports.clock.now();
    let page = PageRequest::oldest(100);
    let found = ports.inbox.query(&filter, &Scope::Operator, &page, now);
    Ok(found.await?.items)
}
