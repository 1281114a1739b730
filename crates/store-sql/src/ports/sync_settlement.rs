//! [`SyncSettlement`] over SQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    id::SyncRunId,
    store::StoreError,
    sync::{ItemOutcome, ItemSettled, ItemSettlement, SyncSettlement, protocol::settle},
};

use crate::{
    backend::{Backend, Plans, Session},
    checks::Fits,
    error::SqlError,
    store::{SqlStore, ended, retrying},
};

impl<B: Backend> SqlStore<B> {
    async fn settle_once(
        &self,
        settlements: &[ItemSettlement],
    ) -> Result<Vec<ItemSettled>, SqlError> {
        let Some(now) = settlements.iter().map(|one| one.now).max() else {
            return Ok(Vec::new());
        };
        let mut session = self.backend.begin_batch(Plans::ByKey, &[]).await?;
        let settled = self.settle_within(&mut *session, settlements, now).await;
        ended(session, settled).await
    }

    async fn settle_within(
        &self,
        session: &mut dyn Session,
        settlements: &[ItemSettlement],
        now: DateTime<Utc>,
    ) -> Result<Vec<ItemSettled>, SqlError> {
        let ids = settlements.iter().map(|one| one.id);
        let items = self.lock_with_versions(session, ids).await?;
        let (changes, runs) = settle(settlements, &items);
        if changes.is_empty() {
            return Ok(vec![ItemSettled::LeaseLost; settlements.len()]);
        }
        let standings = self.write_changes(session, &changes, now).await?;
        let answer = |run: Option<SyncRunId>| {
            let Some(run_id) = run else {
                return ItemSettled::LeaseLost;
            };
            let run = standings.get(&run_id);
            ItemSettled::Done {
                run_id,
                open: run.map_or(0, |run| run.open),
                finalisable: run.is_some_and(|run| run.is_finalisable()),
            }
        };
        Ok(runs.into_iter().map(answer).collect())
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
