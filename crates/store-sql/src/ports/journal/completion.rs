//! Ending reservations.

use integrations_core::{
    encryptor::Sealed,
    idempotency::{Completion, CompletionResult, KeyedOutcome},
};
use serde_json::{Value as Json, json};

use crate::{
    backend::{OwnCommit, Session},
    checks::Fits,
    dialect::time_text,
    error::SqlError,
    statement::Template,
    store::SqlStore,
};

/// The reservations that may be ended, with the place in the batch. What succeeded stays so.
const LOCK: Template = Template::each(
    "SELECT k.id, n.entry FROM jsonb_to_recordset($1) AS n (entry bigint, \
     integration_id bigint, key text, token text) JOIN {idempotency_keys} AS k \
     ON k.integration_id = n.integration_id AND k.key = n.key \
     WHERE k.reservation_token = n.token AND k.state IN ('reserved', 'unknown') \
     ORDER BY k.id, n.entry FOR UPDATE OF k",
    "SELECT k.id, json_extract(n.value, '$.entry') AS entry FROM json_each($1) AS n \
     JOIN {idempotency_keys} AS k ON k.integration_id = json_extract(n.value, '$.integration_id') \
     AND k.key = json_extract(n.value, '$.key') \
     WHERE k.reservation_token = json_extract(n.value, '$.token') \
     AND k.state IN ('reserved', 'unknown') ORDER BY k.id, entry",
);

const SETTLE: Template = Template::each(
    "UPDATE {idempotency_keys} AS k SET state = n.state, \
     request_id = coalesce(n.request_id, k.request_id), status_code = n.status_code, \
     sealed_answer = n.sealed_answer, settled_at = n.now, updated_at = n.now \
     FROM jsonb_to_recordset($1) AS n (id bigint, state text, request_id bigint, \
     status_code smallint, sealed_answer text, now timestamptz) WHERE k.id = n.id",
    "UPDATE {idempotency_keys} AS k SET state = json_extract(n.value, '$.state'), \
     request_id = coalesce(json_extract(n.value, '$.request_id'), k.request_id), \
     status_code = json_extract(n.value, '$.status_code'), \
     sealed_answer = json_extract(n.value, '$.sealed_answer'), \
     settled_at = json_extract(n.value, '$.now'), updated_at = json_extract(n.value, '$.now') \
     FROM json_each($1) AS n WHERE k.id = json_extract(n.value, '$.id')",
);

const FREE: Template = Template::each(
    "DELETE FROM {idempotency_keys} WHERE id = ANY($1)",
    "DELETE FROM {idempotency_keys} WHERE id IN (SELECT value FROM json_each($1))",
);

/// A completion, and the row of the attempt that brought it.
#[derive(Clone, Copy)]
pub(super) struct Ending<'a> {
    pub(super) completion: &'a Completion,
    pub(super) request_id: Option<i64>,
}

/// Ends reservations whose token the completions have; one result each, in their order.
pub(super) async fn complete<B: OwnCommit>(
    store: &SqlStore<B>,
    session: &mut dyn Session,
    endings: &[Ending<'_>],
) -> Result<Vec<CompletionResult>, SqlError> {
    let mut results = vec![CompletionResult::NotHolder; endings.len()];
    if endings.is_empty() {
        return Ok(results);
    }
    let wanted = endings.iter().enumerate().map(|(i, ending)| {
        let reservation = &ending.completion.reservation;
        json!({
            "entry": i,
            "integration_id": reservation.integration_id,
            "key": reservation.key,
            "token": reservation.token,
        })
    });
    let lock = store.sql(&LOCK).bind(wanted.collect::<Json>());
    let (mut settled, mut freed, mut last) = (Vec::new(), Vec::new(), None);
    for row in session.query(lock).await? {
        let id: i64 = row.get("id")?;
        // The first completion of a reservation ends it; another in the same batch is too late.
        if last.replace(id) == Some(id) {
            continue;
        }
        let entry = usize::try_from(row.get::<i64>("entry")?).unwrap_or(usize::MAX);
        let Some((ending, result)) = endings.get(entry).zip(results.get_mut(entry)) else {
            continue;
        };
        *result = CompletionResult::Done;
        match settlement(id, ending) {
            Some(settlement) => settled.push(settlement),
            None => freed.push(id),
        }
    }
    if !settled.is_empty() {
        let settle = store.sql(&SETTLE).bind(Json::Array(settled));
        session.execute(settle).await?;
    }
    if !freed.is_empty() {
        session
            .execute(store.sql(&FREE).bind_numbers(&freed))
            .await?;
    }
    Ok(results)
}

/// What a reservation becomes; `None` where its key is free again.
fn settlement(id: i64, ending: &Ending<'_>) -> Option<Json> {
    let (state, status_code, answer) = match &ending.completion.outcome {
        KeyedOutcome::DidNotHappen => return None,
        KeyedOutcome::Succeeded {
            status_code,
            answer,
        } => ("succeeded", status_code, answer),
        KeyedOutcome::Unknown {
            status_code,
            answer,
        } => ("unknown", status_code, answer),
    };
    Some(json!({
        "id": id,
        "state": state,
        "request_id": ending.request_id,
        "status_code": status_code,
        "sealed_answer": answer.as_ref().map(Sealed::as_str),
        "now": time_text(ending.completion.now),
    }))
}

/// Whether the values of a completion fit their columns.
pub(super) fn fits(completion: &Completion) -> Fits {
    match &completion.outcome {
        KeyedOutcome::DidNotHappen => Fits::new(),
        KeyedOutcome::Succeeded {
            status_code,
            answer,
        }
        | KeyedOutcome::Unknown {
            status_code,
            answer,
        } => Fits::new()
            .smallint(*status_code)
            .text(answer.as_ref().map(Sealed::as_str)),
    }
}
