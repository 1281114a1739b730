//! HTTP listeners for the `integrations` layer: an axum application with limits around it.
//!
//! A [`Server`] has a *public* listener for the routes it is given, and an *admin* listener for
//! `/health/ready` and `/metrics`, which need not be reachable from outside. `/health/live`
//! answers on both. What arrives is bounded: connections, the time a request's head may take, the
//! time a whole request may take, and the time that is left when the server stops.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use axum::{Router, routing::get};
//! use integrations_core::{entropy::Entropy, store::Ports};
//! use integrations_server::{Limits, Server};
//!
//! # async fn serve(ports: &Ports, entropy: &dyn Entropy) -> Result<(), Box<dyn std::error::Error>> {
//! let routes = Router::new().route("/hello", get(|| async { "hello" }));
//! let server = Server::builder(Arc::clone(&ports.clock))
//!     .public("127.0.0.1:8420".parse()?, routes)
//!     .admin("127.0.0.1:8421".parse()?)
//!     .limits(Limits::default())
//!     .bind(entropy)
//!     .await?;
//! server.run(std::future::pending()).await;
//! # Ok(())
//! # }
//! ```

mod admin;
mod connection;
mod limits;
mod listener;
mod problem;
mod request;
mod server;

pub mod health;
pub mod metrics;

pub use admin::{AdminToken, WeakAdminToken};
pub use limits::Limits;
pub use problem::Problem;
pub use request::RequestId;
pub use server::{BindError, Drained, Server, ServerBuilder};
