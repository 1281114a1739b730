//! The GitHub twin over real connections.

use std::time::Duration;

use axum::body::{self, Body};
use bytes::Bytes;
use chrono::TimeDelta;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use integrations_testkit::twin::github::{
    DEFAULT_START, DEFAULT_TOKEN, Fault, GithubTwin, RetryAfter, signed_delivery,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;

const REPOSITORY: &str = "/repos/acme/widgets";

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The numbers of the issues in a list.
    fn numbers(&self) -> Vec<u64> {
        let list = self.json();
        list.as_array().unwrap().iter().map(|issue| issue["number"].as_u64().unwrap()).collect()
    }

    fn link(&self, rel: &str) -> Option<&str> {
        let wanted = format!("rel=\"{rel}\"");
        let link = self.header("link").split(", ").find(|link| link.ends_with(&wanted))?;
        link.strip_prefix('<')?.split('>').next()
    }
}

fn request(method: Method, target: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(target)
        .header("user-agent", "test")
        .header("authorization", format!("Bearer {DEFAULT_TOKEN}"))
}

/// Sends over a connection of its own. The error says where the exchange broke.
async fn send(twin: &GithubTwin, request: Request<Body>) -> Result<Answer, &'static str> {
    let address = twin.base_url().strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).await.map_err(|_| "connect")?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|_| "before headers")?;
    let (head, incoming) = response.into_parts();
    let body = body::to_bytes(Body::new(incoming), usize::MAX).await.map_err(|_| "in the body")?;
    connection.abort();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

async fn get(twin: &GithubTwin, target: &str) -> Answer {
    send(twin, request(Method::GET, target).body(Body::empty()).unwrap()).await.unwrap()
}

async fn get_with(twin: &GithubTwin, target: &str, name: &str, value: &str) -> Answer {
    let request = request(Method::GET, target).header(name, value);
    send(twin, request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn submit(twin: &GithubTwin, method: Method, path: &str, body: &Value) -> Answer {
    let target = format!("{REPOSITORY}{path}");
    let request = request(method, &target).body(Body::from(body.to_string())).unwrap();
    send(twin, request).await.unwrap()
}

#[tokio::test]
async fn every_answer_has_githubs_headers() {
    let twin = GithubTwin::start().await.unwrap();
    let answer = get(&twin, REPOSITORY).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["full_name"], "acme/widgets");
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    assert_eq!(answer.header("x-github-media-type"), "github.v3; format=json");
    assert_eq!(answer.header("x-ratelimit-limit"), "5000");
    assert_eq!(answer.header("x-ratelimit-remaining"), "4999");
    assert_eq!(answer.header("x-ratelimit-used"), "1");
    assert_eq!(answer.header("x-ratelimit-resource"), "core");
    let reset = (DEFAULT_START + TimeDelta::hours(1)).timestamp().to_string();
    assert_eq!(answer.header("x-ratelimit-reset"), reset);
    let next = get(&twin, REPOSITORY).await;
    assert_ne!(answer.header("x-github-request-id"), next.header("x-github-request-id"));
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
    assert_eq!(with(&format!("token {DEFAULT_TOKEN}")).await.json()["login"], "octo-twin");
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
    assert_eq!(with(&format!("Bearer {DEFAULT_TOKEN}")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(with("Bearer another").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_private_repository_and_a_nameless_client_are_refused() {
    let twin = GithubTwin::start().await.unwrap();
    let anonymous = |target: &str| Request::get(target).header("user-agent", "test");
    let hidden = send(&twin, anonymous(REPOSITORY).body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(hidden.status, StatusCode::NOT_FOUND);
    assert_eq!(hidden.json()["message"], "Not Found");
    let user = send(&twin, anonymous("/user").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(user.json()["message"], "Requires authentication");
    let nameless = Request::get("/zen").body(Body::empty()).unwrap();
    let nameless = send(&twin, nameless).await.unwrap();
    assert_eq!(nameless.status, StatusCode::FORBIDDEN);
    assert!(std::str::from_utf8(&nameless.body).unwrap().contains("User-Agent"));
}

// GH-03
#[tokio::test]
async fn pages_are_connected_by_links_that_can_be_followed() {
    let twin = GithubTwin::builder().issues(23).pull_requests(2).start().await.unwrap();
    let mut target = format!("{REPOSITORY}/issues?state=all&direction=asc&per_page=10");
    let mut seen = Vec::new();
    loop {
        let answer = get(&twin, &target).await;
        assert_eq!(answer.status, StatusCode::OK);
        seen.extend(answer.numbers());
        let Some(next) = answer.link("next") else {
            assert_eq!(answer.link("last"), None);
            assert!(answer.link("first").unwrap().ends_with("&page=1"));
            assert!(answer.link("prev").unwrap().ends_with("&page=2"));
            break;
        };
        assert!(answer.link("last").unwrap().ends_with("&page=3"));
        let path = next.strip_prefix(twin.base_url()).unwrap();
        assert!(path.starts_with("/repositories/1296269/issues?"));
        target = path.to_owned();
    }
    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
    // Both spellings count as one path.
    let paths: Vec<_> = twin.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, vec![format!("{REPOSITORY}/issues"); 3]);
}

#[tokio::test]
async fn page_sizes_have_a_default_and_a_limit() {
    let twin = GithubTwin::builder().issues(140).pull_requests(0).start().await.unwrap();
    let count = async |query: &str| {
        get(&twin, &format!("{REPOSITORY}/issues?state=all{query}")).await.numbers().len()
    };
    assert_eq!(count("").await, 30);
    assert_eq!(count("&per_page=100").await, 100);
    assert_eq!(count("&per_page=1000").await, 100);
    assert_eq!(count("&per_page=100&page=2").await, 40);
    assert_eq!(count("&page=99").await, 0);
}

#[tokio::test]
async fn issues_are_filtered_and_sorted() {
    let twin = GithubTwin::start().await.unwrap();
    let numbers = async |query: &str| {
        get(&twin, &format!("{REPOSITORY}/issues{query}")).await.numbers()
    };
    assert_eq!(numbers("").await, [15, 14, 13, 11, 10, 9, 7, 6, 5, 3, 2, 1]);
    assert_eq!(numbers("?state=closed").await, [12, 8, 4]);
    assert_eq!(numbers("?labels=bug").await, [15, 9, 6, 3]);
    let since = twin.touch_issue(2).unwrap().to_rfc3339().replace("+00:00", "Z");
    assert_eq!(numbers(&format!("?since={since}")).await, [2]);
    assert_eq!(numbers("?sort=updated&per_page=2").await, [2, 15]);

    let refused = get(&twin, &format!("{REPOSITORY}/issues?state=odd")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.json()["message"], "Validation Failed");
    let error = json!([
        { "value": "odd", "resource": "Issue", "field": "state", "code": "invalid" }
    ]);
    assert_eq!(refused.json()["errors"], error);
}

#[tokio::test]
async fn pull_requests_are_issues_with_a_key_of_their_own() {
    let twin = GithubTwin::start().await.unwrap();
    let issue = get(&twin, &format!("{REPOSITORY}/issues/12")).await.json();
    assert!(issue.get("pull_request").is_none());
    assert_eq!(issue["state"], "closed");
    assert_eq!(issue["state_reason"], "completed");
    let pull_request = get(&twin, &format!("{REPOSITORY}/issues/13")).await.json();
    assert!(pull_request["pull_request"]["url"].as_str().unwrap().ends_with("/pulls/13"));
    assert_eq!(pull_request["comments"], 2);
}

#[tokio::test]
async fn what_does_not_exist_is_githubs_404() {
    let twin = GithubTwin::start().await.unwrap();
    for path in ["/repos/acme/widgets/issues/99", "/repos/acme/widgets/issues/x", "/repos/a/b"] {
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
async fn issues_are_opened_and_changed() {
    let twin = GithubTwin::start().await.unwrap();
    let new = json!({ "title": "Broken", "body": "It is.", "labels": ["bug"] });
    let created = submit(&twin, Method::POST, "/issues", &new).await;
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(created.header("location"), twin.base_url().to_owned() + REPOSITORY + "/issues/16");
    let edit = json!({ "state": "closed", "state_reason": "not_planned", "body": null });
    let edited = submit(&twin, Method::PATCH, "/issues/16", &edit).await.json();
    assert_eq!(edited["state_reason"], "not_planned");
    assert_eq!(edited["body"], Value::Null);
    assert_eq!(edited["title"], "Broken");
    assert_eq!(edited, twin.issue(16).unwrap());

    let missing = submit(&twin, Method::POST, "/issues", &json!({})).await;
    assert_eq!(missing.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(missing.json()["message"], "Invalid request.\n\n\"title\" wasn't supplied.");
    let blank = submit(&twin, Method::POST, "/issues", &json!({ "title": "" })).await;
    assert_eq!(blank.json()["errors"][0]["code"], "missing_field");
    assert_eq!(twin.issue_count(), 16);
}

#[tokio::test]
async fn comments_move_their_issue_and_are_found_by_since() {
    let twin = GithubTwin::start().await.unwrap();
    let answer = submit(&twin, Method::POST, "/issues/3/comments", &json!({ "body": "Hi" })).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let at = answer.json()["created_at"].as_str().unwrap().to_owned();
    let found = get(&twin, &format!("{REPOSITORY}/issues/comments?since={at}")).await.json();
    assert_eq!(found, json!([answer.json()]));
    assert_eq!(twin.issue(3).unwrap()["updated_at"], at);
    let on_issue = get(&twin, &format!("{REPOSITORY}/issues/3/comments")).await.json();
    assert_eq!(on_issue.as_array().unwrap().len(), 3);
    let path = answer.header("location").strip_prefix(twin.base_url()).unwrap();
    assert_eq!(get(&twin, path).await.json()["body"], "Hi");
    assert_eq!(twin.add_comment(99, "nowhere"), None);
}

#[tokio::test]
async fn events_are_listed_latest_first() {
    let twin = GithubTwin::start().await.unwrap();
    let number = twin.add_issue("New");
    twin.close_issue(number).unwrap();
    let events = get(&twin, &format!("{REPOSITORY}/issues/events")).await.json();
    assert_eq!(events[0]["event"], "closed");
    assert_eq!(events[0]["issue"]["number"], number);
    let answer = get(&twin, &format!("{REPOSITORY}/events")).await;
    assert_eq!(answer.header("x-poll-interval"), "60");
    let activity = answer.json();
    assert_eq!(activity[0]["type"], "IssuesEvent");
    assert_eq!(activity[0]["payload"]["action"], "closed");
    assert_eq!(activity[1]["payload"]["action"], "opened");
}

#[tokio::test]
async fn pictures_and_text_are_what_they_say() {
    let twin = GithubTwin::start().await.unwrap();
    let avatar = get(&twin, "/avatars/u/1?v=4").await;
    assert_eq!(avatar.header("content-type"), "image/png");
    assert!(avatar.body.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!(avatar.header("etag").starts_with('"'));
    let path = format!("{REPOSITORY}/contents/logo.png");
    assert_eq!(get(&twin, &path).await.json()["size"], avatar.body.len());
    let raw = get_with(&twin, &path, "accept", "application/vnd.github.raw+json").await;
    assert_eq!(raw.body, avatar.body);
    assert!(get(&twin, "/zen").await.header("content-type").starts_with("text/plain"));
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
    assert_eq!(again.header("x-ratelimit-remaining"), first.header("x-ratelimit-remaining"));
    twin.touch_issue(1).unwrap();
    assert_eq!(get_with(&twin, &list, "if-none-match", tag).await.status, StatusCode::OK);

    let single = format!("{REPOSITORY}/issues/1");
    let modified = get(&twin, &single).await.header("last-modified").to_owned();
    let unchanged = get_with(&twin, &single, "if-modified-since", &modified).await;
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
    twin.touch_issue(1).unwrap();
    let changed = get_with(&twin, &single, "if-modified-since", &modified).await;
    assert_eq!(changed.status, StatusCode::OK);
}

#[tokio::test]
async fn the_rate_limit_runs_out_and_comes_back() {
    let twin = GithubTwin::builder().rate_limit(2).start().await.unwrap();
    for _ in 0..2 {
        assert_eq!(get(&twin, "/user").await.status, StatusCode::OK);
    }
    let limited = get(&twin, "/user").await;
    assert_eq!(limited.status, StatusCode::FORBIDDEN);
    assert!(limited.json()["message"].as_str().unwrap().starts_with("API rate limit exceeded"));
    assert_eq!(limited.header("x-ratelimit-remaining"), "0");
    assert_eq!(get(&twin, "/rate_limit").await.json()["rate"]["remaining"], 0);
    twin.advance(Duration::from_secs(3600));
    let renewed = get(&twin, "/user").await;
    assert_eq!(renewed.status, StatusCode::OK);
    assert_eq!(renewed.header("x-ratelimit-remaining"), "1");
    twin.set_rate_remaining(0);
    assert_eq!(get(&twin, "/user").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn faults_answer_in_place_of_the_work_and_are_used_up() {
    let twin = GithubTwin::start().await.unwrap();
    twin.inject(Fault::status(503).times(2).on_path(format!("{REPOSITORY}/*")));
    twin.inject(Fault::TooManyRequests(RetryAfter::Seconds(7)));
    twin.inject(Fault::SecondaryLimit {
        status: StatusCode::FORBIDDEN,
        retry_after: Some(RetryAfter::At(DEFAULT_START + TimeDelta::seconds(90))),
    });
    let limited = get(&twin, "/user").await;
    assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(limited.header("retry-after"), "7");
    for _ in 0..2 {
        let new = json!({ "title": "Lost" });
        let answer = submit(&twin, Method::POST, "/issues", &new).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(twin.issue_count(), 15);
    let secondary = get(&twin, "/user").await;
    assert_eq!(secondary.status, StatusCode::FORBIDDEN);
    assert_eq!(secondary.header("retry-after"), "Thu, 01 Jan 2026 00:01:30 GMT");
    assert!(secondary.json()["message"].as_str().unwrap().contains("secondary rate limit"));
    assert_eq!(get(&twin, "/user").await.status, StatusCode::OK);
}

#[tokio::test]
async fn connections_are_cut_where_the_fault_says() {
    let twin = GithubTwin::start().await.unwrap();
    let post = || {
        let target = format!("{REPOSITORY}/issues");
        let body = Body::from(json!({ "title": "Once" }).to_string());
        request(Method::POST, &target).body(body).unwrap()
    };
    twin.inject(Fault::CutBeforeActing);
    assert_eq!(send(&twin, post()).await.unwrap_err(), "before headers");
    assert_eq!(twin.issue_count(), 15);
    twin.inject(Fault::CutBeforeHeaders);
    assert_eq!(send(&twin, post()).await.unwrap_err(), "before headers");
    assert_eq!(twin.issue_count(), 16);
    twin.inject(Fault::CutMidBody);
    assert_eq!(send(&twin, post()).await.unwrap_err(), "in the body");
    assert_eq!(twin.issue_count(), 17);
}

#[tokio::test]
async fn bodies_are_spoiled_as_the_fault_says() {
    let twin = GithubTwin::start().await.unwrap();
    twin.inject(Fault::MalformedJson);
    let broken = get(&twin, "/user").await;
    assert_eq!(broken.status, StatusCode::OK);
    assert!(serde_json::from_slice::<Value>(&broken.body).is_err());
    twin.inject(Fault::HugeBody { bytes: 3_000_000 });
    let huge = get(&twin, "/user").await;
    assert_eq!(huge.body.len(), 3_000_000);
    assert!(huge.json()["padding"].is_string());
    twin.inject(Fault::ChangedField { pointer: "/id".into(), value: json!("one") });
    assert_eq!(get(&twin, "/user").await.json()["id"], "one");
    assert_eq!(get(&twin, "/user").await.json()["id"], 1);
}

#[tokio::test]
async fn held_requests_wait_and_their_overlap_is_on_file() {
    let twin = GithubTwin::start().await.unwrap();
    twin.inject(Fault::Hold.times(2).on_path("/user"));
    let release = async {
        twin.wait_for_requests(2).await;
        assert!(twin.requests().iter().all(|request| request.ended.is_none()));
        twin.release_held();
    };
    let (one, two, ()) = tokio::join!(get(&twin, "/user"), get(&twin, "/user"), release);
    assert_eq!([one.status, two.status], [StatusCode::OK; 2]);
    get(&twin, "/zen").await;
    get(&twin, "/zen").await;
    assert_eq!(twin.max_concurrent("/user"), 2);
    assert_eq!(twin.max_concurrent("/zen"), 1);
    let requests = twin.requests();
    assert!(requests[0].overlaps(&requests[1]));
    assert!(!requests[1].overlaps(&requests[2]));
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
    let (one, two) = (GithubTwin::start().await.unwrap(), GithubTwin::start().await.unwrap());
    let without_address = |twin: &GithubTwin, body: &Bytes| {
        std::str::from_utf8(body).unwrap().replace(twin.base_url(), "")
    };
    let target = format!("{REPOSITORY}/issues?state=all");
    let (first, second) = (get(&one, &target).await, get(&two, &target).await);
    assert_eq!(without_address(&one, &first.body), without_address(&two, &second.body));
    let address = one.base_url().strip_prefix("http://").unwrap().to_owned();
    one.shutdown().await;
    assert!(TcpStream::connect(address).await.is_err());
}
