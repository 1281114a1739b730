//! Enumerating one run: page after page from the provider into the store.

use std::panic::AssertUnwindSafe;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;

use serde_json::Value as Json;

use super::{Inner, position::Position};
use crate::{
    encryptor::{DigestPurpose, KeyedDigest},
    provider::{EnumerationError, PageQuery, Pause, SourceItem, SyncPage, SyncStream},
    store::{StoreError, StoreErrorKind},
    sync::{ItemAdded, NewItem, PageAdded, PageEnd, RunPage, Sweep, Swept, SyncRun},
    time::later,
    value::ExternalId,
    wake::WakeChannel,
    work::Stop,
};

/// Records that are looked at for deletions in one transaction.
const SWEEP: u32 = 1000;

/// What came of enumerating a run, for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamOutcome {
    /// Everything was told and stored.
    Enumerated,
    /// Items of an earlier enumeration are still open; there was nothing to do.
    InFlight,
    /// It ended early, or an item could not be stored. What it brought is handled; the next run
    /// starts over.
    Failed(String),
    /// The other side asked for a pause; the run goes on at this instant.
    Paused(DateTime<Utc>),
    /// The engine was stopped; whoever claims the integration next goes on with the run.
    Interrupted,
    /// Somebody else took the integration over.
    LeaseLost,
}

/// What enumerating a run stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// Pages read.
    pub pages: u64,
    /// Items stored.
    pub stored: u64,
    /// Unresolved items of earlier runs that were queued again.
    pub requeued: u64,
    /// Versions dropped, being in the run already or done before.
    pub duplicates: u64,
    /// Records that a full run found to be deleted.
    pub deleted: u64,
    /// Items the store could not take. The run is not complete then.
    pub rejected: u64,
}

/// The enumeration of one run.
pub(super) struct Enumeration<'a> {
    pub(super) engine: &'a Inner,
    pub(super) stream: &'a dyn SyncStream,
    pub(super) run: SyncRun,
    pub(super) fence: i64,
    pub(super) stop: &'a Stop,
    pub(super) counts: StreamCounts,
    pub(super) finalisable: bool,
}

/// How a page was stored.
enum Stored {
    Yes,
    FenceLost,
}

impl Enumeration<'_> {
    /// Reads and stores pages until there are no more.
    pub(super) async fn run(&mut self, start: Position) -> Result<StreamOutcome, StoreError> {
        let mut position = match &self.run.page_token {
            Some(token) => match Position::read(token) {
                Ok(position) => position,
                Err(error) => return self.fail(&error.to_string()).await,
            },
            None => start,
        };
        if position.sweeps {
            return self.sweep().await;
        }
        let mut next_move = self.cursor_move_due();
        loop {
            if self.stop.is_stopped() {
                return Ok(StreamOutcome::Interrupted);
            }
            let page = match self.read(&position).await {
                Ok(page) => page,
                Err(error) => match error.pause() {
                    Some(pause) if self.may_pause() => {
                        return Ok(StreamOutcome::Paused(self.until(pause)));
                    }
                    _ => return self.fail(&error.to_string()).await,
                },
            };
            self.counts.pages += 1;
            let last = page.next.is_none();
            if let Stored::FenceLost = self.store(page, &mut position).await? {
                return Ok(StreamOutcome::LeaseLost);
            }
            if last {
                return if position.sweeps {
                    self.sweep().await
                } else {
                    Ok(self.outcome())
                };
            }
            let now = self.now();
            if self.run.sorted && next_move <= now {
                self.move_cursor(now).await?;
                next_move = self.cursor_move_due();
            }
        }
    }

    /// Reads a page; a provider that panics or takes too long has failed.
    async fn read(&self, position: &Position) -> Result<SyncPage, EnumerationError> {
        let operator = self.engine.client.operator();
        let query = PageQuery {
            integration_id: self.run.integration_id,
            integration: operator
                .integration(self.run.integration_id)
                .during_sync(self.run.log_id),
            since: position.since.clone(),
            page: position.page.clone(),
        };
        let limit = self.engine.policy.page_time_limit;
        let clock = &self.engine.client.ports().clock;
        let page = AssertUnwindSafe(async { self.stream.page(&query).await }).catch_unwind();
        tokio::select! {
            page = page => page.unwrap_or_else(|_panic| {
                Err(EnumerationError::failed("the provider panicked"))
            }),
            () = clock.sleep_until(later(clock.now(), limit)) => Err(EnumerationError::failed(
                format!("reading a page took longer than {} s", limit.as_secs()),
            )),
        }
    }

    /// Stores a page, a long one in parts. Parts before the last keep the token of the page
    /// itself: it is read again after a crash, and what is stored already is dropped.
    async fn store(
        &mut self,
        page: SyncPage,
        position: &mut Position,
    ) -> Result<Stored, StoreError> {
        let has_no_id = |item: &SourceItem| item.external_id.is_none();
        position.nameless |= page.items.iter().any(has_no_id);
        let cursor = page.cursor;
        let mut items = page.items.into_iter().peekable();
        loop {
            let part: Vec<_> = items.by_ref().take(self.engine.policy.page_chunk).collect();
            let is_last_part = items.peek().is_none();
            if is_last_part {
                position.page.clone_from(&page.next);
            }
            let ends = is_last_part && page.next.is_none();
            position.sweeps = ends && self.finds_deletions(position);
            let end = if ends && !position.sweeps {
                PageEnd::Complete
            } else {
                PageEnd::Continue(position.token())
            };
            let part = self.new_items(part).await?;
            let cursor = cursor.clone().filter(|_| is_last_part);
            if let Stored::FenceLost = self.add(part, end, cursor).await? {
                return Ok(Stored::FenceLost);
            }
            if is_last_part {
                return Ok(Stored::Yes);
            }
        }
    }

    /// Whether what the run was not told was deleted.
    fn finds_deletions(&self, position: &Position) -> bool {
        let was_told_all = self.run.finds_deletions() && self.stream.is_exhaustive();
        if was_told_all && position.nameless {
            tracing::warn!(
                run_id = %self.run.id,
                stream = %self.run.stream,
                "records without an id were told: deletions are looked for in the next full run"
            );
        }
        was_told_all && !position.nameless
    }

    /// Has every record looked at that there was, part by part, which ends enumeration. A process
    /// that takes over begins again; what was found by then is not told again.
    async fn sweep(&mut self) -> Result<StreamOutcome, StoreError> {
        let ports = self.engine.client.ports();
        let mut after = None;
        loop {
            if self.stop.is_stopped() {
                return Ok(StreamOutcome::Interrupted);
            }
            let sweep = Sweep {
                run_id: self.run.id,
                fence: self.fence,
                after,
                limit: SWEEP,
                now: ports.clock.now(),
            };
            let Swept::Done {
                items,
                last,
                open,
                finalisable,
            } = ports.syncs.sweep_records(&sweep).await?
            else {
                return Ok(StreamOutcome::LeaseLost);
            };
            for added in items {
                match added {
                    ItemAdded::Requeued(_) => self.counts.requeued += 1,
                    _ => self.counts.deleted += 1,
                }
            }
            self.finalisable = finalisable;
            if open > 0 {
                ports.wake.ring(WakeChannel::Items);
            }
            if last.is_none() {
                return Ok(self.outcome());
            }
            after = last;
        }
    }

    /// Stores items with how enumeration goes on, and wakes workers.
    async fn add(
        &mut self,
        items: Vec<NewItem>,
        next: PageEnd,
        cursor: Option<Json>,
    ) -> Result<Stored, StoreError> {
        let ports = self.engine.client.ports();
        let page = RunPage {
            run_id: self.run.id,
            fence: self.fence,
            items,
            next,
            cursor,
            now: ports.clock.now(),
        };
        let (items, open, finalisable, sorted) = match ports.syncs.add_items(&page).await? {
            PageAdded::FenceLost => return Ok(Stored::FenceLost),
            PageAdded::Done {
                items,
                open,
                finalisable,
                sorted,
            } => (items, open, finalisable, sorted),
        };
        if self.run.sorted && !sorted {
            tracing::warn!(
                run_id = %self.run.id,
                stream = %self.run.stream,
                "a stream that promised to be sorted is not, or a record of it was refused: its \
                 cursor waits for the end"
            );
        }
        self.run.sorted = sorted;
        let before = self.brought();
        for (new, added) in page.items.iter().zip(items) {
            match added {
                Ok(ItemAdded::Stored(_)) => self.counts.stored += 1,
                Ok(ItemAdded::Requeued(_)) => self.counts.requeued += 1,
                Ok(ItemAdded::Duplicate(_) | ItemAdded::AlreadyDone) => {
                    self.counts.duplicates += 1;
                }
                Err(rejected) => {
                    tracing::error!(
                        run_id = %self.run.id,
                        kind = %new.kind,
                        external_id = new.external_id.as_ref().map(ExternalId::as_str),
                        %rejected,
                        "an item was refused"
                    );
                    self.counts.rejected += 1;
                    // As the store has it.
                    self.run.miss_item();
                }
            }
        }
        let (items, many) = (self.brought(), self.engine.policy.many_items);
        if before <= many && many < items {
            tracing::warn!(
                run_id = %self.run.id,
                stream = %self.run.stream,
                items,
                "a run brings many items"
            );
        }
        self.finalisable = finalisable;
        if open > 0 {
            ports.wake.ring(WakeChannel::Items);
        }
        Ok(Stored::Yes)
    }

    /// Items of the run, those included that somebody else stored.
    fn brought(&self) -> u64 {
        let earlier = u64::try_from(self.run.counts.total).unwrap_or(0);
        earlier + self.counts.stored + self.counts.requeued
    }

    /// How enumeration ended once everything was told.
    fn outcome(&self) -> StreamOutcome {
        match &self.run.enumeration_error {
            Some(error) => StreamOutcome::Failed(error.clone()),
            None => StreamOutcome::Enumerated,
        }
    }

    /// Ends enumeration early; what it brought stands.
    async fn fail(&mut self, error: &str) -> Result<StreamOutcome, StoreError> {
        let error = self.engine.redacted(self.run.integration_id, error).await;
        let end = PageEnd::Failed(error.clone());
        Ok(match self.add(Vec::new(), end, None).await? {
            Stored::Yes => StreamOutcome::Failed(error),
            Stored::FenceLost => StreamOutcome::LeaseLost,
        })
    }

    /// A run that brings nothing and only waits comes to its end too.
    fn may_pause(&self) -> bool {
        let oldest = later(self.run.started_at, self.engine.policy.put_back_window);
        self.counts.pages > 0 || self.now() < oldest
    }

    fn until(&self, pause: Pause) -> DateTime<Utc> {
        let policy = &self.engine.policy;
        let now = self.now();
        let until = pause.until.filter(|until| *until > now);
        let until = until.unwrap_or_else(|| later(now, policy.default_pause));
        until.min(later(now, policy.put_back_window))
    }

    /// The items as they are stored. Records without checkpoint are told apart by what they hold.
    async fn new_items(&self, items: Vec<SourceItem>) -> Result<Vec<NewItem>, StoreError> {
        let mut new = Vec::with_capacity(items.len());
        for item in items {
            let mut digests = match (&item.external_id, &item.checkpoint) {
                (Some(_), None) => self.digests(&item).await?,
                _ => Vec::new(),
            }
            .into_iter();
            new.push(NewItem {
                kind: item.kind,
                external_id: item.external_id,
                checkpoint: item.checkpoint,
                payload: item.payload,
                digest: digests.next(),
                other_digests: digests.collect(),
                batch_id: None,
            });
        }
        Ok(new)
    }

    /// Digests of an item under every key of the ring, the primary one's first.
    async fn digests(&self, item: &SourceItem) -> Result<Vec<Vec<u8>>, StoreError> {
        let encryptor = &self.engine.client.keys().encryptor;
        let digests = encryptor
            .digests(DigestPurpose::Content, item.payload.as_bytes())
            .await;
        let digests = digests.ok().filter(|digests| !digests.is_empty());
        let digests = digests.ok_or_else(|| {
            let message = "the items could not be digested: the keys are not available";
            StoreError::new(StoreErrorKind::Unavailable, message)
        })?;
        Ok(digests.iter().map(KeyedDigest::to_bytes).collect())
    }

    async fn move_cursor(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let syncs = &self.engine.client.ports().syncs;
        let moved = syncs.advance_cursor(self.run.id, self.fence, now).await?;
        if moved.is_some() {
            tracing::debug!(run_id = %self.run.id, "the cursor moved during enumeration");
        }
        Ok(())
    }

    fn cursor_move_due(&self) -> DateTime<Utc> {
        later(self.now(), self.engine.policy.cursor_every)
    }

    fn now(&self) -> DateTime<Utc> {
        self.engine.client.ports().clock.now()
    }
}
