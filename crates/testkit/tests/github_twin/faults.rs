//! What goes wrong, and what is on file about it.

use std::time::Duration;

use axum::body::Body;
use chrono::TimeDelta;
use http::{Method, StatusCode};
use integrations_testkit::twin::github::{DEFAULT_START, Fault, GithubTwin, RetryAfter};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{REPOSITORY, get, request, send, submit};

// GH-04
#[tokio::test]
async fn faults_answer_in_place_of_the_work_and_are_used_up() {
    let twin = GithubTwin::start().await.unwrap();
    twin.inject(
        Fault::status(503)
            .times(2)
            .on_path(format!("{REPOSITORY}/*")),
    );
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
    assert_eq!(
        secondary.header("retry-after"),
        "Thu, 01 Jan 2026 00:01:30 GMT"
    );
    assert!(
        secondary.json()["message"]
            .as_str()
            .unwrap()
            .contains("secondary rate limit")
    );
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
    twin.inject(Fault::ChangedField {
        pointer: "/id".into(),
        value: json!("one"),
    });
    assert_eq!(get(&twin, "/user").await.json()["id"], "one");
    assert_eq!(get(&twin, "/user").await.json()["id"], 1);
}

#[tokio::test]
async fn held_requests_wait_and_their_overlap_is_on_file() {
    let twin = GithubTwin::start().await.unwrap();
    twin.inject(Fault::Hold.times(2).on_path("/user"));
    let release = async {
        twin.wait_for_requests(2).await;
        assert!(
            twin.requests()
                .iter()
                .all(|request| request.ended.is_none())
        );
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

#[tokio::test(start_paused = true)]
async fn slow_answers_take_the_time_they_are_told_to() {
    let twin = GithubTwin::start().await.unwrap();
    let start = Instant::now();
    twin.inject(Fault::Slow(Duration::from_mins(5)));
    assert_eq!(get(&twin, "/user").await.status, StatusCode::OK);
    assert!(start.elapsed() >= Duration::from_mins(5));
}
