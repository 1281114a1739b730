//! Issues, their comments and their events.

use http::{Method, StatusCode};
use integrations_testkit::twin::github::GithubTwin;
use serde_json::{Value, json};

use crate::client::{REPOSITORY, get, submit};

// W-GH-1
#[tokio::test]
async fn pages_are_connected_by_links_that_can_be_followed() {
    let twin = GithubTwin::builder()
        .issues(23)
        .pull_requests(2)
        .start()
        .await
        .unwrap();
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
    let paths: Vec<_> = twin
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert_eq!(paths, vec![format!("{REPOSITORY}/issues"); 3]);
}

#[tokio::test]
async fn page_sizes_have_a_default_and_a_limit() {
    let twin = GithubTwin::builder()
        .issues(140)
        .pull_requests(0)
        .start()
        .await
        .unwrap();
    let count = async |query: &str| {
        get(&twin, &format!("{REPOSITORY}/issues?state=all{query}"))
            .await
            .numbers()
            .len()
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
        get(&twin, &format!("{REPOSITORY}/issues{query}"))
            .await
            .numbers()
    };
    assert_eq!(numbers("").await, [15, 14, 13, 11, 10, 9, 7, 6, 5, 3, 2, 1]);
    assert_eq!(numbers("?state=closed").await, [12, 8, 4]);
    assert_eq!(numbers("?labels=bug").await, [15, 9, 6, 3]);
    let since = twin
        .touch_issue(2)
        .unwrap()
        .to_rfc3339()
        .replace("+00:00", "Z");
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
    assert!(
        pull_request["pull_request"]["url"]
            .as_str()
            .unwrap()
            .ends_with("/pulls/13")
    );
    assert_eq!(pull_request["comments"], 2);
}

#[tokio::test]
async fn issues_are_opened_and_changed() {
    let twin = GithubTwin::start().await.unwrap();
    let new = json!({ "title": "Broken", "body": "It is.", "labels": ["bug"] });
    let created = submit(&twin, Method::POST, "/issues", &new).await;
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(
        created.header("location"),
        twin.base_url().to_owned() + REPOSITORY + "/issues/16"
    );
    let edit = json!({ "state": "closed", "state_reason": "not_planned", "body": null });
    let edited = submit(&twin, Method::PATCH, "/issues/16", &edit)
        .await
        .json();
    assert_eq!(edited["state_reason"], "not_planned");
    assert_eq!(edited["body"], Value::Null);
    assert_eq!(edited["title"], "Broken");
    assert_eq!(edited, twin.issue(16).unwrap());

    let missing = submit(&twin, Method::POST, "/issues", &json!({})).await;
    assert_eq!(missing.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        missing.json()["message"],
        "Invalid request.\n\n\"title\" wasn't supplied."
    );
    let blank = submit(&twin, Method::POST, "/issues", &json!({ "title": "" })).await;
    assert_eq!(blank.json()["errors"][0]["code"], "missing_field");
    let wrong = submit(&twin, Method::POST, "/issues", &json!({ "title": 5 })).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(twin.issue_count(), 16);
}

// GH-06
#[tokio::test]
async fn comments_move_their_issue_and_are_found_by_since() {
    let twin = GithubTwin::start().await.unwrap();
    let answer = submit(
        &twin,
        Method::POST,
        "/issues/3/comments",
        &json!({ "body": "Hi" }),
    )
    .await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let at = answer.json()["created_at"].as_str().unwrap().to_owned();
    let found = get(&twin, &format!("{REPOSITORY}/issues/comments?since={at}"))
        .await
        .json();
    assert_eq!(found, json!([answer.json()]));
    assert_eq!(twin.issue(3).unwrap()["updated_at"], at);
    let on_issue = get(&twin, &format!("{REPOSITORY}/issues/3/comments"))
        .await
        .json();
    assert_eq!(on_issue.as_array().unwrap().len(), 3);
    let path = answer
        .header("location")
        .strip_prefix(twin.base_url())
        .unwrap();
    assert_eq!(get(&twin, path).await.json()["body"], "Hi");
    assert!(
        answer.json()["html_url"]
            .as_str()
            .unwrap()
            .contains("/issues/3#issuecomment-")
    );
    let on_pull = get(&twin, &format!("{REPOSITORY}/issues/13/comments"))
        .await
        .json();
    assert!(
        on_pull[0]["html_url"]
            .as_str()
            .unwrap()
            .contains("/pull/13#issuecomment-")
    );
    assert_eq!(twin.add_comment(99, "nowhere"), None);
}

#[tokio::test]
async fn events_are_listed_latest_first() {
    let twin = GithubTwin::start().await.unwrap();
    let number = twin.add_issue("New");
    twin.close_issue(number).unwrap();
    let events = get(&twin, &format!("{REPOSITORY}/issues/events"))
        .await
        .json();
    assert_eq!(events[0]["event"], "closed");
    assert_eq!(events[0]["issue"]["number"], number);
    let answer = get(&twin, &format!("{REPOSITORY}/events")).await;
    assert_eq!(answer.header("x-poll-interval"), "60");
    let activity = answer.json();
    assert_eq!(activity[0]["type"], "IssuesEvent");
    assert_eq!(activity[0]["payload"]["action"], "closed");
    assert_eq!(activity[1]["payload"]["action"], "opened");
}
