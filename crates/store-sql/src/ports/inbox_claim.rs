//! Claims on deliveries, shared out between integrations.

use std::collections::{BTreeMap, HashMap};

use integrations_core::{
    id::IntegrationId,
    webhook::{Webhook, WebhookClaim},
};

use super::{
    inbox_ordered::Share,
    inbox_rows::{webhook, webhook_columns},
};
use crate::{backend::OwnCommit, error::SqlError, row::Row, statement::Template, store::SqlStore};

/// How many integrations one claim looks at.
const MAX_INTEGRATIONS: u32 = 25;

/// What deliveries without an integration count as.
const NOBODY: i64 = 0;

/// Deliveries of an integration that are due at `$2`, of the providers `$3`: with an ordering key
/// (`"1"`) or without (`"0"`), as the claim's index has it.
macro_rules! due {
    ($integration:literal, $ordered:literal, $providers:literal) => {
        concat!(
            "coalesce(w.integration_id, 0) = ",
            $integration,
            " AND (CASE WHEN w.ordering_key IS NULL THEN 0 ELSE 1 END) = ",
            $ordered,
            " AND w.status IN ('pending', 'processing') AND w.available_at <= $2 \
             AND (w.lease_until IS NULL OR w.lease_until <= $2) AND w.provider ",
            $providers,
            " AND w.duplicate_of IS NULL"
        )
    };
}

macro_rules! some_due {
    ($ordered:literal, $providers:literal) => {
        concat!(
            "coalesce((SELECT true FROM {webhooks} AS w WHERE ",
            due!("walk.id", $ordered, $providers),
            " LIMIT 1), false)"
        )
    };
}

/// The integrations with due deliveries behind `$1`, going round, `0` for those without one: a walk
/// from one to the next by the claim's index. `-1` stands for the end of the first lap.
macro_rules! due_integrations {
    ($seen:literal, $except:literal, $providers:literal) => {
        concat!(
            "WITH RECURSIVE walk (id, lap) AS (SELECT $1, 0 UNION ALL SELECT coalesce(\
             (SELECT coalesce(integration_id, 0) FROM {webhooks} \
             WHERE status IN ('pending', 'processing') AND coalesce(integration_id, 0) > walk.id \
             ORDER BY coalesce(integration_id, 0) LIMIT 1), -1), \
             CASE WHEN walk.id = -1 THEN 1 ELSE lap END \
             FROM walk WHERE lap = 0 OR (id >= 0 AND id < $1)), seen AS ",
            $seen,
            " (SELECT id, ",
            some_due!("0", $providers),
            " AS has_plain, ",
            some_due!("1", $providers),
            " AS has_ordered FROM walk \
             WHERE ((lap = 0 AND id > $1) OR (lap = 1 AND id >= 0 AND id <= $1)) AND ",
            $except,
            " AND (id = 0 OR (SELECT i.is_active AND i.removed_at IS NULL \
             FROM {integrations} AS i WHERE i.id = walk.id))) \
             SELECT id, has_plain, has_ordered FROM seen WHERE has_plain OR has_ordered LIMIT $5"
        )
    };
}

// PostgreSQL reads no more of what it keeps than is asked for; SQLite would read all of it.
const DUE: Template = Template::each(
    due_integrations!("MATERIALIZED", "NOT (id = ANY($4))", "= ANY($3)"),
    due_integrations!(
        "",
        "id NOT IN (SELECT value FROM json_each($4))",
        "IN (SELECT value FROM json_each($3))"
    ),
);

/// Claims at most `$4` due deliveries without ordering keys of each integration of `$1`, and at
/// most `$5` in all.
const CLAIM: Template = Template::each(
    concat!(
        "WITH due AS MATERIALIZED (SELECT mine.id FROM unnest($1) WITH ORDINALITY AS own (id, rank) \
         CROSS JOIN LATERAL (SELECT w.id FROM {webhooks} AS w WHERE ",
        due!("own.id", "0", "= ANY($3)"),
        " ORDER BY w.available_at, w.id LIMIT $4 FOR UPDATE OF w SKIP LOCKED) AS mine LIMIT $5) \
         UPDATE {webhooks} SET status = 'processing', attempts = attempts + 1, \
         lease_until = $6, lease_token = $7, updated_at = $2 \
         WHERE id IN (SELECT id FROM due) RETURNING ",
        webhook_columns!(),
    ),
    concat!(
        "UPDATE {webhooks} SET status = 'processing', attempts = attempts + 1, \
         lease_until = $6, lease_token = $7, updated_at = $2 \
         WHERE id IN (SELECT mine.id FROM json_each($1) AS own \
         CROSS JOIN {webhooks} AS mine ON mine.id IN (SELECT w.id FROM {webhooks} AS w WHERE ",
        due!("own.value", "0", "IN (SELECT value FROM json_each($3))"),
        " ORDER BY w.available_at, w.id LIMIT $4) LIMIT $5) RETURNING ",
        webhook_columns!(),
    ),
);

/// An integration with due deliveries.
#[derive(Clone, Copy, Debug)]
struct Due {
    integration: i64,
    /// Without ordering keys.
    has_plain: bool,
    has_ordered: bool,
}

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
        due.retain(|due| taken_of(&claimed, due.integration) >= share);
        let more = claim.per_integration - share;
        if left > 0 && more > 0 && !due.is_empty() {
            let more = more.min(left);
            claimed.extend(self.claim_webhook_share(claim, &due, more, left).await?);
        }
        let served = claimed.last().map_or(last.integration, integration_of);
        self.webhook_rotation.served(served);
        claimed.sort_unstable_by_key(|webhook| webhook.id);
        Ok(claimed)
    }

    async fn integrations_with_due_webhooks(
        &self,
        claim: &WebhookClaim,
    ) -> Result<Vec<Due>, SqlError> {
        let except = claim.except.iter();
        let except: Vec<i64> = except.map(|id| id.map_or(NOBODY, |id| id.0)).collect();
        let statement = self
            .sql(&DUE)
            .bind(self.webhook_rotation.last_served())
            .bind(claim.now)
            .bind_texts(&claim.providers)
            .bind_numbers(&except)
            .bind(claim.limit.min(MAX_INTEGRATIONS))
            .planned_anew();
        let rows = self.backend.read().await?.query(statement).await?;
        let due = |row: &Row| {
            Ok(Due {
                integration: row.get("id")?,
                has_plain: row.get("has_plain")?,
                has_ordered: row.get("has_ordered")?,
            })
        };
        rows.iter().map(due).collect()
    }

    /// Claims a share of each integration, in the order given: with ordering keys and without, which
    /// take turns at coming first.
    async fn claim_webhook_share(
        &self,
        claim: &WebhookClaim,
        due: &[Due],
        share: u32,
        limit: u32,
    ) -> Result<Vec<Webhook>, SqlError> {
        let mut claimed: Vec<Webhook> = Vec::new();
        let ordered_first = self.webhook_rotation.ordered_come_first();
        for ordered in [ordered_first, !ordered_first] {
            let own = due.iter().filter(|due| {
                if ordered {
                    due.has_ordered
                } else {
                    due.has_plain
                }
            });
            let shares = own.filter_map(|due| {
                let integration = due.integration;
                let count = share.saturating_sub(taken_of(&claimed, integration));
                (count > 0).then_some(Share { integration, count })
            });
            let shares: Vec<Share> = shares.collect();
            let taken = u32::try_from(claimed.len()).unwrap_or(u32::MAX);
            let left = limit.saturating_sub(taken);
            claimed.extend(if ordered {
                self.claim_ordered(claim, &shares, left).await?
            } else {
                self.claim_plain(claim, &shares, left).await?
            });
        }
        let ids = due.iter().map(|due| due.integration);
        let rank: HashMap<i64, usize> = ids.zip(0..).collect();
        claimed.sort_by_key(|webhook| (rank.get(&integration_of(webhook)).copied(), webhook.id));
        Ok(claimed)
    }

    /// Claims deliveries without ordering keys, the longest due first.
    async fn claim_plain(
        &self,
        claim: &WebhookClaim,
        shares: &[Share],
        mut limit: u32,
    ) -> Result<Vec<Webhook>, SqlError> {
        let mut by_count: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
        for share in shares {
            let of_count = by_count.entry(share.count).or_default();
            of_count.push(share.integration);
        }
        let mut claimed = Vec::new();
        for (count, integrations) in by_count {
            if limit == 0 {
                break;
            }
            let statement = self
                .sql(&CLAIM)
                .bind_numbers(&integrations)
                .bind(claim.now)
                .bind_texts(&claim.providers)
                .bind(count)
                .bind(limit)
                .bind(claim.lease_until)
                .bind(&claim.token)
                .planned_anew();
            let rows = self.backend.write().await?.query(statement).await?;
            limit = limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
            for row in &rows {
                claimed.push(webhook(row)?);
            }
        }
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
