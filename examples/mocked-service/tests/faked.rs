//! The other side faked, everything else real: calls are retried, logged and cached as in
//! production, over a store in memory and a clock that the test moves.

use std::time::Duration;

use integrations::providers::github::Github;
use integrations_testkit::{fake::Faked, transport::Reply};
use serde_json::json;

async fn github() -> Faked {
    let settings = [("owner", "acme"), ("repo", "widgets")];
    Faked::account(Github::default(), &[("token", "t")], &settings).await
}

#[tokio::test]
async fn an_outage_is_tried_again_and_recorded() {
    let github = github().await;
    let answers = [Reply::status(503), Reply::status(200).json(&json!([]))];
    github.fake.on("GET /repos/*/*/issues", answers);

    let call = github.handle.get("/repos/{owner}/{repo}/issues").send();
    let answer = github.harness.clock.drive(call).await.unwrap();

    assert_eq!(answer.status, 200);
    github
        .fake
        .assert_requested("GET /repos/acme/widgets/issues", 2);
    let rows = github.harness.requests().await;
    assert_eq!(rows[1].attempt.retry_of, Some(rows[0].id));
}

#[tokio::test]
async fn an_answer_is_asked_for_once_a_minute() {
    let github = github().await;
    github.fake.on("GET /user", json!({ "login": "octocat" }));
    for _ in 0..3 {
        let call = github.handle.get("/user").cache(Duration::from_mins(1));
        call.send().await.unwrap();
    }
    github.fake.assert_count(1);
}
