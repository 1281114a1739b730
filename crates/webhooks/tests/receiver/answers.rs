//! What senders are told, and what is stored.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use integrations_core::{
    client::{AccountUpdate, Install},
    event::EventKind,
    id::WebhookId,
    integration::{HealthStatus, IntegrationChange, IntegrationStore as _, Scope},
    store::{StoreError, StoreErrorKind},
    webhook::{MockWebhookInbox, Received, WebhookPayload, WebhookStatus},
};
use integrations_providers::github::Github;
use integrations_testkit::harness::Harness;
use integrations_webhooks::{Receiver, Route};
use secrecy::SecretString;

use crate::setup::{SECRET, Setup, delivery, own, signed};

// WH-06, W-WH-6, W-WH-7, W-WH-9, W-WH-10
#[tokio::test]
async fn a_genuine_delivery_is_stored_exactly_before_it_is_answered() {
    let setup = Setup::new();
    let integration = setup.install("hello", Some(SECRET)).await;
    let body = Bytes::from_static(b"{\"a\":\"\xff\0\"}");
    let addr: IpAddr = "203.0.113.7".parse().unwrap();
    let request = signed(SECRET, "d-1", body.clone());
    let answer = setup
        .receiver
        .receive(&own(&integration), request, Some(addr))
        .await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let rows = setup.rows().await;
    let [row] = &rows[..] else { panic!("{rows:?}") };
    let WebhookPayload::Plain(payload) = &row.delivery.payload else {
        panic!("{row:?}");
    };
    assert_eq!(payload.as_bytes(), &body[..]);
    assert_eq!(row.status, WebhookStatus::Pending);
    assert_eq!(row.delivery.integration_id, Some(integration.id));
    assert_eq!(row.delivery.event_type.as_deref(), Some("issues"));
    assert_eq!(row.delivery.delivery_id.as_deref(), Some("d-1"));
    assert_eq!(row.delivery.method, "POST");
    assert_eq!(row.delivery.path, "/integrations/github/webhook");
    assert_eq!(row.delivery.query.as_deref(), Some("a=1"));
    assert_eq!(row.delivery.remote_addr.as_deref(), Some("203.0.113.7"));
    let names: Vec<&str> = row
        .delivery
        .headers
        .iter()
        .map(|(name, _)| &name[..])
        .collect();
    assert_eq!(
        names,
        ["content-type", "x-github-event", "x-github-delivery"]
    );

    setup.harness.client.shutdown().await;
    let told = setup.harness.events.kinds();
    let received = |kind: &&EventKind| matches!(kind, EventKind::WebhookReceived { webhook_id, .. } if *webhook_id == row.id);
    assert_eq!(told.iter().filter(received).count(), 1);
}

#[tokio::test]
async fn an_integration_is_named_by_uid_or_number() {
    let setup = Setup::new();
    let integration = setup.install("hello", Some(SECRET)).await;
    let by_number = Route::integration("github", integration.id.to_string());
    let sent = delivery(SECRET, "d-1", "{}");
    assert_eq!(setup.status(&by_number, sent).await, StatusCode::ACCEPTED);
    let sent = delivery(SECRET, "d-2", "{\"b\":1}");
    assert_eq!(
        setup.status(&own(&integration), sent).await,
        StatusCode::ACCEPTED
    );
}

// Nothing about an integration shows before its secret verified.
#[tokio::test]
async fn every_refusal_reads_the_same_and_has_its_own_reason() {
    let setup = Setup::new();
    let integration = setup.install("hello", Some(SECRET)).await;
    let without_secret = setup.install("mute", None).await;
    let known = own(&integration);
    let unsigned = {
        let mut request = delivery(SECRET, "d", "{}");
        request.headers_mut().remove("x-hub-signature-256");
        request
    };
    let twice = {
        let mut request = delivery(SECRET, "d", "{}");
        let value = request.headers()["x-hub-signature-256"].clone();
        request.headers_mut().append("x-hub-signature-256", value);
        request
    };
    let unknown = Route::integration("github", "01234567890123456789abcdef");
    let cases = [
        (known.clone(), delivery("another", "d", "{}"), "mismatch"),
        (known.clone(), unsigned, "missing_header"),
        (known, twice, "repeated_header"),
        (unknown, delivery(SECRET, "d", "{}"), "unknown_integration"),
        (
            Route::integration("github", "999"),
            delivery(SECRET, "d", "{}"),
            "unknown_integration",
        ),
        (
            Route::integration("github", "no id"),
            delivery(SECRET, "d", "{}"),
            "unknown_integration",
        ),
        (own(&without_secret), delivery("", "d", "{}"), "no_secret"),
        (
            Route::provider("github"),
            delivery("another", "d", "{}"),
            "mismatch",
        ),
    ];
    let mut seen = Vec::new();
    for (route, request, reason) in cases {
        let count = || {
            let refused = setup.receiver.metrics().refused;
            refused
                .into_iter()
                .find(|(name, _)| *name == reason)
                .unwrap()
                .1
        };
        let before = count();
        let answer = setup.send(&route, request).await;
        assert_eq!(count(), before + 1, "{reason}");
        seen.push((
            answer.status(),
            answer.headers().clone(),
            answer.into_body(),
        ));
    }
    assert_eq!(seen[0].0, StatusCode::UNAUTHORIZED);
    assert_eq!(seen[0].1[header::CONTENT_TYPE], "application/problem+json");
    assert!(seen.iter().all(|answer| *answer == seen[0]), "{seen:?}");
    assert!(setup.rows().await.is_empty());
}

#[tokio::test]
async fn what_is_no_webhook_is_said_so() {
    let setup = Setup::new();
    let integration = setup.install("hello", Some(SECRET)).await;
    for provider in ["nobody", "No Key", ""] {
        let route = Route::provider(provider);
        let answer = setup.status(&route, delivery(SECRET, "d", "{}"));
        assert_eq!(answer.await, StatusCode::NOT_FOUND, "{provider}");
    }
    let mut request = delivery(SECRET, "d", "{}");
    *request.method_mut() = Method::PUT;
    let answer = setup.send(&own(&integration), request).await;
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers()[header::ALLOW], "GET, POST");
    let large = signed(SECRET, "d", Bytes::from(vec![b'x'; 1024 * 1024 + 1]));
    let answer = setup.status(&own(&integration), large).await;
    assert_eq!(answer, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(setup.rows().await.is_empty());
}

// W-WH-3, WH-07 as CONTRACT has it
#[tokio::test]
async fn an_operators_switch_refuses_and_health_only_parks() {
    let setup = Setup::new();
    let integration = setup.install("hello", Some(SECRET)).await;
    let store = &setup.harness.store;
    let now = setup.harness.client.ports().clock.now();
    let operator = Scope::Operator;
    let move_to = async |status: HealthStatus| {
        store
            .move_health(integration.id, &operator, &status, now)
            .await
            .unwrap();
        setup
            .harness
            .clock
            .advance(std::time::Duration::from_secs(2));
    };
    move_to(HealthStatus::Disabled).await;
    let answer = setup
        .send(&own(&integration), delivery(SECRET, "d-1", "{}"))
        .await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.body(), r#"{"status":"parked"}"#);
    assert_eq!(setup.rows().await[0].delivery.available_at, None);

    let off = IntegrationChange {
        is_active: Some(false),
        ..IntegrationChange::default()
    };
    store
        .update(integration.id, &operator, &off, now)
        .await
        .unwrap();
    setup
        .harness
        .clock
        .advance(std::time::Duration::from_secs(2));
    let answer = setup
        .status(&own(&integration), delivery(SECRET, "d-2", "{}"))
        .await;
    assert_eq!(answer, StatusCode::GONE);
    // Not even that shows without the secret.
    let answer = setup
        .status(&own(&integration), delivery("another", "d", "{}"))
        .await;
    assert_eq!(answer, StatusCode::UNAUTHORIZED);
    assert_eq!(setup.rows().await.len(), 1);
}

#[tokio::test]
async fn a_secret_that_was_just_set_counts() {
    let setup = Setup::new();
    let route = Route::provider("github");
    let sent = delivery(SECRET, "d-1", "{}");
    assert_eq!(setup.status(&route, sent).await, StatusCode::UNAUTHORIZED);
    setup.install("hello", Some(SECRET)).await;
    setup
        .harness
        .clock
        .advance(std::time::Duration::from_millis(100));
    let sent = delivery(SECRET, "d-1", "{}");
    assert_eq!(setup.status(&route, sent).await, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn secrets_that_would_verify_nothing_are_refused_when_installed() {
    let setup = Setup::new();
    let operator = setup.harness.client.operator();
    let install = |secret: &str| {
        let text = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
        let credentials = [("token", "ghp_x"), ("webhook_secret", secret)];
        let prepared = operator.prepare(Install {
            provider: "github".parse().unwrap(),
            name: "hello".parse().unwrap(),
            owner: None,
            credentials: credentials
                .map(|(k, v)| (k.to_owned(), SecretString::from(v)))
                .into(),
            metadata: [("owner", "octo"), ("repo", "hello")].map(text).into(),
            sync_interval_minutes: None,
        });
        prepared.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(install("new,old;until=2030-01-31T00:00:00Z"), Ok(()));
    for wrong in ["", " ", "a,,b", "a;until=soon", "[1]"] {
        let error = install(wrong).unwrap_err();
        assert!(
            error.starts_with("`webhook_secret` would verify nothing"),
            "{wrong}: {error}"
        );
    }
}

#[tokio::test]
async fn too_much_under_way_is_put_off() {
    let setup = Setup::new();
    let integration = setup.install("hello", Some(SECRET)).await;
    let receiver = Receiver::builder(&setup.harness.client)
        .limits(|limits| {
            limits.max_payload_bytes = 100;
            limits.bytes_under_way = 0;
        })
        .build();
    // A body that may be taken has room at least once, whatever was configured.
    let request = delivery(SECRET, "d", "{}");
    let answer = receiver.receive(&own(&integration), request, None).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    receiver.shutdown().await;
    let request = delivery(SECRET, "d-2", "{\"b\":1}");
    let answer = receiver.receive(&own(&integration), request, None).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(receiver.metrics().unavailable, 1);
}

// WH-08
#[tokio::test]
async fn a_get_is_a_delivery_like_any_other() {
    let setup = Setup::new();
    let integration = setup.install("hello", Some(SECRET)).await;
    let mut request = delivery(SECRET, "d-1", "");
    *request.method_mut() = Method::GET;
    let answer = setup.status(&own(&integration), request).await;
    assert_eq!(answer, StatusCode::ACCEPTED);
    let rows = setup.rows().await;
    assert_eq!(rows[0].delivery.method, "GET");
    let mut request = delivery("another", "d-2", "");
    *request.method_mut() = Method::GET;
    let answer = setup.status(&own(&integration), request).await;
    assert_eq!(answer, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_paused_account_takes_deliveries_and_parks_them() {
    let setup = Setup::new();
    let integration = setup.install("hello", Some(SECRET)).await;
    let handle = setup.harness.handle(&integration);
    let send = async |id: &str| {
        let sent = delivery(SECRET, id, &format!("{{\"id\":\"{id}\"}}"));
        let answer = setup.send(&own(&integration), sent).await;
        let status = answer.status();
        (
            status,
            String::from_utf8(answer.into_body().to_vec()).unwrap(),
        )
    };
    let parked = (StatusCode::ACCEPTED, r#"{"status":"parked"}"#.to_owned());
    let queued = (StatusCode::ACCEPTED, r#"{"status":"queued"}"#.to_owned());

    // No time passes: what this process changed, its receiver sees at once.
    assert_eq!(send("d-1").await, queued);
    handle.pause().await.unwrap();
    assert_eq!(send("d-2").await, parked);
    assert_eq!(setup.rows().await[1].delivery.available_at, None);
    handle.disable().await.unwrap();
    assert_eq!(send("d-3").await.0, StatusCode::GONE);
    handle.pause().await.unwrap();
    assert_eq!(send("d-4").await, parked);
    handle.enable().await.unwrap();
    assert_eq!(send("d-5").await, queued);
    handle.disable().await.unwrap();
    assert_eq!(
        send("d-6").await.0,
        StatusCode::GONE,
        "a pause ends with `enable`"
    );
    let ids = setup
        .rows()
        .await
        .into_iter()
        .map(|row| row.delivery.delivery_id.unwrap());
    assert_eq!(ids.collect::<Vec<_>>(), ["d-1", "d-2", "d-4", "d-5"]);
}

#[tokio::test]
async fn what_this_process_changed_counts_at_once_on_a_providers_own_route_too() {
    let setup = Setup::new();
    let integration = setup.install("hello", Some(SECRET)).await;
    let route = Route::provider("github");
    let status = async |secret: &str, id: &str| {
        let sent = delivery(secret, id, &format!("{{\"id\":\"{id}\"}}"));
        setup.status(&route, sent).await
    };
    let handle = setup.harness.handle(&integration);
    assert_eq!(status(SECRET, "d-1").await, StatusCode::ACCEPTED);
    let rotated = AccountUpdate {
        credentials: [("webhook_secret".to_owned(), SecretString::from("another"))].into(),
        ..AccountUpdate::default()
    };
    handle.update(rotated).await.unwrap();
    assert_eq!(status(SECRET, "d-2").await, StatusCode::UNAUTHORIZED);
    assert_eq!(status("another", "d-3").await, StatusCode::ACCEPTED);
    handle.disable().await.unwrap();
    assert_eq!(status("another", "d-4").await, StatusCode::GONE);
}

// L-WH-5
#[tokio::test]
async fn one_that_could_not_be_stored_is_no_duplicate_when_it_comes_again() {
    let mut inbox = MockWebhookInbox::new();
    let mut tries = 0;
    inbox.expect_receive().times(2).returning(move |batch| {
        tries += 1;
        assert_eq!(batch.len(), 1);
        match tries {
            1 => Err(StoreError::new(StoreErrorKind::Unavailable, "away")),
            _ => Ok(vec![Ok(Received::New(WebhookId(1)))]),
        }
    });
    let setup = Setup::over(Harness::with(
        |mut ports| {
            ports.inbox = Arc::new(inbox);
            ports
        },
        |builder| builder.provider(Github::default()),
    ));
    let integration = setup.install("hello", Some(SECRET)).await;
    let sent = || delivery(SECRET, "d-1", "{}");
    let answer = setup.send(&own(&integration), sent()).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key(header::RETRY_AFTER));
    let answer = setup.status(&own(&integration), sent()).await;
    assert_eq!(answer, StatusCode::ACCEPTED);
    let metrics = setup.receiver.metrics();
    assert_eq!((metrics.unavailable, metrics.queued), (1, 1));
    assert_eq!((metrics.batches, metrics.in_batches), (2, 2));
}

// INV-10
#[tokio::test]
async fn secrets_in_query_and_headers_are_not_stored() {
    let setup = Setup::with_application_secret("of the app");
    let own = setup.install("own", Some(SECRET)).await;
    let uid = own.uid.to_string();
    for (route, secret, spelled) in [
        (
            Route::integration("github", uid),
            SECRET,
            "it%27s%20a%20secret",
        ),
        (Route::provider("github"), "of the app", "of%20the%20app"),
    ] {
        let mut request = delivery(secret, &format!("d-{spelled}"), spelled);
        let query = format!("/hook?a=1&token=canary-1&b={spelled}&c=%20");
        *request.uri_mut() = query.parse().unwrap();
        let note = HeaderValue::from_str(&format!("from {secret}")).unwrap();
        request.headers_mut().insert("x-github-note", note);
        assert_eq!(setup.status(&route, request).await, StatusCode::ACCEPTED);
        let row = setup.rows().await.pop().unwrap().delivery;
        let stored = "a=1&token=[REDACTED]&b=[REDACTED]&c=%20";
        assert_eq!(row.query.as_deref(), Some(stored));
        let note = ("x-github-note".to_owned(), "from [REDACTED]".to_owned());
        assert!(row.headers.contains(&note), "{:?}", row.headers);
    }
}

// W-WH-12
#[tokio::test]
async fn an_application_says_what_is_processed_in_order() {
    let setup = Setup::new();
    let integration = setup.install("hello", Some(SECRET)).await;
    let receiver = Receiver::builder(&setup.harness.client)
        .order_by("github".parse().unwrap(), |delivery| {
            let body: serde_json::Value = delivery.json()?;
            Some(body["about"].as_str()?.to_owned())
        })
        .build();
    let long = "x".repeat(192);
    for (id, body) in [
        ("d-1", r#"{"about":"issue 7"}"#.to_owned()),
        ("d-2", r#"{"n":2}"#.to_owned()),
        ("d-3", format!(r#"{{"about":"{long}"}}"#)),
        ("d-4", format!(r#"{{"about":"{long}","n":4}}"#)),
    ] {
        let sent = delivery(SECRET, id, &body);
        let answer = receiver.receive(&own(&integration), sent, None).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
    }
    let rows = setup.rows().await;
    let keys: Vec<_> = rows
        .iter()
        .map(|row| row.delivery.ordering_key.as_deref())
        .collect();
    assert_eq!(keys[..2], [Some("issue 7"), None]);
    assert!(
        keys[2].is_some_and(|key| key.starts_with("sha256:")),
        "{keys:?}"
    );
    assert_eq!(keys[2], keys[3]);
}
