//! The [`CallJournal`] port: the one write that settles attempts.

use async_trait::async_trait;

use super::NewRequest;
use crate::{
    gate::{CircuitOutcome, CircuitTransition},
    id::RequestId,
    idempotency::{Completion, CompletionResult},
    integration::{AuthorizationStatus, HealthPolicy, HealthTransition, HealthVerdict},
    store::{Batch, StoreError},
};

/// Everything one attempt changes.
#[derive(Clone, Debug)]
pub struct CallOutcome {
    /// The row to append.
    pub attempt: NewRequest,
    /// Whether the row is appended. Where it is not, because successes are sampled, the attempt
    /// still means what it means for everything else.
    pub logged: bool,
    /// What it says about health.
    pub health: HealthVerdict,
    /// By which thresholds.
    pub health_policy: HealthPolicy,
    /// What it says about the credentials of this generation, if anything.
    pub authorization: Option<(i64, AuthorizationStatus)>,
    /// What it says about the circuit; `None` where no circuit was asked.
    pub circuit: Option<CircuitOutcome>,
    /// How it ends the reservation of an at-most-once call; `None` while attempts go on.
    pub completion: Option<Completion>,
}

/// What one attempt changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The row; `None` where none was to be appended.
    pub id: Option<RequestId>,
    /// The integration's change of status, on the last entry of the batch that is about it.
    pub health: Option<HealthTransition>,
    /// The circuit's transition that this entry caused.
    pub circuit: Option<CircuitTransition>,
    /// Whether the authorization status changed.
    pub authorization_changed: bool,
    /// What became of the reservation.
    pub completion: Option<CompletionResult>,
}

/// The one write of the request pipeline.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait CallJournal: Send + Sync {
    /// Appends the attempts and applies what they mean to health, authorization, circuit and
    /// ledger, all in one transaction that is durable before this returns.
    ///
    /// - An entry that is not to be logged MUST change all that one that is would, and MUST NOT
    ///   append a row.
    /// - Health MUST be folded per integration in the order of the entries
    ///   ([`HealthDelta`](crate::integration::HealthDelta)), MUST judge the stored row and not a
    ///   copy the caller has, and MUST NOT write a row it would not change.
    /// - `last_error_at` MUST become the time of the latest outage.
    /// - A circuit outcome of an earlier epoch MUST change nothing.
    /// - A completion MUST change nothing unless its token is the reservation's.
    /// - An entry that is refused MUST leave no trace and MUST NOT stop the others.
    /// - Integrations MUST be written in the order of their ids, and deadlocks and serialisation
    ///   failures MUST be retried within.
    ///
    /// Not cancel safe: when the future is dropped, the batch may or may not be recorded.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] when nothing of the batch is recorded.
    async fn record(&self, outcomes: &[CallOutcome]) -> Batch<Recorded>;

    /// Ends reservations without an attempt to record: refused before sending, or abandoned.
    ///
    /// MUST change nothing unless the token is the reservation's.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; the reservations then run into their expiry.
    async fn complete(
        &self,
        completions: &[Completion],
    ) -> Result<Vec<CompletionResult>, StoreError>;
}
