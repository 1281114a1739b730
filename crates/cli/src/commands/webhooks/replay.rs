//! `webhooks replay` and `webhooks recover`

use integrations::{
    integration::Scope,
    store::{Ports, StoreError},
    wake::WakeChannel,
};
use serde_json::json;

use super::{bulk, show::no_such_delivery};
use crate::{
    args::ReplayArgs,
    context::Context,
    exit::{Exit, Failure, Outcome},
};

/// Deliveries that are queued again by one statement.
const BATCH: u32 = 1_000;

/// Queues deliveries again: what a filter selects, or those named, all or, where one is not there,
/// none.
pub(crate) async fn replay(context: &Context, args: ReplayArgs) -> Outcome {
    if !args.bulk.filter.is_empty() {
        return bulk::replay(context, args.bulk).await;
    }
    let ports = context.ports().await?;
    let now = ports.clock.now();
    for id in &args.ids {
        let found = ports.inbox.find(*id, &Scope::Operator, now).await?;
        found.ok_or_else(|| no_such_delivery(*id))?;
    }
    let queued = ports.inbox.replay(&args.ids, &Scope::Operator, now).await?;
    ports.wake.ring(WakeChannel::Webhooks);
    let mut left: Vec<_> = args.ids.iter().filter(|id| !queued.contains(id)).collect();
    left.dedup();
    let json = json!({ "queued": queued, "left": left });
    let fields = [
        ("queued", queued.len().to_string()),
        ("left", left.len().to_string()),
    ];
    context.output.record(&fields, &json)?;
    if left.is_empty() {
        return Ok(Exit::Done);
    }
    let left: Vec<String> = left.into_iter().map(ToString::to_string).collect();
    Err(Failure::refused(format!(
        "not queued, because they are duplicates or being processed: {}",
        left.join(", ")
    )))
}

/// Queues what was parked or abandoned.
pub(crate) async fn recover(context: &Context) -> Outcome {
    let recovered = requeue(&context.ports().await?).await?;
    let json = json!({ "recovered": recovered });
    context
        .output
        .record(&[("recovered", recovered.to_string())], &json)?;
    Ok(Exit::Done)
}

/// Queues what was parked or abandoned; how much that is.
pub(crate) async fn requeue(ports: &Ports) -> Result<u64, StoreError> {
    let mut recovered = 0;
    loop {
        let batch = ports.inbox.recover(ports.clock.now(), BATCH).await?;
        recovered += batch;
        if batch < u64::from(BATCH) {
            ports.wake.ring(WakeChannel::Webhooks);
            return Ok(recovered);
        }
    }
}
