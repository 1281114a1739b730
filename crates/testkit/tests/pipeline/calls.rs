//! What a call sends, returns and records.

use std::time::Duration;

use http::{Method, StatusCode};
use integrations_core::{
    client::CallErrorKind,
    integration::Owner,
    request::{FailureClass, RelatedId},
    transport::{Reached, TransportErrorKind},
};
use integrations_testkit::transport::Reply;
use serde::Deserialize;
use serde_json::json;

use crate::acme::{TOKEN, installed};

#[derive(Debug, Deserialize, PartialEq)]
struct Order {
    id: i64,
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Line {
    sku: String,
}

// LOG-01, LOG-05, DESIGN: the row's endpoint is the template, its path the concrete one
#[tokio::test]
async fn a_call_is_sent_and_recorded_whole() {
    let (harness, acme) = installed().await;
    let answer = json!({ "id": 1, "customer": { "email": "a@b.example" } });
    let reply = Reply::status(201)
        .json(&answer)
        .header("x-request-id", "req-1")
        .taking(Duration::from_millis(120));
    harness
        .transport
        .reply(Method::POST, "/api/projects/7/orders/a%2Fb", reply);
    let sent = harness
        .handle(&acme)
        .post("/projects/{project}/orders/{n}")
        .param("n", "a/b")
        .query("expand", "lines")
        .query("api_key", "k")
        .header("x-trace", "t")
        .body(&json!({ "customer": { "email": "a@b.example" }, "qty": 2 }))
        .related_to("order", 42)
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status, StatusCode::CREATED);
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&sent.body).unwrap(),
        answer
    );

    let request = &harness.transport.sent()[0];
    let uri = "https://north.acme.example/api/projects/7/orders/a%2Fb?expand=lines&api_key=k";
    assert_eq!(request.uri, uri);
    assert_eq!(request.bearer(), Some(TOKEN));
    assert_eq!(request.headers["x-trace"], "t");

    let rows = harness.requests().await;
    let row = &rows[0].attempt;
    assert_eq!((rows.len(), Some(rows[0].id)), (1, sent.request_id));
    assert_eq!(row.integration_id, acme.id);
    assert_eq!(row.endpoint, "/projects/{project}/orders/{n}");
    assert_eq!(
        row.path.as_deref(),
        Some("/api/projects/7/orders/a%2Fb?expand=lines&api_key=[REDACTED]")
    );
    assert_eq!((row.method.as_str(), row.status_code), ("POST", Some(201)));
    assert_eq!(
        row.request_data.as_deref(),
        Some(r#"{"customer":{"email":"[REDACTED]"},"qty":2}"#)
    );
    assert_eq!(
        row.response_data.as_deref(),
        Some(r#"{"customer":{"email":"[REDACTED]"},"id":1}"#)
    );
    assert_eq!(row.provider_request_id.as_deref(), Some("req-1"));
    assert_eq!((row.duration_ms, row.attempt), (Some(120), 1));
    assert_eq!(
        (&row.error, &row.failure_class, row.retry_of),
        (&None, &None, None)
    );
    let related = row.related.as_ref().unwrap();
    assert_eq!(
        (related.related_type.as_str(), &related.id),
        ("order", &RelatedId::Number(42))
    );
}

// REQ-43, L-REQ-3: schema drift is an error that names the field, and never a second call
#[tokio::test]
async fn schema_drift_names_the_field_and_keeps_the_answer() {
    let (harness, acme) = installed().await;
    let body = json!({ "id": 1, "lines": [{ "sku": "a" }, { "sku": 7 }] });
    harness
        .transport
        .reply(Method::GET, "/api/orders/1", Reply::status(200).json(&body));
    let error = harness
        .handle(&acme)
        .get("/orders/1")
        .json::<Order>()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::SchemaDrift);
    let text = error.to_string();
    assert_eq!(
        text,
        "the answer is not a `Order`: a value is of another type at `lines[1].sku`"
    );
    assert_eq!(error.answer().unwrap().status, StatusCode::OK);
    let rows = harness.requests().await;
    assert_eq!((rows.len(), rows[0].attempt.status_code), (1, Some(200)));
    assert_eq!(
        rows[0].attempt.failure_class, None,
        "drift is no failure of the other side"
    );
    assert_eq!(error.request_id(), Some(rows[0].id));
}

#[tokio::test]
async fn typed_answers_and_verbs_last() {
    let (harness, acme) = installed().await;
    let body = json!({ "id": 1, "lines": [{ "sku": "a" }] });
    harness
        .transport
        .reply(Method::PUT, "/api/orders/1", Reply::status(200).json(&body));
    let call = harness.handle(&acme).at("/orders/{n}").param("n", 1).put();
    let order: Order = call.json().await.unwrap();
    assert_eq!(
        order.lines,
        [Line {
            sku: "a".to_owned()
        }]
    );
}

// L-REQ-1, LOG-06: what the log cannot keep never fails the call
#[tokio::test]
async fn binary_answers_reach_the_caller_and_leave_a_marker() {
    let (harness, acme) = installed().await;
    let png = b"\x89PNG\r\n\x1a\n\0\xff".to_vec();
    harness.transport.reply(
        Method::GET,
        "/api/logo",
        Reply::status(200).bytes(png.clone()),
    );
    let answer = harness.handle(&acme).get("/logo").send().await.unwrap();
    assert_eq!(answer.body, png);
    let marker = harness.requests().await[0]
        .attempt
        .response_data
        .clone()
        .unwrap();
    assert!(
        marker.starts_with("[binary body: 10 bytes, sha256 "),
        "{marker}"
    );
}

// W-REQ-4: the bodies of failures are the ones people look for
#[tokio::test]
async fn failures_carry_the_answer_and_record_it() {
    let (harness, acme) = installed().await;
    let body = json!({ "message": "no such order" });
    harness
        .transport
        .reply(Method::GET, "/api/orders/9", Reply::status(404).json(&body));
    let error = harness
        .handle(&acme)
        .get("/orders/9")
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Failed(FailureClass::Client));
    assert_eq!(error.answer().unwrap().status, StatusCode::NOT_FOUND);
    let row = harness.requests().await.remove(0).attempt;
    assert_eq!(row.failure_class, Some(FailureClass::Client));
    assert_eq!(
        row.error.as_deref(),
        Some("the other side answered 404 Not Found")
    );
    assert_eq!(
        row.response_data.as_deref(),
        Some(r#"{"message":"no such order"}"#)
    );
}

#[tokio::test]
async fn a_request_without_an_answer_leaves_a_row_with_its_error() {
    let (harness, acme) = installed().await;
    let reply = Reply::failure(TransportErrorKind::TooLarge, Reached::MaybeSent);
    harness.transport.reply(Method::GET, "/api/huge", reply);
    let error = harness.handle(&acme).get("/huge").send().await.unwrap_err();
    let kind = TransportErrorKind::TooLarge;
    assert_eq!(
        error.kind(),
        &CallErrorKind::Transport {
            kind,
            reached: Reached::MaybeSent
        }
    );
    let row = harness.requests().await.remove(0);
    assert_eq!(error.request_id(), Some(row.id));
    assert_eq!(
        row.attempt.error.as_deref(),
        Some("scripted failure: TooLarge")
    );
    assert_eq!(
        (row.attempt.status_code, row.attempt.failure_class),
        (None, Some(FailureClass::Unknown))
    );
}

// INV-10: an account's own secrets, echoed by the other side, are nowhere in the log
#[tokio::test]
async fn echoed_secrets_are_not_recorded() {
    let (harness, acme) = installed().await;
    let reply = Reply::status(400)
        .bytes(format!("bad token {TOKEN}"))
        .header("x-request-id", TOKEN);
    harness.transport.reply(Method::GET, "/api/echo", reply);
    let call = harness.handle(&acme).get("/echo").query("q", TOKEN);
    let error = call.send().await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(TOKEN));
    let rows = format!("{:?}", harness.requests().await);
    assert!(!rows.contains(TOKEN), "{rows}");
}

// L-RED, W-REQ-6: long labels are cut, never refused
#[tokio::test]
async fn long_endpoints_are_cut_on_a_character_boundary() {
    let (harness, acme) = installed().await;
    let path = format!("/{}", "ä".repeat(300));
    harness.transport.reply(
        Method::GET,
        &format!("/api/{}", "%C3%A4".repeat(300)),
        Reply::status(204),
    );
    harness.handle(&acme).get(path).send().await.unwrap();
    assert_eq!(
        harness.requests().await[0].attempt.endpoint.chars().count(),
        255
    );
}

#[tokio::test]
async fn wrong_calls_send_and_record_nothing() {
    let (harness, acme) = installed().await;
    let handle = harness.handle(&acme);
    for call in [
        handle.get("orders"),
        handle.get("//evil.example/x"),
        handle.get("/{unknown}"),
        handle.get("/x").header("bad name", "v"),
        handle.get("/x").header("x", "line\nbreak"),
        handle.get("/x").header("Host", "evil.example"),
        handle.post("/x").header("content-length", "1"),
        handle.post("/x").header("transfer-encoding", "chunked"),
    ] {
        assert_eq!(
            call.send().await.unwrap_err().kind(),
            &CallErrorKind::Invalid
        );
    }
    assert!(harness.transport.sent().is_empty() && harness.requests().await.is_empty());
}

// DESIGN: a credential goes only where its provider says
#[tokio::test]
async fn a_callers_headers_replace_each_other_and_never_authentication() {
    let (harness, acme) = installed().await;
    harness
        .transport
        .reply(Method::POST, "/api/x", Reply::status(204));
    let call = harness
        .handle(&acme)
        .post("/x")
        .body(&json!({}))
        .header("content-type", "application/vnd.acme+json")
        .header("authorization", "Bearer forged");
    call.send().await.unwrap();
    let headers = &harness.transport.sent()[0].headers;
    let all = |name| headers.get_all(name).iter().collect::<Vec<_>>();
    assert_eq!(all("content-type"), ["application/vnd.acme+json"]);
    assert_eq!(all("authorization"), [&*format!("Bearer {TOKEN}")]);
}

// W-CRED-7
#[tokio::test]
async fn debugging_a_call_or_an_answer_shows_nothing_of_their_content() {
    let (harness, acme) = installed().await;
    harness.transport.reply(
        Method::POST,
        "/api/x/canary-p",
        Reply::status(200)
            .bytes("canary-a")
            .header("set-cookie", "canary-c"),
    );
    let call = harness
        .handle(&acme)
        .post("/x/{n}?key=canary-k")
        .param("n", "canary-p")
        .query("q", "canary-q")
        .header("x-secret", "canary-h")
        .body("canary-b");
    let shown = format!("{call:?}");
    assert!(
        shown.contains("/x/{n}") && !shown.contains("canary"),
        "{shown}"
    );
    let shown = format!("{:?}", call.send().await.unwrap());
    assert!(
        shown.contains("200") && !shown.contains("canary"),
        "{shown}"
    );
}

// DESIGN: a foreign id is NotFound
#[tokio::test]
async fn an_owner_reaches_nothing_of_another() {
    let (harness, acme) = installed().await;
    let owner = Owner::new("team", 1).unwrap();
    let mine = harness
        .install(
            "acme",
            Some(owner.clone()),
            &[("token", TOKEN)],
            &[("subdomain", "south")],
        )
        .await;
    let scoped = harness.client.for_owner(&owner);
    let error = scoped
        .integration(acme.id)
        .get("/x")
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::NotFound);
    assert_eq!(scoped.integration(acme.uid).find().await.unwrap(), None);
    harness
        .transport
        .reply(Method::GET, "/api/x", Reply::status(204));
    scoped.integration(mine.uid).get("/x").send().await.unwrap();
    assert_eq!(
        harness.transport.sent()[0].uri.host(),
        Some("south.acme.example")
    );
}
