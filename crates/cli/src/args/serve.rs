//! What `serve` takes.

use std::net::SocketAddr;

use clap::Args;

use crate::sinks::SinkTarget;

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Where to listen [default: `server.listen`, else 127.0.0.1:8420]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where webhooks go: `stdout`, `ndjson:FILE` or `http:URL`; without it they are left to workers
    #[arg(long, value_parser = SinkTarget::read)]
    pub(crate) sink: Option<SinkTarget>,
}
