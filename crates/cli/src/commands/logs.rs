//! `logs` and `logs show`

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use integrations::{
    id::LogId,
    integration::Scope,
    operation_log::{Operation, OperationFilter},
    store::{PageRequest, Ports},
    time::earlier,
};
use serde_json::{Value as Json, json};

use super::{
    follow::{Followed, follow},
    view,
};
use crate::{
    args::LogsArgs,
    context::{self, Context},
    exit::{Exit, Failure, Outcome},
    output::{Row, table::Column},
};

const COLUMNS: [Column; 8] = [
    Column::right("ID"),
    Column::whole("TIME"),
    Column::right("OF"),
    Column::left("OPERATION"),
    Column::left("WAY"),
    Column::left("STATUS"),
    Column::right("MS"),
    Column::left("SUMMARY"),
];

const FOLLOWED: Followed<Operation> = Followed {
    columns: &COLUMNS,
    key: |operation| (operation.entry.now, operation.id.0),
    row,
};

/// The newest operations first.
pub(super) async fn list(context: &Context, args: LogsArgs) -> Outcome {
    let ports = context.ports().await?;
    let integration_id = match args.integration {
        Some(id) => Some(context::integration(&ports, id).await?.id),
        None => None,
    };
    let filter = OperationFilter {
        integration_id,
        operation: args.operation,
        status: args.status.map(|status| status.as_str().into()),
        since: args.since.map(|since| earlier(ports.clock.now(), since)),
        external_id: args.external_id,
        roots_only: args.roots,
    };
    if args.follow {
        let read = |since: Option<DateTime<Utc>>, newest| {
            let filter = OperationFilter {
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
        .list(&COLUMNS, rows, "there is no such operation")?;
    Ok(Exit::Done)
}

async fn page(
    ports: &Ports,
    filter: &OperationFilter,
    page: PageRequest,
) -> Outcome<Vec<Operation>> {
    let operations = &ports.operations;
    Ok(operations
        .query(filter, &Scope::Operator, &page)
        .await?
        .items)
}

fn row(operation: &Operation) -> Row {
    Row {
        cells: cells(operation, 0),
        json: for_programs(operation),
    }
}

fn cells(operation: &Operation, depth: usize) -> Vec<String> {
    let entry = &operation.entry;
    let what = entry.error.as_ref().or(entry.summary.as_ref());
    vec![
        operation.id.to_string(),
        view::time(entry.now),
        entry.integration_id.to_string(),
        format!("{}{}", "  ".repeat(depth), entry.operation),
        entry.direction.to_string(),
        entry.status.to_string(),
        view::or_none(entry.duration_ms),
        view::or_none(what),
    ]
}

fn for_programs(operation: &Operation) -> Json {
    let entry = &operation.entry;
    json!({
        "id": operation.id,
        "integration_id": entry.integration_id,
        "parent_id": entry.parent_id,
        "operation": entry.operation,
        "direction": entry.direction.as_str(),
        "status": entry.status.as_str(),
        "summary": entry.summary,
        "external_id": entry.external_id,
        "metadata": entry.metadata,
        "result_data": entry.result_data,
        "error": entry.error,
        "duration_ms": entry.duration_ms,
        "created_at": view::time(entry.now),
        "updated_at": view::time(operation.updated_at),
    })
}

/// An operation and everything below it: indented for people, nested for programs.
pub(super) async fn show(context: &Context, id: LogId) -> Outcome {
    let ports = context.ports().await?;
    let tree = ports.operations.tree(id, &Scope::Operator).await?;
    let mut children: HashMap<Option<LogId>, Vec<&Operation>> = HashMap::new();
    for operation in &tree {
        let parent = (operation.id != id).then_some(operation.entry.parent_id);
        children
            .entry(parent.flatten())
            .or_default()
            .push(operation);
    }
    let root = tree.iter().find(|operation| operation.id == id);
    let root = root.ok_or_else(|| Failure::not_found(format!("there is no operation {id}")))?;
    let mut rows = Vec::new();
    lay_out(root, 0, &children, &mut rows);
    context
        .output
        .tree(&COLUMNS, &rows, &nested(root, 0, &children))?;
    Ok(Exit::Done)
}

/// How many levels are shown; `logs show` of a deeper one shows what is below it.
const LEVELS: usize = 100;

type Children<'a> = HashMap<Option<LogId>, Vec<&'a Operation>>;

fn below<'a>(operation: &Operation, depth: usize, children: &Children<'a>) -> Vec<&'a Operation> {
    let below = children.get(&Some(operation.id));
    let below = below.filter(|_| depth + 1 < LEVELS);
    below.cloned().unwrap_or_default()
}

fn lay_out(
    operation: &Operation,
    depth: usize,
    children: &Children<'_>,
    rows: &mut Vec<Vec<String>>,
) {
    rows.push(cells(operation, depth));
    for child in below(operation, depth, children) {
        lay_out(child, depth + 1, children, rows);
    }
}

fn nested(operation: &Operation, depth: usize, children: &Children<'_>) -> Json {
    let mut json = for_programs(operation);
    json["children"] = below(operation, depth, children)
        .into_iter()
        .map(|child| nested(child, depth + 1, children))
        .collect();
    json
}
