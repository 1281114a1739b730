//! The [`SyncStore`] port and [`SyncSettlement`], the part of it a caller's transaction has too.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::{
    CursorMove, Finalise, Finalised, ItemClaim, ItemDecided, ItemDecision, ItemFilter, ItemSettled,
    ItemSettlement, OpenRun, PageAdded, RunOpened, RunPage, StalenessChange, Sweep, Swept,
    SyncItem, SyncRun,
};
use crate::{
    id::{IntegrationId, SyncItemId, SyncRunId, Uid},
    integration::Scope,
    store::{Page, PageRequest, StoreError},
    value::{ItemKind, StreamName},
};

/// Runs and their items.
///
/// An item is one version of one record: stream, kind, external id and checkpoint (or digest,
/// without one). Items are the queue: an item and its job are one row.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait SyncStore: Send + Sync {
    /// Opens a run with its operation, or takes over the unfinished one of that stream.
    ///
    /// MUST refuse a fence that is not the integration's present one. There MUST never be two
    /// unfinished runs of one stream. Ids MUST ascend in the order in which runs of a stream are
    /// opened.
    ///
    /// A sync of several streams opens the runs of all before it enumerates the first: the end of
    /// the last unfinished one ends the sync.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; no run is opened then.
    async fn open_run(&self, open: &OpenRun) -> Result<RunOpened, StoreError>;

    /// Stores a page: its items, how enumeration goes on, and the counts, in one transaction.
    ///
    /// - MUST refuse a fence that is not the integration's present one, or a run that has ended.
    /// - The same version twice in a run MUST be dropped and counted; another version MUST be
    ///   stored, and so MUST content that comes back after other content (A, B, A) where a digest
    ///   is the version. A version is the same under whichever key it was digested.
    /// - A version that was handled or let go before, or lies below one that was, MUST be dropped
    ///   and counted, unless the run is a full resync and the versions differ.
    /// - An unresolved row of an earlier run with this version MUST be queued again under this
    ///   run, with all attempts, in place of a second row; one under a live lease is left to its
    ///   worker and moves to this run.
    /// - Every record MUST be marked as seen by this run; items that tell of its deletion MUST be
    ///   let go.
    /// - A run whose checkpoints fall MUST NOT count as sorted from then on. One of whose items is
    ///   refused MUST NOT either, and MUST NOT count as complete, whatever else is told of it:
    ///   [`SyncRun::miss_item`].
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing of the page is stored then.
    async fn add_items(&self, page: &RunPage) -> Result<PageAdded, StoreError>;

    /// Claims items that are due, of active and healthy integrations, in fair order across
    /// integrations.
    ///
    /// MUST never hand an item to two claims whose leases overlap; MUST claim only the kinds asked
    /// for; MUST count an attempt on each claim; MUST NOT hand out a version of a record while
    /// another version of it is under a live lease or an older one is unfinished, whatever is
    /// added at that moment; integrations whose items all have to wait MUST NOT keep others from
    /// their turn. An item whose lease ran out is due again. At most an equal share per
    /// integration, then whatever is left.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; items that were claimed come back when the lease runs out.
    async fn claim_items(&self, claim: &ItemClaim) -> Result<Vec<SyncItem>, StoreError>;

    /// Moves the end of leases; the items this token no longer holds.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn renew_items(
        &self,
        token: Uid,
        items: &[SyncItemId],
        until: DateTime<Utc>,
    ) -> Result<Vec<SyncItemId>, StoreError>;

    /// Brings a run to its end: state, log, cursor, schedule and failure streaks in one
    /// transaction.
    ///
    /// - Exactly one of any number of calls MUST end a run.
    /// - The cursor MUST be the greatest resolved checkpoint strictly below every unresolved one
    ///   of its stream, those in a state of a newer version included, over all runs; it MUST only
    ///   move forwards, and never beyond what complete or sorted enumeration has covered, also when
    ///   a run that ended is finalised again.
    /// - Where the provider told a cursor, that is the one: taken as it is, of the stream's latest
    ///   run only, once its enumeration is complete and nothing of the stream is unresolved.
    /// - `next_sync_at` MUST move, whatever the outcome, once the last unfinished run of the
    ///   integration ends; the sync lease is given back then, and the sync counts as clean if all
    ///   runs under its fence were.
    /// - A success at a newer version MUST leave no older version of the record unresolved.
    /// - A run that had ended MUST be mended once nothing of it is open: its state and log say how
    ///   it stands now, and where it makes the integration's latest sync a clean one, that counts as
    ///   such from then on; `next_sync_at` stays.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; the run has not ended then.
    async fn finalise(&self, finalise: &Finalise) -> Result<Finalised, StoreError>;

    /// Moves the cursor during a sorted enumeration, under the fence; `None` when it stays.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn advance_cursor(
        &self,
        run_id: SyncRunId,
        fence: i64,
        now: DateTime<Utc>,
    ) -> Result<Option<CursorMove>, StoreError>;

    /// Unfinished runs whose enumeration has ended and that have no open item, oldest first.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn finalisable_runs(&self, limit: u32) -> Result<Vec<SyncRun>, StoreError>;

    /// One run, if its integration is within `scope`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn find_run(&self, id: SyncRunId, scope: &Scope) -> Result<Option<SyncRun>, StoreError>;

    /// A page of the runs of an integration.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn list_runs(
        &self,
        integration_id: IntegrationId,
        page: &PageRequest,
    ) -> Result<Page<SyncRun>, StoreError>;

    /// One item, if its integration is within `scope`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn find_item(
        &self,
        id: SyncItemId,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<Option<SyncItem>, StoreError>;

    /// A page of the items `filter` selects within `scope`, an item under a live lease counting as
    /// `processing`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn list_items(
        &self,
        filter: &ItemFilter,
        scope: &Scope,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<SyncItem>, StoreError>;

    /// Retries or skips items at an operator's word, in the order given. A retry takes failed
    /// items; a skip takes failed and waiting ones, and MUST be remembered of the version: it is
    /// not stored again. Runs are answered as they stand after all decisions.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is changed then.
    async fn decide_items(
        &self,
        decisions: &[ItemDecision],
    ) -> Result<Vec<ItemDecided>, StoreError>;

    /// Ends expired leases so that their items are seen waiting; how many there were, at most
    /// `limit`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn reclaim_items(&self, now: DateTime<Utc>, limit: u32) -> Result<u64, StoreError>;

    /// Kinds that wait, and how many items of each: what nobody handles shows here.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn waiting_kinds(&self) -> Result<Vec<(ItemKind, u64)>, StoreError>;

    /// Looks at the next records of a run's stream, by kind and id, for those that the run did not
    /// see, in one transaction. Asked of a full resync, once all that there is was told and stored,
    /// until there are no more records; which MUST end enumeration as complete.
    ///
    /// - MUST refuse a fence that is not the integration's present one, a run that has ended, and
    ///   one whose enumeration has; MUST find nothing unless the run
    ///   [finds deletions](SyncRun::finds_deletions).
    /// - Each record that was deleted MUST have an item of its kind's
    ///   [`deletion`](ItemKind::deletion), once for as long as it stays away; an item that failed
    ///   MUST be queued again under this run.
    /// - Unresolved versions of a deleted record MUST be let go, and whatever comes back of it MUST
    ///   be news, also the version that was resolved last.
    /// - A record with a version under a live lease MUST be left to a later run.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is stored then.
    async fn sweep_records(&self, sweep: &Sweep) -> Result<Swept, StoreError>;

    /// Puts a cursor in place of a stream's, at an operator's word; `false` when the integration
    /// is not within the scope. MUST NOT be led forwards by runs that were before.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn set_cursor(
        &self,
        integration_id: IntegrationId,
        scope: &Scope,
        stream: &StreamName,
        cursor: &Json,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError>;

    /// Marks scheduled, active integrations whose last clean sync (or creation) is more than
    /// `intervals` of theirs ago, and clears the mark of those it no longer holds for; each change
    /// once, at most `limit`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn sweep_staleness(
        &self,
        intervals: u32,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Vec<StalenessChange>, StoreError>;
}

/// Settling items: within a transaction of its own, or the caller's.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait SyncSettlement: Send + Sync {
    /// Ends attempts at items, in their order, counting their runs down.
    ///
    /// MUST change nothing unless the token holds a live claim on the item. A success or a skip
    /// MUST move the record's last resolved version forwards; a success MUST settle its older
    /// unresolved versions as skipped. Items MUST be written in the order of their ids, whatever order they are given in.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; nothing is settled then.
    async fn settle_items(
        &self,
        settlements: &[ItemSettlement],
    ) -> Result<Vec<ItemSettled>, StoreError>;
}
