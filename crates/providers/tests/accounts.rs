//! Accounts of the providers: what their calls carry and where they go, under the real pipeline
//! with a scripted transport.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;

use http::Method;
use integrations_core::{
    client::{AccountError, AccountUpdate, CallErrorKind, Install, InstallError, ProbeReport},
    integration::Integration,
    provider::Provider,
    request::FailureClass,
    value::IntegrationName,
};
use integrations_providers::{
    postmark::Postmark, stripe::Stripe, webhook::Webhook, zendesk::Zendesk,
};
use integrations_testkit::{
    harness::Harness,
    transport::{Reply, SentRequest},
};
use secrecy::SecretString;
use serde_json::json;

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A harness with an account of one provider.
async fn installed(
    provider: impl Provider + 'static,
    credentials: Pairs<'_>,
    metadata: Pairs<'_>,
) -> (Harness, Integration) {
    let key = provider.key().to_string();
    let harness = Harness::new(provider);
    let account = harness.install(&key, None, credentials, metadata).await;
    (harness, account)
}

/// What a `GET` of `endpoint` sent, answered with `reply` at `path`.
async fn got(
    (harness, account): &(Harness, Integration),
    endpoint: &str,
    path: &str,
    reply: Reply,
) -> SentRequest {
    harness.transport.reply(Method::GET, path, reply);
    harness.handle(account).get(endpoint).send().await.unwrap();
    harness.transport.sent().pop().unwrap()
}

async fn probes(account: &(Harness, Integration), path: &str) -> ProbeReport {
    let (harness, row) = account;
    let reply = Reply::status(200).json(&json!({}));
    harness.transport.reply(Method::GET, path, reply);
    harness.handle(row).probe().await.unwrap()
}

/// What installing says of such an account.
fn refusal(
    provider: impl Provider + 'static,
    credentials: Pairs<'_>,
    metadata: Pairs<'_>,
) -> String {
    let key = provider.key();
    let harness = Harness::new(provider);
    let secret = |(k, v): &(&str, &str)| ((*k).to_owned(), SecretString::from(*v));
    let text = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    let install = Install {
        provider: key,
        name: IntegrationName::new("test").unwrap(),
        owner: None,
        credentials: credentials.iter().map(secret).collect(),
        metadata: metadata.iter().map(text).collect(),
        sync_interval_minutes: None,
    };
    match harness.client.operator().prepare(install) {
        Err(InstallError::Fields(errors)) => errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; "),
        other => panic!("{credentials:?} {metadata:?} came to {other:?}"),
    }
}

fn header<'a>(sent: &'a SentRequest, name: &str) -> Option<&'a str> {
    sent.headers.get(name)?.to_str().ok()
}

// ST-01, ST-02, ST-04
#[tokio::test]
async fn stripe_is_called_with_key_account_and_version() {
    let credentials = [("api_key", "sk_test_abc")];
    let metadata = [("account", "acct_1"), ("api_version", "2025-03-31.basil")];
    let account = installed(Stripe::default(), &credentials, &metadata).await;
    let reply = Reply::status(200)
        .json(&json!({}))
        .header("request-id", "req_1");
    let sent = got(&account, "/v1/charges", "/v1/charges", reply).await;
    assert_eq!(sent.uri, "https://api.stripe.com/v1/charges");
    assert_eq!(sent.bearer(), Some("sk_test_abc"));
    assert!(sent.headers["authorization"].is_sensitive());
    assert_eq!(header(&sent, "stripe-account"), Some("acct_1"));
    assert_eq!(header(&sent, "stripe-version"), Some("2025-03-31.basil"));
    let row = &account.0.requests().await[0].attempt;
    assert_eq!(row.provider_request_id.as_deref(), Some("req_1"));
    let probe = probes(&account, "/v1/balance").await;
    assert!(matches!(probe, ProbeReport::Passed), "{probe:?}");
}

// ST-01
#[tokio::test]
async fn stripe_takes_keys_of_its_own_form_only() {
    let wrong = refusal(Stripe::default(), &[("api_key", "pk_test_abc")], &[]);
    assert!(wrong.starts_with("`api_key` must match"), "{wrong}");
    let credentials = [("api_key", "rk_live_1"), ("webhook_secret", "abc")];
    let wrong = refusal(Stripe::default(), &credentials, &[("account", "a\nb")]);
    assert!(
        wrong.contains("`webhook_secret` must match") && wrong.contains("`account` must match"),
        "{wrong}"
    );
}

// ZD-01
#[tokio::test]
async fn zendesk_is_called_at_its_subdomain() {
    let credentials = [("email", "a@b.example"), ("api_token", "t0k")];
    let metadata = [("subdomain", "acme")];
    let account = installed(Zendesk::default(), &credentials, &metadata).await;
    let reply = Reply::status(200)
        .json(&json!({}))
        .header("x-request-id", "z-1");
    let sent = got(&account, "/tickets/7.json", "/api/v2/tickets/7.json", reply).await;
    assert_eq!(sent.uri, "https://acme.zendesk.com/api/v2/tickets/7.json");
    // base64 of `a@b.example/token:t0k`
    let basic = "Basic YUBiLmV4YW1wbGUvdG9rZW46dDBr";
    assert_eq!(header(&sent, "authorization"), Some(basic));
    assert!(sent.headers["authorization"].is_sensitive());
    let row = &account.0.requests().await[0].attempt;
    assert_eq!(row.provider_request_id.as_deref(), Some("z-1"));
    let probe = probes(&account, "/api/v2/users/me.json").await;
    assert!(matches!(probe, ProbeReport::Passed), "{probe:?}");
}

#[tokio::test]
async fn zendesk_takes_an_access_token_too() {
    let credentials = [("access_token", "oauth")];
    let account = installed(Zendesk::default(), &credentials, &[("subdomain", "a")]).await;
    let reply = Reply::status(204);
    let sent = got(&account, "/users.json", "/api/v2/users.json", reply).await;
    assert_eq!(sent.bearer(), Some("oauth"));
}

#[tokio::test]
async fn zendesk_needs_one_way_to_authenticate_and_one_dns_label() {
    let refused = |credentials| refusal(Zendesk::default(), credentials, &[("subdomain", "acme")]);
    assert_eq!(
        refused(&[]),
        "`email` and `api_token` are required, or `access_token` instead"
    );
    assert_eq!(refused(&[("email", "a@b")]), "`api_token` is required");
    assert_eq!(refused(&[("api_token", "t")]), "`email` is required");
    let label = "a".repeat(64);
    for subdomain in [
        "evil.example",
        "acme.",
        "a/b",
        "a@b",
        "-a",
        "a-",
        "A",
        "ä",
        "a\n",
        &label,
    ] {
        let metadata = [("subdomain", subdomain)];
        let wrong = refusal(Zendesk::default(), &[("access_token", "t")], &metadata);
        assert!(
            wrong.starts_with("`subdomain` must match"),
            "{subdomain:?}: {wrong}"
        );
    }
}

// W-CRED-6: the token of one account is never sent to another's server
#[tokio::test]
async fn zendesk_wants_the_credentials_again_for_another_subdomain() {
    let credentials = [("access_token", "one")];
    let (harness, account) =
        installed(Zendesk::default(), &credentials, &[("subdomain", "a")]).await;
    let mut update = AccountUpdate {
        metadata: [("subdomain".to_owned(), "b".to_owned())].into(),
        ..AccountUpdate::default()
    };
    let handle = harness.handle(&account);
    let refused = handle.update(update.clone()).await.unwrap_err();
    assert!(
        matches!(refused, AccountError::OriginChanged),
        "{refused:?}"
    );
    update.credentials = BTreeMap::from([("access_token".to_owned(), SecretString::from("two"))]);
    handle.update(update).await.unwrap();
    let account = (harness, account);
    let sent = got(
        &account,
        "/users.json",
        "/api/v2/users.json",
        Reply::status(204),
    )
    .await;
    assert_eq!(sent.uri, "https://b.zendesk.com/api/v2/users.json");
    assert_eq!(sent.bearer(), Some("two"));
}

// PM-01
#[tokio::test]
async fn postmark_is_called_with_the_servers_token() {
    let credentials = [("server_token", "srv"), ("account_token", "acc")];
    let account = installed(Postmark::default(), &credentials, &[]).await;
    let sent = got(&account, "/bounces", "/bounces", Reply::status(204)).await;
    assert_eq!(sent.uri, "https://api.postmarkapp.com/bounces");
    assert_eq!(header(&sent, "x-postmark-server-token"), Some("srv"));
    assert!(sent.headers["x-postmark-server-token"].is_sensitive());
    assert_eq!(header(&sent, "accept"), Some("application/json"));
    assert!(!sent.headers.values().any(|value| value == "acc"));
    let probe = probes(&account, "/server").await;
    assert!(matches!(probe, ProbeReport::Passed), "{probe:?}");
}

// PM-01
#[tokio::test]
async fn postmark_wants_user_and_password_of_webhooks_together() {
    let credentials = [("server_token", "s"), ("webhook_username", "u")];
    assert_eq!(
        refusal(Postmark::default(), &credentials, &[]),
        "`webhook_password` is required"
    );
    let whole = [
        ("server_token", "s"),
        ("webhook_username", "u"),
        ("webhook_password", "p"),
    ];
    let (harness, account) = installed(Postmark::default(), &whole, &[]).await;
    let update = AccountUpdate {
        credentials: [("webhook_username".to_owned(), SecretString::from(""))].into(),
        ..AccountUpdate::default()
    };
    let refused = harness.handle(&account).update(update).await.unwrap_err();
    assert_eq!(refused.to_string(), "`webhook_username` is required");
}

#[tokio::test]
async fn postmarks_maintenance_is_an_outage_and_its_other_codes_are_ours() {
    let (harness, account) = installed(Postmark::default(), &[("server_token", "s")], &[]).await;
    for (code, class) in [
        (100, FailureClass::Upstream),
        (406, FailureClass::Client),
        (10, FailureClass::Client),
    ] {
        let body = json!({ "ErrorCode": code, "Message": "m" });
        let reply = Reply::status(422).json(&body);
        harness.transport.reply(Method::POST, "/email", reply);
        let _ = harness.handle(&account).post("/email").send().await;
        let newest = harness.requests().await.pop().unwrap();
        assert_eq!(newest.attempt.failure_class, Some(class), "{code}");
    }
}

#[tokio::test]
async fn a_webhook_account_can_be_neither_called_nor_tried() {
    let metadata = [("scheme", "standard")];
    let credentials = [("webhook_secret", "whsec_c2VjcmV0")];
    let (harness, account) = installed(Webhook::default(), &credentials, &metadata).await;
    let handle = harness.handle(&account);
    let refused = handle.get("/x").send().await.unwrap_err();
    assert_eq!(refused.kind(), &CallErrorKind::Invalid);
    assert_eq!(
        refused.to_string(),
        "the provider has no API to call: it only receives webhooks"
    );
    let refused = handle.probe().await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the provider `webhook` has no API to try: it only receives webhooks"
    );
    assert!(harness.transport.sent().is_empty() && harness.requests().await.is_empty());
}

#[tokio::test]
async fn settings_of_a_scheme_are_checked_when_they_are_given() {
    let secret = [("webhook_secret", "s")];
    let refused = |metadata| refusal(Webhook::default(), &secret, metadata);
    let wrong = refused(&[("scheme", "md5")]);
    assert!(wrong.starts_with("`scheme` must match"), "{wrong}");
    assert_eq!(
        refused(&[("scheme", "slack"), ("header", "X-Sig")]),
        "`header` goes with the scheme `hmac` alone"
    );
    let wrong = refused(&[("scheme", "hmac")]);
    assert_eq!(wrong, "`header` must be the name of a header");
    let template = [
        ("scheme", "hmac"),
        ("header", "X-Sig"),
        ("template", "{timestamp}"),
    ];
    let wrong = refused(&template);
    assert!(
        wrong.starts_with("`template` must contain `{body}`"),
        "{wrong}"
    );
    let good = [
        ("scheme", "hmac"),
        ("header", "X-Sig"),
        ("template", "{timestamp}.{body}"),
        ("timestamp_header", "X-Time"),
    ];
    let (harness, account) = installed(Webhook::default(), &secret, &good).await;
    let update = AccountUpdate {
        metadata: [("template".to_owned(), "v0".to_owned())].into(),
        ..AccountUpdate::default()
    };
    let refused = harness.handle(&account).update(update).await.unwrap_err();
    assert!(
        refused.to_string().starts_with("`template` must contain"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_blank_secret_is_none() {
    for blank in ["", "  "] {
        let credentials = [("webhook_secret", blank)];
        assert_eq!(
            refusal(Webhook::default(), &credentials, &[("scheme", "github")]),
            "`webhook_secret` is required"
        );
    }
    let wrong = |secret| {
        refusal(
            Webhook::default(),
            &[("webhook_secret", secret)],
            &[("scheme", "github")],
        )
    };
    assert!(wrong("new,,old").contains("a webhook secret is empty"));
    assert!(wrong("old;until=tomorrow").contains("`;until=` must be an instant"));
}
