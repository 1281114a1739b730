//! Runs: one enumeration of one stream and everything it brought.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::{CheckpointOrder, NewItem};
use crate::{
    id::{IntegrationId, LogId, SyncRunId},
    integration::Scope,
    operation_log::NewOperation,
    state::define_state,
    value::StreamName,
};

/// What a run says that missed an item.
const ITEM_MISSED: &str =
    "items could not be stored, because they do not fit their columns: the trace names them";

define_state! {
    /// How a run stands.
    RunState {
        /// Enumerating, or with open items.
        Running = "running",
        /// Everything was handled.
        Success = "success",
        /// Something failed.
        Partial = "partial",
        /// Everything failed, or enumeration did and brought nothing.
        Failed = "failed",
    }
}

impl RunState {
    /// Whether it has ended.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Success | Self::Partial | Self::Failed)
    }
}

/// A row of `{prefix}_sync_runs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SyncRun {
    /// Its number.
    pub id: SyncRunId,
    /// The integration.
    pub integration_id: IntegrationId,
    /// The stream.
    pub stream: StreamName,
    /// Its operation.
    pub log_id: Option<LogId>,
    /// The fence of the claim that may enumerate it.
    pub fence: i64,
    /// How it stands.
    pub state: RunState,
    /// Where enumeration goes on.
    pub page_token: Option<Json>,
    /// Whether enumeration has ended.
    pub enumerated: bool,
    /// Why it does not have all that there was: it ended early, or an item could not be stored.
    pub enumeration_error: Option<String>,
    /// Whether it looks at everything, from the beginning.
    pub full_resync: bool,
    /// Whether the provider promises ascending checkpoints, and has kept to it.
    pub sorted: bool,
    /// The greatest checkpoint it has enumerated, duplicates included.
    pub reached: Option<CheckpointOrder>,
    /// How far the stream is known completely, from this run and those before it: no version at
    /// or below lies at the other side that was not enumerated.
    pub covered: Option<CheckpointOrder>,
    /// Where the next run begins by the provider's own word, once everything is resolved.
    pub next_cursor: Option<Json>,
    /// What it brought.
    pub counts: RunCounts,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

impl SyncRun {
    /// Whether enumeration has ended and nothing is open.
    #[must_use]
    pub const fn is_exhausted(&self) -> bool {
        self.enumerated && self.counts.open == 0
    }

    /// Whether nothing holds back its end.
    #[must_use]
    pub const fn is_finalisable(&self) -> bool {
        matches!(self.state, RunState::Running) && self.is_exhausted()
    }

    /// Whether everything there was has been enumerated.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.enumerated && self.enumeration_error.is_none()
    }

    /// Whether nothing lies between what it enumerated: it is complete, or sorted.
    #[must_use]
    pub const fn is_trusted(&self) -> bool {
        self.sorted || self.is_complete()
    }

    /// Whether what it has not seen by the end was deleted: it looks at everything, and nothing of
    /// that was missed.
    #[must_use]
    pub const fn finds_deletions(&self) -> bool {
        self.full_resync && self.enumeration_error.is_none()
    }

    /// Takes note of an item that could not be stored. No row of it holds the cursor back, so the
    /// run is neither complete nor sorted from then on, whoever goes on with it.
    pub fn miss_item(&mut self) {
        self.sorted = false;
        self.enumeration_error
            .get_or_insert_with(|| ITEM_MISSED.to_owned());
    }
}

/// What a run brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RunCounts {
    /// Items neither resolved nor failed.
    pub open: i64,
    /// Items.
    pub total: i64,
    /// Items handled.
    pub succeeded: i64,
    /// Items out of attempts.
    pub failed: i64,
    /// Items let go or superseded.
    pub skipped: i64,
    /// Versions enumerated twice, or done in an earlier run.
    pub duplicates: i64,
}

/// A run to open, or to go on with.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenRun {
    /// The integration.
    pub integration_id: IntegrationId,
    /// The stream.
    pub stream: StreamName,
    /// The fence of the sync lease.
    pub fence: i64,
    /// The operation to append with it; its integration is the run's.
    pub log: NewOperation,
    /// Look at everything, from the beginning.
    pub full_resync: bool,
    /// The provider promises ascending checkpoints.
    pub sorted: bool,
    /// Now.
    pub now: DateTime<Utc>,
}

/// What came of opening a run.
#[derive(Clone, Debug, PartialEq)]
pub enum RunOpened {
    /// A new run.
    New(SyncRun),
    /// A run of that stream has not ended; it is the caller's under the new fence, and goes on at
    /// its page token.
    Resumed(SyncRun),
    /// The sync lease went to somebody else.
    FenceLost,
}

/// A page of a run: items, token and counts, committed together.
#[derive(Clone, Debug, PartialEq)]
pub struct RunPage {
    /// The run.
    pub run_id: SyncRunId,
    /// The fence of the sync lease.
    pub fence: i64,
    /// What the page held.
    pub items: Vec<NewItem>,
    /// Where enumeration goes on.
    pub next: PageEnd,
    /// Where the next run begins, where only the provider can tell.
    pub cursor: Option<Json>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// How enumeration goes on behind a page.
#[derive(Clone, Debug, PartialEq)]
pub enum PageEnd {
    /// With the page of this token.
    Continue(Json),
    /// It is complete, but for what was refused.
    Complete,
    /// It ended early, with this error of at most 1000 characters; what it brought stands.
    Failed(String),
}

/// What became of a page.
#[derive(Clone, Debug, PartialEq)]
pub enum PageAdded {
    /// It stands.
    Done {
        /// One result per item, in order.
        items: Vec<Result<super::ItemAdded, crate::store::Rejected>>,
        /// Items of the run that are open.
        open: i64,
        /// Nothing is open and enumeration has ended: finalise.
        finalisable: bool,
        /// Whether the run is still sorted: the cursor may move while it is enumerated.
        sorted: bool,
    },
    /// The sync lease went to somebody else, or the run has ended; nothing was stored.
    FenceLost,
}

/// How a run is brought to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Finalise {
    /// The run.
    pub run_id: SyncRunId,
    /// When the next sync is due, by the outcome.
    pub schedule: SyncSchedule,
    /// A record that failed in this many runs in a row is reported as stuck, once.
    pub stuck_after_runs: i16,
    /// Now.
    pub now: DateTime<Utc>,
}

/// When the next sync is due (SYN-35, SYN-36).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncSchedule {
    /// The greatest multiple of the interval after failures in a row.
    pub max_backoff_multiplier: u32,
    /// Added to the next instant, so that a fleet does not fire at once.
    pub jitter: Duration,
}

impl Default for SyncSchedule {
    fn default() -> Self {
        Self {
            max_backoff_multiplier: 16,
            jitter: Duration::ZERO,
        }
    }
}

impl SyncSchedule {
    /// When the next sync is due; `None` where the integration is not scheduled.
    #[must_use]
    pub fn next(
        &self,
        now: DateTime<Utc>,
        interval_minutes: Option<i32>,
        consecutive_failures: i32,
    ) -> Option<DateTime<Utc>> {
        let minutes = u64::try_from(interval_minutes?).ok().filter(|m| *m > 0)?;
        let doublings = u32::try_from(consecutive_failures.saturating_sub(1))
            .unwrap_or(0)
            .min(31);
        let multiplier = if consecutive_failures > 0 {
            (1_u64 << doublings).min(u64::from(self.max_backoff_multiplier.max(1)))
        } else {
            1
        };
        let wait = Duration::from_secs(minutes.saturating_mul(60).saturating_mul(multiplier));
        Some(crate::time::later(now, wait.saturating_add(self.jitter)))
    }
}

/// What came of bringing a run to its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Finalised {
    /// This call ended it.
    Ended(Box<RunEnd>),
    /// Items are open, or enumeration goes on.
    NotReady {
        /// Open items.
        open: i64,
    },
    /// It had ended before. Its cursor was looked at again, since items may have been settled
    /// afterwards.
    AlreadyEnded {
        /// Whether the cursor moved.
        cursor_moved: bool,
    },
    /// No such run.
    NotFound,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunEnd {
    /// The run, ended.
    pub run: SyncRun,
    /// The cursor before and after; `None`: it did not move.
    pub cursor: Option<CursorMove>,
    /// When the next sync is due; as it was while another run of the integration goes on.
    pub next_sync_at: Option<DateTime<Utc>>,
    /// Syncs in a row that were not clean.
    pub consecutive_sync_failures: i32,
    /// Whether the sync of the integration came to a clean end with it: it was the last of its
    /// runs, and all were clean.
    pub synced: bool,
    /// Records that are stuck, reported for the first time.
    pub stuck: Vec<StuckRecord>,
}

/// A move of a stream's cursor.
#[derive(Clone, Debug, PartialEq)]
pub struct CursorMove {
    /// Before.
    pub from: Option<Json>,
    /// After.
    pub to: Json,
}

/// A record whose item fails run after run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StuckRecord {
    /// The kind.
    pub kind: crate::value::ItemKind,
    /// The record.
    pub external_id: crate::value::ExternalId,
    /// Failed runs in a row.
    pub runs: i16,
}

/// Which items to list. Empty fields restrict nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemFilter {
    /// Of this integration.
    pub integration_id: Option<IntegrationId>,
    /// Of this run.
    pub run_id: Option<SyncRunId>,
    /// Of this stream.
    pub stream: Option<StreamName>,
    /// In this state.
    pub status: Option<super::ItemStatus>,
    /// Of this kind.
    pub kind: Option<crate::value::ItemKind>,
    /// Not before this instant.
    pub since: Option<DateTime<Utc>>,
}

/// An operator's word on an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemDecision {
    /// The item.
    pub id: crate::id::SyncItemId,
    /// On whose behalf.
    pub scope: Scope,
    /// The word.
    pub verdict: ItemVerdict,
    /// Now.
    pub now: DateTime<Utc>,
}

/// What an operator wants of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemVerdict {
    /// Try again at once, with all attempts.
    Retry,
    /// Let it go.
    Skip {
        /// Why.
        reason: String,
    },
}

/// A staleness that began or ended (HLT-14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StalenessChange {
    /// The integration.
    pub integration_id: IntegrationId,
    /// Whether its syncs are overdue now.
    pub stale: bool,
    /// When it last came to a clean end.
    pub last_synced_at: Option<DateTime<Utc>>,
}
