//! `/issues` and `/issues/{number}`.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    response::Response,
    routing::get,
};
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{
    answers,
    listing::Listing,
    server::Shared,
    state::{BodyEdit, Data, Issue, IssueEdit, NewIssue},
};

const LIST_DOCS: &str = "rest/issues/issues#list-repository-issues";
const CREATE_DOCS: &str = "rest/issues/issues#create-an-issue";
const UPDATE_DOCS: &str = "rest/issues/issues#update-an-issue";

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/issues", get(list).post(create))
        .route("/issues/{number}", get(show).patch(update))
}

async fn list(State(shared): State<Arc<Shared>>, listing: Listing) -> Response {
    let data = shared.data();
    match select(&data, &listing) {
        Ok(issues) => listing.page(&shared, "/issues", &issues, |issue| {
            shared.shapes().issue(issue)
        }),
        Err(refusal) => *refusal,
    }
}

/// The issues a list asks for, in its order.
fn select<'a>(data: &'a Data, listing: &Listing) -> Result<Vec<&'a Issue>, Box<Response>> {
    let state = listing.choice("state", &["open", "closed", "all"], LIST_DOCS)?;
    let sort = listing.choice("sort", &["created", "updated", "comments"], LIST_DOCS)?;
    let direction = listing.choice("direction", &["desc", "asc"], LIST_DOCS)?;
    let since = listing.since(LIST_DOCS)?;
    let labels: Vec<_> = listing
        .get("labels")
        .into_iter()
        .flat_map(|l| l.split(','))
        .collect();

    let mut issues: Vec<_> = data
        .issues()
        .filter(|issue| state == "all" || issue.state() == state)
        .filter(|issue| since.is_none_or(|since| issue.updated_at >= since))
        .filter(|issue| {
            labels
                .iter()
                .all(|label| issue.labels.iter().any(|l| l == label))
        })
        .collect();
    match sort {
        "updated" => issues.sort_by_key(|issue| (issue.updated_at, issue.number)),
        "comments" => issues.sort_by_key(|issue| (issue.comments, issue.number)),
        _ => issues.sort_by_key(|issue| (issue.created_at, issue.number)),
    }
    if direction == "desc" {
        issues.reverse();
    }
    Ok(issues)
}

async fn show(
    State(shared): State<Arc<Shared>>,
    number: Result<Path<u64>, PathRejection>,
) -> Response {
    let data = shared.data();
    match number.ok().and_then(|Path(number)| data.issue(number)) {
        Some(issue) => answers::resource(&shared.shapes().issue(issue), issue.updated_at),
        None => answers::not_found(),
    }
}

#[derive(Deserialize)]
struct CreateBody {
    title: Option<String>,
    body: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
}

async fn create(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let body: CreateBody = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(error) => return answers::unusable_body(&error, CREATE_DOCS),
    };
    let Some(title) = body.title else {
        return answers::not_supplied("title", CREATE_DOCS);
    };
    if title.trim().is_empty() {
        let value = Value::from(title);
        return answers::validation_failed("Issue", "title", "missing_field", &value, CREATE_DOCS);
    }
    let mut data = shared.data();
    let new = NewIssue {
        title,
        body: body.body,
        labels: body.labels,
        is_pull_request: false,
    };
    let number = data.open_issue(new);
    match data.issue(number) {
        Some(issue) => answers::created(&shared.shapes().issue(issue)),
        None => answers::not_found(),
    }
}

#[derive(Deserialize)]
struct UpdateBody {
    title: Option<String>,
    #[serde(default, deserialize_with = "sent_body")]
    body: BodyEdit,
    labels: Option<Vec<String>>,
    state: Option<String>,
    state_reason: Option<String>,
}

/// A body that is sent, `null` included; one that is not there never gets here.
fn sent_body<'de, D: Deserializer<'de>>(field: D) -> Result<BodyEdit, D::Error> {
    Option::deserialize(field).map(BodyEdit::Set)
}

async fn update(
    State(shared): State<Arc<Shared>>,
    number: Result<Path<u64>, PathRejection>,
    body: Bytes,
) -> Response {
    let Ok(Path(number)) = number else {
        return answers::not_found();
    };
    let body: UpdateBody = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(error) => return answers::unusable_body(&error, UPDATE_DOCS),
    };
    let open = match body.state.as_deref() {
        None => None,
        Some("open") => Some(true),
        Some("closed") => Some(false),
        Some(other) => {
            let value = Value::from(other);
            return answers::validation_failed("Issue", "state", "invalid", &value, UPDATE_DOCS);
        }
    };
    let edit = IssueEdit {
        title: body.title,
        body: body.body,
        labels: body.labels,
        open,
        reason: match body.state_reason.as_deref() {
            Some("not_planned") => Some("not_planned"),
            Some("duplicate") => Some("duplicate"),
            _ => None,
        },
    };
    let mut data = shared.data();
    let Some(updated_at) = data.edit_issue(number, edit).map(|issue| issue.updated_at) else {
        return answers::not_found();
    };
    match data.issue(number) {
        Some(issue) => answers::resource(&shared.shapes().issue(issue), updated_at),
        None => answers::not_found(),
    }
}
