//! Items: one version of one record each, and the queue at once.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::{Checkpoint, CheckpointOrder};
use crate::{
    id::{IntegrationId, LogId, SyncItemId, SyncRunId, Uid},
    state::define_state,
    value::{ExternalId, ItemKind, StreamName},
};

define_state! {
    /// How an item stands.
    ItemStatus {
        /// Waits for a worker, or for its next attempt.
        Pending = "pending",
        /// A worker has it.
        Processing = "processing",
        /// Handled, or superseded by a newer version that was.
        Success = "success",
        /// Out of attempts; holds the cursor until somebody retries or skips it.
        Failed = "failed",
        /// Let go by an operator, or superseded.
        Skipped = "skipped",
    }
}

impl ItemStatus {
    /// Whether the cursor may pass it.
    #[must_use]
    pub const fn is_resolved(&self) -> bool {
        matches!(self, Self::Success | Self::Skipped)
    }

    /// Whether it waits or is worked on.
    #[must_use]
    pub const fn is_unfinished(&self) -> bool {
        matches!(self, Self::Pending | Self::Processing)
    }

    /// Whether an item may go from this state to `next`.
    #[must_use]
    pub const fn may_become(&self, next: &Self) -> bool {
        use ItemStatus::{Failed, Pending, Processing, Skipped, Success};
        matches!(
            (self, next),
            (Pending, Processing | Skipped)
                | (Processing, Success | Failed | Pending | Skipped)
                | (Failed, Pending | Skipped)
        )
    }
}

/// A payload exactly as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// UTF-8 without NUL.
    Text(String),
    /// Anything else; stored as base64.
    Binary(Vec<u8>),
}

impl Payload {
    /// The payload of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Self::Text(text),
            Ok(text) => Self::Binary(text.into_bytes()),
            Err(error) => Self::Binary(error.into_bytes()),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// An item a provider enumerated.
#[derive(Clone, Debug, PartialEq)]
pub struct NewItem {
    /// What it is about; handlers are registered by kind.
    pub kind: ItemKind,
    /// The record; `None` where it has no id, and is then never a duplicate.
    pub external_id: Option<ExternalId>,
    /// The version of the record.
    pub checkpoint: Option<Checkpoint>,
    /// What the handler gets.
    pub payload: Payload,
    /// A keyed digest of the payload: the version of records without a checkpoint.
    pub digest: Option<Vec<u8>>,
    /// The same under the other keys of the ring: what this version may be on file under. Rows do
    /// not keep them.
    pub other_digests: Vec<Vec<u8>>,
    /// Set where somebody correlates items; at most 36 characters.
    pub batch_id: Option<String>,
}

impl NewItem {
    /// The version, as it is compared.
    #[must_use]
    pub fn order(&self) -> Option<CheckpointOrder> {
        self.checkpoint.as_ref().map(Checkpoint::order)
    }

    /// Whether that is a digest of it, under whichever key.
    #[must_use]
    pub fn has_digest(&self, digest: &[u8]) -> bool {
        let mut digests = self.digest.iter().chain(&self.other_digests);
        digests.any(|own| own == digest)
    }
}

/// A row of `{prefix}_sync_items`.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncItem {
    /// Its number.
    pub id: SyncItemId,
    /// The integration.
    pub integration_id: IntegrationId,
    /// The run that brought it last.
    pub run_id: SyncRunId,
    /// The run's operation.
    pub sync_log_id: Option<LogId>,
    /// The stream.
    pub stream: StreamName,
    /// The kind.
    pub kind: ItemKind,
    /// The record.
    pub external_id: Option<ExternalId>,
    /// The version, as the provider wrote it.
    pub checkpoint_value: Option<Json>,
    /// The version, as it is compared.
    pub checkpoint_order: Option<CheckpointOrder>,
    /// What the handler gets; `None` once retention emptied it.
    pub payload: Option<Payload>,
    /// How it stands. An item under a live lease reads as `processing`.
    pub status: ItemStatus,
    /// Attempts that counted.
    pub attempts: i16,
    /// What went wrong last, or why it was skipped.
    pub error: Option<String>,
    /// When it may be claimed next.
    pub available_at: DateTime<Utc>,
    /// The end of the present lease.
    pub lease_until: Option<DateTime<Utc>>,
    /// When it was resolved or failed.
    pub completed_at: Option<DateTime<Utc>>,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// What became of an enumerated item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemAdded {
    /// A new row, waiting.
    Stored(SyncItemId),
    /// This version is in this run already, and unresolved.
    Duplicate(SyncItemId),
    /// This version, or a newer one, was handled or let go before.
    AlreadyDone,
    /// An unresolved row of an earlier run was queued again under this run.
    Requeued(SyncItemId),
}

/// A claim on items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemClaim {
    /// The kinds this worker handles.
    pub kinds: KindSelection,
    /// At most so many.
    pub limit: u32,
    /// Minted for this claim; settling needs it.
    pub token: Uid,
    /// When others may take over.
    pub lease_until: DateTime<Utc>,
    /// Only of this integration.
    pub integration_id: Option<IntegrationId>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// Which kinds a worker handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindSelection {
    /// Every kind.
    All,
    /// These. Empty claims nothing.
    Only(Vec<ItemKind>),
}

/// How an attempt at an item ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemSettlement {
    /// The item.
    pub id: SyncItemId,
    /// The claim's token.
    pub token: Uid,
    /// The end.
    pub outcome: ItemOutcome,
    /// Now.
    pub now: DateTime<Utc>,
}

/// The end of an attempt at an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemOutcome {
    /// Handled.
    Succeeded,
    /// Try again later, counting the attempt.
    Retry {
        /// When.
        at: DateTime<Utc>,
        /// What went wrong, at most 1000 characters.
        error: String,
    },
    /// Try again later, not counting the attempt: the other side asked for a pause.
    PutBack {
        /// When.
        at: DateTime<Utc>,
    },
    /// Out of attempts.
    Failed {
        /// What went wrong, at most 1000 characters.
        error: String,
    },
    /// The handler lets it go.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// What settling an item changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemSettled {
    /// It stands.
    Done {
        /// The run.
        run_id: SyncRunId,
        /// Items of the run that are still open.
        open: i64,
        /// Nothing is open and enumeration has ended: finalise.
        finalisable: bool,
    },
    /// The lease went to somebody else, or the item was settled; nothing changed.
    LeaseLost,
}

/// What came of an operator's word on an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemDecided {
    /// It stands.
    Done {
        /// The run the item now belongs to.
        run_id: SyncRunId,
        /// Nothing of it is open: finalise.
        finalisable: bool,
    },
    /// The item is in this state, in which that is not possible.
    NotPossible(ItemStatus),
    /// No such item within the scope.
    NotFound,
}
