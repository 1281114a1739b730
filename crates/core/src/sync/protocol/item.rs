//! One item: what claims, workers and operators make of it.

use chrono::{DateTime, Utc};

use crate::{
    id::{IntegrationId, SyncItemId, SyncRunId, Uid},
    sync::{
        CheckpointOrder, ItemDecision, ItemOutcome, ItemSettlement, ItemStatus, ItemVerdict,
        SyncRun,
    },
    value::{ExternalId, ItemKind, StreamName},
};

/// Why an older version of a record was let go.
pub const SUPERSEDED: &str = "superseded by a newer version";

/// Why a version of a deleted record was let go.
pub const DELETED: &str = "the record was deleted";

/// Why nobody has to be told of a deletion any more.
pub const RETURNED: &str = "the record is there again";

/// An item as the rules see it: its row without the payload.
///
/// A claim leaves the status as it is; the lease alone tells that somebody works on an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ItemState {
    /// Its number.
    pub id: SyncItemId,
    /// The integration.
    pub integration_id: IntegrationId,
    /// The run that brought it last.
    pub run_id: SyncRunId,
    /// The stream.
    pub stream: StreamName,
    /// The kind.
    pub kind: ItemKind,
    /// The record.
    pub external_id: Option<ExternalId>,
    /// The version.
    pub checkpoint: Option<CheckpointOrder>,
    /// The version of what has no checkpoint.
    pub digest: Option<Vec<u8>>,
    /// The status as it is stored.
    pub status: ItemStatus,
    /// Attempts that counted.
    pub attempts: i16,
    /// What went wrong last, or why it was let go.
    pub error: Option<String>,
    /// When it may be claimed next.
    pub available_at: DateTime<Utc>,
    /// The claim that had it last, until that is settled or given up.
    pub lease: Option<ItemLease>,
    /// When it was resolved or failed; `None` exactly while it is unfinished.
    pub completed_at: Option<DateTime<Utc>>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// A claim's hold on an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ItemLease {
    /// The claim's token.
    pub token: Uid,
    /// When others may take over.
    pub until: DateTime<Utc>,
}

/// What an item is a version of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// The integration.
    pub integration_id: IntegrationId,
    /// The stream.
    pub stream: StreamName,
    /// The kind.
    pub kind: ItemKind,
    /// The record.
    pub external_id: ExternalId,
}

impl RecordKey {
    /// What items are versions of that tell of the record's deletion.
    #[must_use]
    pub fn deletion(&self) -> Option<Self> {
        Some(Self {
            kind: self.kind.deletion()?,
            ..self.clone()
        })
    }
}

impl ItemState {
    /// Whether it waits or is worked on.
    #[must_use]
    pub const fn is_unfinished(&self) -> bool {
        self.status.is_unfinished()
    }

    /// Whether it may be queued again or let go: it waits, is worked on, or failed. A state of a
    /// newer version is none of that and is left alone; the cursor waits for it all the same.
    #[must_use]
    pub const fn is_unresolved(&self) -> bool {
        self.status.is_unfinished() || matches!(self.status, ItemStatus::Failed)
    }

    /// Whether nobody works on it or will, unless it is queued again.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.status.is_resolved() || matches!(self.status, ItemStatus::Failed)
    }

    /// Whether somebody works on it.
    #[must_use]
    pub fn is_leased(&self, now: DateTime<Utc>) -> bool {
        self.is_unfinished() && self.lease.is_some_and(|lease| now < lease.until)
    }

    /// The status it reads as.
    #[must_use]
    pub fn shown(&self, now: DateTime<Utc>) -> ItemStatus {
        match (self.is_unfinished(), self.is_leased(now)) {
            (false, _) => self.status.clone(),
            (true, true) => ItemStatus::Processing,
            (true, false) => ItemStatus::Pending,
        }
    }

    /// The record it is a version of; `None` for what has no external id.
    #[must_use]
    pub fn record(&self) -> Option<RecordKey> {
        Some(RecordKey {
            integration_id: self.integration_id,
            stream: self.stream.clone(),
            kind: self.kind.clone(),
            external_id: self.external_id.clone()?,
        })
    }

    /// Whether both are versions of one record.
    #[must_use]
    pub fn is_version_of_same(&self, other: &Self) -> bool {
        self.external_id.is_some()
            && self.external_id == other.external_id
            && self.integration_id == other.integration_id
            && self.stream == other.stream
            && self.kind == other.kind
    }

    /// Its place among the versions of its record: by checkpoint, and by id where those are equal
    /// or missing.
    #[must_use]
    pub fn age(&self) -> (Option<&CheckpointOrder>, SyncItemId) {
        (self.checkpoint.as_ref(), self.id)
    }

    /// Whether a claim may take it, as far as the item itself goes.
    #[must_use]
    pub fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.is_unfinished() && !self.is_leased(now) && self.available_at <= now
    }

    /// Whether it has to wait for `other`: two versions of a record are never handled at once,
    /// and the older one goes first. Somebody may work on one in a state of a newer version.
    #[must_use]
    pub fn waits_for(&self, other: &Self, now: DateTime<Utc>) -> bool {
        let is_held = other.lease.is_some_and(|lease| now < lease.until);
        other.id != self.id
            && !other.is_over()
            && self.is_version_of_same(other)
            && (is_held || other.age() < self.age())
    }

    /// The item once a claim has taken it.
    #[must_use]
    pub fn claimed(&self, lease: ItemLease, now: DateTime<Utc>) -> Self {
        Self {
            attempts: self.attempts.saturating_add(1),
            lease: Some(lease),
            updated_at: now,
            ..self.clone()
        }
    }

    /// The item with the end of its lease moved; `None` when `token` does not hold it.
    #[must_use]
    pub fn renewed(&self, token: Uid, until: DateTime<Utc>) -> Option<Self> {
        let held = self.is_unfinished() && self.lease.is_some_and(|lease| lease.token == token);
        held.then(|| Self {
            lease: Some(ItemLease { token, until }),
            ..self.clone()
        })
    }

    /// The item after its lease ran out; `None` when it has none, or a live one.
    #[must_use]
    pub fn reclaimed(&self, now: DateTime<Utc>) -> Option<Self> {
        let ran_out = self.is_unfinished() && self.lease.is_some() && !self.is_leased(now);
        ran_out.then(|| Self {
            lease: None,
            updated_at: now,
            ..self.clone()
        })
    }

    /// The item after an attempt; `None` when the token of `settlement` holds no live claim on it.
    #[must_use]
    pub fn settled(&self, settlement: &ItemSettlement) -> Option<Self> {
        let now = settlement.now;
        let held = self.is_leased(now)
            && (self.lease).is_some_and(|lease| lease.token == settlement.token);
        held.then(|| match &settlement.outcome {
            ItemOutcome::Succeeded => self.ended(ItemStatus::Success, None, now),
            ItemOutcome::Failed { error } => self.ended(ItemStatus::Failed, said(error), now),
            ItemOutcome::Skipped { reason } => self.ended(ItemStatus::Skipped, said(reason), now),
            ItemOutcome::Retry { at, error } => Self {
                error: said(error),
                ..self.waiting(*at, now)
            },
            ItemOutcome::PutBack { at } => Self {
                attempts: self.attempts.saturating_sub(1).max(0),
                ..self.waiting(*at, now)
            },
        })
    }

    /// The item after an operator's word.
    ///
    /// # Errors
    ///
    /// Returns the status it reads as, in which that is not possible.
    pub fn decided(&self, decision: &ItemDecision) -> Result<Self, ItemStatus> {
        let now = decision.now;
        match (&decision.verdict, self.shown(now)) {
            (ItemVerdict::Retry, ItemStatus::Failed) => Ok(Self {
                attempts: 0,
                ..self.waiting(now, now)
            }),
            (ItemVerdict::Skip { reason }, ItemStatus::Failed | ItemStatus::Pending) => {
                Ok(self.ended(ItemStatus::Skipped, said(reason), now))
            }
            (_, status) => Err(status),
        }
    }

    /// The item once nobody has to handle it any more, for this reason.
    #[must_use]
    pub fn let_go(&self, reason: &str, now: DateTime<Utc>) -> Self {
        self.ended(ItemStatus::Skipped, said(reason), now)
    }

    /// The item once `run` has brought it again: with all attempts, or left to its worker.
    #[must_use]
    pub fn brought_by(&self, run: &SyncRun, now: DateTime<Utc>) -> Self {
        let moved = Self {
            run_id: run.id,
            updated_at: now,
            ..self.clone()
        };
        if self.is_leased(now) {
            return moved;
        }
        Self {
            attempts: 0,
            ..moved.waiting(now, now)
        }
    }

    /// The same, resolved or failed.
    fn ended(&self, status: ItemStatus, error: Option<String>, now: DateTime<Utc>) -> Self {
        Self {
            status,
            error,
            lease: None,
            completed_at: Some(now),
            updated_at: now,
            ..self.clone()
        }
    }

    /// The same, waiting until `at`.
    fn waiting(&self, at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self {
            status: ItemStatus::Pending,
            available_at: at,
            lease: None,
            completed_at: None,
            updated_at: now,
            ..self.clone()
        }
    }
}

/// What is kept of an error or a reason; an empty one says nothing.
fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
