//! A delivery as it came in, and what is read off it.

use http::{HeaderMap, Method, header::AsHeaderName};
use serde::{Deserialize, de::DeserializeOwned};

use super::SignatureScheme;

/// A request to a webhook's route.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path.
    pub path: &'a str,
    /// The query, as it came.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body, exactly.
    pub body: &'a [u8],
}

impl Inbound<'_> {
    /// A header that is there once and is text.
    #[must_use]
    pub fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// The body as JSON; `None` where it is something else.
    #[must_use]
    pub fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(self.body).ok()
    }

    /// A parameter of the query, decoded.
    #[must_use]
    pub fn query_parameter(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query?.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

/// What a delivery is, once it is known to be genuine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// What happened.
    pub event_type: Option<String>,
    /// The sender's id of the delivery.
    pub delivery_id: Option<String>,
    /// Whether the signature covers the id. Where it does not, the same signed bytes under a new
    /// id, or under none, are a duplicate for a day.
    pub id_is_signed: bool,
    /// Two deliveries with the same body are the same, where there is no id. Wrong for senders of
    /// events that may repeat, so never assumed.
    pub same_body_is_duplicate: bool,
    /// What must be processed one after the other.
    pub ordering_key: Option<String>,
}

/// The answer to a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its body.
    pub body: String,
}

impl Challenge {
    /// Plain text.
    #[must_use]
    pub fn text(body: impl Into<String>) -> Self {
        Self {
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }

    /// JSON.
    #[must_use]
    pub fn json(body: &serde_json::Value) -> Self {
        Self {
            content_type: "application/json",
            body: body.to_string(),
        }
    }
}

/// A handshake that comes without a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// Answered to anybody: it tells nothing and changes nothing.
    Open(Challenge),
    /// Answered where `token` is one of the account's secrets.
    Token {
        /// What the sender shows.
        token: String,
        /// The answer.
        answer: Challenge,
    },
}

impl Handshake {
    /// Microsoft Graph's: `?validationToken=..` is sent back as plain text.
    /// <https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks#notificationurl-validation>
    #[must_use]
    pub fn validation_token(request: &Inbound<'_>) -> Option<Self> {
        let token = request.query_parameter("validationToken")?;
        Some(Self::Open(Challenge::text(token)))
    }

    /// Meta's: `GET ?hub.mode=subscribe&hub.verify_token=..&hub.challenge=..`, whose token is the
    /// secret. <https://developers.facebook.com/docs/graph-api/webhooks/getting-started>
    #[must_use]
    pub fn hub_challenge(request: &Inbound<'_>) -> Option<Self> {
        let is_subscription = request.method == Method::GET
            && request.query_parameter("hub.mode").as_deref() == Some("subscribe");
        if !is_subscription {
            return None;
        }
        Some(Self::Token {
            token: request.query_parameter("hub.verify_token")?,
            answer: Challenge::text(request.query_parameter("hub.challenge")?),
        })
    }
}

/// Slack's `url_verification`, which is signed like any delivery.
/// <https://docs.slack.dev/reference/events/url_verification>
#[must_use]
pub fn slack_challenge(request: &Inbound<'_>) -> Option<Challenge> {
    #[derive(Deserialize)]
    struct UrlVerification {
        r#type: String,
        challenge: String,
    }
    let asked: UrlVerification = request.json()?;
    (asked.r#type == "url_verification").then(|| {
        let answer = serde_json::json!({ "challenge": asked.challenge });
        Challenge::json(&answer)
    })
}

impl SignatureScheme {
    /// Whether every genuine delivery names an id in a header, so that one without was tampered
    /// with.
    #[must_use]
    pub const fn always_sends_ids(&self) -> bool {
        matches!(self, Self::Github | Self::Shopify)
    }

    /// What senders of this scheme say of a delivery, in headers or body.
    #[must_use]
    pub fn describe(&self, delivery: &Inbound<'_>) -> Description {
        let text = |name: &str| delivery.header(name).map(str::to_owned);
        let by_headers = |id: Option<String>, event_type: Option<String>| Description {
            event_type,
            delivery_id: id,
            ..Description::default()
        };
        match self {
            Self::Github => by_headers(text("x-github-delivery"), text("x-github-event")),
            Self::Shopify => by_headers(text("x-shopify-webhook-id"), text("x-shopify-topic")),
            Self::Stripe | Self::Zendesk | Self::Basic => by_body(delivery),
            Self::Slack => slack(delivery),
            Self::Standard => Description {
                delivery_id: text("webhook-id"),
                ..by_body(delivery)
            },
            Self::Svix => Description {
                delivery_id: text("svix-id").or_else(|| text("webhook-id")),
                ..by_body(delivery)
            },
            Self::Hmac(hmac) => {
                let header = hmac.event_header.as_ref();
                let event_type = match header {
                    Some(name) => delivery.header(name).map(str::to_owned),
                    None => by_body(delivery).event_type,
                };
                let id = delivery.header(&hmac.id_header).map(str::to_owned);
                Description {
                    id_is_signed: hmac.template.contains(&super::TemplatePart::Id),
                    ..by_headers(id, event_type)
                }
            }
        }
    }
}

/// `id` and `type` of a JSON body, which the signature covers.
fn by_body(delivery: &Inbound<'_>) -> Description {
    #[derive(Deserialize)]
    struct Event {
        #[serde(default)]
        id: Option<serde_json::Value>,
        #[serde(default)]
        r#type: Option<serde_json::Value>,
    }
    let text = |value: Option<serde_json::Value>| value?.as_str().map(str::to_owned);
    let event: Option<Event> = delivery.json();
    let (id, event_type) = event.map_or((None, None), |event| (event.id, event.r#type));
    Description {
        event_type: text(event_type),
        delivery_id: text(id),
        id_is_signed: true,
        ..Description::default()
    }
}

/// `event_id` of the envelope, and the type of the event within, else of the envelope.
fn slack(delivery: &Inbound<'_>) -> Description {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(default)]
        r#type: Option<String>,
        #[serde(default)]
        event_id: Option<String>,
        #[serde(default)]
        event: Option<Inner>,
    }
    #[derive(Deserialize)]
    struct Inner {
        #[serde(default)]
        r#type: Option<String>,
    }
    let Some(envelope) = delivery.json::<Envelope>() else {
        return Description {
            id_is_signed: true,
            ..Description::default()
        };
    };
    Description {
        event_type: envelope.event.and_then(|e| e.r#type).or(envelope.r#type),
        delivery_id: envelope.event_id,
        id_is_signed: true,
        ..Description::default()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn inbound<'a>(headers: &'a HeaderMap, query: Option<&'a str>, body: &'a str) -> Inbound<'a> {
        Inbound {
            method: &Method::GET,
            path: "/",
            query,
            headers,
            body: body.as_bytes(),
        }
    }

    #[test]
    fn a_header_that_is_there_twice_says_nothing() {
        let mut headers = HeaderMap::new();
        headers.append("x-github-delivery", HeaderValue::from_static("a"));
        let seen = |headers: &HeaderMap| {
            let delivery = inbound(headers, None, "");
            SignatureScheme::Github.describe(&delivery).delivery_id
        };
        assert_eq!(seen(&headers).as_deref(), Some("a"));
        headers.append("x-github-delivery", HeaderValue::from_static("b"));
        assert_eq!(seen(&headers), None);
    }

    // W-WH-1
    #[test]
    fn handshakes_are_recognised() {
        let none = HeaderMap::new();
        let graph = inbound(&none, Some("validationToken=Validation%3a+a%26b"), "");
        assert_eq!(
            Handshake::validation_token(&graph),
            Some(Handshake::Open(Challenge::text("Validation: a&b")))
        );
        let query = "hub.mode=subscribe&hub.verify_token=t&hub.challenge=42";
        let meta = inbound(&none, Some(query), "");
        assert_eq!(
            Handshake::hub_challenge(&meta),
            Some(Handshake::Token {
                token: "t".into(),
                answer: Challenge::text("42"),
            })
        );
        let body = r#"{"token":"x","challenge":"c\"1","type":"url_verification"}"#;
        let slack = slack_challenge(&inbound(&none, None, body)).unwrap();
        assert_eq!(slack.body, r#"{"challenge":"c\"1"}"#);
        assert_eq!(
            slack_challenge(&inbound(&none, None, r#"{"type":"event"}"#)),
            None
        );
    }

    #[test]
    fn bodies_say_what_they_are() {
        let none = HeaderMap::new();
        let of = |scheme: SignatureScheme, body: &str| {
            let told = scheme.describe(&inbound(&none, None, body));
            (told.delivery_id, told.event_type)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            of(SignatureScheme::Stripe, r#"{"id":"evt_1","type":"a.b"}"#),
            (some("evt_1"), some("a.b"))
        );
        assert_eq!(of(SignatureScheme::Stripe, r#"{"id":7}"#), (None, None));
        assert_eq!(of(SignatureScheme::Stripe, "not JSON"), (None, None));
        let slack = r#"{"type":"event_callback","event_id":"Ev1","event":{"type":"message"}}"#;
        assert_eq!(
            of(SignatureScheme::Slack, slack),
            (some("Ev1"), some("message"))
        );
    }
}
