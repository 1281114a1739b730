//! Answers and errors as GitHub words them.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::headers;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Any answer with a body.
pub(super) fn content(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Bytes>,
) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

pub(super) fn json(status: StatusCode, value: &Value) -> Response {
    content(status, JSON, value.to_string())
}

/// One resource, which says when it last changed.
pub(super) fn resource(value: &Value, updated_at: DateTime<Utc>) -> Response {
    let mut response = json(StatusCode::OK, value);
    response
        .headers_mut()
        .insert(header::LAST_MODIFIED, headers::http_date(updated_at));
    response
}

/// A resource that was made; its own `url` is its `Location`.
pub(super) fn created(value: &Value) -> Response {
    let mut response = json(StatusCode::CREATED, value);
    if let Some(location) = value["url"].as_str().and_then(|url| url.parse().ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// GitHub's error shape.
pub(super) fn error(status: StatusCode, message: &str, documentation: &str) -> Response {
    json(status, &error_body(status, message, documentation))
}

fn error_body(status: StatusCode, message: &str, documentation: &str) -> Value {
    json!({
        "message": message,
        "documentation_url": format!("https://docs.github.com/{documentation}"),
        "status": status.as_str(),
    })
}

pub(super) fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "Not Found", "rest")
}

pub(super) fn bad_credentials() -> Response {
    error(StatusCode::UNAUTHORIZED, "Bad credentials", "rest")
}

pub(super) fn requires_authentication() -> Response {
    error(StatusCode::UNAUTHORIZED, "Requires authentication", "rest")
}

/// A body that is no JSON, or holds values of the wrong type.
pub(super) fn unusable_body(problem: &serde_json::Error, documentation: &str) -> Response {
    if problem.is_data() {
        let message = format!("Invalid request.\n\n{problem}.");
        return error(StatusCode::UNPROCESSABLE_ENTITY, &message, documentation);
    }
    error(
        StatusCode::BAD_REQUEST,
        "Problems parsing JSON",
        documentation,
    )
}

pub(super) fn rate_limited(status: StatusCode) -> Response {
    let documentation = "rest/overview/rate-limits-for-the-rest-api";
    error(
        status,
        "API rate limit exceeded for user ID 1.",
        documentation,
    )
}

pub(super) fn secondary_limited(status: StatusCode) -> Response {
    let message = "You have exceeded a secondary rate limit. Please wait a few minutes before \
                   you try again.";
    let documentation =
        "rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits";
    error(status, message, documentation)
}

/// GitHub refuses, in plain text, clients that do not name themselves.
pub(super) fn user_agent_required() -> Response {
    let text = "\nRequest forbidden by administrative rules. Please make sure your request has \
                a User-Agent header \
                (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required). \
                Check https://developer.github.com for other possible causes.\n";
    content(
        StatusCode::FORBIDDEN,
        HeaderValue::from_static("text/html"),
        text,
    )
}

/// A field that must be there was not sent.
pub(super) fn not_supplied(field: &str, documentation: &str) -> Response {
    let message = format!("Invalid request.\n\n\"{field}\" wasn't supplied.");
    error(StatusCode::UNPROCESSABLE_ENTITY, &message, documentation)
}

/// A field has a value that cannot be.
pub(super) fn validation_failed(
    resource: &str,
    field: &str,
    code: &str,
    value: &Value,
    documentation: &str,
) -> Response {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let mut body = error_body(status, "Validation Failed", documentation);
    body["errors"] =
        json!([{ "value": value, "resource": resource, "field": field, "code": code }]);
    json(status, &body)
}
