//! [`WebhookSettlements`] over SQL.

use std::collections::BTreeMap;

use async_trait::async_trait;
use integrations_core::{
    id::WebhookId,
    store::StoreError,
    webhook::{
        WebhookOutcome, WebhookSettled, WebhookSettlement, WebhookSettlements, WebhookStatus,
    },
};
use serde_json::{Value as Json, json};

use crate::{
    backend::Backend,
    checks::Fits,
    dialect::time_text,
    error::SqlError,
    statement::Template,
    store::{SqlStore, retrying},
};

impl<B: Backend> SqlStore<B> {
    async fn settle_webhooks_once(
        &self,
        settlements: &[WebhookSettlement],
    ) -> Result<Vec<WebhookSettled>, SqlError> {
        const SETTLE: Template = Template::each(
            // One row after the other, in the order of the list, which is that of ids: a join would
            // be planned for as few that wait as there were when somebody last counted.
            "WITH held AS (SELECT w.id, e.status, e.error, e.available_at, e.processed_at, \
             e.uncounted, e.now FROM jsonb_to_recordset($1) AS e (id bigint, \
             token text, status text, error text, available_at timestamptz, \
             processed_at timestamptz, uncounted smallint, now timestamptz) \
             CROSS JOIN LATERAL (SELECT t.id FROM {webhooks} AS t WHERE t.id = e.id \
             AND t.lease_token = e.token AND t.status IN ('pending', 'processing') \
             FOR UPDATE) AS w) \
             UPDATE {webhooks} AS w SET status = held.status, error = held.error, \
             available_at = coalesce(held.available_at, w.available_at), \
             processed_at = held.processed_at, \
             attempts = greatest(w.attempts - held.uncounted, 0), lease_until = NULL, \
             lease_token = NULL, updated_at = held.now FROM held WHERE w.id = held.id \
             RETURNING w.id",
            "UPDATE {webhooks} AS w SET status = e.status, error = e.error, \
             available_at = coalesce(e.available_at, w.available_at), \
             processed_at = e.processed_at, attempts = max(w.attempts - e.uncounted, 0), \
             lease_until = NULL, lease_token = NULL, updated_at = e.now \
             FROM (SELECT value ->> 'id' AS id, value ->> 'token' AS token, \
             value ->> 'status' AS status, value ->> 'error' AS error, \
             value ->> 'available_at' AS available_at, value ->> 'processed_at' AS processed_at, \
             value ->> 'uncounted' AS uncounted, value ->> 'now' AS now FROM json_each($1)) AS e \
             WHERE w.id = e.id AND w.lease_token = e.token \
             AND w.status IN ('pending', 'processing') RETURNING id",
        );
        let rounds = rounds(settlements);
        // A single statement is all or nothing by itself.
        let mut session = if rounds.len() == 1 {
            self.backend.write().await?
        } else {
            self.backend.begin().await?
        };
        let mut answers = vec![WebhookSettled::LeaseLost; settlements.len()];
        for round in rounds {
            let entries: Json = round.values().map(|i| entry(&settlements[*i])).collect();
            for row in session.query(self.sql(&SETTLE).bind(entries)).await? {
                if let Some(index) = round.get(&row.get("id")?) {
                    answers[*index] = WebhookSettled::Done;
                }
            }
        }
        session.commit().await?;
        Ok(answers)
    }
}

/// Settlements by delivery, each at most once in a round: one statement settles a row once.
fn rounds(settlements: &[WebhookSettlement]) -> Vec<BTreeMap<WebhookId, usize>> {
    let mut rounds: Vec<BTreeMap<_, _>> = Vec::new();
    for (index, settlement) in settlements.iter().enumerate() {
        let free = rounds
            .iter_mut()
            .find(|round| !round.contains_key(&settlement.id));
        match free {
            Some(round) => drop(round.insert(settlement.id, index)),
            None => rounds.push(BTreeMap::from([(settlement.id, index)])),
        }
    }
    rounds
}

#[async_trait]
impl<B: Backend> WebhookSettlements for SqlStore<B> {
    async fn settle(
        &self,
        settlements: &[WebhookSettlement],
    ) -> Result<Vec<WebhookSettled>, StoreError> {
        if settlements.is_empty() {
            return Ok(Vec::new());
        }
        settlements
            .iter()
            .fold(Fits::new(), |fits, one| fits.text(error(&one.outcome)))
            .verdict()?;
        retrying!(self.settle_webhooks_once(settlements).await)
    }
}

fn error(outcome: &WebhookOutcome) -> Option<&str> {
    match outcome {
        WebhookOutcome::Processed => None,
        WebhookOutcome::Retry { error, .. } | WebhookOutcome::Failed { error } => Some(error),
    }
}

fn entry(settlement: &WebhookSettlement) -> Json {
    let now = time_text(settlement.now);
    let (status, processed_at, available_at, uncounted) = match &settlement.outcome {
        WebhookOutcome::Processed => (WebhookStatus::Processed, Some(&now), None, 0),
        WebhookOutcome::Failed { .. } => (WebhookStatus::Failed, Some(&now), None, 0),
        WebhookOutcome::Retry { at, counts, .. } => (
            WebhookStatus::Pending,
            None,
            Some(time_text(*at)),
            i16::from(!counts),
        ),
    };
    json!({
        "id": settlement.id,
        "token": settlement.token,
        "status": status,
        "error": error(&settlement.outcome),
        "available_at": available_at,
        "processed_at": processed_at,
        "uncounted": uncounted,
        "now": now,
    })
}
