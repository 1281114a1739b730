//! Claims on items, and what becomes of claims that run out.

use std::{collections::HashMap, sync::atomic::Ordering};

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, SyncItemId, Uid},
    store::StoreError,
    sync::{ItemClaim, KindSelection, SyncItem},
    value::ItemKind,
};

use super::sync_rows::{self, item_columns};
use crate::{backend::OwnCommit, error::SqlError, row::Row, statement::Template, store::SqlStore};

/// How many integrations one claim looks at.
const MAX_INTEGRATIONS: u32 = 25;

/// The integrations with due items behind `$1`, going round: a walk from one to the next by the
/// claim's index, which never looks at what waits behind the first item of each. `-1` stands for
/// the end of the first lap. Scalar subqueries, since a join would be planned for the whole walk.
/// SQLite would take the index on states, and with it all that is done.
const DUE: Template = Template::each(
    "WITH RECURSIVE walk (id, lap) AS (SELECT $1, 0 UNION ALL SELECT coalesce(\
     (SELECT min(integration_id) FROM {sync_items} \
     WHERE status IN ('pending', 'processing') AND integration_id > walk.id), -1), \
     CASE WHEN walk.id = -1 THEN 1 ELSE lap END \
     FROM walk WHERE lap = 0 OR (id > 0 AND id < $1)) \
     SELECT id FROM walk WHERE ((lap = 0 AND id > $1) OR (lap = 1 AND id <= $1)) \
     AND (SELECT i.is_active AND i.removed_at IS NULL AND i.health_status <> 'disabled' \
     FROM {integrations} AS i WHERE i.id = walk.id) \
     AND (SELECT true FROM {sync_items} AS t WHERE t.integration_id = walk.id \
     AND t.status IN ('pending', 'processing') AND t.available_at <= $2 \
     AND (t.lease_until IS NULL OR t.lease_until <= $2) \
     AND ($3 OR t.event_class = ANY($4)) LIMIT 1) LIMIT $5",
    "WITH RECURSIVE walk (id, lap) AS (SELECT $1, 0 UNION ALL SELECT coalesce(\
     (SELECT min(integration_id) FROM {sync_items} INDEXED BY {sync_items_claim_idx} \
     WHERE status IN ('pending', 'processing') AND integration_id > walk.id), -1), \
     CASE WHEN walk.id = -1 THEN 1 ELSE lap END \
     FROM walk WHERE lap = 0 OR (id > 0 AND id < $1)) \
     SELECT id FROM walk WHERE ((lap = 0 AND id > $1) OR (lap = 1 AND id <= $1)) \
     AND (SELECT i.is_active AND i.removed_at IS NULL AND i.health_status <> 'disabled' \
     FROM {integrations} AS i WHERE i.id = walk.id) \
     AND (SELECT true FROM {sync_items} AS t WHERE t.integration_id = walk.id \
     AND t.status IN ('pending', 'processing') AND t.available_at <= $2 \
     AND (t.lease_until IS NULL OR t.lease_until <= $2) \
     AND ($3 OR t.event_class IN (SELECT value FROM json_each($4))) LIMIT 1) LIMIT $5",
);

/// Claims at most `$5` due items of each integration of `$1`, and at most `$6` in all.
///
/// A version of a record waits for older ones that are unfinished, and for any that is under a
/// live lease.
const CLAIM: Template = Template::each(
    concat!(
        "WITH due AS MATERIALIZED (SELECT mine.id FROM unnest($1) WITH ORDINALITY AS own (id, rank) \
         CROSS JOIN LATERAL (SELECT t.id FROM {sync_items} AS t \
         WHERE t.integration_id = own.id AND t.status IN ('pending', 'processing') \
         AND t.available_at <= $2 AND (t.lease_until IS NULL OR t.lease_until <= $2) \
         AND ($3 OR t.event_class = ANY($4)) \
         AND (t.external_id IS NULL OR NOT EXISTS (SELECT 1 FROM {sync_items} AS o \
         WHERE o.integration_id = t.integration_id AND o.external_id = t.external_id \
         AND o.stream = t.stream AND o.event_class = t.event_class AND o.id <> t.id \
         AND o.status IN ('pending', 'processing') AND (o.lease_until > $2 OR \
         (coalesce(o.checkpoint_order, ''), o.id) < (coalesce(t.checkpoint_order, ''), t.id)))) \
         ORDER BY t.available_at, t.id LIMIT $5 FOR UPDATE OF t SKIP LOCKED) AS mine LIMIT $6) \
         UPDATE {sync_items} AS t SET status = 'processing', attempts = attempts + 1, \
         lease_until = $7, lease_token = $8, updated_at = $2 \
         WHERE t.id IN (SELECT id FROM due) RETURNING ",
        item_columns!(),
    ),
    concat!(
        "UPDATE {sync_items} SET status = 'processing', attempts = attempts + 1, \
         lease_until = $7, lease_token = $8, updated_at = $2 \
         WHERE id IN (SELECT mine.id FROM json_each($1) AS own \
         CROSS JOIN {sync_items} AS mine ON mine.id IN (SELECT t.id FROM {sync_items} AS t \
         WHERE t.integration_id = own.value AND t.status IN ('pending', 'processing') \
         AND t.available_at <= $2 AND (t.lease_until IS NULL OR t.lease_until <= $2) \
         AND ($3 OR t.event_class IN (SELECT value FROM json_each($4))) \
         AND (t.external_id IS NULL OR NOT EXISTS (SELECT 1 FROM {sync_items} AS o \
         WHERE o.integration_id = t.integration_id AND o.external_id = t.external_id \
         AND o.stream = t.stream AND o.event_class = t.event_class AND o.id <> t.id \
         AND o.status IN ('pending', 'processing') AND (o.lease_until > $2 OR \
         (coalesce(o.checkpoint_order, ''), o.id) < (coalesce(t.checkpoint_order, ''), t.id)))) \
         ORDER BY t.available_at, t.id LIMIT $5) LIMIT $6) RETURNING ",
        item_columns!(),
    ),
);

impl<B: OwnCommit> SqlStore<B> {
    pub(super) async fn claim_items_once(
        &self,
        claim: &ItemClaim,
    ) -> Result<Vec<SyncItem>, SqlError> {
        let nothing_to_handle = matches!(&claim.kinds, KindSelection::Only(k) if k.is_empty());
        if claim.limit == 0 || nothing_to_handle {
            return Ok(Vec::new());
        }
        let due = match claim.integration_id {
            Some(id) => self.open_to_claims(id).await?,
            None => self.due_integrations(claim).await?,
        };
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let share = (claim.limit / u32::try_from(due.len()).unwrap_or(u32::MAX)).max(1);
        let mut claimed = self.claim_share(claim, &due, share, claim.limit).await?;
        let left = claim
            .limit
            .saturating_sub(u32::try_from(claimed.len()).unwrap_or(u32::MAX));
        // Without a full share nobody has more.
        if left > 0 && has_full_share(&claimed, share) {
            claimed.extend(self.claim_share(claim, &due, left, left).await?);
        }
        if let Some(last) = claimed.last() {
            self.last_served
                .store(last.integration_id.0, Ordering::Relaxed);
        }
        Ok(claimed)
    }

    /// The integration, if items of it may be claimed.
    async fn open_to_claims(&self, id: IntegrationId) -> Result<Vec<i64>, SqlError> {
        const OPEN: Template = Template::both(
            "SELECT id FROM {integrations} WHERE id = $1 AND is_active AND removed_at IS NULL \
             AND health_status <> 'disabled'",
        );
        let rows = self
            .backend
            .read()
            .await?
            .query(self.sql(&OPEN).bind(id))
            .await?;
        read_ids(&rows)
    }

    async fn due_integrations(&self, claim: &ItemClaim) -> Result<Vec<i64>, SqlError> {
        let (every_kind, kinds) = selected(&claim.kinds);
        let statement = self
            .sql(&DUE)
            .bind(self.last_served.load(Ordering::Relaxed))
            .bind(claim.now)
            .bind(every_kind)
            .bind_texts(kinds)
            .bind(claim.limit.min(MAX_INTEGRATIONS));
        read_ids(&self.backend.read().await?.query(statement).await?)
    }

    /// Claims a share of each integration, in the order given, the longest due first.
    async fn claim_share(
        &self,
        claim: &ItemClaim,
        integrations: &[i64],
        share: u32,
        limit: u32,
    ) -> Result<Vec<SyncItem>, SqlError> {
        let (every_kind, kinds) = selected(&claim.kinds);
        let statement = self
            .sql(&CLAIM)
            .bind_numbers(integrations)
            .bind(claim.now)
            .bind(every_kind)
            .bind_texts(kinds)
            .bind(share)
            .bind(limit)
            .bind(claim.lease_until)
            .bind(&claim.token);
        let rows = self.backend.write().await?.query(statement).await?;
        let mut items = rows
            .iter()
            .map(sync_rows::item)
            .collect::<Result<Vec<_>, _>>()?;
        let rank: HashMap<i64, usize> = integrations.iter().copied().zip(0..).collect();
        items.sort_by_key(|item| {
            (
                rank.get(&item.integration_id.0).copied(),
                item.available_at,
                item.id,
            )
        });
        Ok(items)
    }

    pub(super) async fn renew_items_once(
        &self,
        token: Uid,
        items: &[SyncItemId],
        until: DateTime<Utc>,
    ) -> Result<Vec<SyncItemId>, SqlError> {
        const RENEW: Template = Template::each(
            "WITH held AS (SELECT id FROM {sync_items} WHERE id = ANY($1) AND lease_token = $2 \
             AND status IN ('pending', 'processing') ORDER BY id FOR UPDATE) \
             UPDATE {sync_items} AS t SET lease_until = $3 FROM held WHERE t.id = held.id \
             RETURNING t.id",
            "UPDATE {sync_items} SET lease_until = $3 \
             WHERE id IN (SELECT value FROM json_each($1)) AND lease_token = $2 \
             AND status IN ('pending', 'processing') RETURNING id",
        );
        let ids: Vec<i64> = items.iter().map(|id| id.0).collect();
        let statement = self.sql(&RENEW).bind_numbers(&ids).bind(&token).bind(until);
        let kept = read_ids(&self.backend.write().await?.query(statement).await?)?;
        let lost = items.iter().copied().filter(|id| !kept.contains(&id.0));
        Ok(lost.collect())
    }

    pub(super) async fn reclaim_items_once(
        &self,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<u64, SqlError> {
        // By way of the integrations, since the index on states begins with them.
        const RECLAIM: Template = Template::each(
            "WITH left_over AS MATERIALIZED (SELECT t.id FROM {integrations} AS i \
             CROSS JOIN LATERAL (SELECT id FROM {sync_items} AS t WHERE t.integration_id = i.id \
             AND t.status = 'processing' AND t.lease_until <= $1 ORDER BY id \
             FOR UPDATE OF t SKIP LOCKED) AS t LIMIT $2) \
             UPDATE {sync_items} SET status = 'pending', lease_until = NULL, lease_token = NULL, \
             updated_at = $1 WHERE id IN (SELECT id FROM left_over)",
            "UPDATE {sync_items} SET status = 'pending', lease_until = NULL, lease_token = NULL, \
             updated_at = $1 WHERE id IN (SELECT t.id FROM {integrations} AS i \
             CROSS JOIN {sync_items} AS t ON t.integration_id = i.id \
             WHERE t.status = 'processing' AND t.lease_until <= $1 LIMIT $2)",
        );
        let statement = self.sql(&RECLAIM).bind(now).bind(limit);
        self.backend.write().await?.execute(statement).await
    }

    pub(super) async fn read_waiting_kinds(&self) -> Result<Vec<(ItemKind, u64)>, StoreError> {
        const WAITING: Template = Template::both(
            "SELECT t.event_class, count(*) AS waiting FROM {sync_items} AS t \
             JOIN {integrations} AS i ON i.id = t.integration_id AND i.removed_at IS NULL \
             WHERE t.status IN ('pending', 'processing') AND t.status = 'pending' \
             GROUP BY t.event_class",
        );
        let rows = self.backend.read().await?.query(self.sql(&WAITING)).await?;
        let kind = |row: &Row| Ok((row.parse("event_class")?, row.get("waiting")?));
        let mut kinds = rows
            .iter()
            .map(kind)
            .collect::<Result<Vec<(ItemKind, u64)>, StoreError>>()?;
        kinds.sort_unstable();
        Ok(kinds)
    }
}

/// Whether every kind is asked for, and else which.
fn selected(kinds: &KindSelection) -> (bool, &[ItemKind]) {
    match kinds {
        KindSelection::All => (true, &[]),
        KindSelection::Only(kinds) => (false, kinds),
    }
}

fn has_full_share(claimed: &[SyncItem], share: u32) -> bool {
    let mut shares: HashMap<IntegrationId, u32> = HashMap::new();
    for item in claimed {
        *shares.entry(item.integration_id).or_default() += 1;
    }
    shares.values().any(|taken| *taken >= share)
}

fn read_ids(rows: &[Row]) -> Result<Vec<i64>, SqlError> {
    rows.iter().map(|row| Ok(row.get("id")?)).collect()
}
