//! Claims on items, and what becomes of claims that run out.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, SyncItemId, Uid},
    store::StoreError,
    sync::{ItemClaim, KindSelection, SyncItem},
    value::ItemKind,
};

use super::{
    sync_rotation::MAX_INTEGRATIONS,
    sync_rows::{self, item_columns},
};
use crate::{
    backend::{NumberLock, OwnCommit, Plans, Session},
    dialect::Dialect,
    error::SqlError,
    row::Row,
    statement::{Column, Template},
    store::SqlStore,
};

/// Items of `$now` that wait: unfinished, due and under no live lease. The state is compared where
/// no index can serve it.
macro_rules! due {
    ($now:literal) => {
        concat!(
            "t.completed_at IS NULL AND coalesce(t.status, '') = 'pending' \
             AND t.available_at <= ",
            $now,
            " AND (t.lease_until IS NULL OR t.lease_until <= ",
            $now,
            ")"
        )
    };
}

/// Whether `t` waits for no other version of its record. `OFFSET 0` keeps the planner from reading
/// all versions there are at once.
macro_rules! first_of_record {
    ($now:literal) => {
        concat!(
            "(t.external_id IS NULL OR NOT EXISTS (SELECT 1 FROM {sync_items} AS o \
             WHERE coalesce(o.integration_id, 0) = coalesce(t.integration_id, 0) \
             AND o.external_id = t.external_id \
             AND o.status NOT IN ('success', 'skipped') AND coalesce(o.status, '') <> 'failed' \
             AND o.stream = t.stream AND o.event_class = t.event_class AND o.id <> t.id \
             AND (o.lease_until > ",
            $now,
            " OR (coalesce(o.checkpoint_order, ''), o.id) \
             < (coalesce(t.checkpoint_order, ''), t.id)) LIMIT 1 OFFSET 0))"
        )
    };
}

/// Whether the integration of this id lets its items be claimed.
macro_rules! is_open {
    ($id:literal) => {
        concat!(
            "(SELECT i.is_active AND i.removed_at IS NULL AND i.health_status <> 'disabled' \
             FROM {integrations} AS i WHERE i.id = ",
            $id,
            ")"
        )
    };
}

/// The integrations with items for a claim behind `$1`, going round: a walk from one to the next by
/// the claim's index, which never looks at what waits behind the first item of each. `-1` stands
/// for the end of the first lap. Scalar subqueries, since a join would be planned for the whole
/// walk. No other index has the order they ask for.
const DUE: Template = Template::each(
    concat!(
        "WITH RECURSIVE walk (id, lap) AS (SELECT $1, 0 UNION ALL SELECT coalesce(\
         (SELECT integration_id FROM {sync_items} \
         WHERE completed_at IS NULL AND integration_id > walk.id \
         ORDER BY integration_id, available_at, id LIMIT 1), -1), \
         CASE WHEN walk.id = -1 THEN 1 ELSE lap END \
         FROM walk WHERE lap = 0 OR (id > 0 AND id < $1)) \
         SELECT id FROM walk WHERE ((lap = 0 AND id > $1) OR (lap = 1 AND id <= $1)) \
         AND ",
        is_open!("walk.id"),
        " AND (SELECT true FROM {sync_items} AS t WHERE t.integration_id = walk.id AND ",
        due!("$2"),
        " AND ($3 OR t.event_class = ANY($4)) AND ",
        first_of_record!("$2"),
        " ORDER BY t.available_at, t.id LIMIT 1) LIMIT $5"
    ),
    concat!(
        "WITH RECURSIVE walk (id, lap) AS (SELECT $1, 0 UNION ALL SELECT coalesce(\
         (SELECT min(integration_id) FROM {sync_items} INDEXED BY {sync_items_claim_idx} \
         WHERE completed_at IS NULL AND integration_id > walk.id), -1), \
         CASE WHEN walk.id = -1 THEN 1 ELSE lap END \
         FROM walk WHERE lap = 0 OR (id > 0 AND id < $1)) \
         SELECT id FROM walk WHERE ((lap = 0 AND id > $1) OR (lap = 1 AND id <= $1)) \
         AND ",
        is_open!("walk.id"),
        " AND (SELECT true FROM {sync_items} AS t INDEXED BY {sync_items_claim_idx} \
         WHERE t.integration_id = walk.id AND ",
        due!("$2"),
        " AND ($3 OR t.event_class IN (SELECT value FROM json_each($4))) AND ",
        first_of_record!("$2"),
        " ORDER BY t.available_at, t.id LIMIT 1) LIMIT $5"
    ),
);

/// Claims at most `$4` due items of each integration, from a floor of its own on, and at most `$5`
/// in all.
const CLAIM: Template = Template::each(
    concat!(
        "WITH due AS MATERIALIZED (SELECT mine.id FROM unnest($8::bigint[], $9::timestamptz[]) \
         AS own (id, floor) CROSS JOIN LATERAL (SELECT t.id FROM {sync_items} AS t \
         WHERE t.integration_id = own.id AND t.available_at >= own.floor AND ",
        due!("$1"),
        " AND ($2 OR t.event_class = ANY($3)) AND ",
        first_of_record!("$1"),
        " ORDER BY t.available_at, t.id LIMIT $4 FOR UPDATE OF t SKIP LOCKED) AS mine WHERE ",
        is_open!("own.id"),
        " LIMIT $5) UPDATE {sync_items} AS t SET attempts = attempts + 1, \
         lease_until = $6, lease_token = $7, updated_at = $1 \
         WHERE t.id = ANY(ARRAY(SELECT id FROM due)) RETURNING ",
        item_columns!(),
    ),
    concat!(
        "UPDATE {sync_items} SET attempts = attempts + 1, \
         lease_until = $6, lease_token = $7, updated_at = $1 \
         WHERE id IN (SELECT mine.id FROM json_each($8) AS own \
         CROSS JOIN {sync_items} AS mine ON mine.id IN (SELECT t.id FROM {sync_items} AS t \
         INDEXED BY {sync_items_claim_idx} WHERE t.integration_id = own.value ->> 0 \
         AND t.available_at >= own.value ->> 1 AND ",
        due!("$1"),
        " AND ($2 OR t.event_class IN (SELECT value FROM json_each($3))) AND ",
        first_of_record!("$1"),
        " ORDER BY t.available_at, t.id LIMIT $4) WHERE ",
        is_open!("own.value ->> 0"),
        " LIMIT $5) RETURNING ",
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
        // One transaction: a claim that fails halfway has taken nothing.
        // It keeps pages and operators from queueing older versions until it has ended. A statement
        // does not see what is committed while it runs: it could hand out a version whose older one
        // has just become visible to the next claim.
        let with_other_claims = NumberLock {
            number: self.claims_lock(),
            shared: true,
        };
        let mut session = self
            .backend
            .begin_batch(Plans::ByKey, &[with_other_claims])
            .await?;
        let due = match (claim.integration_id, self.rotation.listed(claim)) {
            (Some(id), _) => vec![id.0],
            (None, Some(listed)) => listed,
            (None, None) => self.due_integrations(&mut *session, claim).await?,
        };
        if due.is_empty() {
            self.rotation.drop_list();
            // Not dropped, which would keep pages waiting for its lock a moment longer.
            session.commit().await?;
            return Ok(Vec::new());
        }
        let (floors, is_partial) = self.rotation.floors(&due, claim);
        let mut claimed = self.claim_of(&mut *session, claim, &due, &floors).await?;
        if is_partial && left(claim, &claimed) > 0 {
            // Something may wait below the floors.
            let rest = ItemClaim {
                limit: left(claim, &claimed),
                ..claim.clone()
            };
            let bottom = vec![DateTime::<Utc>::UNIX_EPOCH; due.len()];
            let below = self.claim_of(&mut *session, &rest, &due, &bottom).await?;
            claimed.extend(below);
        }
        session.commit().await?;
        self.rotation.served(claim, &due, &claimed);
        if left(claim, &claimed) > 0 {
            self.rotation.drop_list();
        }
        Ok(claimed)
    }

    /// Claims an equal share of each integration, in the order given, then whatever is left.
    async fn claim_of(
        &self,
        session: &mut dyn Session,
        claim: &ItemClaim,
        due: &[i64],
        floors: &[DateTime<Utc>],
    ) -> Result<Vec<SyncItem>, SqlError> {
        let share = (claim.limit / u32::try_from(due.len()).unwrap_or(u32::MAX)).max(1);
        let mut claimed = self
            .claim_share(session, claim, due, floors, (share, claim.limit))
            .await?;
        let left = left(claim, &claimed);
        // Without a full share nobody has more.
        if left > 0 && has_full_share(&claimed, share) {
            claimed.extend(
                self.claim_share(session, claim, due, floors, (left, left))
                    .await?,
            );
        }
        Ok(claimed)
    }

    /// The number that claims share a lock on.
    fn claims_lock(&self) -> i64 {
        self.statements.lock_number("sync_items")
    }

    /// Waits for claims that run, and keeps new ones waiting until the transaction has ended: it
    /// queues a version in front of one that waits already.
    pub(super) async fn keep_claims_out(&self, session: &mut dyn Session) -> Result<(), SqlError> {
        const EXCLUDE: Template = Template::both("SELECT pg_advisory_xact_lock($1)::text");
        if B::DIALECT == Dialect::Postgres {
            let exclude = self.sql(&EXCLUDE).bind(self.claims_lock());
            session.execute(exclude).await?;
        }
        Ok(())
    }

    async fn due_integrations(
        &self,
        session: &mut dyn Session,
        claim: &ItemClaim,
    ) -> Result<Vec<i64>, SqlError> {
        let (every_kind, kinds) = selected(&claim.kinds);
        let statement = self
            .sql(&DUE)
            .bind(self.rotation.last_served())
            .bind(claim.now)
            .bind(every_kind)
            .bind_texts(kinds)
            .bind(claim.limit.min(MAX_INTEGRATIONS));
        let due = read_ids(&session.query(statement).await?)?;
        self.rotation.keep_list(claim, &due);
        Ok(due)
    }

    /// Claims a share of each integration, in the order given, the longest due first.
    async fn claim_share(
        &self,
        session: &mut dyn Session,
        claim: &ItemClaim,
        due: &[i64],
        floors: &[DateTime<Utc>],
        (share, limit): (u32, u32),
    ) -> Result<Vec<SyncItem>, SqlError> {
        let (every_kind, kinds) = selected(&claim.kinds);
        let own = due.iter().zip(floors);
        let own = own.map(|(id, floor)| self.row().bind(*id).bind(*floor));
        let statement = self
            .sql(&CLAIM)
            .bind(claim.now)
            .bind(every_kind)
            .bind_texts(kinds)
            .bind(share)
            .bind(limit)
            .bind(claim.lease_until)
            .bind(&claim.token)
            .bind_rows(&[Column::Number, Column::Time], own.collect());
        let rows = session.query(statement).await?;
        let mut items = rows
            .iter()
            .map(|row| sync_rows::item_at(row, claim.now))
            .collect::<Result<Vec<_>, _>>()?;
        let rank: HashMap<i64, usize> = due.iter().copied().zip(0..).collect();
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
            "WITH held AS MATERIALIZED (SELECT t.id FROM unnest($1::bigint[]) AS e (id) \
             CROSS JOIN LATERAL (SELECT id FROM {sync_items} AS t WHERE t.id = e.id \
             AND t.lease_token = $2 AND t.completed_at IS NULL FOR UPDATE) AS t) \
             UPDATE {sync_items} AS t SET lease_until = $3 \
             WHERE t.id = ANY(ARRAY(SELECT id FROM held)) RETURNING t.id",
            "UPDATE {sync_items} SET lease_until = $3 \
             WHERE id IN (SELECT value FROM json_each($1)) AND lease_token = $2 \
             AND completed_at IS NULL RETURNING id",
        );
        let mut ids: Vec<i64> = items.iter().map(|id| id.0).collect();
        ids.sort_unstable();
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
        // What is leased was due before what is not, so leases lie among the first of each
        // integration. One behind them is left: a claim takes it over all the same.
        const RECLAIM: Template = Template::each(
            "WITH left_over AS MATERIALIZED (SELECT t.id FROM {integrations} AS i \
             CROSS JOIN LATERAL (SELECT id, lease_until FROM {sync_items} \
             WHERE integration_id = i.id AND completed_at IS NULL AND available_at <= $1 \
             ORDER BY available_at, id LIMIT 10000) AS t WHERE t.lease_until <= $1 LIMIT $2) \
             UPDATE {sync_items} SET lease_until = NULL, lease_token = NULL, updated_at = $1 \
             WHERE id = ANY(ARRAY(SELECT id FROM left_over)) AND lease_until <= $1 \
             AND coalesce(status, '') = 'pending'",
            "UPDATE {sync_items} SET lease_until = NULL, lease_token = NULL, updated_at = $1 \
             WHERE id IN (SELECT t.id FROM {integrations} AS i \
             CROSS JOIN {sync_items} AS t INDEXED BY {sync_items_claim_idx} \
             ON t.integration_id = i.id AND t.completed_at IS NULL AND t.available_at <= $1 \
             WHERE t.lease_until <= $1 AND coalesce(t.status, '') = 'pending' LIMIT $2)",
        );
        let statement = self.sql(&RECLAIM).bind(now).bind(limit);
        self.backend.write().await?.execute(statement).await
    }

    pub(super) async fn read_waiting_kinds(&self) -> Result<Vec<(ItemKind, u64)>, StoreError> {
        const WAITING: Template = Template::both(
            "SELECT t.event_class, count(*) AS waiting FROM {sync_items} AS t \
             JOIN {integrations} AS i ON i.id = t.integration_id AND i.removed_at IS NULL \
             WHERE t.completed_at IS NULL AND t.lease_token IS NULL \
             AND coalesce(t.status, '') = 'pending' GROUP BY t.event_class",
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

/// How many items a claim has left to take.
fn left(claim: &ItemClaim, claimed: &[SyncItem]) -> u32 {
    (claim.limit).saturating_sub(u32::try_from(claimed.len()).unwrap_or(u32::MAX))
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
