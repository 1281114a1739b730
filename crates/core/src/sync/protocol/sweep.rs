//! A sweep: what became of the records that a full run did not see.

use super::{Changes, DELETED, Known, PagePlan, RecordKey, RecordState, plan_page};
use crate::{
    id::{SyncItemId, SyncRunId},
    sync::{NewItem, PageEnd, RunPage, Sweep, SyncRun, deletion::deletion},
    value::{ExternalId, ItemKind},
};

/// A record that a run did not see, and when it was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// Its kind.
    pub kind: ItemKind,
    /// Its id.
    pub external_id: ExternalId,
    /// The last run that saw it.
    pub last_seen_run: Option<SyncRunId>,
}

impl Unseen {
    /// The item that tells of its deletion; `None` where its kind has none.
    #[must_use]
    pub fn deletion(&self) -> Option<NewItem> {
        deletion(&self.kind, &self.external_id, self.last_seen_run)
    }

    fn key(&self, run: &SyncRun) -> RecordKey {
        RecordKey {
            integration_id: run.integration_id,
            stream: run.stream.clone(),
            kind: self.kind.clone(),
            external_id: self.external_id.clone(),
        }
    }
}

/// Whether `run` has to tell of the deletion of a record: it did not see it, and no run told of it
/// since it was seen last, or the item that did has failed. `told` is the record of its deletions.
#[must_use]
pub fn is_unseen(run: SyncRunId, record: &RecordState, told: Option<&RecordState>) -> bool {
    let is_news =
        |told: &RecordState| told.last_seen_run <= record.last_seen_run || told.failing_runs > 0;
    record.last_seen_run < Some(run) && told.is_none_or(is_news)
}

/// What a sweep changes.
#[derive(Clone, Debug)]
pub struct SweepPlan {
    /// The page of the items that tell of deletions.
    pub page: RunPage,
    /// What that page changes, with the versions of deleted records that nobody has to handle any
    /// more among the others.
    pub plan: PagePlan,
    /// The records that were deleted. Whatever comes back of them is news.
    pub deleted: Vec<RecordKey>,
}

/// What a look at `unseen` changes of `run`, of which all that there is was told; `ids` are as many
/// free ids. `is_last`: there are no more records.
///
/// A record somebody works on at this moment is left to the next full run, since its handler and
/// that of its deletion must not go on at once.
#[must_use]
pub fn plan_sweep(
    sweep: &Sweep,
    run: &SyncRun,
    unseen: &[Unseen],
    is_last: bool,
    known: Known,
    ids: &[SyncItemId],
) -> SweepPlan {
    let mut superseded = Changes::default();
    let (mut items, mut deleted) = (Vec::new(), Vec::new());
    for record in unseen {
        let key = record.key(run);
        let versions = known.versions.get(&key).map_or(&[][..], Vec::as_slice);
        let is_worked_on = versions.iter().any(|item| item.is_leased(sweep.now));
        let Some(item) = record.deletion().filter(|_| !is_worked_on) else {
            continue;
        };
        for before in versions {
            superseded.change(before, before.let_go(DELETED, sweep.now));
        }
        items.push(item);
        deleted.push(key);
    }
    let page = RunPage {
        run_id: run.id,
        fence: sweep.fence,
        items,
        next: if is_last {
            PageEnd::Complete
        } else {
            PageEnd::Continue(run.page_token.clone().unwrap_or_default())
        },
        cursor: None,
        now: sweep.now,
    };
    let fits = vec![Ok(()); page.items.len()];
    let mut plan = plan_page(&page, run, known, &fits, ids);
    for key in &deleted {
        if let Some(record) = plan.records.remove(key) {
            plan.records.insert(key.clone(), record.deleted());
        }
    }
    plan.others.join(superseded);
    SweepPlan {
        page,
        plan,
        deleted,
    }
}
