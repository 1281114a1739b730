//! What every answer has in common, and the endpoints beside the issues.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use chrono::TimeDelta;
use http::{Method, Request, StatusCode};
use integrations_testkit::twin::github::{
    DEFAULT_START, DEFAULT_TOKEN, GithubTwin, signed_delivery,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::client::{REPOSITORY, get, get_with, request, send};

#[tokio::test]
async fn every_answer_has_githubs_headers() {
    let twin = GithubTwin::start().await.unwrap();
    let answer = get(&twin, REPOSITORY).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["full_name"], "acme/widgets");
    assert_eq!(
        answer.header("content-type"),
        "application/json; charset=utf-8"
    );
    assert_eq!(
        answer.header("x-github-media-type"),
        "github.v3; format=json"
    );
    assert_eq!(answer.header("x-ratelimit-limit"), "5000");
    assert_eq!(answer.header("x-ratelimit-remaining"), "4999");
    assert_eq!(answer.header("x-ratelimit-used"), "1");
    assert_eq!(answer.header("x-ratelimit-resource"), "core");
    let reset = (DEFAULT_START + TimeDelta::hours(1))
        .timestamp()
        .to_string();
    assert_eq!(answer.header("x-ratelimit-reset"), reset);
    let next = get(&twin, REPOSITORY).await;
    assert_ne!(
        answer.header("x-github-request-id"),
        next.header("x-github-request-id")
    );
}

// GH-01
#[tokio::test]
async fn credentials_are_checked_and_rotate() {
    let twin = GithubTwin::start().await.unwrap();
    let with = async |authorization: &str| {
        let request = Request::get("/user")
            .header("user-agent", "test")
            .header("authorization", authorization)
            .body(Body::empty());
        send(&twin, request.unwrap()).await.unwrap()
    };
    assert_eq!(
        with(&format!("token {DEFAULT_TOKEN}")).await.json()["login"],
        "octo-twin"
    );
    let refused = with("Bearer another").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let bad_credentials = json!({
        "message": "Bad credentials",
        "documentation_url": "https://docs.github.com/rest",
        "status": "401",
    });
    assert_eq!(refused.json(), bad_credentials);

    twin.revoke_token(DEFAULT_TOKEN);
    twin.accept_token("another");
    assert_eq!(
        with(&format!("Bearer {DEFAULT_TOKEN}")).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(with("Bearer another").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_private_repository_and_a_nameless_client_are_refused() {
    let twin = GithubTwin::start().await.unwrap();
    let anonymous = |target: &str| Request::get(target).header("user-agent", "test");
    let hidden = send(&twin, anonymous(REPOSITORY).body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(hidden.status, StatusCode::NOT_FOUND);
    assert_eq!(hidden.json()["message"], "Not Found");
    let user = send(&twin, anonymous("/user").body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(user.json()["message"], "Requires authentication");
    let nameless = Request::get("/zen").body(Body::empty()).unwrap();
    let nameless = send(&twin, nameless).await.unwrap();
    assert_eq!(nameless.status, StatusCode::FORBIDDEN);
    assert!(
        std::str::from_utf8(&nameless.body)
            .unwrap()
            .contains("User-Agent")
    );
}

#[tokio::test]
async fn what_does_not_exist_is_githubs_404() {
    let twin = GithubTwin::start().await.unwrap();
    for path in [
        "/repos/acme/widgets/issues/99",
        "/repos/acme/widgets/issues/x",
        "/repos/a/b",
    ] {
        let answer = get(&twin, path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        let expected = json!({
            "message": "Not Found",
            "documentation_url": "https://docs.github.com/rest",
            "status": "404",
        });
        assert_eq!(answer.json(), expected);
    }
}

#[tokio::test]
async fn pictures_and_text_are_what_they_say() {
    let twin = GithubTwin::start().await.unwrap();
    let avatar = get(&twin, "/avatars/u/1?v=4").await;
    assert_eq!(avatar.header("content-type"), "image/png");
    assert!(avatar.body.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!(avatar.header("etag").starts_with('"'));
    let path = format!("{REPOSITORY}/contents/logo.png");
    let file = get(&twin, &path).await.json();
    assert_eq!(file["size"], avatar.body.len());
    assert_eq!(file["sha"], "7377aecdd16c0c3e46d7357bbcbd5156e2bab29a");
    let raw = get_with(&twin, &path, "accept", "application/vnd.github.raw+json").await;
    assert_eq!(raw.body, avatar.body);
    assert!(
        get(&twin, "/zen")
            .await
            .header("content-type")
            .starts_with("text/plain")
    );
}

#[tokio::test]
async fn what_is_unchanged_is_304_and_free() {
    let twin = GithubTwin::start().await.unwrap();
    let list = format!("{REPOSITORY}/issues");
    let first = get(&twin, &list).await;
    let tag = first.header("etag");
    assert!(tag.starts_with("W/\""));
    let again = get_with(&twin, &list, "if-none-match", tag).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    assert!(again.body.is_empty());
    assert_eq!(again.header("etag"), tag);
    let peek = request(Method::HEAD, &list).body(Body::empty()).unwrap();
    let peek = send(&twin, peek).await.unwrap();
    assert_eq!((peek.header("etag"), peek.body.len()), (tag, 0));
    assert_eq!(
        again.header("x-ratelimit-remaining"),
        first.header("x-ratelimit-remaining")
    );
    twin.touch_issue(1).unwrap();
    assert_eq!(
        get_with(&twin, &list, "if-none-match", tag).await.status,
        StatusCode::OK
    );

    let single = format!("{REPOSITORY}/issues/1");
    let modified = get(&twin, &single).await.header("last-modified").to_owned();
    let unchanged = get_with(&twin, &single, "if-modified-since", &modified).await;
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
    twin.touch_issue(1).unwrap();
    let changed = get_with(&twin, &single, "if-modified-since", &modified).await;
    assert_eq!(changed.status, StatusCode::OK);
}

// GH-03
#[tokio::test]
async fn the_rate_limit_runs_out_and_comes_back() {
    let twin = GithubTwin::builder().rate_limit(2).start().await.unwrap();
    for _ in 0..2 {
        assert_eq!(get(&twin, "/user").await.status, StatusCode::OK);
    }
    let limited = get(&twin, "/user").await;
    assert_eq!(limited.status, StatusCode::FORBIDDEN);
    assert!(
        limited.json()["message"]
            .as_str()
            .unwrap()
            .starts_with("API rate limit exceeded")
    );
    assert_eq!(limited.header("x-ratelimit-remaining"), "0");
    assert_eq!(
        get(&twin, "/rate_limit").await.json()["rate"]["remaining"],
        0
    );
    twin.advance(Duration::from_hours(1));
    let renewed = get(&twin, "/user").await;
    assert_eq!(renewed.status, StatusCode::OK);
    assert_eq!(renewed.header("x-ratelimit-remaining"), "1");
    twin.set_rate_remaining(0);
    assert_eq!(get(&twin, "/user").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_log_knows_the_token_and_does_not_hold_it() {
    let twin = GithubTwin::start().await.unwrap();
    get(&twin, &format!("{REPOSITORY}/issues?page=2")).await;
    assert!(twin.saw_token(DEFAULT_TOKEN));
    assert!(!twin.saw_token("another"));
    let requests = twin.requests();
    assert!(requests[0].authorized);
    assert_eq!(requests[0].query.as_deref(), Some("page=2"));
    assert_eq!(requests[0].status, Some(StatusCode::OK));
    assert!(!format!("{twin:?} {requests:?}").contains(DEFAULT_TOKEN));
    twin.clear_requests();
    assert!(twin.requests().is_empty());
}

#[tokio::test]
async fn a_delivery_shows_the_issue_as_the_api_does() {
    let twin = GithubTwin::start().await.unwrap();
    let number = twin.add_issue("Hooked");
    let event = twin.issues_event("opened", number).unwrap();
    let delivery = signed_delivery(b"secret", &event, "0b989ba4-242f-11e5-81e1-c7b6966d2516");
    let delivery = delivery.unwrap();
    assert_eq!(delivery.headers()["x-github-event"], "issues");
    let payload: Value = serde_json::from_slice(delivery.body()).unwrap();
    assert_eq!(payload["action"], "opened");
    assert_eq!(payload["issue"], twin.issue(number).unwrap());
}

#[tokio::test]
async fn twins_are_equal_and_stop_when_told() {
    let (one, two) = (
        GithubTwin::start().await.unwrap(),
        GithubTwin::start().await.unwrap(),
    );
    let without_address = |twin: &GithubTwin, body: &Bytes| {
        std::str::from_utf8(body)
            .unwrap()
            .replace(twin.base_url(), "")
    };
    let target = format!("{REPOSITORY}/issues?state=all");
    let (first, second) = (get(&one, &target).await, get(&two, &target).await);
    assert_eq!(
        without_address(&one, &first.body),
        without_address(&two, &second.body)
    );
    let address = one.base_url().strip_prefix("http://").unwrap().to_owned();
    one.shutdown().await;
    assert!(TcpStream::connect(address).await.is_err());
}
