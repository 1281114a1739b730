//! What attempts say about circuits.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use integrations_core::{
    gate::{CircuitOverride, CircuitTransition, GateState},
    id::IntegrationId,
    request::CallOutcome,
};
use serde_json::{Value as Json, json};

use crate::{
    backend::{OwnCommit, Session},
    dialect::time_text,
    error::SqlError,
    ports::integration::circuit_override,
    statement::Template,
    store::SqlStore,
};

const LOCK: Template = Template::each(
    "SELECT g.integration_id AS id, g.state, s.circuit_override, s.circuit_override_until \
     FROM {gates} AS g JOIN {integrations} AS s ON s.id = g.integration_id \
     WHERE g.integration_id = ANY($1) ORDER BY g.integration_id FOR UPDATE OF g",
    "SELECT g.integration_id AS id, g.state, s.circuit_override, s.circuit_override_until \
     FROM {gates} AS g JOIN {integrations} AS s ON s.id = g.integration_id \
     WHERE g.integration_id IN (SELECT value FROM json_each($1))",
);

/// The row of an integration that was never asked about.
const BEGIN: Template = Template::each(
    "INSERT INTO {gates} (integration_id, state, created_at, updated_at) \
     SELECT id, $2, $3, $3 FROM {integrations} \
     WHERE id = ANY($1) AND removed_at IS NULL ORDER BY id \
     ON CONFLICT (integration_id) DO NOTHING",
    "INSERT INTO {gates} (integration_id, state, created_at, updated_at) \
     SELECT id, $2, $3, $3 FROM {integrations} \
     WHERE id IN (SELECT value FROM json_each($1)) AND removed_at IS NULL \
     ON CONFLICT (integration_id) DO NOTHING",
);

const WRITE: Template = Template::each(
    "UPDATE {gates} AS g SET state = n.state, version = g.version + 1, updated_at = n.updated_at \
     FROM jsonb_to_recordset($1) AS n (id bigint, state jsonb, updated_at timestamptz) \
     WHERE g.integration_id = n.id",
    "UPDATE {gates} AS g SET state = json_extract(n.value, '$.state'), version = g.version + 1, \
     updated_at = json_extract(n.value, '$.updated_at') \
     FROM json_each($1) AS n WHERE g.integration_id = json_extract(n.value, '$.id')",
);

/// A gate under its lock.
struct Gate {
    state: GateState,
    circuit_override: Option<CircuitOverride>,
}

/// Settles circuits with what the entries found; the transitions by the entry that caused them.
pub(super) async fn settle_circuits<B: OwnCommit>(
    store: &SqlStore<B>,
    session: &mut dyn Session,
    outcomes: &[CallOutcome],
) -> Result<HashMap<usize, CircuitTransition>, SqlError> {
    let asked: Vec<(usize, &CallOutcome)> = outcomes
        .iter()
        .enumerate()
        .filter(|(_, o)| o.circuit.is_some_and(|found| found.policy.enabled))
        .collect();
    let mut gates = lock_gates(store, session, &asked).await?;
    let mut transitions = HashMap::new();
    let mut changed = BTreeMap::new();
    for (i, outcome) in asked {
        let id = outcome.attempt.integration_id;
        let Some((found, gate)) = outcome.circuit.zip(gates.get_mut(&id)) else {
            continue;
        };
        let before = gate.state.circuit.clone();
        if let Some(moved) = gate.state.settle(&found, gate.circuit_override.as_ref()) {
            transitions.insert(i, moved);
        }
        if gate.state.circuit != before {
            changed.insert(id, outcome.attempt.created_at);
        }
    }
    let writes: Vec<Json> = changed
        .into_iter()
        .filter_map(|(id, now)| {
            let state = &gates.get(&id)?.state;
            Some(json!({ "id": id, "state": state, "updated_at": time_text(now) }))
        })
        .collect();
    if !writes.is_empty() {
        let write = store.sql(&WRITE).bind(Json::Array(writes));
        session.execute(write).await?;
    }
    Ok(transitions)
}

/// Locks the gates of the entries' integrations, making those that are not there yet.
async fn lock_gates<B: OwnCommit>(
    store: &SqlStore<B>,
    session: &mut dyn Session,
    asked: &[(usize, &CallOutcome)],
) -> Result<HashMap<IntegrationId, Gate>, SqlError> {
    let ids: BTreeSet<i64> = asked
        .iter()
        .map(|(_, outcome)| outcome.attempt.integration_id.0)
        .collect();
    let ids: Vec<i64> = ids.into_iter().collect();
    let Some((_, last)) = asked.last() else {
        return Ok(HashMap::new());
    };
    let gates = read_gates(store, session, &ids).await?;
    if gates.len() == ids.len() {
        return Ok(gates);
    }
    let begin = store
        .sql(&BEGIN)
        .bind_numbers(&ids)
        .bind(json!(GateState::default()))
        .bind(last.attempt.created_at);
    session.execute(begin).await?;
    read_gates(store, session, &ids).await
}

async fn read_gates<B: OwnCommit>(
    store: &SqlStore<B>,
    session: &mut dyn Session,
    ids: &[i64],
) -> Result<HashMap<IntegrationId, Gate>, SqlError> {
    let mut gates = HashMap::new();
    for row in session.query(store.sql(&LOCK).bind_numbers(ids)).await? {
        let state: Json = row.get("state")?;
        let gate = Gate {
            state: serde_json::from_value(state).map_err(|_| row.corrupt("state"))?,
            circuit_override: circuit_override(&row)?,
        };
        gates.insert(row.get("id")?, gate);
    }
    Ok(gates)
}
