//! Claims on deliveries with ordering keys: of each key the first, one key after the other.
//!
//! What waits behind the first of its key is never looked at, however much of it is due.

use integrations_core::webhook::{Webhook, WebhookClaim};

use super::{
    inbox_rotation::Place,
    inbox_rows::{webhook, webhook_columns},
};
use crate::{
    backend::{NumberLock, OwnCommit, Plans},
    error::SqlError,
    row::Row,
    statement::{Column, Template},
    store::{SqlStore, ended},
};

/// How many keys a claim looks at; the next one goes on behind them.
const MAX_KEYS: usize = 1000;

/// Whether another delivery of the key of `w` is under a lease that is live at `$1`. Nothing is said
/// of states, so that no other index than that of leases serves it. `OFFSET 0` keeps the planner
/// from reading all leases at once.
macro_rules! key_is_leased {
    ($index:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM {webhooks} AS o ",
            $index,
            " WHERE coalesce(o.integration_id, 0) = coalesce(w.integration_id, 0) \
             AND o.provider = w.provider AND o.ordering_key = w.ordering_key \
             AND o.lease_until > $1 LIMIT 1 OFFSET 0)"
        )
    };
}

macro_rules! is_due_on_sqlite {
    () => {
        concat!(
            "(w.available_at <= $1 AND w.provider IN (SELECT value FROM json_each($2)) AND NOT ",
            key_is_leased!("INDEXED BY {webhooks_ordered_lease_idx}"),
            ")"
        )
    };
}

/// The first delivery of the next key. SQLite searches no further than to the beginning of a row
/// value, and would read everything of the key it stands at: so one column is compared.
macro_rules! next_on_sqlite {
    ($behind:literal) => {
        concat!(
            "(SELECT n.id FROM {webhooks} AS n INDEXED BY {webhooks_ordering_idx} \
             WHERE coalesce(n.integration_id, 0) = walk.integration \
             AND n.ordering_key IS NOT NULL AND n.status IN ('pending', 'processing') AND ",
            $behind,
            " ORDER BY n.provider, n.ordering_key, n.created_at, n.id LIMIT 1)"
        )
    };
}

/// The first unfinished delivery of each key, and whether it is due at `$1`: of each integration
/// from a key of its own on, until as many are due as it may have, or `$3` keys were visited.
const HEADS: Template = Template::each(
    concat!(
        "WITH RECURSIVE walk (integration, share, provider, ordering_key, id, is_due, found, visited) \
         AS (SELECT own.id, own.share, own.provider, own.ordering_key, NULL::bigint, false, 0, 0 \
         FROM unnest($4::bigint[], $5::bigint[], $6::text[], $7::text[]) \
         AS own (id, share, provider, ordering_key) \
         UNION ALL SELECT walk.integration, walk.share, head.provider::text, \
         head.ordering_key::text, head.id, head.is_due, found + head.is_due::int, visited + 1 \
         FROM walk CROSS JOIN LATERAL (SELECT w.provider, w.ordering_key, w.id, \
         (w.available_at <= $1 AND w.provider = ANY($2) AND NOT ",
        key_is_leased!(""),
        ") AS is_due FROM {webhooks} AS w \
         WHERE coalesce(w.integration_id, 0) = walk.integration AND w.ordering_key IS NOT NULL \
         AND w.status IN ('pending', 'processing') \
         AND (w.provider, w.ordering_key) > (walk.provider, walk.ordering_key) \
         ORDER BY w.provider, w.ordering_key, w.created_at, w.id LIMIT 1) AS head \
         WHERE found < share AND visited < $3) \
         SELECT integration, provider, ordering_key, id, is_due FROM walk WHERE id IS NOT NULL",
    ),
    concat!(
        "WITH RECURSIVE walk (integration, share, provider, ordering_key, id, is_due, found, visited) \
         AS (SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, NULL, 0, 0, 0 \
         FROM json_each($4) \
         UNION ALL SELECT walk.integration, walk.share, w.provider, w.ordering_key, w.id, ",
        is_due_on_sqlite!(),
        ", found + ",
        is_due_on_sqlite!(),
        ", visited + 1 FROM walk CROSS JOIN {webhooks} AS w ON w.id = coalesce(",
        next_on_sqlite!("n.provider = walk.provider AND n.ordering_key > walk.ordering_key"),
        ", ",
        next_on_sqlite!("n.provider > walk.provider"),
        ") WHERE found < share AND visited < $3) \
         SELECT integration, provider, ordering_key, id, is_due FROM walk WHERE id IS NOT NULL",
    ),
);

/// Whether `w` may be claimed at `$1`: due, the first of its key, and none of that key claimed.
macro_rules! may_be_claimed {
    ($leases:literal, $firsts:literal) => {
        concat!(
            "w.status IN ('pending', 'processing') AND w.available_at <= $1 \
             AND w.duplicate_of IS NULL AND (w.lease_until IS NULL OR w.lease_until <= $1) \
             AND NOT ",
            key_is_leased!($leases),
            " AND NOT EXISTS (SELECT 1 FROM {webhooks} AS o ",
            $firsts,
            " WHERE coalesce(o.integration_id, 0) = coalesce(w.integration_id, 0) \
             AND o.provider = w.provider AND o.ordering_key = w.ordering_key \
             AND o.ordering_key IS NOT NULL AND o.status IN ('pending', 'processing') \
             AND (o.created_at, o.id) < (w.created_at, w.id) LIMIT 1 OFFSET 0)"
        )
    };
}

/// Claims those of `$2` that may be.
const CLAIM: Template = Template::each(
    concat!(
        "WITH due AS MATERIALIZED (SELECT mine.id FROM unnest($2) AS own (id) \
         CROSS JOIN LATERAL (SELECT w.id FROM {webhooks} AS w WHERE w.id = own.id AND ",
        may_be_claimed!("", ""),
        " FOR UPDATE OF w SKIP LOCKED) AS mine) \
         UPDATE {webhooks} SET status = 'processing', attempts = attempts + 1, \
         lease_until = $3, lease_token = $4, updated_at = $1 \
         WHERE id = ANY(ARRAY(SELECT id FROM due)) RETURNING ",
        webhook_columns!(),
    ),
    concat!(
        "UPDATE {webhooks} SET status = 'processing', attempts = attempts + 1, \
         lease_until = $3, lease_token = $4, updated_at = $1 \
         WHERE id IN (SELECT w.id FROM json_each($2) AS own \
         CROSS JOIN {webhooks} AS w ON w.id = own.value WHERE ",
        may_be_claimed!(
            "INDEXED BY {webhooks_ordered_lease_idx}",
            "INDEXED BY {webhooks_ordering_idx}"
        ),
        ") RETURNING ",
        webhook_columns!(),
    ),
);

/// How much of an integration is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) integration: i64,
    pub(super) count: u32,
}

/// A walk over the keys of an integration.
struct Walk {
    share: Share,
    /// `None`: from the first key on.
    from: Option<Place>,
}

impl<B: OwnCommit> SqlStore<B> {
    /// Claims deliveries with ordering keys, a share of each integration and at most `limit`.
    pub(super) async fn claim_ordered(
        &self,
        claim: &WebhookClaim,
        shares: &[Share],
        limit: u32,
    ) -> Result<Vec<Webhook>, SqlError> {
        let mut heads = self.due_heads(claim, shares).await?;
        heads.truncate(limit as usize);
        if heads.is_empty() {
            return Ok(Vec::new());
        }
        // One claim sees what another has just claimed: a delivery that came in front of it, or was
        // queued again there, would else be claimed beside it.
        let one_by_one = NumberLock {
            number: self.statements.lock_number("webhooks"),
            shared: false,
        };
        let statement = self
            .sql(&CLAIM)
            .bind(claim.now)
            .bind_numbers(&heads)
            .bind(claim.lease_until)
            .bind(&claim.token);
        let mut session = self
            .backend
            .begin_batch(Plans::Fresh, &[one_by_one])
            .await?;
        let claimed = session.query(statement).await;
        let claimed = ended(session, claimed).await?;
        Ok(claimed.iter().map(webhook).collect::<Result<_, _>>()?)
    }

    /// The deliveries that are due and the first of their keys, a share of each integration.
    async fn due_heads(
        &self,
        claim: &WebhookClaim,
        shares: &[Share],
    ) -> Result<Vec<i64>, SqlError> {
        let max_keys = MAX_KEYS / shares.len().max(1);
        let walk = |share: &Share| Walk {
            share: *share,
            from: self.webhook_rotation.place(share.integration),
        };
        let mut walks: Vec<Walk> = shares.iter().map(walk).collect();
        let mut heads = Vec::new();
        while !walks.is_empty() {
            let rows = self.visit_keys(claim, &walks, max_keys).await?;
            let mut rest = Vec::new();
            for Walk { share, from } in walks {
                let (mut visited, mut found, mut place) = (0, 0, None);
                for row in &rows {
                    if row.get::<i64>("integration")? != share.integration {
                        continue;
                    }
                    visited += 1;
                    place = Some(Place {
                        provider: row.get("provider")?,
                        key: row.get("ordering_key")?,
                    });
                    if row.get("is_due")? {
                        found += 1;
                        heads.push(row.get("id")?);
                    }
                }
                let goes_on = found >= share.count || visited >= max_keys;
                let place = place.filter(|_| goes_on);
                self.webhook_rotation.keep_place(share.integration, place);
                if !goes_on && from.is_some() {
                    // The end; the others are in front of where it began.
                    let count = share.count - found;
                    let share = Share { count, ..share };
                    rest.push(Walk { share, from: None });
                }
            }
            walks = rest;
        }
        // A second lap may come past where the first began.
        heads.sort_unstable();
        heads.dedup();
        Ok(heads)
    }

    async fn visit_keys(
        &self,
        claim: &WebhookClaim,
        walks: &[Walk],
        max_keys: usize,
    ) -> Result<Vec<Row>, SqlError> {
        let own = walks.iter().map(|walk| {
            let from = walk.from.as_ref();
            let (provider, key) = from.map_or(("", ""), |at| (&at.provider, &at.key));
            self.row()
                .bind(walk.share.integration)
                .bind(i64::from(walk.share.count))
                .bind(provider)
                .bind(key)
        });
        let columns = [Column::Number, Column::Number, Column::Text, Column::Text];
        let statement = self
            .sql(&HEADS)
            .bind(claim.now)
            .bind_texts(&claim.providers)
            .bind(i64::try_from(max_keys).unwrap_or(i64::MAX))
            .bind_rows(&columns, own.collect())
            .planned_anew();
        self.backend.read().await?.query(statement).await
    }
}
