//! A socket, the connections it accepted, and their end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use integrations_core::time::{Clock, later};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{connection, limits::Limits, metrics::HttpMetrics};

/// How long to wait after the system refused to accept, out of file handles for instance.
const BREATHER: Duration = Duration::from_millis(200);

/// A bound socket with what it answers.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) application: Router,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<HttpMetrics>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Listener {
    /// Serves until `stop` comes, then lets requests under way end within the limit; how many
    /// connections had to be cut off.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) -> usize {
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.socket.accept(), if connections.len() < self.limits.connections => {
                    match accepted {
                        Ok((stream, remote)) => {
                            connections.spawn(connection::serve(
                                stream,
                                remote,
                                self.application.clone(),
                                self.limits,
                                Arc::clone(&self.metrics),
                                graceful.watcher(),
                            ));
                        }
                        Err(error) => {
                            tracing::warn!(%error, "a connection could not be accepted");
                            let now = self.clock.now();
                            self.clock.sleep_until(later(now, BREATHER)).await;
                        }
                    }
                }
            }
        }
        // From here on nobody can connect, and idle connections are closed.
        drop(self.socket);
        let limit = self.limits.drain;
        let drained = tokio::time::timeout(limit, graceful.shutdown()).await;
        while connections.try_join_next().is_some() {}
        if drained.is_ok() {
            return 0;
        }
        let cut = connections.len();
        connections.shutdown().await;
        cut
    }
}
