//! `list`

use std::time::Duration;

use integrations::{
    integration::{Integration, IntegrationFilter, Scope},
    request::{RequestSummary, SummaryQuery},
    store::{PageRequest, Ports},
    time::earlier,
    value::ProviderKey,
};

use super::view;
use crate::{
    args::ListArgs,
    context::Context,
    exit::{Exit, Outcome},
    output::{Row, table::Column},
};

const DAY: Duration = Duration::from_hours(24);

const COLUMNS: [Column; 9] = [
    Column::right("ID"),
    Column::left("PROVIDER"),
    Column::left("NAME"),
    Column::left("OWNER"),
    Column::left("HEALTH"),
    Column::left("ACTIVE"),
    Column::whole("LAST SYNC"),
    Column::right("CALLS 24H"),
    Column::right("FAILED"),
];

pub(super) async fn run(context: &Context, args: ListArgs) -> Outcome {
    let filter = IntegrationFilter {
        provider: args.provider.map(ProviderKey::new).transpose()?,
        owner: args.owner,
        health: args.health,
        ..IntegrationFilter::default()
    };
    let ports = context.ports().await?;
    let mut rows = Vec::new();
    let mut page = PageRequest::oldest(PageRequest::MAX_LIMIT);
    loop {
        let found = ports
            .integrations
            .list(&filter, &Scope::Operator, &page)
            .await?;
        let summaries = last_day(&ports, &found.items).await?;
        rows.extend(found.items.iter().zip(&summaries).map(row));
        page = page.after(found.next);
        if found.next.is_none() {
            break;
        }
    }
    context
        .output
        .list(&COLUMNS, rows, "there is no such integration")?;
    Ok(Exit::Done)
}

/// How the calls of these integrations went in the last 24 hours.
pub(super) async fn last_day(
    ports: &Ports,
    integrations: &[Integration],
) -> Outcome<Vec<RequestSummary>> {
    if integrations.is_empty() {
        return Ok(Vec::new());
    }
    let query = SummaryQuery {
        integrations: integrations
            .iter()
            .map(|integration| integration.id)
            .collect(),
        since: earlier(ports.clock.now(), DAY),
    };
    Ok(ports.requests.summarise(&query).await?)
}

fn row((integration, summary): (&Integration, &RequestSummary)) -> Row {
    Row {
        cells: vec![
            integration.id.to_string(),
            integration.provider.to_string(),
            integration.name.to_string(),
            view::or_none(integration.owner.as_ref()),
            integration.health.status.to_string(),
            view::active(integration).to_owned(),
            view::time_or_none(integration.last_synced_at),
            summary.total.to_string(),
            view::percent(view::error_rate(summary)),
        ],
        json: view::integration_json(integration, Some(summary)),
    }
}
