//! [`SyncSettlement`] over SQL.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    id::SyncItemId,
    store::StoreError,
    sync::{ItemOutcome, ItemSettled, ItemSettlement, ItemStatus, SyncSettlement},
};
use serde_json::{Value as Json, json};

use super::{
    payload::hex,
    sync_counts::Recount,
    sync_state::{ItemState, state_columns},
};
use crate::{
    backend::{Backend, Session},
    checks::Fits,
    error::SqlError,
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
        let Some(now) = settlements.iter().map(|one| one.now).max() else {
            return Ok(Vec::new());
        };
        let ids: Vec<i64> = settlements.iter().map(|one| one.id.0).collect();
        let mut session = self.backend.begin().await?;
        let mut claimed = self.lock_claimed(&mut *session, &ids).await?;
        let mut settled: BTreeMap<SyncItemId, ItemState> = BTreeMap::new();
        let mut recount = Recount::default();
        for settlement in settlements {
            // Removed, so that an item given twice is settled once.
            let held = claimed
                .get(&settlement.id)
                .is_some_and(|item| item.is_held(settlement));
            if held && let Some(before) = claimed.remove(&settlement.id) {
                let after = before.settled(settlement);
                recount.moved(after.run_id, &before.status, &after.status);
                settled.insert(after.id, after);
            }
        }
        if settled.is_empty() {
            return Ok(vec![ItemSettled::LeaseLost; settlements.len()]);
        }
        let mut runs_of: BTreeMap<_, _> = (settled.values())
            .map(|item| (item.id, item.run_id))
            .collect();
        let successes = successes(settled.values());
        if !successes.is_empty() {
            for older in self.lock_superseded(&mut *session, &successes, now).await? {
                recount.moved(older.run_id, &older.status, &ItemStatus::Skipped);
                let why = Some(SUPERSEDED.to_owned());
                settled.insert(older.id, older.ended(ItemStatus::Skipped, why, now));
            }
            self.record_successes(&mut *session, &successes, now)
                .await?;
        }
        let written: Vec<ItemState> = settled.into_values().collect();
        self.write_items(&mut *session, &written).await?;
        let runs = self.recount(&mut *session, &recount, now).await?;
        session.commit().await?;
        let answer = |settlement: &ItemSettlement| {
            let Some(run_id) = runs_of.remove(&settlement.id) else {
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
                state_columns!(),
                " FROM {sync_items} AS t WHERE t.id = ANY($1) \
                 AND t.status IN ('pending', 'processing') ORDER BY t.id FOR UPDATE"
            ),
            concat!(
                "SELECT ",
                state_columns!(),
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
        successes: &[Json],
        now: DateTime<Utc>,
    ) -> Result<Vec<ItemState>, SqlError> {
        const LOCK: Template = Template::each(
            concat!(
                "SELECT ",
                state_columns!(),
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
                state_columns!(),
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
        let statement = self.sql(&LOCK).bind(Json::from(successes)).bind(now);
        let rows = session.query(statement).await?;
        Ok(rows.iter().map(ItemState::read).collect::<Result<_, _>>()?)
    }

    /// Moves records forwards to the versions that succeeded.
    async fn record_successes(
        &self,
        session: &mut dyn Session,
        successes: &[Json],
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
        let statement = self.sql(&RECORD).bind(Json::from(successes)).bind(now);
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

/// An entry for the newest version of each record among those that succeeded.
fn successes<'a>(settled: impl Iterator<Item = &'a ItemState>) -> Vec<Json> {
    let mut newest = BTreeMap::new();
    for item in settled.filter(|item| item.status == ItemStatus::Success) {
        let Some(external_id) = &item.external_id else {
            continue;
        };
        let record = (item.integration_id, &item.stream, &item.kind, external_id);
        let version = (&item.checkpoint_order, item.id);
        let (known, entry) = newest.entry(record).or_insert((version, item));
        if *known < version {
            (*known, *entry) = (version, item);
        }
    }
    newest
        .into_values()
        .map(|(_, item)| success(item))
        .collect()
}

fn success(item: &ItemState) -> Json {
    // A digest is the version of what has no checkpoint.
    let digest = match &item.checkpoint_order {
        Some(_) => None,
        None => item.digest.as_deref().map(hex),
    };
    json!({
        "id": item.id,
        "integration": item.integration_id,
        "stream": item.stream,
        "kind": item.kind,
        "external_id": item.external_id,
        "version": item.checkpoint_order,
        "digest": digest,
    })
}
