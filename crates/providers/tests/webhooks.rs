//! What the providers say of their deliveries.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use integrations_core::{
    provider::{Account, Credentials, WebhookSource},
    webhook::{Description, Handshake, Inbound},
};
use integrations_providers::{
    postmark::Postmark, stripe::Stripe, webhook::Webhook, zendesk::Zendesk,
};
use secrecy::ExposeSecret as _;
use serde_json::json;

/// What a provider's own scheme and the provider say of a delivery.
fn described(
    source: &dyn WebhookSource,
    headers: &[(&'static str, &'static str)],
    body: &str,
) -> Result<Description, integrations_core::provider::ProviderError> {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect();
    let inbound = Inbound {
        method: &Method::POST,
        path: "/",
        query: None,
        headers: &headers,
        body: body.as_bytes(),
    };
    let none = Credentials::new();
    let scheme = source.scheme(&Account::new(None, &none, &none))?;
    Ok(source.describe(&scheme, &inbound))
}

// ST-03
#[test]
fn stripe_names_event_type_and_account() {
    let told = described(
        &Stripe::default(),
        &[],
        r#"{"id":"evt_1","type":"charge.failed"}"#,
    );
    let told = told.unwrap();
    assert_eq!(told.delivery_id.as_deref(), Some("evt_1"));
    assert_eq!(told.event_type.as_deref(), Some("charge.failed"));
    assert!(told.id_is_signed);
    let thin = described(&Stripe::default(), &[], "not JSON").unwrap();
    assert_eq!((thin.delivery_id, thin.event_type), (None, None));

    let (settings, none) = (json!({ "account": "acct_1" }), Credentials::new());
    let account = Account::new(Some(&settings), &none, &none);
    let headers = HeaderMap::new();
    let delivery = Inbound {
        method: &Method::POST,
        path: "/",
        query: None,
        headers: &headers,
        body: br#"{"account":"acct_1"}"#,
    };
    let stripe = Stripe::default();
    assert_eq!(stripe.recipient(&delivery), stripe.recipient_of(&account));
}

#[test]
fn zendesk_has_an_id_in_its_events_and_another_beside_what_triggers_send() {
    let invocation = [("x-zendesk-webhook-invocation-id", "inv-1")];
    let event = r#"{"id":"e-1","type":"zen:event-type:ticket.created"}"#;
    let told = described(&Zendesk::default(), &invocation, event).unwrap();
    assert_eq!(
        (told.delivery_id.as_deref(), told.id_is_signed),
        (Some("e-1"), true)
    );
    let told = described(&Zendesk::default(), &invocation, r#"{"ticket":7}"#).unwrap();
    assert_eq!(
        (told.delivery_id.as_deref(), told.id_is_signed),
        (Some("inv-1"), false)
    );
}

// PM-02, PM-03, W-WH-14
#[test]
fn postmark_tells_once_only_things_apart_and_counts_every_open() {
    let id = |body: &str| {
        let told = described(&Postmark::default(), &[], body).unwrap();
        assert!(!told.same_body_is_duplicate);
        (told.event_type, told.delivery_id)
    };
    let some = |kind: &str, id: &str| (Some(kind.to_owned()), Some(id.to_owned()));
    assert_eq!(
        id(r#"{"RecordType":"Bounce","ID":42,"MessageID":"m"}"#),
        some("Bounce", "Bounce:42")
    );
    assert_eq!(
        id(r#"{"RecordType":"Delivery","MessageID":"m","Recipient":"a@b"}"#),
        some("Delivery", "Delivery:m:a@b")
    );
    assert_eq!(
        id(r#"{"RecordType":"Open","MessageID":"m","Recipient":"a@b"}"#),
        (Some("Open".to_owned()), None)
    );
    assert_eq!(id("[]"), (None, None));
}

// PM-02
#[test]
fn postmark_without_user_and_password_has_no_secret() {
    let none = Credentials::new();
    let half = Credentials::new().with("webhook_username", "u");
    let whole = half.clone().with("webhook_password", "p,q;until=x");
    let secrets = |own: &Credentials| Postmark::default().secrets(&Account::new(None, own, &none));
    assert!(secrets(&none).is_none() && secrets(&half).is_none());
    let secrets = secrets(&whole).unwrap().unwrap();
    let values: Vec<_> = secrets.iter().map(|s| s.value.expose_secret()).collect();
    assert_eq!(values, ["u:p,q;until=x"]);
}

// W-WH-1
#[test]
fn any_sender_may_ask_whether_anybody_is_there() {
    let headers = HeaderMap::new();
    let asked = |query| {
        Webhook::default().handshake(&Inbound {
            method: &Method::GET,
            path: "/",
            query,
            headers: &headers,
            body: b"",
        })
    };
    assert!(matches!(
        asked(Some("validationToken=a")),
        Some(Handshake::Open(_))
    ));
    let hub = "hub.mode=subscribe&hub.verify_token=t&hub.challenge=1";
    assert!(matches!(asked(Some(hub)), Some(Handshake::Token { .. })));
    assert_eq!(asked(None), None);
}
