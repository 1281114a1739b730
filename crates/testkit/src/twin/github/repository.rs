//! The repository, the user, files, and the small endpoints beside them.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ring::digest;
use serde_json::json;

use super::{answers, auth::Caller, server::Shared, state::TOKEN_OWNER};

/// A picture of 16 by 16 points, served as every avatar and as the file `logo.png`.
const LOGO: &[u8] = include_bytes!("logo.png");

/// `repository` is where the repository's own routes are.
pub(super) fn routes(repository: &str) -> Router<Arc<Shared>> {
    Router::new()
        .route(repository, get(show))
        .route(&format!("{repository}/contents/logo.png"), get(logo))
        .route("/user", get(user))
        .route("/rate_limit", get(rate_limit))
        .route("/zen", get(zen))
        .route("/avatars/u/{id}", get(avatar))
}

async fn show(State(shared): State<Arc<Shared>>) -> Response {
    let data = shared.data();
    answers::resource(&shared.shapes().repository(&data), data.updated_at())
}

async fn user(State(shared): State<Arc<Shared>>) -> Response {
    let created_at = shared.data().created_at();
    answers::resource(
        &shared.shapes().token_owner(TOKEN_OWNER, created_at),
        created_at,
    )
}

async fn rate_limit(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let mut data = shared.data();
    let caller: Caller = data.tokens.identify(&headers);
    let core = data.rate(caller).to_json();
    answers::json(
        StatusCode::OK,
        &json!({ "resources": { "core": core }, "rate": core }),
    )
}

async fn zen() -> Response {
    let content_type = HeaderValue::from_static("text/plain;charset=utf-8");
    answers::content(StatusCode::OK, content_type, "Design for failure.")
}

async fn avatar() -> Response {
    answers::content(StatusCode::OK, HeaderValue::from_static("image/png"), LOGO)
}

/// The file as JSON with base64 in it, or as it is for those who accept GitHub's raw type.
async fn logo(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let raw = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/vnd.github") && accept.contains("raw"));
    if raw {
        let content_type =
            HeaderValue::from_static("application/vnd.github.raw+json; charset=utf-8");
        return answers::content(StatusCode::OK, content_type, LOGO);
    }
    let url = shared.shapes().api("/contents/logo.png");
    let sha = git_blob_id(LOGO);
    let file = json!({
        "name": "logo.png",
        "path": "logo.png",
        "sha": sha,
        "size": LOGO.len(),
        "url": format!("{url}?ref=main"),
        "git_url": shared.shapes().api(&format!("/git/blobs/{sha}")),
        "download_url": format!("{}/avatars/u/{}", shared.base_url, TOKEN_OWNER.id),
        "type": "file",
        "content": format!("{}\n", STANDARD.encode(LOGO)),
        "encoding": "base64",
    });
    answers::json(StatusCode::OK, &file)
}

/// The name git gives a file's content.
fn git_blob_id(content: &[u8]) -> String {
    let mut blob = format!("blob {}\0", content.len()).into_bytes();
    blob.extend_from_slice(content);
    hex::encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &blob))
}
