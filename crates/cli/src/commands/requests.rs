//! `requests` and `requests show`

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use integrations::{
    id::RequestId,
    integration::Scope,
    request::{Request, RequestFilter},
    store::{PageRequest, Ports},
    time::{earlier, later},
};

use super::view;
use crate::{
    args::{Format, RequestsArgs},
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

/// How often `--follow` looks.
const EVERY: Duration = Duration::from_secs(1);

/// How far back `--follow` looks: processes take ids in blocks and have clocks of their own, so
/// neither id nor time alone says what is new.
const OVERLAP: Duration = Duration::from_secs(30);

/// The newest requests first.
pub(super) async fn list(context: &Context, args: RequestsArgs) -> Outcome {
    let ports = context.ports().await?;
    let integration_id = match args.integration {
        Some(id) => Some(context::integration(&ports, id).await?.id),
        None => None,
    };
    let filter = RequestFilter {
        integration_id,
        outcome: args.status.map(|status| status.0),
        since: args.since.map(|since| earlier(ports.clock.now(), since)),
        ..RequestFilter::default()
    };
    let found = page(&ports, &filter, args.limit).await?;
    if args.follow {
        return follow(context, &ports, filter, found).await;
    }
    let rows = found.iter().map(row).collect();
    context
        .output
        .list(&COLUMNS, rows, "there is no such request")?;
    Ok(Exit::Done)
}

async fn page(ports: &Ports, filter: &RequestFilter, limit: u32) -> Outcome<Vec<Request>> {
    let page = PageRequest::newest(limit);
    Ok(ports
        .requests
        .query(filter, &Scope::Operator, &page)
        .await?
        .items)
}

/// Prints what there is, the oldest first, and then what comes, until it is stopped.
async fn follow(
    context: &Context,
    ports: &Ports,
    mut filter: RequestFilter,
    found: Vec<Request>,
) -> Outcome {
    let began = ports.clock.now();
    let mut seen = Seen::default();
    let mut first = context.output.format() == Format::Table;
    let mut new = seen.take_new(found);
    loop {
        let rows: Vec<Row> = new.iter().map(row).collect();
        if first || !rows.is_empty() {
            context.output.rows(&COLUMNS, &rows, first)?;
            first = false;
        }
        let now = ports.clock.now();
        ports.clock.sleep_until(later(now, EVERY)).await;
        let since = earlier(now, OVERLAP);
        filter.since = Some(filter.since.unwrap_or(since).max(since));
        let found = page(ports, &filter, PageRequest::MAX_LIMIT).await?;
        // What was there before is shown up to --limit, and the rest of it is not new.
        let found = found.into_iter().filter(|r| r.attempt.created_at >= began);
        new = seen.take_new(found.collect());
        seen.forget(since);
    }
}

/// The requests that were printed, for as long as they may be found again.
#[derive(Default)]
struct Seen {
    ids: HashSet<RequestId>,
    times: Vec<(DateTime<Utc>, RequestId)>,
}

impl Seen {
    /// Those that are new, the oldest first.
    fn take_new(&mut self, found: Vec<Request>) -> Vec<Request> {
        let mut new: Vec<_> = found
            .into_iter()
            .filter(|r| self.ids.insert(r.id))
            .collect();
        new.sort_by_key(|request| (request.attempt.created_at, request.id));
        self.times.extend(
            new.iter()
                .map(|request| (request.attempt.created_at, request.id)),
        );
        new
    }

    /// Forgets those that lie before what is looked at.
    fn forget(&mut self, before: DateTime<Utc>) {
        let ids = &mut self.ids;
        self.times.retain(|(at, id)| {
            let keep = *at >= before;
            if !keep {
                ids.remove(id);
            }
            keep
        });
    }
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
