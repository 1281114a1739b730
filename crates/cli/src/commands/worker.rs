//! `worker`: schedules, handles and prunes until it is stopped.

use std::sync::Arc;

use integrations::{
    IntegrationClient,
    entropy::EntropyExt as _,
    keys::SystemEntropy,
    retention::Pruner,
    sync::engine::{HandledCounts, SyncEngine},
    value::HolderName,
    webhooks::{Processor, ProcessorPolicy},
    work::Stop,
};
use integrations_server::{
    Server,
    health::DatabaseCheck,
    metrics::{Queues, RequestLog},
};

use crate::{
    args::WorkerArgs,
    config::Settings,
    context::Context,
    exit::{Exit, Failure, Outcome, chain},
    sinks::Sink,
    stop,
};

pub(super) async fn run(context: &Context, args: &WorkerArgs) -> Outcome {
    let Some(target) = &args.sink else {
        return Err(Failure::usage(
            "this program has no handlers of its own: say where items go, such as \
             --sink ndjson:items.ndjson",
        ));
    };
    let settings = context.settings()?;
    let client = context.client().await?;
    let sink = Sink::open(target, &settings.sink.resolve()?, &client.ports().clock)?;
    let holder = holder()?;
    let engine = engine(&client, &settings, args, &sink, &holder)?;
    let server = match args.listen {
        Some(address) => {
            let ports = client.ports();
            let server = Server::builder(Arc::clone(&ports.clock))
                .admin(address)
                .ready_when(DatabaseCheck(ports.clone()))
                .metrics(Queues(ports.clone()))
                .metrics(RequestLog(client.clone()))
                .bind(&SystemEntropy::new())
                .await
                .map_err(|error| Failure::failed(chain(&error)))?;
            Some(server)
        }
        None => None,
    };
    if let Some(address) = server.as_ref().and_then(Server::admin_address) {
        context.output.note(&format!("listening on {address}"));
    }
    context.output.note("working; SIGTERM or Ctrl-C stops it");
    let stop = Stop::new();
    let serving = async {
        match server {
            Some(server) => drop(server.run(stop.stopped()).await),
            None => stop.stopped().await,
        }
    };
    let pruner = Pruner::new(client.ports(), settings.retention);
    let pruning = async {
        tokio::select! {
            () = pruner.daily(&holder) => {}
            () = stop.stopped() => {}
        }
    };
    let receiving = async {
        // Who names kinds of items wants nothing else.
        if args.kinds.is_empty() {
            let policy = settings.webhooks.policy();
            process_webhooks(&client, sink.clone(), &policy, &stop).await;
        }
    };
    let working = async { tokio::join!(engine.run(stop.clone()), serving, pruning, receiving).0 };
    let handled = tokio::select! {
        handled = working => handled,
        signals = stop::on_signals(&stop) => {
            signals.map_err(|error| Failure::failed(format!("signals cannot be heard: {error}")))?;
            return Err(Failure::failed("stopped at once; what was under way comes back when its leases end"));
        }
    };
    client.shutdown().await;
    context.output.note(&summary(handled));
    Ok(Exit::Done)
}

/// Delivers the webhooks of every provider to the sink, until it is time to stop.
pub(super) async fn process_webhooks(
    client: &IntegrationClient,
    sink: Sink,
    policy: &ProcessorPolicy,
    stop: &Stop,
) {
    let processor = Processor::builder(client)
        .fallback_for_all(sink)
        .policy(|own| own.clone_from(policy))
        .build();
    let running = processor.start();
    stop.stopped().await;
    running.shutdown().await;
}

/// A name that no other process has.
fn holder() -> Outcome<HolderName> {
    let uid = SystemEntropy::new().uid();
    let uid = uid.map_err(|error| Failure::failed(error.to_string()))?;
    Ok(HolderName::new(format!("worker-{uid}"))?)
}

/// An engine whose items go to the sink: those of every kind, or of those that are named.
fn engine(
    client: &IntegrationClient,
    settings: &Settings,
    args: &WorkerArgs,
    sink: &Sink,
    holder: &HolderName,
) -> Outcome<SyncEngine> {
    let at_once = sink.at_once(&settings.sync);
    let mut builder = SyncEngine::builder(client)
        .policy(settings.sync.clone())
        .concurrency(args.concurrency.unwrap_or(at_once))
        .holder(holder.clone());
    for kind in &args.kinds {
        builder = builder.handler(kind.as_str(), sink.clone());
    }
    if args.kinds.is_empty() {
        builder = builder.any_handler(sink.clone());
    }
    builder
        .build()
        .map_err(|error| Failure::usage(error.to_string()))
}

fn summary(handled: HandledCounts) -> String {
    format!(
        "stopped: {} items delivered, {} to be tried again, {} failed, {} given back",
        handled.succeeded, handled.retried, handled.failed, handled.put_back
    )
}
