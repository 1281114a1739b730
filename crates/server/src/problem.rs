//! Errors on the wire, as RFC 9457 has them.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

/// A refusal: its status, and what there is to say beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: Option<&'static str>,
}

impl Problem {
    /// A problem that is its status.
    #[must_use]
    pub const fn new(status: StatusCode) -> Self {
        Self {
            status,
            detail: None,
        }
    }

    /// The same with a sentence on what to do. It is a literal, so that nothing of a request or of
    /// an error gets into it.
    #[must_use]
    pub const fn detail(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut problem = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
        });
        if let Some(detail) = self.detail {
            problem["detail"] = detail.into();
        }
        let mut response = Response::new(Body::from(problem.to_string()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        response
    }
}

/// There is nothing here.
pub(crate) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND)
}

/// There is something here, for another method.
pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED)
}
