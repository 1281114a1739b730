//! `enable` and `disable`: the operator's switch, which works without keys and for rows of any
//! provider.

use integrations::integration::{IntegrationChange, IntegrationRef, Scope};

use super::{view, webhooks};
use crate::{
    args::DisableArgs,
    context::{self, Context, no_such_integration},
    exit::{Exit, Outcome},
};

/// Switches it on and resets its health.
pub(super) async fn enable(context: &Context, id: IntegrationRef) -> Outcome {
    let change = IntegrationChange {
        is_active: Some(true),
        parks_webhooks: Some(false),
        reset_health: true,
        ..IntegrationChange::default()
    };
    let done = apply(context, id, &change).await?;
    // What came while it was paused need not wait until somebody looks.
    webhooks::requeue(&context.ports().await?).await?;
    Ok(done)
}

/// Switches it off; its webhooks too, or they are parked.
pub(super) async fn disable(context: &Context, args: &DisableArgs) -> Outcome {
    let change = IntegrationChange {
        is_active: Some(false),
        parks_webhooks: Some(args.pause),
        ..IntegrationChange::default()
    };
    apply(context, args.id, &change).await
}

async fn apply(context: &Context, id: IntegrationRef, change: &IntegrationChange) -> Outcome {
    let ports = context.ports().await?;
    let found = context::integration(&ports, id).await?;
    let now = ports.clock.now();
    let changed = ports
        .integrations
        .update(found.id, &Scope::Operator, change, now)
        .await?;
    let changed = changed.ok_or_else(|| no_such_integration(id))?;
    let fields = view::integration_fields(&changed);
    context
        .output
        .record(&fields, &view::integration_json(&changed, None))?;
    Ok(Exit::Done)
}
