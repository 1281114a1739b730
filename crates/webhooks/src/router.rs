//! The routes as an `axum::Router`.

use std::net::{IpAddr, SocketAddr};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Path, State},
    response::Response,
    routing::any,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Version, header};
use http_body_util::BodyExt as _;

use crate::receiver::{Answer, Receiver, Room, Route};

/// Who sent a request, for a server that knows better than the connection does: put it into the
/// request's extensions, behind a proxy for instance. Else axum's `ConnectInfo<SocketAddr>` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteAddr(pub IpAddr);

/// The webhook routes under the receiver's prefix, `/{prefix}/{provider}/webhook` and
/// `/{prefix}/{provider}/{id}/webhook`.
///
/// A body is read no further than it may be long, and given up when it does not come in time.
/// Merge the router into the application's: paths are stored as they came, so it must not be
/// nested under another prefix.
pub fn router(receiver: Receiver) -> Router {
    let prefix = receiver.prefix().to_owned();
    Router::new()
        .route(&format!("{prefix}/{{provider}}/webhook"), any(of_provider))
        .route(
            &format!("{prefix}/{{provider}}/{{id}}/webhook"),
            any(of_integration),
        )
        .with_state(receiver)
}

async fn of_provider(
    State(receiver): State<Receiver>,
    Path(provider): Path<String>,
    request: Request<Body>,
) -> Response {
    receive(&receiver, &Route::provider(provider), request).await
}

async fn of_integration(
    State(receiver): State<Receiver>,
    Path((provider, id)): Path<(String, String)>,
    request: Request<Body>,
) -> Response {
    receive(&receiver, &Route::integration(provider, id), request).await
}

async fn receive(receiver: &Receiver, route: &Route, request: Request<Body>) -> Response {
    let remote_addr = remote_addr(&request);
    let (head, body) = request.into_parts();
    let limit = receiver.limits().read_timeout;
    let read = tokio::time::timeout(limit, read(receiver, body));
    let refusal = match read.await {
        Ok(Ok((body, room))) => {
            let request = Request::from_parts(head, body);
            let answer = receiver.receive_within(room, route, &request, remote_addr);
            return answer.await.map(Body::from);
        }
        Ok(Err(answer)) => answer,
        Err(_) => Answer::TooSlow,
    };
    let mut answer = receiver.answered(refusal).map(Body::from);
    // The rest of the body stands where the next request would. HTTP/2 has streams for that.
    if head.version <= Version::HTTP_11 {
        let headers = answer.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

fn remote_addr(request: &Request<Body>) -> Option<IpAddr> {
    let extensions = request.extensions();
    let told = extensions.get::<RemoteAddr>().map(|addr| addr.0);
    told.or_else(|| {
        let connection = extensions.get::<ConnectInfo<SocketAddr>>();
        connection.map(|info| info.0.ip())
    })
}

/// Reads a body as far as it may be long, with room for every part of it.
async fn read(receiver: &Receiver, mut body: Body) -> Result<(Bytes, Room), Answer> {
    use axum::body::HttpBody as _;

    let max = receiver.limits().max_payload_bytes;
    let hint = body.size_hint();
    let announced = usize::try_from(hint.lower()).unwrap_or(usize::MAX);
    if announced > max {
        return Err(Answer::TooLarge);
    }
    let mut room = receiver.room_for(0).ok_or(Answer::Busy)?;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Answer::Unreadable)?.into_data() else {
            continue;
        };
        let size = whole.len() + data.len();
        if size > max {
            return Err(Answer::TooLarge);
        }
        // Room is taken for what came, not for what was announced: announcing costs nothing.
        room.join(receiver.room_for(data.len()).ok_or(Answer::Busy)?);
        if whole.is_empty() && size == announced {
            return Ok((data, room));
        }
        whole.extend_from_slice(&data);
    }
    Ok((whole.freeze(), room))
}
