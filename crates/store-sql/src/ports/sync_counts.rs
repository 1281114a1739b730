//! What is counted for runs.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use integrations_core::{
    id::SyncRunId,
    store::StoreError,
    sync::{ItemStatus, RunCounts, RunState},
};
use serde_json::{Value as Json, json};

use crate::{
    backend::{Backend, Session},
    error::SqlError,
    row::Row,
    statement::Template,
    store::SqlStore,
};

/// Adds `by` to the count of a state and to the total.
pub(super) fn count(counts: &mut RunCounts, status: &ItemStatus, by: i64) {
    counts.total += by;
    match status {
        ItemStatus::Pending | ItemStatus::Processing => counts.open += by,
        ItemStatus::Success => counts.succeeded += by,
        ItemStatus::Failed => counts.failed += by,
        ItemStatus::Skipped => counts.skipped += by,
        ItemStatus::Unrecognised(_) => {}
    }
}

/// What changes in the counts of runs.
#[derive(Debug, Default)]
pub(super) struct Recount(BTreeMap<SyncRunId, RunCounts>);

impl Recount {
    /// Counts an item of `run` that goes from one state to another.
    pub(super) fn moved(&mut self, run: SyncRunId, from: &ItemStatus, to: &ItemStatus) {
        let counts = self.0.entry(run).or_default();
        count(counts, from, -1);
        count(counts, to, 1);
    }

    /// Counts an item in state `status` that leaves `run`.
    pub(super) fn left(&mut self, run: SyncRunId, status: &ItemStatus) {
        count(self.0.entry(run).or_default(), status, -1);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How a run stands after a recount.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) open: i64,
    /// Enumeration has ended.
    pub(super) enumerated: bool,
    /// The run has not ended.
    pub(super) running: bool,
}

impl Standing {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let state = RunState::from(row.get::<String>("state")?);
        Ok(Self {
            open: row.get("items_open")?,
            enumerated: row.get("enumerated")?,
            running: state == RunState::Running,
        })
    }

    /// Whether nothing holds back the end of the run.
    pub(super) const fn is_finalisable(self) -> bool {
        self.running && self.enumerated && self.open == 0
    }
}

impl<B: Backend> SqlStore<B> {
    /// Writes counts, the runs in the order of their ids. The last rows a transaction locks, since
    /// all workers of a run want them.
    pub(super) async fn recount(
        &self,
        session: &mut dyn Session,
        recount: &Recount,
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<SyncRunId, Standing>, SqlError> {
        const RECOUNT: Template = Template::each(
            "WITH locked AS (SELECT id FROM {sync_runs} WHERE id IN \
             (SELECT id FROM jsonb_to_recordset($1) AS e (id bigint)) ORDER BY id FOR UPDATE) \
             UPDATE {sync_runs} AS r SET items_open = items_open + e.open, \
             items_total = items_total + e.total, items_succeeded = items_succeeded + e.succeeded, \
             items_failed = items_failed + e.failed, items_skipped = items_skipped + e.skipped, \
             updated_at = $2 FROM locked JOIN jsonb_to_recordset($1) AS e (id bigint, open bigint, \
             total bigint, succeeded bigint, failed bigint, skipped bigint) ON e.id = locked.id \
             WHERE r.id = locked.id RETURNING r.id, items_open, enumerated, state",
            "UPDATE {sync_runs} SET items_open = items_open + e.open, \
             items_total = items_total + e.total, items_succeeded = items_succeeded + e.succeeded, \
             items_failed = items_failed + e.failed, items_skipped = items_skipped + e.skipped, \
             updated_at = $2 FROM (SELECT value ->> 'id' AS id, value ->> 'open' AS open, \
             value ->> 'total' AS total, value ->> 'succeeded' AS succeeded, \
             value ->> 'failed' AS failed, value ->> 'skipped' AS skipped FROM json_each($1)) AS e \
             WHERE {sync_runs}.id = e.id RETURNING id, items_open, enumerated, state",
        );
        let entry = |(run, counts): (&SyncRunId, &RunCounts)| {
            json!({
                "id": run,
                "open": counts.open,
                "total": counts.total,
                "succeeded": counts.succeeded,
                "failed": counts.failed,
                "skipped": counts.skipped,
            })
        };
        let entries: Json = recount.0.iter().map(entry).collect();
        let statement = self.sql(&RECOUNT).bind(entries).bind(now);
        let rows = session.query(statement).await?;
        rows.iter()
            .map(|row| Ok((row.get("id")?, Standing::read(row)?)))
            .collect()
    }
}
