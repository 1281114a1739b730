//! What is delivered: one item or webhook, as a line of JSON.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use integrations::webhooks::Delivery;
use integrations::{
    sync::{Payload, SyncItem},
    value::ExternalId,
};
use serde::Serialize;
use serde_json::{Value as Json, value::RawValue};

use crate::output::escape;

/// A message and the id it keeps, however often it is delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: String,
    body: String,
}

/// The JSON of an item.
#[derive(Serialize)]
struct ItemLine<'a> {
    r#type: &'static str,
    integration_id: i64,
    stream: &'a str,
    kind: &'a str,
    external_id: Option<&'a str>,
    checkpoint: Option<&'a Json>,
    payload: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_encoding: Option<&'static str>,
}

/// The JSON of a webhook.
#[derive(Serialize)]
struct WebhookLine<'a> {
    r#type: &'static str,
    integration_id: Option<i64>,
    provider: &'a str,
    event_type: Option<&'a str>,
    delivery_id: Option<&'a str>,
    /// Only of one that somebody had processed again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replay: bool,
    payload: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_encoding: Option<&'static str>,
}

/// A payload as it came.
#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    /// JSON, digit by digit.
    Json(Box<RawValue>),
    /// Other text.
    Text(&'a str),
    /// Anything else.
    Base64(String),
}

impl Content<'_> {
    fn of(payload: &Payload) -> Content<'_> {
        match payload {
            // Within the quotes of JSON there are no control characters, so these are layout.
            Payload::Text(text) => {
                match RawValue::from_string(text.replace(['\n', '\r', '\t'], " ")) {
                    Ok(json) => Content::Json(json),
                    Err(_) => Content::Text(text),
                }
            }
            Payload::Binary(bytes) => Content::Base64(STANDARD.encode(bytes)),
        }
    }

    const fn encoding(&self) -> Option<&'static str> {
        match self {
            Self::Base64(_) => Some("base64"),
            Self::Json(_) | Self::Text(_) => None,
        }
    }
}

impl Message {
    /// An item.
    pub(crate) fn item(item: &SyncItem) -> Self {
        let payload = item.payload.as_ref().map(Content::of);
        let line = ItemLine {
            r#type: "item",
            integration_id: item.integration_id.0,
            stream: item.stream.as_str(),
            kind: item.kind.as_str(),
            external_id: item.external_id.as_ref().map(ExternalId::as_str),
            checkpoint: item.checkpoint_value.as_ref(),
            payload_encoding: payload.as_ref().and_then(Content::encoding),
            payload,
        };
        Self::new(format!("item-{}-{}", item.integration_id, item.id), &line)
    }

    /// A webhook.
    pub(crate) fn webhook(delivery: &Delivery) -> Self {
        let payload = Payload::from_bytes(delivery.body().to_vec());
        let content = Content::of(&payload);
        let line = WebhookLine {
            r#type: "webhook",
            integration_id: delivery.integration_id().map(|id| id.0),
            provider: delivery.provider().as_str(),
            event_type: delivery.event_type(),
            delivery_id: delivery.delivery_id(),
            replay: delivery.is_replay(),
            payload_encoding: content.encoding(),
            payload: content,
        };
        let mut id = format!("webhook-{}", delivery.id());
        if delivery.is_replay() {
            // Whoever drops what comes twice is to take each replay, and each of them once.
            let queued_at = delivery.row().queued_at.timestamp_micros();
            id = format!("{id}-replay-{queued_at}");
        }
        Self::new(id, &line)
    }

    fn new(id: String, line: &impl Serialize) -> Self {
        // Names are text and there is no map with other keys, so this cannot fail.
        let json = serde_json::to_string(line).unwrap_or_default();
        let body = escape::json(&json).into_owned();
        Self { id, body }
    }

    /// Without a line end.
    pub(crate) fn body(&self) -> &str {
        &self.body
    }

    /// With one.
    pub(crate) fn line(&self) -> String {
        format!("{}\n", self.body)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use integrations::{
        id::{IntegrationId, SyncItemId, SyncRunId},
        sync::ItemStatus,
        value::{ItemKind, StreamName},
    };

    use super::*;

    fn item(payload: Payload) -> SyncItem {
        let at = DateTime::UNIX_EPOCH;
        SyncItem {
            id: SyncItemId(9),
            integration_id: IntegrationId(7),
            run_id: SyncRunId(1),
            sync_log_id: None,
            stream: StreamName::default(),
            kind: ItemKind::new("issue").unwrap(),
            external_id: Some(ExternalId::new("42").unwrap()),
            checkpoint_value: Some(Json::from(5)),
            checkpoint_order: None,
            payload: Some(payload),
            status: ItemStatus::Processing,
            attempts: 1,
            error: None,
            available_at: at,
            lease_until: None,
            completed_at: None,
            created_at: at,
            updated_at: at,
        }
    }

    fn line(payload: &str) -> String {
        Message::item(&item(Payload::Text(payload.to_owned()))).line()
    }

    // CONTRACT: sinks
    #[test]
    fn an_item_is_one_line_with_the_payload_as_it_came() {
        let text = line("{\n\t\"n\": 1.10,\r\n \"big\": 12345678901234567890123}");
        assert_eq!(
            text,
            "{\"type\":\"item\",\"integration_id\":7,\"stream\":\"default\",\"kind\":\"issue\",\
             \"external_id\":\"42\",\"checkpoint\":5,\
             \"payload\":{  \"n\": 1.10,   \"big\": 12345678901234567890123}}\n"
        );
        assert_eq!(text.matches('\n').count(), 1);
    }

    #[test]
    fn other_payloads_are_text_or_base64() {
        let read = |text: &str| serde_json::from_str::<Json>(text).unwrap();
        assert_eq!(read(&line("a\nb"))["payload"], "a\nb");
        let binary = Message::item(&item(Payload::Binary(vec![0, 255])));
        let binary = read(binary.body());
        assert_eq!(
            (&binary["payload"], &binary["payload_encoding"]),
            (&Json::from("AP8="), &Json::from("base64"))
        );
    }

    #[test]
    fn control_characters_are_escaped() {
        let text = line("{\"a\":\"\u{202e}\u{7f}\"}");
        assert!(text.contains("\\u202e\\u007f"), "{text}");
    }

    #[test]
    fn a_message_keeps_its_id() {
        let mut again = item(Payload::Text("{}".to_owned()));
        again.attempts = 3;
        assert_eq!(Message::item(&again).id, "item-7-9");
    }
}
