//! `webhooks` and what can be done with deliveries.

mod bulk;
mod replay;
mod show;

use integrations::{
    integration::Scope,
    store::{PageRequest, Ports},
    time::earlier,
    webhook::{Webhook, WebhookFilter},
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

const FOLLOWED: Followed<Webhook> = Followed {
    columns: &COLUMNS,
    key: |webhook| (webhook.delivery.now, webhook.id.0),
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

async fn page(ports: &Ports, filter: &WebhookFilter, page: PageRequest) -> Outcome<Vec<Webhook>> {
    let now = ports.clock.now();
    let found = ports.inbox.query(filter, &Scope::Operator, &page, now);
    Ok(found.await?.items)
}

pub(super) fn row(webhook: &Webhook) -> Row {
    let delivery = &webhook.delivery;
    let status = match webhook.duplicate_of {
        Some(first) => format!("duplicate of {first}"),
        None => webhook.status.to_string(),
    };
    Row {
        cells: vec![
            webhook.id.to_string(),
            view::time(delivery.now),
            view::or_none(delivery.integration_id),
            delivery.provider.to_string(),
            view::or_none(delivery.event_type.as_ref()),
            status,
            webhook.attempts.to_string(),
            view::or_none(delivery.delivery_id.as_ref()),
        ],
        json: json(webhook),
    }
}

/// A delivery for programs, without headers and body.
pub(super) fn json(webhook: &Webhook) -> serde_json::Value {
    let delivery = &webhook.delivery;
    json!({
        "id": webhook.id,
        "uid": delivery.uid.to_string(),
        "integration_id": delivery.integration_id,
        "provider": delivery.provider.as_str(),
        "event_type": delivery.event_type,
        "delivery_id": delivery.delivery_id,
        "status": webhook.status.as_str(),
        "attempts": webhook.attempts,
        "error": webhook.error,
        "duplicate_of": webhook.duplicate_of,
        "duplicate_reason": webhook.duplicate_reason,
        "method": delivery.method,
        "path": delivery.path,
        "remote_addr": delivery.remote_addr,
        "parked": delivery.available_at.is_none() && webhook.processed_at.is_none(),
        "received_at": view::time(delivery.now),
        "processed_at": webhook.processed_at.map(view::time),
    })
}
