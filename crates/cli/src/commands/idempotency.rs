//! `idempotency`: what is on file for the keys of at-most-once calls. Works without keys of the
//! ring; only the answer stays sealed then.

use integrations::{
    idempotency::{KeyReleased, KeyResolution, KeyResolved, ReservationFilter, ReservationRecord},
    integration::{Integration, IntegrationRef, Scope},
    store::{PageRequest, Ports},
    value::IdempotencyKey,
};
use serde_json::{Value as Json, json};

use super::view;
use crate::{
    args::{IdempotencyCommand, KeyListArgs, KeyReleaseArgs, KeyResolveArgs},
    context::{self, Context},
    exit::{Exit, Failure, Outcome},
    output::{Row, table::Column},
};

const COLUMNS: [Column; 7] = [
    Column::right("ID"),
    Column::right("OF"),
    Column::left("KEY"),
    Column::left("STATE"),
    Column::right("STATUS"),
    Column::right("REQUEST"),
    Column::whole("RESERVED"),
];

pub(super) async fn run(context: &Context, command: IdempotencyCommand) -> Outcome {
    match command {
        IdempotencyCommand::List(args) => list(context, args).await,
        IdempotencyCommand::Show { id, key } => show(context, id, &key).await,
        IdempotencyCommand::Resolve(args) => resolve(context, args).await,
        IdempotencyCommand::Release(args) => release(context, &args).await,
    }
}

/// The newest first.
async fn list(context: &Context, args: KeyListArgs) -> Outcome {
    let ports = context.ports().await?;
    let integration_id = match args.integration {
        Some(id) => Some(context::integration(&ports, id).await?.id),
        None => None,
    };
    let filter = ReservationFilter {
        integration_id,
        state: args.state,
    };
    let page = PageRequest::newest(args.limit);
    let now = ports.clock.now();
    let found = ports
        .ledger
        .list(&filter, &Scope::Operator, &page, now)
        .await?;
    let rows = found.items.iter().map(row).collect();
    context
        .output
        .list(&COLUMNS, rows, "there is no such key")?;
    Ok(Exit::Done)
}

fn row(record: &ReservationRecord) -> Row {
    Row {
        cells: vec![
            record.id.to_string(),
            record.integration_id.to_string(),
            record.key.to_string(),
            record.state.to_string(),
            view::or_none(record.status_code),
            view::or_none(record.request_id),
            view::time(record.created_at),
        ],
        json: for_programs(record),
    }
}

fn for_programs(record: &ReservationRecord) -> Json {
    json!({
        "id": record.id,
        "integration_id": record.integration_id,
        "key": record.key.as_str(),
        "state": record.state.as_str(),
        "status_code": record.status_code,
        "request_id": record.request_id,
        "has_answer": record.sealed_answer.is_some(),
        "resolution": record.resolution,
        "reserved_until": view::time(record.reserved_until),
        "settled_at": record.settled_at.map(view::time),
        "created_at": view::time(record.created_at),
    })
}

/// Everything on file, the answer too where this process has the key it is sealed with.
async fn show(context: &Context, id: IntegrationRef, key: &IdempotencyKey) -> Outcome {
    let ports = context.ports().await?;
    let integration = context::integration(&ports, id).await?;
    let record = find(&ports, &integration, key).await?;
    let answer = answer(context, &record).await;
    let fields = [
        ("key", record.key.to_string()),
        ("integration", record.integration_id.to_string()),
        ("state", record.state.to_string()),
        ("reserved", view::time(record.created_at)),
        ("reserved until", view::time(record.reserved_until)),
        ("settled", view::time_or_none(record.settled_at)),
        ("request", view::or_none(record.request_id)),
        ("status", view::or_none(record.status_code)),
        ("resolution", view::or_none(record.resolution.as_ref())),
        (
            "answer",
            match (&record.sealed_answer, &answer) {
                (None, _) => view::NONE.to_owned(),
                (Some(_), Some(answer)) => answer.clone(),
                (Some(_), None) => {
                    "sealed; it does not open with the keys of this process".to_owned()
                }
            },
        ),
    ];
    let mut json = for_programs(&record);
    json["answer"] = answer.map_or(Json::Null, |answer| {
        serde_json::from_str(&answer).unwrap_or(Json::String(answer))
    });
    context.output.record(&fields, &json)?;
    Ok(Exit::Done)
}

async fn find(
    ports: &Ports,
    integration: &Integration,
    key: &IdempotencyKey,
) -> Outcome<ReservationRecord> {
    let now = ports.clock.now();
    let found = ports
        .ledger
        .find(integration.id, key, &Scope::Operator, now)
        .await?;
    found.ok_or_else(|| no_such_key(integration))
}

fn no_such_key(integration: &Integration) -> Failure {
    Failure::not_found(format!(
        "nothing is on file for this key of integration {}",
        integration.id
    ))
}

/// The body of the recorded answer, opened.
async fn answer(context: &Context, record: &ReservationRecord) -> Option<String> {
    record.sealed_answer.as_ref()?;
    let client = context.client().await.ok()?;
    let handle = client.operator().integration(record.integration_id);
    let answer = handle.idempotency().answer(record).await.ok()??;
    Some(String::from_utf8_lossy(&answer.body).into_owned())
}

/// Settles a key whose outcome nobody knows.
async fn resolve(context: &Context, args: KeyResolveArgs) -> Outcome {
    let ports = context.ports().await?;
    let integration = context::integration(&ports, args.id).await?;
    let resolution = KeyResolution {
        integration_id: integration.id,
        key: args.key.clone(),
        scope: Scope::Operator,
        happened: args.outcome.succeeded,
        reason: args.reason.unwrap_or_else(|| "by an operator".to_owned()),
        now: ports.clock.now(),
    };
    match ports.ledger.resolve(&resolution).await? {
        KeyResolved::Done => {}
        KeyResolved::NotUnknown(state) => {
            return Err(Failure::refused(format!(
                "this key is `{state}`, and only an unknown one can be resolved; `idempotency \
                 release` frees it in any state"
            )));
        }
        KeyResolved::NotFound => return Err(no_such_key(&integration)),
    }
    let now_is = if resolution.happened {
        "succeeded"
    } else {
        "free"
    };
    done(context, &integration, &args.key, now_is)
}

/// Lets a key run again.
async fn release(context: &Context, args: &KeyReleaseArgs) -> Outcome {
    let ports = context.ports().await?;
    let integration = context::integration(&ports, args.id).await?;
    let now = ports.clock.now();
    let released = ports
        .ledger
        .release(integration.id, &args.key, &Scope::Operator, args.force, now)
        .await?;
    match released {
        KeyReleased::Done => done(context, &integration, &args.key, "free"),
        KeyReleased::Live { until } => Err(Failure::refused(format!(
            "a call under this key is on its way, until {} at the latest; with `--force` another \
             may go beside it and do the work twice",
            view::time(until)
        ))),
        KeyReleased::NotFound => Err(no_such_key(&integration)),
    }
}

fn done(
    context: &Context,
    integration: &Integration,
    key: &IdempotencyKey,
    state: &str,
) -> Outcome {
    let fields = [
        ("key", key.to_string()),
        ("integration", integration.id.to_string()),
        ("state", state.to_owned()),
    ];
    let json = json!({
        "integration_id": integration.id,
        "key": key.as_str(),
        "state": state,
    });
    context.output.record(&fields, &json)?;
    Ok(Exit::Done)
}
