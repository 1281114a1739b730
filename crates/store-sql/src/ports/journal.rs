//! [`CallJournal`] over SQL.
//!
//! Most batches are attempts that went well and settle nothing else. Those are one statement that
//! commits on its own: the rows, and the healing of integrations that had outages before. All
//! others are one transaction, which locks integrations, then gates, then reservations, each in
//! the order of their ids.

mod attempt;
mod circuit;
mod completion;
mod health;

use std::collections::HashMap;

use async_trait::async_trait;
use integrations_core::{
    gate::CircuitTransition,
    id::{IntegrationId, RequestId},
    idempotency::{Completion, CompletionResult},
    integration::{HealthTransition, HealthVerdict},
    request::{CallJournal, CallOutcome, Recorded},
    store::{Batch, StoreError},
};

use self::{
    circuit::settle_circuits,
    completion::{Ending, complete},
    health::{Findings, apply_findings},
};
use crate::{
    backend::{OwnCommit, Session},
    dialect::Dialect,
    error::SqlError,
    store::{SqlStore, bisect, retrying},
};

/// What a batch changed besides its own rows, by integration or by place in the batch.
#[derive(Debug, Default)]
struct Changes {
    health: HashMap<IntegrationId, HealthTransition>,
    authorization: Vec<usize>,
    circuits: HashMap<usize, CircuitTransition>,
    completions: HashMap<usize, CompletionResult>,
}

impl<B: OwnCommit> SqlStore<B> {
    /// Records all of `outcomes`, or none.
    async fn record_all(&self, outcomes: &[CallOutcome]) -> Result<Vec<Recorded>, SqlError> {
        for outcome in outcomes {
            attempt::check(outcome)?;
        }
        let logged = outcomes.iter().filter(|outcome| outcome.logged).count();
        let ids = self
            .ids
            .take_apart(&self.backend, &self.statements, "requests", logged)
            .await?;
        let mut ids = ids.into_iter();
        let ids: Vec<Option<i64>> = outcomes
            .iter()
            .map(|outcome| outcome.logged.then(|| ids.next()).flatten())
            .collect();
        let changes = match self.record_at_once(outcomes, &ids).await? {
            Some(changes) => changes,
            None => self.record_in_transaction(outcomes, &ids).await?,
        };
        Ok(recorded(outcomes, &ids, changes))
    }

    /// Records a batch that is a single statement; `None` where it needs a transaction.
    async fn record_at_once(
        &self,
        outcomes: &[CallOutcome],
        ids: &[Option<i64>],
    ) -> Result<Option<Changes>, SqlError> {
        let settles = |o: &CallOutcome| o.circuit.is_some() || o.completion.is_some();
        if !only_heals(outcomes) || outcomes.iter().any(settles) {
            return Ok(None);
        }
        let mut session = self.backend.write_apart().await?;
        match B::DIALECT {
            Dialect::Postgres => {
                let health = self.append_and_heal(&mut *session, outcomes, ids).await?;
                Ok(Some(Changes {
                    health,
                    ..Changes::default()
                }))
            }
            Dialect::Sqlite => {
                let done = self.append_unless_ill(&mut *session, outcomes, ids).await?;
                Ok(done.then(Changes::default))
            }
        }
    }

    async fn record_in_transaction(
        &self,
        outcomes: &[CallOutcome],
        ids: &[Option<i64>],
    ) -> Result<Changes, SqlError> {
        let mut changes = Changes::default();
        let mut session = self.backend.begin_apart().await?;
        if B::DIALECT == Dialect::Postgres && only_heals(outcomes) {
            changes.health = self.append_and_heal(&mut *session, outcomes, ids).await?;
        } else {
            self.append(&mut *session, outcomes, ids).await?;
            let findings = Findings::of(outcomes);
            (changes.health, changes.authorization) =
                apply_findings(self, &mut *session, &findings).await?;
        }
        changes.circuits = settle_circuits(self, &mut *session, outcomes).await?;
        changes.completions = self.end_reservations(&mut *session, outcomes, ids).await?;
        session.commit().await?;
        Ok(changes)
    }

    async fn end_reservations(
        &self,
        session: &mut dyn Session,
        outcomes: &[CallOutcome],
        ids: &[Option<i64>],
    ) -> Result<HashMap<usize, CompletionResult>, SqlError> {
        let ends = outcomes.iter().zip(ids).enumerate();
        let ends: Vec<(usize, Ending<'_>)> = ends
            .filter_map(|(i, (outcome, id))| {
                let ending = Ending {
                    completion: outcome.completion.as_ref()?,
                    request_id: *id,
                };
                Some((i, ending))
            })
            .collect();
        let endings: Vec<Ending<'_>> = ends.iter().map(|(_, ending)| *ending).collect();
        let results = complete(self, session, &endings).await?;
        let places = ends.iter().map(|(i, _)| *i);
        Ok(places.zip(results).collect())
    }

    async fn complete_all(
        &self,
        completions: &[Completion],
    ) -> Result<Vec<CompletionResult>, SqlError> {
        let endings: Vec<Ending<'_>> = completions
            .iter()
            .map(|completion| Ending {
                completion,
                request_id: None,
            })
            .collect();
        let mut session = self.backend.begin_apart().await?;
        let results = complete(self, &mut *session, &endings).await?;
        session.commit().await?;
        Ok(results)
    }
}

/// Whether all that a batch may do to integrations is to heal them, in one insert.
fn only_heals(outcomes: &[CallOutcome]) -> bool {
    outcomes.len() <= attempt::MAX_ROWS
        && outcomes
            .iter()
            .all(|o| o.health != HealthVerdict::Outage && o.authorization.is_none())
}

/// The answers to a batch, in its order.
fn recorded(outcomes: &[CallOutcome], ids: &[Option<i64>], mut changes: Changes) -> Vec<Recorded> {
    let mut recorded: Vec<Recorded> = ids
        .iter()
        .enumerate()
        .map(|(i, id)| Recorded {
            id: id.map(RequestId),
            health: None,
            circuit: changes.circuits.remove(&i),
            authorization_changed: changes.authorization.contains(&i),
            completion: changes.completions.remove(&i),
        })
        .collect();
    // From the end, so that the last entry about an integration takes its transition.
    for (entry, outcome) in recorded.iter_mut().zip(outcomes).rev() {
        if changes.health.is_empty() {
            break;
        }
        entry.health = changes.health.remove(&outcome.attempt.integration_id);
    }
    recorded
}

#[async_trait]
impl<B: OwnCommit> CallJournal for SqlStore<B> {
    async fn record(&self, outcomes: &[CallOutcome]) -> Batch<Recorded> {
        bisect(outcomes, |part| Box::pin(self.record_all(part))).await
    }

    async fn complete(
        &self,
        completions: &[Completion],
    ) -> Result<Vec<CompletionResult>, StoreError> {
        if completions.is_empty() {
            return Ok(Vec::new());
        }
        for completion in completions {
            completion::fits(completion).verdict()?;
        }
        retrying!(self.complete_all(completions).await)
    }
}
