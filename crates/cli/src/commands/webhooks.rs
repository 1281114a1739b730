//! `webhooks` and what can be done with deliveries.

mod bulk;
mod replay;
mod show;

use integrations::{
    integration::Scope,
    store::{PageRequest, Ports},
    time::earlier,
    webhook::{WebhookFilter, WebhookSummary},
};
use serde_json::json;

use super::{
    follow::{Followed, follow},
    view,
};
use crate::{
    args::WebhookListArgs,
    context::{self, Context},
    exit::{Exit, Outcome},
    output::{Row, table::Column},
};

pub(super) use replay::{recover, replay, requeue};
pub(super) use show::show;

pub(super) const COLUMNS: [Column; 8] = [
    Column::right("ID"),
    Column::whole("TIME"),
    Column::right("OF"),
    Column::left("PROVIDER"),
    Column::left("EVENT"),
    Column::left("STATUS"),
    Column::right("ATTEMPTS"),
    Column::left("DELIVERY"),
];

const FOLLOWED: Followed<WebhookSummary> = Followed {
    columns: &COLUMNS,
    key: |webhook| (webhook.received_at, webhook.id.0),
    row,
};

/// The newest deliveries first.
pub(super) async fn list(context: &Context, args: WebhookListArgs) -> Outcome {
    let ports = context.ports().await?;
    let integration_id = match args.integration {
        Some(id) => Some(context::integration(&ports, id).await?.id),
        None => None,
    };
    let filter = WebhookFilter {
        integration_id,
        status: args.status,
        since: args.since.map(|since| earlier(ports.clock.now(), since)),
        ..WebhookFilter::default()
    };
    if args.follow {
        let read = |since, newest| {
            let filter = WebhookFilter {
                since,
                ..filter.clone()
            };
            let ports = ports.clone();
            async move { page(&ports, &filter, newest).await }
        };
        let clock = &*ports.clock;
        return follow(context, clock, &FOLLOWED, filter.since, args.limit, read).await;
    }
    let found = page(&ports, &filter, PageRequest::newest(args.limit)).await?;
    let rows = found.iter().map(row).collect();
    context
        .output
        .list(&COLUMNS, rows, "there is no such delivery")?;
    Ok(Exit::Done)
}

async fn page(
    ports: &Ports,
    filter: &WebhookFilter,
    page: PageRequest,
) -> Outcome<Vec<WebhookSummary>> {
    let now = ports.clock.now();
    let found = ports.inbox.query(filter, &Scope::Operator, &page, now);
    Ok(found.await?.items)
}

pub(super) fn row(webhook: &WebhookSummary) -> Row {
    let status = match webhook.duplicate_of {
        Some(first) => format!("duplicate of {first}"),
        None => webhook.status.to_string(),
    };
    Row {
        cells: vec![
            webhook.id.to_string(),
            view::time(webhook.received_at),
            view::or_none(webhook.integration_id),
            webhook.provider.to_string(),
            view::or_none(webhook.event_type.as_ref()),
            status,
            webhook.attempts.to_string(),
            view::or_none(webhook.delivery_id.as_ref()),
        ],
        json: json(webhook),
    }
}

/// A delivery for programs, without headers and body.
pub(super) fn json(webhook: &WebhookSummary) -> serde_json::Value {
    json!({
        "id": webhook.id,
        "uid": webhook.uid.to_string(),
        "integration_id": webhook.integration_id,
        "provider": webhook.provider.as_str(),
        "event_type": webhook.event_type,
        "delivery_id": webhook.delivery_id,
        "status": webhook.status.as_str(),
        "attempts": webhook.attempts,
        "error": webhook.error,
        "duplicate_of": webhook.duplicate_of,
        "duplicate_reason": webhook.duplicate_reason,
        "method": webhook.method,
        "path": webhook.path,
        "remote_addr": webhook.remote_addr,
        "parked": webhook.available_at.is_none() && webhook.processed_at.is_none(),
        "received_at": view::time(webhook.received_at),
        "processed_at": webhook.processed_at.map(view::time),
    })
}
