//! `keys generate` and `keys list`

use integrations::{
    key_registry::{KeyUse, RegisteredKey},
    keys::{KeyRing, SystemEntropy},
    value::KeyId,
};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::{
    context::Context,
    exit::{Exit, Failure, Outcome},
    keys,
    output::{Row, table::Column},
};

/// Prints a new key, as `INTEGRATIONS_KEYS` and the key file take it.
pub(super) fn generate(context: &Context, id: Option<&KeyId>) -> Outcome {
    let ring = KeyRing::generate(&SystemEntropy::new())
        .map_err(|error| Failure::failed(error.to_string()))?;
    let text = ring.to_secret_text();
    let text = text.expose_secret();
    match (id, text.split_once(':')) {
        (Some(id), Some((_, key))) => context.output.text(&format!("{id}:{key}"))?,
        _ => context.output.text(text)?,
    }
    Ok(Exit::Done)
}

/// The keys of the database, and those of the ring that it has not seen.
pub(super) async fn list(context: &Context) -> Outcome {
    let ports = context.ports().await?;
    let ring = keys::find()?;
    if ring.is_none() {
        context
            .output
            .note("there is no key ring, neither in INTEGRATIONS_KEYS nor in a file");
    }
    let ring: Vec<KeyId> = ring.iter().flat_map(KeyRing::ids).cloned().collect();
    let known = ports.keys.list().await?;
    let usage = ports.keys.usage().await?;
    let new = ring
        .iter()
        .filter(|id| !known.iter().any(|key| key.key_id == **id));
    let rows = known
        .iter()
        .map(|key| row(&key.key_id, Some(key), &usage, &ring))
        .chain(new.map(|id| row(id, None, &usage, &ring)));
    let columns = [
        Column::left("KEY"),
        Column::left("STATE"),
        Column::left("IN RING"),
        Column::left("SEALED"),
        Column::left("SINCE"),
    ];
    context
        .output
        .list(&columns, rows.collect(), "no key is in use yet")?;
    Ok(Exit::Done)
}

fn row(id: &KeyId, known: Option<&RegisteredKey>, usage: &[KeyUse], ring: &[KeyId]) -> Row {
    let state = known.map_or("new", |key| key.state.as_str());
    let in_ring = ring.contains(id);
    let since = known.map(|key| super::view::time(key.created_at));
    let sealed: serde_json::Map<_, _> = usage
        .iter()
        .filter(|used| used.key_id == *id)
        .map(|used| {
            let column = format!("{}.{}", used.column.table(), used.column.column());
            (column, used.values.into())
        })
        .collect();
    let shown: Vec<String> = sealed
        .iter()
        .map(|(column, n)| format!("{column}: {n}"))
        .collect();
    Row {
        cells: vec![
            id.to_string(),
            state.to_owned(),
            if in_ring { "yes" } else { "no" }.to_owned(),
            if shown.is_empty() {
                "nothing".to_owned()
            } else {
                shown.join(", ")
            },
            since
                .clone()
                .unwrap_or_else(|| super::view::NONE.to_owned()),
        ],
        json: json!({
            "id": id.as_str(),
            "state": state,
            "in_ring": in_ring,
            "sealed": sealed,
            "created_at": since,
        }),
    }
}
