//! `webhooks show`

use integrations::{
    encryptor::{SealContext, SealedColumn},
    id::WebhookId,
    integration::Scope,
    webhook::{Webhook, WebhookPayload},
};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value as Json};

use crate::{
    commands::view,
    context::Context,
    exit::{Exit, Failure, Outcome},
};

/// Everything about one delivery.
pub(crate) async fn show(context: &Context, id: WebhookId) -> Outcome {
    let ports = context.ports().await?;
    let now = ports.clock.now();
    let found = ports.inbox.find(id, &Scope::Operator, now).await?;
    let webhook = found.ok_or_else(|| no_such_delivery(id))?;
    let body = body(context, &webhook).await?;
    let fields = fields(&webhook, &body);
    context.output.record(&fields, &json(&webhook, &body))?;
    Ok(Exit::Done)
}

pub(super) fn no_such_delivery(id: WebhookId) -> Failure {
    Failure::not_found(format!("there is no delivery {id}"))
}

/// The body as it came. Only one that is sealed needs the keys.
async fn body(context: &Context, webhook: &Webhook) -> Outcome<Vec<u8>> {
    let sealed = match &webhook.delivery.payload {
        WebhookPayload::Plain(payload) => return Ok(payload.as_bytes().to_vec()),
        WebhookPayload::Sealed(sealed) => sealed,
    };
    let client = context.client().await?;
    let sealed_for = SealContext {
        column: SealedColumn::WebhookPayload,
        uid: webhook.delivery.uid,
        provider: webhook.delivery.provider.clone(),
    };
    let opened = client.keys().encryptor.open(&sealed_for, sealed).await?;
    Ok(opened.expose_secret().to_vec())
}

/// The row, headers as a list of names and values, and the body: text, or bytes as a list of
/// numbers where it is none.
fn json(webhook: &Webhook, body: &[u8]) -> Json {
    let mut json = super::json(&webhook.summary());
    let delivery = &webhook.delivery;
    json["query"] = delivery.query.clone().into();
    let headers = delivery.headers.iter();
    json["headers"] = headers
        .map(|(name, value)| Json::from(vec![name.as_str(), value.as_str()]))
        .collect();
    let (name, value) = match std::str::from_utf8(body) {
        Ok(text) => ("payload", Json::from(text)),
        Err(_) => ("payload_bytes", Json::from(body)),
    };
    let own: Map<String, Json> = [(name.to_owned(), value)].into_iter().collect();
    if let Json::Object(all) = &mut json {
        all.extend(own);
    }
    json
}

fn fields(webhook: &Webhook, body: &[u8]) -> Vec<(&'static str, String)> {
    let delivery = &webhook.delivery;
    let mut fields = vec![
        ("id", webhook.id.to_string()),
        ("integration", view::or_none(delivery.integration_id)),
        ("provider", delivery.provider.to_string()),
        ("event", view::or_none(delivery.event_type.as_ref())),
        ("delivery", view::or_none(delivery.delivery_id.as_ref())),
        ("status", webhook.status.to_string()),
        ("attempts", webhook.attempts.to_string()),
        ("error", view::or_none(webhook.error.as_ref())),
        ("duplicate of", view::or_none(webhook.duplicate_of)),
        ("received", view::time(delivery.now)),
        (
            "processed",
            view::or_none(webhook.processed_at.map(view::time)),
        ),
        ("from", view::or_none(delivery.remote_addr.as_ref())),
        ("request", format!("{} {}", delivery.method, delivery.path)),
        ("query", view::or_none(delivery.query.as_ref())),
    ];
    for (name, value) in &delivery.headers {
        fields.push(("header", format!("{name}: {value}")));
    }
    let body = match std::str::from_utf8(body) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("{} bytes that are not text", body.len()),
    };
    fields.push(("body", body));
    fields
}
