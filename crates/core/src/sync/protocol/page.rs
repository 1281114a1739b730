//! A page of items: what of it is news.

use std::collections::{BTreeSet, HashMap};

use super::{Changes, ItemState, RETURNED, RecordKey, RecordState, count};
use crate::{
    id::SyncItemId,
    store::Rejected,
    sync::{ItemAdded, ItemStatus, NewItem, PageEnd, RunPage, SyncRun},
};

/// What a store knows of the records of a page.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Their rows; a record without one was never seen.
    pub records: HashMap<RecordKey, RecordState>,
    /// Their versions that are unresolved, in any order.
    pub versions: HashMap<RecordKey, Vec<ItemState>>,
}

/// What a page changes.
#[derive(Clone, Debug)]
pub struct PagePlan {
    /// What became of each entry.
    pub answers: Vec<Result<ItemAdded, Rejected>>,
    /// New rows, and the entry each is made of.
    pub stored: Vec<(ItemState, usize)>,
    /// Rows that move to this run, and the entry that brought each.
    pub requeued: Vec<(ItemState, usize)>,
    /// The records that were seen, as they are now.
    pub records: HashMap<RecordKey, RecordState>,
    /// The run after the page.
    pub run: SyncRun,
    /// What changes of other items, and what other runs lose.
    pub others: Changes,
    /// Whether a version was queued in front of a newer one that waits already.
    pub overtakes: bool,
}

/// What a page changes of `run`, which is unfinished and the caller's.
///
/// `fits` says for each entry whether it can be stored, and `ids` are as many free ids.
#[must_use]
pub fn plan_page(
    page: &RunPage,
    run: &SyncRun,
    known: Known,
    fits: &[Result<(), Rejected>],
    ids: &[SyncItemId],
) -> PagePlan {
    let mut plan = PagePlan {
        answers: Vec::with_capacity(page.items.len()),
        stored: Vec::new(),
        requeued: Vec::new(),
        records: known.records,
        run: run.clone(),
        others: Changes::default(),
        overtakes: false,
    };
    let mut versions = known.versions;
    plan.let_go_of_deletions(page, &mut versions);
    for (index, new) in page.items.iter().enumerate() {
        let answer = match (fits.get(index), ids.get(index)) {
            (Some(Ok(())), Some(id)) => Ok(plan.place(page, index, new, *id, &mut versions)),
            (Some(Err(why)), _) => Err(why.clone()),
            _ => Err(Rejected::DoesNotFit),
        };
        if answer.is_err() {
            plan.run.miss_item();
        }
        plan.answers.push(answer);
    }
    turn(&mut plan.run, page);
    plan
}

impl PagePlan {
    /// Lets go of what tells of the deletion of records that are there again, but for what somebody
    /// works on.
    fn let_go_of_deletions(
        &mut self,
        page: &RunPage,
        versions: &mut HashMap<RecordKey, Vec<ItemState>>,
    ) {
        if !versions.keys().any(|key| key.kind.is_deletion()) {
            return;
        }
        let records: BTreeSet<_> = (page.items.iter())
            .filter_map(|new| {
                fresh(page, &self.run, new, SyncItemId(0))
                    .record()?
                    .deletion()
            })
            .collect();
        for key in &records {
            let Some(deletions) = versions.get_mut(key) else {
                continue;
            };
            deletions.retain(|before| {
                let is_over = !before.is_leased(page.now);
                if is_over {
                    (self.others).change(before, before.let_go(RETURNED, page.now));
                }
                !is_over
            });
        }
    }

    fn place(
        &mut self,
        page: &RunPage,
        index: usize,
        new: &NewItem,
        id: SyncItemId,
        versions: &mut HashMap<RecordKey, Vec<ItemState>>,
    ) -> ItemAdded {
        let falls = new
            .order()
            .is_some_and(|order| Some(&order) < self.run.reached.as_ref());
        self.run.reached = new.order().max(self.run.reached.take());
        let fresh = fresh(page, &self.run, new, id);
        let Some(key) = fresh.record() else {
            self.run.sorted &= !falls;
            return self.store(fresh, index);
        };
        let record = self.records.remove(&key).unwrap_or_default();
        let done = record.is_done(new, &self.run);
        // A page that was cut off is told a second time, which breaks no promise.
        self.run.sorted &= !falls || record.has_seen(new, &self.run);
        self.records
            .insert(key.clone(), record.seen(self.run.id, new));

        let versions = versions.entry(key).or_default();
        let now = page.now;
        let newer_waits = |item: &ItemState, others: &[ItemState]| {
            let mut others = others.iter();
            others.any(|other| other.is_unfinished() && item.age() < other.age())
        };
        if let Some(found) = same_version(new, versions) {
            if versions[found].run_id == self.run.id {
                self.run.counts.duplicates += 1;
                return ItemAdded::Duplicate(versions[found].id);
            }
            let before = &versions[found];
            let after = before.brought_by(&self.run, now);
            (self.others.recount).left(before.run_id, &before.status);
            count(&mut self.run.counts, &after.status, 1);
            self.overtakes |= newer_waits(&after, versions);
            versions[found] = after.clone();
            let id = after.id;
            self.requeued.push((after, index));
            return ItemAdded::Requeued(id);
        }
        // What is unresolved and later than all that was resolved decides for a digest.
        if done && (new.checkpoint.is_some() || versions.is_empty()) {
            self.run.counts.duplicates += 1;
            return ItemAdded::AlreadyDone;
        }
        self.overtakes |= newer_waits(&fresh, versions);
        versions.push(fresh.clone());
        self.store(fresh, index)
    }

    fn store(&mut self, fresh: ItemState, index: usize) -> ItemAdded {
        count(&mut self.run.counts, &fresh.status, 1);
        let id = fresh.id;
        self.stored.push((fresh, index));
        ItemAdded::Stored(id)
    }
}

/// The unresolved row of this version. Content may come back, so of digests only the latest is
/// the same version.
fn same_version(new: &NewItem, versions: &[ItemState]) -> Option<usize> {
    let places = || 0..versions.len();
    let order = new.order();
    if order.is_some() {
        return places().find(|place| versions[*place].checkpoint == order);
    }
    places()
        .filter(|place| versions[*place].checkpoint.is_none())
        .max_by_key(|place| versions[*place].id)
        .filter(|place| match &versions[*place].digest {
            Some(digest) => new.has_digest(digest),
            None => new.digest.is_none(),
        })
}

/// The row of an entry that is news.
fn fresh(page: &RunPage, run: &SyncRun, new: &NewItem, id: SyncItemId) -> ItemState {
    ItemState {
        id,
        integration_id: run.integration_id,
        run_id: run.id,
        stream: run.stream.clone(),
        kind: new.kind.clone(),
        external_id: new.external_id.clone(),
        checkpoint: new.order(),
        digest: new.digest.clone(),
        status: ItemStatus::Pending,
        attempts: 0,
        error: None,
        available_at: page.now,
        lease: None,
        completed_at: None,
        updated_at: page.now,
    }
}

/// The run once its page is turned, and with it how far its stream is known completely: all of
/// what a complete enumeration saw, and what a sorted one has seen so far. One that was cut off
/// elsewhere says nothing of what lies between its items.
fn turn(run: &mut SyncRun, page: &RunPage) {
    if page.cursor.is_some() {
        run.next_cursor.clone_from(&page.cursor);
    }
    match &page.next {
        PageEnd::Continue(token) => run.page_token = Some(token.clone()),
        // Only as complete as what came before: what was refused stays with the run.
        PageEnd::Complete => {
            run.page_token = None;
            run.enumerated = true;
        }
        PageEnd::Failed(error) => {
            run.enumerated = true;
            run.enumeration_error = Some(error.clone());
        }
    }
    if run.next_cursor.is_some() {
        // Checkpoints do not tell where such a stream goes on.
        run.covered = None;
    } else if run.is_trusted() {
        run.covered = run.covered.take().max(run.reached.clone());
    }
}

/// The run under the fence of whoever goes on with it.
#[must_use]
pub fn resume_run(run: &SyncRun, fence: i64) -> SyncRun {
    SyncRun {
        fence,
        ..run.clone()
    }
}
