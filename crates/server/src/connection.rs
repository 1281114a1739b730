//! One connection: HTTP/1.1 with limits.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::Watcher,
    service::TowerToHyperService,
};
use tokio::net::TcpStream;
use tower::{Layer as _, util::MapRequestLayer};

use crate::{limits::Limits, metrics::HttpMetrics};

/// Serves a connection until it is closed, cut off, or told to end by `watcher`.
pub(crate) async fn serve(
    stream: TcpStream,
    remote: SocketAddr,
    router: Router,
    limits: Limits,
    metrics: Arc<HttpMetrics>,
    watcher: Watcher,
) {
    let _connected = metrics.connected();
    // Answers are small; waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let with_remote = MapRequestLayer::new(move |mut request: http::Request<_>| {
        request.extensions_mut().insert(ConnectInfo(remote));
        request
    });
    let service = TowerToHyperService::new(with_remote.layer(router));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        if error.is_timeout() {
            metrics.head_late();
        }
        // Clients go away all the time; what they were is in the access log.
        tracing::debug!(%error, %remote, "a connection ended early");
    }
}
