//! [`SyncSettlement`] over SQL.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    id::SyncItemId,
    store::StoreError,
    sync::{CheckpointOrder, ItemOutcome, ItemSettled, ItemSettlement, ItemStatus, SyncSettlement},
};
use serde_json::{Value as Json, json};

use super::{
    payload::hex,
    sync_counts::Recount,
    sync_state::{ItemState, held_columns},
};
use crate::{
    backend::{Backend, Session},
    checks::Fits,
    dialect::time_text,
    error::SqlError,
    row::Row,
    statement::Template,
    store::{SqlStore, retrying},
};

/// Why an older version of a record was let go.
const SUPERSEDED: &str = "superseded by a newer version";

impl<B: Backend> SqlStore<B> {
    async fn settle_once(
        &self,
        settlements: &[ItemSettlement],
    ) -> Result<Vec<ItemSettled>, SqlError> {
        let mut session = self.backend.begin().await?;
        let ids: Vec<i64> = settlements.iter().map(|one| one.id.0).collect();
        let mut held = self.lock_claimed(&mut *session, &ids).await?;
        let mut settled = BTreeMap::new();
        let mut recount = Recount::default();
        for settlement in settlements {
            if let Some(item) = held.remove(&settlement.id)
                && item.is_held(settlement)
            {
                let after = item.settled(settlement);
                recount.moved(after.run_id, &item.status, &after.status);
                settled.insert(after.id, after);
            } else {
                // Given twice, or not the token's.
            }
        }
        let Some(now) = settlements.iter().map(|one| one.now).max() else {
            return Ok(Vec::new());
        };
        if settled.is_empty() {
            return Ok(vec![ItemSettled::LeaseLost; settlements.len()]);
        }
        let runs_of: BTreeMap<_, _> = settled.values().map(|item| (item.id, item.run_id)).collect();
        let newest = succeeded_records(settled.values());
        let mut written: Vec<ItemState> = settled.into_values().collect();
        if !newest.is_empty() {
            for older in self.lock_superseded(&mut *session, &newest, now).await? {
                if runs_of.contains_key(&older.id) {
                    continue;
                }
                recount.moved(older.run_id, &older.status, &ItemStatus::Skipped);
                written.push(older.ended(ItemStatus::Skipped, Some(SUPERSEDED.to_owned()), now));
            }
        }
        self.write_items(&mut *session, &written).await?;
        if !newest.is_empty() {
            self.record_successes(&mut *session, &newest, now).await?;
        }
        let runs = self.recount(&mut *session, &recount, now).await?;
        session.commit().await?;
        let mut left = runs_of;
        let answer = |settlement: &ItemSettlement| {
            let Some(run_id) = left.remove(&settlement.id) else {
                return ItemSettled::LeaseLost;
            };
            let run = runs.get(&run_id);
            ItemSettled::Done {
                run_id,
                open: run.map_or(0, |run| run.open),
                finalisable: run.is_some_and(|run| run.is_finalisable()),
            }
        };
        Ok(settlements.iter().map(answer).collect())
    }

    /// Locks those of some items that are claimed, in the order of their ids.
    async fn lock_claimed(
        &self,
        session: &mut dyn Session,
        ids: &[i64],
    ) -> Result<BTreeMap<SyncItemId, ItemState>, SqlError> {
        const LOCK: Template = Template::each(
            concat!(
                "SELECT ",
                held_columns!("t"),
                " FROM {sync_items} AS t WHERE t.id = ANY($1) \
                 AND t.status IN ('pending', 'processing') ORDER BY t.id FOR UPDATE"
            ),
            concat!(
                "SELECT ",
                held_columns!("t"),
                " FROM {sync_items} AS t WHERE t.id IN (SELECT value FROM json_each($1)) \
                 AND t.status IN ('pending', 'processing') ORDER BY t.id"
            ),
        );
        let rows = session.query(self.sql(&LOCK).bind_numbers(ids)).await?;
        rows.iter()
            .map(|row| {
                let item = ItemState::read(row)?;
                Ok((item.id, item))
            })
            .collect()
    }

    /// Locks the older unresolved versions of records, those under a live lease left out.
    async fn lock_superseded(
        &self,
        session: &mut dyn Session,
        newest: &[Success<'_>],
        now: DateTime<Utc>,
    ) -> Result<Vec<ItemState>, SqlError> {
        const LOCK: Template = Template::each(
            concat!(
                "SELECT ",
                held_columns!("t"),
                " FROM jsonb_to_recordset($1) AS e (integration bigint, stream text, kind text, \
                 external_id text, version text, id bigint) \
                 JOIN {sync_items} AS t ON t.integration_id = e.integration \
                 AND t.external_id = e.external_id AND t.stream = e.stream \
                 AND t.event_class = e.kind \
                 WHERE t.status IN ('pending', 'processing', 'failed') \
                 AND (t.lease_until IS NULL OR t.lease_until <= $2) \
                 AND (coalesce(t.checkpoint_order, ''), t.id) < (coalesce(e.version, ''), e.id) \
                 ORDER BY t.id FOR UPDATE OF t"
            ),
            concat!(
                "SELECT ",
                held_columns!("t"),
                " FROM json_each($1) AS e \
                 CROSS JOIN {sync_items} AS t ON t.integration_id = e.value ->> 'integration' \
                 AND t.external_id = e.value ->> 'external_id' \
                 AND t.stream = e.value ->> 'stream' AND t.event_class = e.value ->> 'kind' \
                 WHERE t.status IN ('pending', 'processing', 'failed') \
                 AND (t.lease_until IS NULL OR t.lease_until <= $2) \
                 AND (coalesce(t.checkpoint_order, ''), t.id) \
                 < (coalesce(e.value ->> 'version', ''), e.value ->> 'id') ORDER BY t.id"
            ),
        );
        let statement = self.sql(&LOCK).bind(entries(newest)).bind(now);
        let rows = session.query(statement).await?;
        Ok(rows
            .iter()
            .map(ItemState::read)
            .collect::<Result<_, _>>()?)
    }

    /// Moves records forwards to the versions that succeeded.
    async fn record_successes(
        &self,
        session: &mut dyn Session,
        newest: &[Success<'_>],
        now: DateTime<Utc>,
    ) -> Result<(), SqlError> {
        const RECORD: Template = Template::each(
            "UPDATE {sync_records} AS r SET \
             succeeded_order = greatest(r.succeeded_order, e.version), \
             succeeded_digest = coalesce(decode(e.digest, 'hex'), r.succeeded_digest), \
             failing_runs = 0, stuck_reported = false, updated_at = $2 \
             FROM jsonb_to_recordset($1) AS e (integration bigint, stream text, kind text, \
             external_id text, version text, digest text) \
             WHERE r.integration_id = e.integration AND r.stream = e.stream AND r.kind = e.kind \
             AND r.external_id = e.external_id",
            "UPDATE {sync_records} AS r SET \
             succeeded_order = coalesce(max(r.succeeded_order, e.version), e.version, \
             r.succeeded_order), \
             succeeded_digest = coalesce(unhex(e.digest), r.succeeded_digest), \
             failing_runs = 0, stuck_reported = 0, updated_at = $2 \
             FROM (SELECT value ->> 'integration' AS integration, value ->> 'stream' AS stream, \
             value ->> 'kind' AS kind, value ->> 'external_id' AS external_id, \
             value ->> 'version' AS version, value ->> 'digest' AS digest \
             FROM json_each($1)) AS e \
             WHERE r.integration_id = e.integration AND r.stream = e.stream AND r.kind = e.kind \
             AND r.external_id = e.external_id",
        );
        let statement = self.sql(&RECORD).bind(entries(newest)).bind(now);
        session.execute(statement).await?;
        Ok(())
    }
}

#[async_trait]
impl<B: Backend> SyncSettlement for SqlStore<B> {
    async fn settle_items(
        &self,
        settlements: &[ItemSettlement],
    ) -> Result<Vec<ItemSettled>, StoreError> {
        settlements
            .iter()
            .fold(Fits::new(), |fits, one| fits.text(error(&one.outcome)))
            .verdict()?;
        retrying!(self.settle_once(settlements).await)
    }
}

fn error(outcome: &ItemOutcome) -> Option<&str> {
    match outcome {
        ItemOutcome::Succeeded | ItemOutcome::PutBack { .. } => None,
        ItemOutcome::Retry { error: text, .. }
        | ItemOutcome::Failed { error: text }
        | ItemOutcome::Skipped { reason: text } => Some(text),
    }
}

impl ItemState {
    /// Whether the token of `settlement` holds a live claim on it.
    fn is_held(&self, settlement: &ItemSettlement) -> bool {
        self.lease_token.as_deref() == Some(settlement.token.as_str())
            && self.lease_until.is_some_and(|until| settlement.now < until)
    }

    /// The item after an attempt.
    fn settled(&self, settlement: &ItemSettlement) -> Self {
        let now = settlement.now;
        let error = error(&settlement.outcome).map(str::to_owned);
        match &settlement.outcome {
            ItemOutcome::Succeeded => self.ended(ItemStatus::Success, error, now),
            ItemOutcome::Failed { .. } => self.ended(ItemStatus::Failed, error, now),
            ItemOutcome::Skipped { .. } => self.ended(ItemStatus::Skipped, error, now),
            ItemOutcome::Retry { at, .. } => Self {
                error,
                ..self.waiting(*at, now)
            },
            ItemOutcome::PutBack { at } => Self {
                attempts: self.attempts.saturating_sub(1).max(0),
                ..self.waiting(*at, now)
            },
        }
    }
}

/// A version of a record that was handled.
struct Success<'a> {
    item: &'a SuccessfulItem,
}
