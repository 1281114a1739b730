//! `requests` and `requests show`

use chrono::{DateTime, Utc};
use integrations::{
    id::RequestId,
    integration::Scope,
    request::{Request, RequestFilter},
    store::{PageRequest, Ports},
    time::earlier,
};

use super::{
    follow::{Followed, follow},
    view,
};
use crate::{
    args::{Related, RequestsArgs},
    context::{self, Context},
    exit::{Exit, Failure, Outcome},
    output::{Row, table::Column},
};

pub(super) const COLUMNS: [Column; 9] = [
    Column::right("ID"),
    Column::whole("TIME"),
    Column::right("OF"),
    Column::left("METHOD"),
    Column::left("ENDPOINT"),
    Column::right("STATUS"),
    Column::left("CLASS"),
    Column::right("MS"),
    Column::left("ERROR"),
];

const FOLLOWED: Followed<Request> = Followed {
    columns: &COLUMNS,
    key: |request| (request.attempt.created_at, request.id.0),
    row,
};

/// The newest requests first.
pub(super) async fn list(context: &Context, args: RequestsArgs) -> Outcome {
    let ports = context.ports().await?;
    let integration_id = match args.integration {
        Some(id) => Some(context::integration(&ports, id).await?.id),
        None => None,
    };
    let related = args.related;
    let now = ports.clock.now();
    let filter = RequestFilter {
        integration_id,
        outcome: args.status.map(|status| status.0),
        since: args.since.map(|since| earlier(now, since)),
        until: args.until,
        endpoint: args.endpoint,
        method: args.method.map(|method| method.to_string()),
        idempotency_key: args.key,
        provider_request_id: args.provider_request,
        chain: args.chain,
        related_type: related.as_ref().map(|related| related.0.clone()),
        related_id: related.as_ref().and_then(Related::number),
        related_key: related.as_ref().and_then(Related::text),
    };
    if args.follow {
        let read = |since: Option<DateTime<Utc>>, newest| {
            let filter = RequestFilter {
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
        .list(&COLUMNS, rows, "there is no such request")?;
    Ok(Exit::Done)
}

async fn page(ports: &Ports, filter: &RequestFilter, page: PageRequest) -> Outcome<Vec<Request>> {
    let requests = &ports.requests;
    Ok(requests.query(filter, &Scope::Operator, &page).await?.items)
}

pub(super) fn row(request: &Request) -> Row {
    let attempt = &request.attempt;
    Row {
        cells: vec![
            request.id.to_string(),
            view::time(attempt.created_at),
            attempt.integration_id.to_string(),
            attempt.method.clone(),
            attempt.endpoint.clone(),
            view::or_none(attempt.status_code),
            view::or_none(attempt.failure_class.as_ref()),
            view::or_none(attempt.duration_ms),
            view::or_none(attempt.error.as_ref()),
        ],
        json: view::request_json(request),
    }
}

/// Everything about one request.
pub(super) async fn show(context: &Context, id: RequestId) -> Outcome {
    let ports = context.ports().await?;
    let found = ports.requests.find(id, &Scope::Operator).await?;
    let request = found.ok_or_else(|| Failure::not_found(format!("there is no request {id}")))?;
    let fields = view::request_fields(&request);
    context
        .output
        .record(&fields, &view::request_json(&request))?;
    Ok(Exit::Done)
}
