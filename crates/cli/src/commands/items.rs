//! `items list`, `items retry`, `items skip` and `advance-cursor`

use integrations::{
    id::SyncItemId,
    store::PageRequest,
    sync::{
        ItemDecided, ItemFilter, ItemStatus, SyncItem,
        engine::{CursorReport, Items, SyncEngine},
    },
    value::ExternalId,
};
use serde_json::json;

use super::view;
use crate::{
    args::{AdvanceCursorArgs, ItemsListArgs},
    context::{self, Context},
    exit::{Exit, Failure, Outcome},
    output::{Row, table::Column},
};

const COLUMNS: [Column; 9] = [
    Column::right("ID"),
    Column::right("INTEGRATION"),
    Column::left("STREAM"),
    Column::left("KIND"),
    Column::left("RECORD"),
    Column::left("STATUS"),
    Column::right("ATTEMPTS"),
    Column::whole("NEXT"),
    Column::left("ERROR"),
];

const CURSOR_COLUMNS: [Column; 5] = [
    Column::left("STREAM"),
    Column::right("RUN"),
    Column::left("ENDED"),
    Column::left("CURSOR"),
    Column::right("OPEN"),
];

/// The reason of a skip where none is given.
const NO_REASON: &str = "skipped by an operator";

async fn items(context: &Context) -> Outcome<(Items, integrations::IntegrationClient)> {
    let client = context.client().await?;
    let engine = SyncEngine::builder(&client).build();
    let engine = engine.map_err(|error| Failure::failed(error.to_string()))?;
    Ok((engine.items(), client))
}

pub(super) async fn list(context: &Context, args: ItemsListArgs) -> Outcome {
    let (items, client) = items(context).await?;
    let integration_id = match args.integration {
        Some(id) => Some(context::integration(client.ports(), id).await?.id),
        None => None,
    };
    let filter = ItemFilter {
        integration_id,
        status: args.status,
        ..ItemFilter::default()
    };
    let found = items
        .list(&filter, &PageRequest::newest(args.limit))
        .await?;
    let rows = found.items.iter().map(row).collect();
    context
        .output
        .list(&COLUMNS, rows, "there is no such item")?;
    if found.next.is_some() {
        context
            .output
            .note("there are more: ask with a greater --limit");
    }
    Ok(Exit::Done)
}

pub(super) async fn retry(context: &Context, id: SyncItemId) -> Outcome {
    let (items, client) = items(context).await?;
    let decided = items.retry(&[id]).await?;
    judged(&decided, id)?;
    context
        .output
        .note(&format!("item {id} is queued again, with all attempts"));
    client.shutdown().await;
    Ok(Exit::Done)
}

pub(super) async fn skip(context: &Context, id: SyncItemId, reason: Option<&str>) -> Outcome {
    let (items, client) = items(context).await?;
    let decided = items.skip(&[id], reason.unwrap_or(NO_REASON)).await?;
    judged(&decided, id)?;
    context.output.note(&format!("item {id} is let go"));
    client.shutdown().await;
    Ok(Exit::Done)
}

fn judged(decided: &[ItemDecided], id: SyncItemId) -> Outcome<()> {
    match decided.first() {
        Some(ItemDecided::Done { .. }) => Ok(()),
        Some(ItemDecided::NotPossible(status)) => Err(Failure::refused(format!(
            "item {id} is `{status}`: only a failed item can be retried, and a failed or waiting \
             one skipped"
        ))),
        Some(ItemDecided::NotFound) | None => {
            Err(Failure::not_found(format!("there is no item {id}")))
        }
    }
}

pub(super) async fn advance_cursor(context: &Context, args: &AdvanceCursorArgs) -> Outcome {
    let (items, client) = items(context).await?;
    let integration = context::integration(client.ports(), args.id).await?;
    let reports = items
        .advance_cursor(integration.id, args.reclaim_stale)
        .await?;
    let rows = reports.iter().map(cursor_row).collect();
    let nothing = "nothing was synced yet";
    context.output.list(&CURSOR_COLUMNS, rows, nothing)?;
    client.shutdown().await;
    Ok(Exit::Done)
}

fn cursor_row(report: &CursorReport) -> Row {
    let yes = |yes: bool, text: &str| if yes { text } else { view::NONE }.to_owned();
    Row {
        cells: vec![
            report.stream.to_string(),
            report.run_id.to_string(),
            yes(report.ended, "now"),
            yes(report.moved, "moved"),
            report.open.to_string(),
        ],
        json: json!({
            "stream": report.stream.as_str(),
            "run_id": report.run_id,
            "ended": report.ended,
            "moved": report.moved,
            "open": report.open,
        }),
    }
}

fn row(item: &SyncItem) -> Row {
    let next = (item.status == ItemStatus::Pending).then_some(item.available_at);
    Row {
        cells: vec![
            item.id.to_string(),
            item.integration_id.to_string(),
            item.stream.to_string(),
            item.kind.to_string(),
            view::or_none(item.external_id.as_ref().map(ExternalId::as_str)),
            item.status.to_string(),
            item.attempts.to_string(),
            view::time_or_none(next),
            view::or_none(item.error.as_ref()),
        ],
        json: json!({
            "id": item.id,
            "integration_id": item.integration_id,
            "run_id": item.run_id,
            "log_id": item.sync_log_id,
            "stream": item.stream.as_str(),
            "kind": item.kind.as_str(),
            "external_id": item.external_id.as_ref().map(ExternalId::as_str),
            "checkpoint": item.checkpoint_value,
            "status": item.status.as_str(),
            "attempts": item.attempts,
            "error": item.error,
            "available_at": view::time(item.available_at),
            "lease_until": item.lease_until.map(view::time),
            "completed_at": item.completed_at.map(view::time),
            "created_at": view::time(item.created_at),
            "updated_at": view::time(item.updated_at),
        }),
    }
}
