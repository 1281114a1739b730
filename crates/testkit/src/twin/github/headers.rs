//! The headers of every answer, and the conditions a request may make on them.

use axum::{
    body::{self, Body},
    response::Response,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use ring::digest;

const VARY: &str = "Accept, Authorization, Cookie, X-GitHub-OTP,Accept-Encoding, Accept, \
                    X-Requested-With";

/// An instant as HTTP headers spell it.
pub(super) fn http_date(at: DateTime<Utc>) -> HeaderValue {
    let text = at.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    // Digits and letters always fit.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// What GitHub puts on every answer. `sequence` makes the request id.
pub(super) fn write_common(headers: &mut HeaderMap, now: DateTime<Utc>, sequence: u64) {
    let request_id = format!("C0DE:1F2E3:{sequence:06X}:{:06X}:6955B900", sequence * 17);
    if let Ok(request_id) = HeaderValue::try_from(request_id) {
        headers.insert("x-github-request-id", request_id);
    }
    headers.insert(header::DATE, http_date(now));
    headers.insert(header::SERVER, HeaderValue::from_static("github.com"));
    headers.insert(
        "x-github-media-type",
        HeaderValue::from_static("github.v3; format=json"),
    );
    headers.insert(
        "x-github-api-version-selected",
        HeaderValue::from_static("2022-11-28"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

/// Gives a successful `GET` its `ETag` and answers 304 when the client has it already.
pub(super) async fn conditional(request: &Parts, response: Response) -> Response {
    if !matches!(request.method, Method::GET | Method::HEAD) || response.status() != StatusCode::OK
    {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // The body is in memory already, so that reading it cannot fail.
    let body = body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    head.headers
        .insert(header::ETAG, etag(&head.headers, &body));
    head.headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, max-age=60, s-maxage=60"),
    );
    head.headers
        .insert(header::VARY, HeaderValue::from_static(VARY));
    if is_unchanged(&request.headers, &head.headers) {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(header::CONTENT_TYPE);
        head.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(head, Body::empty());
    }
    Response::from_parts(head, Body::from(body))
}

/// Weak for what is rendered, strong for files. The page's links count as content: a page
/// whose neighbours changed is not the same page.
fn etag(headers: &HeaderMap, body: &Bytes) -> HeaderValue {
    let mut context = digest::Context::new(&digest::SHA256);
    if let Some(link) = headers.get(header::LINK) {
        context.update(link.as_bytes());
    }
    context.update(body);
    let tag = hex::encode(context.finish());
    let rendered = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let text = if rendered {
        format!("W/\"{tag}\"")
    } else {
        format!("\"{tag}\"")
    };
    // Hexadecimal digits always fit.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// `If-None-Match` decides alone when it is there, by weak comparison.
fn is_unchanged(request: &HeaderMap, response: &HeaderMap) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        let current = response
            .get(header::ETAG)
            .and_then(|tag| tag.to_str().ok())
            .map(opaque);
        return request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|tag| tag.trim() == "*" || Some(opaque(tag.trim())) == current);
    }
    let since = date(request.get(header::IF_MODIFIED_SINCE));
    let modified = date(response.get(header::LAST_MODIFIED));
    matches!((since, modified), (Some(since), Some(modified)) if modified <= since)
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

fn date(value: Option<&HeaderValue>) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc2822(value?.to_str().ok()?).ok()?;
    Some(at.with_timezone(&Utc))
}
