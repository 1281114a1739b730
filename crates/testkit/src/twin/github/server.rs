//! Listening, and the way of every request: log, fault, admission, route, headers.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{self, Body},
    response::Response,
};
use http::{Method, Request, StatusCode, Uri, header, request::Parts};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tower::ServiceExt;

use super::{
    answers,
    auth::Caller,
    comments,
    config::GithubTwinBuilder,
    events,
    faults::{Fault, Faults},
    headers, issues,
    log::Log,
    repository,
    shapes::{REPOSITORY_ID, Shapes},
    state::Data,
};

const MAX_REQUEST_BODY: usize = 25 * 1024 * 1024;

/// What the handle and every request share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) base_url: String,
    pub(super) faults: Faults,
    pub(super) log: Log,
    pub(super) default_page_size: usize,
    pub(super) max_page_size: usize,
    repository_path: String,
    exhausted_status: StatusCode,
    shapes: Shapes,
    data: Mutex<Data>,
    answered: AtomicU64,
}

impl Shared {
    pub(super) fn new(base_url: String, builder: &GithubTwinBuilder) -> Self {
        Self {
            faults: Faults::new(),
            log: Log::new(),
            default_page_size: builder.default_page_size,
            max_page_size: builder.max_page_size,
            exhausted_status: builder.exhausted_status,
            shapes: Shapes::new(&base_url, &builder.owner, &builder.repository),
            data: Mutex::new(Data::new(builder)),
            answered: AtomicU64::new(0),
            repository_path: format!("/repos/{}/{}", builder.owner, builder.repository),
            base_url,
        }
    }

    pub(super) fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    /// The spelling GitHub uses in `Link`, which outlives a renaming of the repository.
    pub(super) fn repository_by_id(&self, path: &str) -> String {
        format!("{}/repositories/{REPOSITORY_ID}{path}", self.base_url)
    }

    /// The same address with the repository spelled as the routes spell it: GitHub takes its
    /// id as well, and names in any case.
    fn canonical(&self, uri: &Uri) -> Uri {
        let path = uri.path();
        let by_id = format!("/repositories/{REPOSITORY_ID}");
        let rest = below(path, &by_id).or_else(|| below(path, &self.repository_path));
        let Some(rest) = rest else { return uri.clone() };
        let query = uri
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        format!("{}{rest}{query}", self.repository_path)
            .parse()
            .unwrap_or_else(|_| uri.clone())
    }
}

/// What follows `prefix` in `path`, if `path` is below it.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = path.split_at_checked(prefix.len())?;
    let is_below = rest.is_empty() || rest.starts_with('/');
    (is_below && start.eq_ignore_ascii_case(prefix)).then_some(rest)
}

/// Accepts connections until the task is aborted, which ends all of them.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = router(&shared);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&shared), router.clone()));
                }
                Err(error) => {
                    tracing::warn!(error = %error, "the twin could not accept a connection");
                    tokio::task::yield_now().await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

fn router(shared: &Arc<Shared>) -> Router {
    let repository = Router::new()
        .merge(issues::routes())
        .merge(comments::routes())
        .merge(events::routes());
    Router::new()
        .merge(repository::routes(&shared.repository_path))
        .nest(&shared.repository_path, repository)
        .fallback(async || answers::not_found())
        .method_not_allowed_fallback(async || answers::not_found())
        .with_state(Arc::clone(shared))
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, router: Router) {
    let service = service_fn(move |request: Request<_>| {
        let (shared, router) = (Arc::clone(&shared), router.clone());
        async move { exchange(&shared, router, request.map(Body::new)).await }
    });
    // Clients that go away and cuts made on purpose both end here, and both are expected.
    if let Err(error) = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await
    {
        tracing::debug!(error = %error, "a connection to the twin ended early");
    }
}

/// Ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
struct Cut;

async fn exchange(
    shared: &Shared,
    router: Router,
    request: Request<Body>,
) -> Result<Response, Cut> {
    let (mut head, body) = request.into_parts();
    head.uri = shared.canonical(&head.uri);
    let body = body::to_bytes(body, MAX_REQUEST_BODY)
        .await
        .map_err(|_| Cut)?;

    let mut releases = shared.faults.releases();
    let entry = shared.log.begin(&head, body.clone());
    let fault = shared.faults.take(&head.method, head.uri.path());
    match &fault {
        Some(Fault::CutBeforeActing) => return Err(Cut),
        Some(Fault::Slow(delay)) => wait(*delay).await,
        Some(Fault::Hold) => {
            // The sender lives in `shared`, so that waiting cannot fail.
            let _released = releases.changed().await;
        }
        _ => {}
    }

    let response = respond(shared, router, head, Body::from(body), fault.as_ref()).await;
    match &fault {
        Some(Fault::CutBeforeHeaders) => Err(Cut),
        Some(fault) => {
            entry.answered(response.status());
            Ok(fault.spoil_body(response).await)
        }
        None => {
            entry.answered(response.status());
            Ok(response)
        }
    }
}

/// The answer as GitHub would give it, or the refusal a fault puts in its place.
async fn respond(
    shared: &Shared,
    router: Router,
    head: Parts,
    body: Body,
    fault: Option<&Fault>,
) -> Response {
    let caller = shared.data().tokens.identify(&head.headers);
    let refusal = admit(shared, &head, caller).or_else(|| fault.and_then(Fault::refusal));
    let mut response = if let Some(refusal) = refusal {
        refusal
    } else {
        let mut inner = head.clone();
        // The server leaves out the body of an answer to `HEAD`; the headers are those of `GET`.
        if inner.method == Method::HEAD {
            inner.method = Method::GET;
        }
        let Ok(response) = router.oneshot(Request::from_parts(inner, body)).await;
        response
    };
    if let Some(fault) = fault {
        response = fault.spoil(response).await;
    }
    response = headers::conditional(&head, response).await;

    let mut data = shared.data();
    let now = data.now();
    let rate = data.rate(caller);
    if response.status() == StatusCode::NOT_MODIFIED {
        rate.refund();
    }
    rate.write_headers(response.headers_mut());
    let sequence = shared.answered.fetch_add(1, Ordering::Relaxed) + 1;
    headers::write_common(response.headers_mut(), now, sequence);
    response
}

/// Why a request is not let in, in the order GitHub checks; takes it out of the rate limit.
fn admit(shared: &Shared, head: &Parts, caller: Caller) -> Option<Response> {
    if !head.headers.contains_key(header::USER_AGENT) {
        return Some(answers::user_agent_required());
    }
    let path = head.uri.path();
    if path != "/rate_limit" && !shared.data().rate(caller).spend() {
        return Some(answers::rate_limited(shared.exhausted_status));
    }
    match caller {
        Caller::Unknown => Some(answers::bad_credentials()),
        Caller::Anonymous if path == "/user" => Some(answers::requires_authentication()),
        // A private repository does not exist for those who may not see it.
        Caller::Anonymous if path.starts_with("/repos/") => Some(answers::not_found()),
        Caller::Known | Caller::Anonymous => None,
    }
}

#[expect(clippy::disallowed_methods, reason = "a slow server takes real time")]
async fn wait(delay: Duration) {
    tokio::time::sleep(delay).await;
}
