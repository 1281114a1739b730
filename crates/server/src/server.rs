//! The server: its listeners, put together, bound and run.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use axum::{Router, middleware};
use integrations_core::{
    entropy::{Entropy, EntropyError},
    time::Clock,
};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    admin::{self, AdminToken, Operations},
    health::ReadinessCheck,
    limits::Limits,
    listener::Listener,
    metrics::{Collect, HttpMetrics, Listeners},
    problem,
    request::{Around, RequestIds, around},
};

/// A server cannot begin to listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// An address is taken, not ours, or not allowed.
    #[error("{address} cannot be listened on: {source}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// There were no random bytes for request ids.
    #[error("no request ids can be made")]
    Entropy(#[from] EntropyError),
}

/// How the end of a server went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut off because their requests did not end in time.
    pub cut_off: usize,
}

/// Collects what a server is made of.
#[must_use = "a builder does nothing until it is bound"]
pub struct ServerBuilder {
    clock: Arc<dyn Clock>,
    public: Option<(SocketAddr, Router)>,
    admin: Option<SocketAddr>,
    token: Option<AdminToken>,
    limits: Limits,
    operations: Operations,
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("public", &self.public.as_ref().map(|(address, _)| address))
            .field("admin", &self.admin)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl ServerBuilder {
    /// A public listener with these routes. Port 0 takes a free one.
    pub fn public(mut self, address: SocketAddr, routes: Router) -> Self {
        self.public = Some((address, routes));
        self
    }

    /// A listener for operators: `/health/live`, `/health/ready` and `/metrics`.
    pub fn admin(mut self, address: SocketAddr) -> Self {
        self.admin = Some(address);
        self
    }

    /// Opens the operators' routes on the public listener to those who show this token.
    pub fn admin_token(mut self, token: AdminToken) -> Self {
        self.token = Some(token);
        self
    }

    /// What the listeners bear.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// One more thing that `/health/ready` asks.
    pub fn ready_when(mut self, check: impl ReadinessCheck + 'static) -> Self {
        self.operations.readiness.add(Arc::new(check));
        self
    }

    /// One more thing that `/metrics` shows.
    pub fn metrics(mut self, collect: impl Collect + 'static) -> Self {
        self.operations.metrics.add(Arc::new(collect));
        self
    }

    /// Takes the addresses. Connections wait from now on, and are served once it
    /// [runs](Server::run).
    ///
    /// # Errors
    ///
    /// Returns [`BindError`] where an address cannot be had.
    pub async fn bind(mut self, entropy: &dyn Entropy) -> Result<Server, BindError> {
        let mut process = [0; 8];
        entropy.fill(&mut process)?;
        let ids = Arc::new(RequestIds::new(u64::from_be_bytes(process)));
        let [on_public, on_admin] =
            ["public", "admin"].map(|name| Arc::new(HttpMetrics::new(name)));
        let listeners: Vec<_> = [
            self.public.is_some().then(|| Arc::clone(&on_public)),
            self.admin.is_some().then(|| Arc::clone(&on_admin)),
        ]
        .into_iter()
        .flatten()
        .collect();
        self.operations.metrics.add(Arc::new(Listeners(listeners)));

        let public = match self.public.take() {
            Some((address, routes)) => {
                let routes = match self.token.take() {
                    Some(token) => {
                        routes.merge(admin::guarded_routes(self.operations.clone(), token))
                    }
                    None => routes,
                };
                Some(self.listen(address, routes, &ids, on_public).await?)
            }
            None => None,
        };
        let admin = match self.admin {
            Some(address) => {
                let routes = admin::routes(self.operations.clone());
                Some(self.listen(address, routes, &ids, on_admin).await?)
            }
            None => None,
        };
        Ok(Server {
            public,
            admin,
            operations: self.operations,
        })
    }

    async fn listen(
        &self,
        address: SocketAddr,
        routes: Router,
        ids: &Arc<RequestIds>,
        metrics: Arc<HttpMetrics>,
    ) -> Result<Listener, BindError> {
        let refused = |source| BindError::Address { address, source };
        let socket = TcpListener::bind(address).await.map_err(refused)?;
        let state = Around {
            clock: Arc::clone(&self.clock),
            ids: Arc::clone(ids),
            metrics: Arc::clone(&metrics),
            limit: self.limits.request,
        };
        let application = routes
            .merge(admin::live_route())
            .fallback(problem::not_found)
            .method_not_allowed_fallback(problem::method_not_allowed)
            .layer(middleware::from_fn_with_state(state, around));
        Ok(Listener {
            address: socket.local_addr().map_err(refused)?,
            socket,
            application,
            limits: self.limits,
            metrics,
            clock: Arc::clone(&self.clock),
        })
    }
}

/// Listeners that are bound.
#[must_use = "nobody is served until it is run"]
pub struct Server {
    public: Option<Listener>,
    admin: Option<Listener>,
    operations: Operations,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("public", &self.public_address())
            .field("admin", &self.admin_address())
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Begins a server. The clock is for durations in the log.
    pub fn builder(clock: Arc<dyn Clock>) -> ServerBuilder {
        ServerBuilder {
            clock,
            public: None,
            admin: None,
            token: None,
            limits: Limits::default(),
            operations: Operations::default(),
        }
    }

    /// Where the public listener is.
    #[must_use]
    pub fn public_address(&self) -> Option<SocketAddr> {
        self.public.as_ref().map(|listener| listener.address)
    }

    /// Where the operators' listener is.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|listener| listener.address)
    }

    /// Serves until `stop` comes. Then it is no longer ready, accepts nobody on the public
    /// listener, and lets requests under way end within [`Limits::drain`]; operators can watch it
    /// until then.
    ///
    /// Dropping the future cuts every connection off.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Drained {
        let Self {
            public,
            admin,
            operations,
        } = self;
        let (public_ended, mut ended) = watch::channel(false);
        let serve_public = async {
            let stop = async {
                stop.await;
                operations.readiness.stop();
            };
            let cut_off = if let Some(listener) = public {
                listener.run(stop).await
            } else {
                stop.await;
                0
            };
            // Nobody left to tell is no failure.
            let _ = public_ended.send(true);
            cut_off
        };
        let serve_admin = async {
            let stop = async {
                let _ = ended.wait_for(|ended| *ended).await;
            };
            match admin {
                Some(listener) => listener.run(stop).await,
                None => 0,
            }
        };
        let (public, admin) = tokio::join!(serve_public, serve_admin);
        Drained {
            cut_off: public + admin,
        }
    }
}
