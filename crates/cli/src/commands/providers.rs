//! `providers`

use integrations::provider::{Field, FieldKind, Fields, Provider, capabilities};
use serde_json::{Value as Json, json};

use crate::{
    context::Context,
    exit::{Exit, Outcome},
    output::{Row, table::Column},
};

pub(super) fn run(context: &Context) -> Outcome {
    let columns = [
        Column::left("PROVIDER"),
        Column::left("NAME"),
        Column::left("CREDENTIALS"),
        Column::left("SETTINGS"),
        Column::left("CAPABILITIES"),
    ];
    let rows = context.providers().into_iter().map(row).collect();
    context
        .output
        .list(&columns, rows, "this program knows no provider")?;
    Ok(Exit::Done)
}

fn row(provider: &dyn Provider) -> Row {
    let (credentials, metadata) = (provider.credentials(), provider.metadata());
    let capabilities = capabilities(provider);
    Row {
        cells: vec![
            provider.key().to_string(),
            provider.name().to_owned(),
            names(&credentials),
            names(&metadata),
            capabilities.join(", "),
        ],
        json: json!({
            "key": provider.key().as_str(),
            "name": provider.name(),
            "credentials": credentials.iter().map(field).collect::<Vec<_>>(),
            "metadata": metadata.iter().map(field).collect::<Vec<_>>(),
            "capabilities": capabilities,
            "sync_interval_minutes": provider.default_sync_interval(),
        }),
    }
}

/// The names of fields; those that may be left out stand in brackets.
fn names(fields: &Fields) -> String {
    let names = fields.iter().map(|field| {
        if field.required {
            field.name.clone()
        } else {
            format!("[{}]", field.name)
        }
    });
    names.collect::<Vec<_>>().join(", ")
}

fn field(field: &Field) -> Json {
    let kind = match field.kind {
        FieldKind::Text => "text",
        FieldKind::Integer => "integer",
        FieldKind::Boolean => "boolean",
    };
    json!({
        "name": field.name,
        "kind": kind,
        "required": field.required,
        "pattern": field.pattern,
        "description": field.description,
    })
}
