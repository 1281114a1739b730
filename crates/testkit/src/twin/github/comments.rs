//! Comments: those of one issue, those of the whole repository, and one alone.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    response::Response,
    routing::get,
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::{
    answers,
    listing::Listing,
    server::Shared,
    state::{Comment, Data},
};

const LIST_DOCS: &str = "rest/issues/comments#list-issue-comments-for-a-repository";
const CREATE_DOCS: &str = "rest/issues/comments#create-an-issue-comment";

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/issues/comments", get(list_all))
        .route("/issues/comments/{id}", get(show))
        .route("/issues/{number}/comments", get(list).post(create))
}

async fn list_all(State(shared): State<Arc<Shared>>, listing: Listing) -> Response {
    let data = shared.data();
    match select_all(&data, &listing) {
        Ok(comments) => listing.page(&shared, "/issues/comments", &comments, |comment| {
            shared.shapes().comment(comment)
        }),
        Err(refusal) => *refusal,
    }
}

/// The repository's comments. As on GitHub, `direction` does nothing without `sort`.
fn select_all<'a>(data: &'a Data, listing: &Listing) -> Result<Vec<&'a Comment>, Box<Response>> {
    let sort = listing.choice("sort", &["created", "updated"], LIST_DOCS)?;
    let direction = listing.choice("direction", &["asc", "desc"], LIST_DOCS)?;
    let since = listing.since(LIST_DOCS)?;
    let mut comments: Vec<_> = data
        .comments()
        .filter(|comment| since.is_none_or(|since| comment.updated_at >= since))
        .collect();
    if sort == "updated" {
        comments.sort_by_key(|comment| (comment.updated_at, comment.id));
    }
    if direction == "desc" && listing.get("sort").is_some() {
        comments.reverse();
    }
    Ok(comments)
}

async fn show(State(shared): State<Arc<Shared>>, id: Result<Path<u64>, PathRejection>) -> Response {
    let data = shared.data();
    match id.ok().and_then(|Path(id)| data.find_comment(id)) {
        Some(comment) => answers::resource(&shared.shapes().comment(comment), comment.updated_at),
        None => answers::not_found(),
    }
}

async fn list(
    State(shared): State<Arc<Shared>>,
    number: Result<Path<u64>, PathRejection>,
    listing: Listing,
) -> Response {
    let data = shared.data();
    let Some(issue) = number.ok().and_then(|Path(number)| data.issue(number)) else {
        return answers::not_found();
    };
    let since = match listing.since(LIST_DOCS) {
        Ok(since) => since,
        Err(refusal) => return *refusal,
    };
    let comments: Vec<_> = data
        .comments_on(issue.number)
        .filter(|comment| since.is_none_or(|since| comment.updated_at >= since))
        .collect();
    let path = format!("/issues/{}/comments", issue.number);
    listing.page(&shared, &path, &comments, |comment| {
        shared.shapes().comment(comment)
    })
}

#[derive(Deserialize)]
struct CreateBody {
    body: Option<String>,
}

async fn create(
    State(shared): State<Arc<Shared>>,
    number: Result<Path<u64>, PathRejection>,
    body: Bytes,
) -> Response {
    let Ok(Path(number)) = number else {
        return answers::not_found();
    };
    let request: CreateBody = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return answers::unusable_body(&error, CREATE_DOCS),
    };
    let Some(text) = request.body else {
        return answers::not_supplied("body", CREATE_DOCS);
    };
    if text.trim().is_empty() {
        let value = Value::from(text);
        return answers::validation_failed(
            "IssueComment",
            "body",
            "missing_field",
            &value,
            CREATE_DOCS,
        );
    }
    let mut data = shared.data();
    let id = data.comment(number, text);
    match id.and_then(|id| data.find_comment(id)) {
        Some(comment) => answers::created(&shared.shapes().comment(comment)),
        None => answers::not_found(),
    }
}
