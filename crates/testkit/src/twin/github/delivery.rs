//! Webhooks as GitHub delivers them.

use bytes::Bytes;
use http::{Request, header};
use ring::hmac;
use serde_json::{Value, json};

use super::{
    shapes::{REPOSITORY_ID, Shapes},
    state::{Data, Issue, TOKEN_OWNER},
};

/// An event and what GitHub sends about it.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookEvent {
    /// The value of `X-GitHub-Event`, such as `issues`.
    pub name: String,
    /// The body.
    pub payload: Value,
}

impl WebhookEvent {
    pub(super) fn issues(shapes: &Shapes, data: &Data, action: &str, issue: &Issue) -> Self {
        let payload = json!({
            "action": action,
            "issue": shapes.issue(issue),
            "repository": shapes.repository(data),
            "sender": shapes.account(TOKEN_OWNER),
        });
        Self {
            name: "issues".to_owned(),
            payload,
        }
    }
}

/// A delivery of `event`, signed with `secret`, for the receiver's path `/`.
///
/// The same arguments give the same request, so that a delivery can be repeated; GitHub's own
/// ids are UUIDs, but any text that fits a header will do.
///
/// # Errors
///
/// When `delivery_id` or the event's name cannot be the value of a header.
pub fn signed_delivery(
    secret: &[u8],
    event: &WebhookEvent,
    delivery_id: &str,
) -> Result<Request<Bytes>, http::Error> {
    let body = event.payload.to_string();
    let sign = |algorithm| {
        let key = hmac::Key::new(algorithm, secret);
        hex::encode(hmac::sign(&key, body.as_bytes()))
    };
    let sha1 = sign(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY);
    let sha256 = sign(hmac::HMAC_SHA256);
    Request::post("/")
        .header(header::ACCEPT, "*/*")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, body.len())
        .header(header::USER_AGENT, "GitHub-Hookshot/044aadd")
        .header("x-github-delivery", delivery_id)
        .header("x-github-event", event.name.as_str())
        .header("x-github-hook-id", "292430182")
        .header("x-github-hook-installation-target-id", REPOSITORY_ID)
        .header("x-github-hook-installation-target-type", "repository")
        .header("x-hub-signature", format!("sha1={sha1}"))
        .header("x-hub-signature-256", format!("sha256={sha256}"))
        .body(Bytes::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_covers_the_body_with_the_secret() {
        let event = WebhookEvent {
            name: "ping".into(),
            payload: json!({ "zen": "Hi" }),
        };
        let delivery = signed_delivery(b"it's a secret", &event, "delivery-1").unwrap();
        let signature = delivery.headers()["x-hub-signature-256"].to_str().unwrap();
        let tag = hex::decode(signature.strip_prefix("sha256=").unwrap()).unwrap();
        let key = |secret: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, secret);
        assert!(hmac::verify(&key(b"it's a secret"), delivery.body(), &tag).is_ok());
        assert!(hmac::verify(&key(b"another"), delivery.body(), &tag).is_err());
    }

    #[test]
    fn an_id_that_no_header_can_hold_is_an_error() {
        let event = WebhookEvent {
            name: "ping".into(),
            payload: Value::Null,
        };
        assert!(signed_delivery(b"secret", &event, "two\nlines").is_err());
    }
}
