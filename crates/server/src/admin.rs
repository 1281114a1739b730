//! What operators see, and who may see it.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use crate::{
    health::{self, Readiness},
    metrics::Registry,
    problem::Problem,
};

/// What opens the operators' routes on the public listener, as `Authorization: Bearer ..`.
#[derive(Clone, Debug)]
pub struct AdminToken(SecretString);

/// An admin token that could be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an admin token has at least {} characters", AdminToken::MIN_LENGTH)]
pub struct WeakAdminToken;

impl AdminToken {
    /// Characters that a token has at least.
    pub const MIN_LENGTH: usize = 32;

    /// A token.
    ///
    /// # Errors
    ///
    /// Returns [`WeakAdminToken`] where it is too short.
    pub fn new(token: SecretString) -> Result<Self, WeakAdminToken> {
        if token.expose_secret().trim().chars().count() < Self::MIN_LENGTH {
            return Err(WeakAdminToken);
        }
        Ok(Self(token))
    }

    /// Whether a request carries it. Takes as long whatever the request carries.
    #[must_use]
    pub fn opens(&self, headers: &HeaderMap) -> bool {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let expected = self.0.expose_secret().trim().as_bytes();
        given.is_some_and(|given| given.ct_eq(expected).into())
    }
}

/// What the operators' routes answer from.
#[derive(Clone, Default)]
pub(crate) struct Operations {
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Registry,
}

/// The operators' routes.
pub(crate) fn routes(operations: Operations) -> Router {
    let ready = async |State(operations): State<Operations>| operations.readiness.report().await;
    let metrics = async |State(operations): State<Operations>| {
        let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
        (kind, operations.metrics.text().await)
    };
    Router::new()
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(operations)
}

/// The operators' routes as the public listener has them: for those without the token they are
/// not there, and without a token they are there for nobody.
pub(crate) fn guarded_routes(operations: Operations, token: AdminToken) -> Router {
    routes(operations).layer(middleware::from_fn_with_state(Arc::new(token), guard))
}

async fn guard(State(token): State<Arc<AdminToken>>, request: Request, next: Next) -> Response {
    if token.opens(request.headers()) {
        next.run(request).await
    } else {
        Problem::new(StatusCode::NOT_FOUND).into_response()
    }
}

/// What both listeners have.
pub(crate) fn live_route() -> Router {
    Router::new().route("/health/live", get(health::live))
}
