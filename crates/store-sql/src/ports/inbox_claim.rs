//! Claims on deliveries, shared out between integrations.

use std::{collections::HashMap, sync::atomic::Ordering};

use integrations_core::{
    id::IntegrationId,
    webhook::{Webhook, WebhookClaim},
};

use super::inbox_rows::{webhook, webhook_columns};
use crate::{backend::OwnCommit, error::SqlError, row::Row, statement::Template, store::SqlStore};

/// How many integrations one claim looks at.
const MAX_INTEGRATIONS: u32 = 25;

/// What deliveries without an integration count as.
const NOBODY: i64 = 0;

/// The integrations with due deliveries behind `$1`, going round, `0` for those without one: a walk
/// from one to the next by the claim's index. `-1` stands for the end of the first lap.
const DUE: Template = Template::each(
    "WITH RECURSIVE walk (id, lap) AS (SELECT $1, 0 UNION ALL SELECT coalesce(\
     (SELECT coalesce(integration_id, 0) FROM {webhooks} \
     WHERE status IN ('pending', 'processing') AND coalesce(integration_id, 0) > walk.id \
     ORDER BY coalesce(integration_id, 0) LIMIT 1), -1), \
     CASE WHEN walk.id = -1 THEN 1 ELSE lap END \
     FROM walk WHERE lap = 0 OR (id >= 0 AND id < $1)) \
     SELECT id FROM walk WHERE ((lap = 0 AND id > $1) OR (lap = 1 AND id >= 0 AND id <= $1)) \
     AND NOT (id = ANY($4)) \
     AND (id = 0 OR (SELECT i.is_active AND i.removed_at IS NULL \
     FROM {integrations} AS i WHERE i.id = walk.id)) \
     AND (SELECT true FROM {webhooks} AS w WHERE coalesce(w.integration_id, 0) = walk.id \
     AND w.status IN ('pending', 'processing') AND w.available_at <= $2 \
     AND (w.lease_until IS NULL OR w.lease_until <= $2) AND w.provider = ANY($3) LIMIT 1) \
     LIMIT $5",
    "WITH RECURSIVE walk (id, lap) AS (SELECT $1, 0 UNION ALL SELECT coalesce(\
     (SELECT coalesce(integration_id, 0) FROM {webhooks} \
     WHERE status IN ('pending', 'processing') AND coalesce(integration_id, 0) > walk.id \
     ORDER BY coalesce(integration_id, 0) LIMIT 1), -1), \
     CASE WHEN walk.id = -1 THEN 1 ELSE lap END \
     FROM walk WHERE lap = 0 OR (id >= 0 AND id < $1)) \
     SELECT id FROM walk WHERE ((lap = 0 AND id > $1) OR (lap = 1 AND id >= 0 AND id <= $1)) \
     AND id NOT IN (SELECT value FROM json_each($4)) \
     AND (id = 0 OR (SELECT i.is_active AND i.removed_at IS NULL \
     FROM {integrations} AS i WHERE i.id = walk.id)) \
     AND (SELECT true FROM {webhooks} AS w WHERE coalesce(w.integration_id, 0) = walk.id \
     AND w.status IN ('pending', 'processing') AND w.available_at <= $2 \
     AND (w.lease_until IS NULL OR w.lease_until <= $2) \
     AND w.provider IN (SELECT value FROM json_each($3)) LIMIT 1) LIMIT $5",
);

/// Claims at most `$4` due deliveries of each integration of `$1`, and at most `$5` in all. One
/// with an ordering key waits for earlier ones that are unfinished.
const CLAIM: Template = Template::each(
    concat!(
        "WITH due AS MATERIALIZED (SELECT mine.id FROM unnest($1) WITH ORDINALITY AS own (id, rank) \
         CROSS JOIN LATERAL (SELECT w.id FROM {webhooks} AS w \
         WHERE coalesce(w.integration_id, 0) = own.id AND w.status IN ('pending', 'processing') \
         AND w.available_at <= $2 AND (w.lease_until IS NULL OR w.lease_until <= $2) \
         AND w.provider = ANY($3) AND w.duplicate_of IS NULL \
         AND (w.ordering_key IS NULL OR NOT EXISTS (SELECT 1 FROM {webhooks} AS o \
         WHERE o.ordering_key = w.ordering_key AND o.ordering_key IS NOT NULL \
         AND o.status IN ('pending', 'processing') AND o.id < w.id \
         AND o.provider = w.provider \
         AND coalesce(o.integration_id, 0) = coalesce(w.integration_id, 0))) \
         ORDER BY w.available_at, w.id LIMIT $4 FOR UPDATE OF w SKIP LOCKED) AS mine LIMIT $5) \
         UPDATE {webhooks} SET status = 'processing', attempts = attempts + 1, \
         lease_until = $6, lease_token = $7, updated_at = $2 \
         WHERE id IN (SELECT id FROM due) RETURNING ",
        webhook_columns!(),
    ),
    concat!(
        "UPDATE {webhooks} SET status = 'processing', attempts = attempts + 1, \
         lease_until = $6, lease_token = $7, updated_at = $2 \
         WHERE id IN (SELECT mine.id FROM json_each($1) AS own \
         CROSS JOIN {webhooks} AS mine ON mine.id IN (SELECT w.id FROM {webhooks} AS w \
         WHERE coalesce(w.integration_id, 0) = own.value AND w.status IN ('pending', 'processing') \
         AND w.available_at <= $2 AND (w.lease_until IS NULL OR w.lease_until <= $2) \
         AND w.provider IN (SELECT value FROM json_each($3)) AND w.duplicate_of IS NULL \
         AND (w.ordering_key IS NULL OR NOT EXISTS (SELECT 1 FROM {webhooks} AS o \
         WHERE o.ordering_key = w.ordering_key AND o.ordering_key IS NOT NULL \
         AND o.status IN ('pending', 'processing') AND o.id < w.id \
         AND o.provider = w.provider \
         AND coalesce(o.integration_id, 0) = coalesce(w.integration_id, 0))) \
         ORDER BY w.available_at, w.id LIMIT $4) LIMIT $5) RETURNING ",
        webhook_columns!(),
    ),
);

impl<B: OwnCommit> SqlStore<B> {
    pub(super) async fn claim_webhooks_once(
        &self,
        claim: &WebhookClaim,
    ) -> Result<Vec<Webhook>, SqlError> {
        if claim.providers.is_empty() || claim.limit == 0 || claim.per_integration == 0 {
            return Ok(Vec::new());
        }
        let mut due = self.integrations_with_due_webhooks(claim).await?;
        let Some(last) = due.last().copied() else {
            return Ok(Vec::new());
        };
        let count = u32::try_from(due.len()).unwrap_or(u32::MAX);
        let share = (claim.limit / count).clamp(1, claim.per_integration);
        let mut claimed = self
            .claim_webhook_share(claim, &due, share, claim.limit)
            .await?;
        let taken = u32::try_from(claimed.len()).unwrap_or(u32::MAX);
        let left = claim.limit.saturating_sub(taken);
        // Only who had a full share may have more.
        due.retain(|id| taken_of(&claimed, *id) >= share);
        let more = claim.per_integration - share;
        if left > 0 && more > 0 && !due.is_empty() {
            let more = more.min(left);
            claimed.extend(self.claim_webhook_share(claim, &due, more, left).await?);
        }
        let served = claimed.last().map_or(last, integration_of);
        self.webhooks_served.store(served, Ordering::Relaxed);
        claimed.sort_unstable_by_key(|webhook| webhook.id);
        Ok(claimed)
    }

    async fn integrations_with_due_webhooks(
        &self,
        claim: &WebhookClaim,
    ) -> Result<Vec<i64>, SqlError> {
        let except = claim.except.iter();
        let except: Vec<i64> = except.map(|id| id.map_or(NOBODY, |id| id.0)).collect();
        let statement = self
            .sql(&DUE)
            .bind(self.webhooks_served.load(Ordering::Relaxed))
            .bind(claim.now)
            .bind_texts(&claim.providers)
            .bind_numbers(&except)
            .bind(claim.limit.min(MAX_INTEGRATIONS))
            .planned_anew();
        let rows = self.backend.read().await?.query(statement).await?;
        let id = |row: &Row| Ok(row.get("id")?);
        rows.iter().map(id).collect()
    }

    /// Claims a share of each integration, in the order given, the longest due first.
    async fn claim_webhook_share(
        &self,
        claim: &WebhookClaim,
        integrations: &[i64],
        share: u32,
        limit: u32,
    ) -> Result<Vec<Webhook>, SqlError> {
        let statement = self
            .sql(&CLAIM)
            .bind_numbers(integrations)
            .bind(claim.now)
            .bind_texts(&claim.providers)
            .bind(share)
            .bind(limit)
            .bind(claim.lease_until)
            .bind(&claim.token)
            .planned_anew();
        let rows = self.backend.write().await?.query(statement).await?;
        let mut claimed = rows.iter().map(webhook).collect::<Result<Vec<_>, _>>()?;
        let rank: HashMap<i64, usize> = integrations.iter().copied().zip(0..).collect();
        claimed.sort_by_key(|webhook| (rank.get(&integration_of(webhook)).copied(), webhook.id));
        Ok(claimed)
    }
}

fn integration_of(webhook: &Webhook) -> i64 {
    let id: Option<IntegrationId> = webhook.delivery.integration_id;
    id.map_or(NOBODY, |id| id.0)
}

fn taken_of(claimed: &[Webhook], integration: i64) -> u32 {
    let taken = claimed
        .iter()
        .filter(|webhook| integration_of(webhook) == integration);
    u32::try_from(taken.count()).unwrap_or(u32::MAX)
}
