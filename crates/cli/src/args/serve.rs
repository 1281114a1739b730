//! What `serve` takes.

use std::net::SocketAddr;

use clap::Args;

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Where to listen [default: `server.listen`, else 127.0.0.1:8420]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
}
