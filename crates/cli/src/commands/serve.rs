//! `serve`: receives webhooks until it is stopped.

mod metrics;

use std::{net::SocketAddr, sync::Arc};

use integrations::{keys::SystemEntropy, webhooks, work::Stop};
use integrations_server::{
    Drained, Server,
    health::DatabaseCheck,
    metrics::{Queues, RequestLog},
};

use self::metrics::Receipts;
use super::worker::process_webhooks;
use crate::{
    args::ServeArgs,
    context::Context,
    exit::{Exit, Failure, Outcome, chain},
    sinks::Sink,
    stop,
};

pub(super) async fn run(context: &Context, args: &ServeArgs) -> Outcome {
    let settings = context.settings()?;
    let token = settings.server.admin_token()?;
    let client = context.client().await?;
    let receiver = settings.webhooks.receiver(&settings.server, &client);
    let ports = client.ports();
    let sink = match &args.sink {
        Some(target) => Some(Sink::open(target, &settings.sink.resolve()?, &ports.clock)?),
        None => None,
    };
    let public = args.listen.unwrap_or_else(|| settings.server.listen());
    let mut server = Server::builder(Arc::clone(&ports.clock))
        .public(public, webhooks::router(receiver.clone()))
        .admin(settings.server.admin_listen())
        .limits(settings.server.limits())
        .ready_when(DatabaseCheck(ports.clone()))
        .metrics(Receipts(receiver.clone()))
        .metrics(Queues(ports.clone()))
        .metrics(RequestLog(client.clone()));
    if let Some(token) = token {
        server = server.admin_token(token);
    }
    let server = server.bind(&SystemEntropy::new()).await;
    let server = server.map_err(|error| Failure::failed(chain(&error)))?;
    announce(
        context,
        "webhooks",
        server.public_address(),
        receiver.prefix(),
    );
    if let Some(url) = settings.server.public_url() {
        let prefix = receiver.prefix();
        context
            .output
            .note(&format!("senders reach it at {url}{prefix}"));
    }
    announce(context, "health and metrics", server.admin_address(), "");

    let stop = Stop::new();
    let processing = async {
        if let Some(sink) = sink {
            let policy = settings.webhooks.policy();
            process_webhooks(&client, sink, &policy, &stop).await;
        }
    };
    let working = async { tokio::join!(server.run(stop.stopped()), processing).0 };
    let drained = tokio::select! {
        drained = working => drained,
        signals = stop::on_signals(&stop) => {
            signals.map_err(|error| Failure::failed(format!("signals cannot be heard: {error}")))?;
            return Err(Failure::failed("stopped at once; requests under way were cut off"));
        }
    };
    // What was taken is stored before the process ends.
    receiver.shutdown().await;
    client.shutdown().await;
    Ok(ended(context, drained))
}

fn announce(context: &Context, what: &str, address: Option<SocketAddr>, path: &str) {
    if let Some(address) = address {
        context
            .output
            .note(&format!("{what}: http://{address}{path}"));
    }
}

fn ended(context: &Context, drained: Drained) -> Exit {
    match drained.cut_off {
        0 => {
            context.output.note("stopped");
            Exit::Done
        }
        cut_off => {
            let warning = format!("stopped; connections that had to be cut off: {cut_off}");
            context.output.warn(&warning);
            Exit::Failed
        }
    }
}
