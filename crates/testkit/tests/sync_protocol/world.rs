//! The rows of one stream, and the steps that change them. Time stands still: a lease runs out by
//! a step of its own.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, SyncItemId, SyncRunId, Uid},
    integration::Scope,
    store::Rejected,
    sync::{
        Checkpoint, CheckpointOrder, ItemDecision, ItemOutcome, ItemSettlement, ItemVerdict,
        NewItem, PageEnd, Payload, RunCounts, RunPage, RunState, SyncRun,
        protocol::{
            self, Changes, ItemLease, ItemState, Known, RecordKey, RecordState, decide, end_run,
            plan_page, resume_run, settle,
        },
    },
    value::{ExternalId, ItemKind, StreamName},
};

use super::model::Fault;

/// A version of a record at the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) record: &'static str,
    pub(crate) checkpoint: i64,
}

/// A worker with an item: live, or late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) item: SyncItemId,
    pub(crate) token: Uid,
}

/// Somebody who enumerates a run, perhaps no longer the one who may.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Enumerator {
    pub(crate) run: SyncRunId,
    pub(crate) fence: i64,
    pub(crate) pages: Vec<Version>,
}

/// What comes of asking for the next page, which is one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The item, which is stored.
    Stored,
    /// The item, which is refused.
    Refused,
    /// Nothing: enumeration fails.
    Nothing,
}

/// Every row, and what the properties are told of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) fence: i64,
    pub(crate) cursor: Option<i64>,
    pub(crate) runs: BTreeMap<SyncRunId, SyncRun>,
    pub(crate) items: BTreeMap<SyncItemId, ItemState>,
    pub(crate) records: BTreeMap<RecordKey, RecordState>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) enumerators: Vec<Enumerator>,
    /// Claims so far.
    pub(crate) claims: u8,
    pub(crate) takeovers: u8,
    pub(crate) decisions: u8,
    /// The latest claim on each item.
    pub(crate) latest_claim: BTreeMap<SyncItemId, Uid>,
    /// How often each run ended.
    pub(crate) ends: BTreeMap<SyncRunId, u8>,
    /// Whether a settlement was taken that had no right to be.
    pub(crate) late_was_taken: bool,
}

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn live() -> DateTime<Utc> {
    now() + chrono::Duration::hours(1)
}

fn stream() -> StreamName {
    StreamName::new("issues").expect("a name")
}

fn new_item(version: Version) -> NewItem {
    NewItem {
        kind: ItemKind::new("issue").expect("a kind"),
        external_id: Some(ExternalId::new(version.record).expect("an id")),
        checkpoint: Some(Checkpoint::Number(version.checkpoint)),
        payload: Payload::Text(String::new()),
        digest: None,
        other_digests: Vec::new(),
        batch_id: None,
    }
}

pub(crate) fn number(order: &CheckpointOrder) -> i64 {
    match order.checkpoint() {
        Some(Checkpoint::Number(n)) => n,
        other => panic!("{other:?} is no number"),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            fence: 0,
            cursor: None,
            runs: BTreeMap::new(),
            items: BTreeMap::new(),
            records: BTreeMap::new(),
            workers: Vec::new(),
            enumerators: Vec::new(),
            claims: 0,
            takeovers: 0,
            decisions: 0,
            latest_claim: BTreeMap::new(),
            ends: BTreeMap::new(),
            late_was_taken: false,
        }
    }

    pub(crate) fn running(&self) -> Option<&SyncRun> {
        (self.runs.values()).find(|run| run.state == RunState::Running)
    }

    /// Claims the sync lease and opens a run, or goes on with the one there is.
    pub(crate) fn open(&mut self, upstream: &[Version], sorted: bool) {
        self.fence += 1;
        let run = match self.running() {
            Some(run) => resume_run(run, self.fence),
            None => self.new_run(sorted),
        };
        // A provider begins at the cursor inclusively, and goes on at the page token.
        let pages = match run.page_token.as_ref().and_then(serde_json::Value::as_u64) {
            Some(left) => usize::try_from(left).expect("a small number"),
            None => usize::MAX,
        };
        let from_cursor: Vec<_> = (upstream.iter().copied())
            .filter(|version| Some(version.checkpoint) >= self.cursor || run.page_token.is_some())
            .collect();
        let skipped = from_cursor.len().saturating_sub(pages);
        self.enumerators.push(Enumerator {
            run: run.id,
            fence: self.fence,
            pages: from_cursor[skipped..].to_vec(),
        });
        self.runs.insert(run.id, run);
    }

    fn new_run(&self, sorted: bool) -> SyncRun {
        let latest = self.runs.values().last();
        SyncRun {
            id: SyncRunId(latest.map_or(0, |run| run.id.0) + 1),
            integration_id: IntegrationId(1),
            stream: stream(),
            log_id: None,
            fence: self.fence,
            state: RunState::Running,
            page_token: None,
            enumerated: false,
            enumeration_error: None,
            full_resync: false,
            sorted,
            reached: None,
            covered: latest.and_then(|run| run.covered.clone()),
            next_cursor: None,
            counts: RunCounts::default(),
            started_at: now(),
            ended_at: None,
        }
    }

    /// Adds the next page of an enumerator.
    pub(crate) fn page(&mut self, who: usize, told: Told, fault: Option<Fault>) {
        let fails = told == Told::Nothing;
        let enumerator = &mut self.enumerators[who];
        let next = (!enumerator.pages.is_empty() && !fails).then(|| enumerator.pages.remove(0));
        let left = enumerator.pages.len();
        let is_forgotten = told == Told::Refused && fault == Some(Fault::RefusalForgotten);
        let fits = match told {
            Told::Refused => Err(Rejected::DoesNotFit),
            Told::Stored | Told::Nothing => Ok(()),
        };
        let page = RunPage {
            run_id: enumerator.run,
            fence: enumerator.fence,
            items: (next.filter(|_| !is_forgotten).map(new_item).into_iter()).collect(),
            next: match (fails, left) {
                (true, _) => PageEnd::Failed("cut off".to_owned()),
                (false, 0) => PageEnd::Complete,
                (false, left) => PageEnd::Continue(left.into()),
            },
            cursor: None,
            now: now(),
        };
        let is_last = fails || left == 0;
        if is_last || page.fence != self.fence {
            self.enumerators.remove(who);
        }
        let run = &self.runs[&page.run_id];
        if page.fence != self.fence || run.state != RunState::Running {
            return;
        }
        let known = Known {
            records: self.records.clone().into_iter().collect::<HashMap<_, _>>(),
            versions: self.unresolved(),
        };
        let id = self.items.keys().last().map_or(1, |id| id.0 + 1);
        let plan = plan_page(&page, run, known, &[fits], &[SyncItemId(id)]);
        for (item, _) in plan.stored.into_iter().chain(plan.requeued) {
            self.items.insert(item.id, item);
        }
        self.records.extend(plan.records);
        self.count(&plan.others.recount);
        let mut run = plan.run;
        if fault == Some(Fault::NothingCovered) {
            run.covered = None;
        }
        self.runs.insert(run.id, run);
    }

    fn unresolved(&self) -> HashMap<RecordKey, Vec<ItemState>> {
        let mut versions: HashMap<_, Vec<_>> = HashMap::new();
        for item in self.items.values().filter(|item| item.is_unresolved()) {
            let key = item.record().expect("a record");
            versions.entry(key).or_default().push(item.clone());
        }
        versions
    }

    fn count(&mut self, recount: &protocol::Recount) {
        for (run, change) in recount.iter() {
            let run = self.runs.get_mut(&run).expect("a run");
            run.counts = run.counts.plus(change);
        }
    }

    pub(crate) fn claimable(&self, fault: Option<Fault>) -> Vec<SyncItemId> {
        let waits = |item: &ItemState| {
            fault != Some(Fault::VersionsAtOnce)
                && (self.items.values()).any(|other| item.waits_for(other, now()))
        };
        let items = self.items.values().filter(|item| item.is_due(now()));
        items
            .filter(|item| !waits(item))
            .map(|item| item.id)
            .collect()
    }

    pub(crate) fn claim(&mut self, id: SyncItemId) {
        self.claims += 1;
        let token = Uid::from_bits(self.claims.into());
        let lease = ItemLease {
            token,
            until: live(),
        };
        let claimed = self.items[&id].claimed(lease, now());
        // Attempts are no part of the rules.
        self.items.insert(
            id,
            ItemState {
                attempts: 0,
                ..claimed
            },
        );
        self.latest_claim.insert(id, token);
        self.workers.push(Worker { item: id, token });
    }

    pub(crate) fn expire(&mut self, id: SyncItemId) {
        let item = self.items.get_mut(&id).expect("an item");
        if let Some(lease) = &mut item.lease {
            lease.until = now();
        }
    }

    pub(crate) fn settle(&mut self, who: usize, outcome: ItemOutcome, fault: Option<Fault>) {
        let worker = self.workers.remove(who);
        let before = &self.items[&worker.item];
        let had_right =
            before.is_leased(now()) && self.latest_claim.get(&worker.item) == Some(&worker.token);
        let token = match (fault, before.lease) {
            (Some(Fault::NoFence), Some(lease)) => lease.token,
            _ => worker.token,
        };
        let settlement = ItemSettlement {
            id: worker.item,
            token,
            outcome,
            now: now(),
        };
        let (changes, runs) = settle(&[settlement], &self.items);
        self.late_was_taken |= runs[0].is_some() && !had_right;
        self.write(changes, fault);
    }

    pub(crate) fn decide(&mut self, id: SyncItemId, verdict: ItemVerdict) {
        self.decisions += 1;
        let decision = ItemDecision {
            id,
            scope: Scope::Operator,
            verdict,
            now: now(),
        };
        let (changes, _) = decide(&[decision], &[true], &self.items);
        self.write(changes, None);
    }

    fn write(&mut self, changes: Changes, fault: Option<Fault>) {
        for (key, item) in changes.resolutions() {
            let record = self.records.remove(key).unwrap_or_default();
            self.records.insert(key.clone(), record.resolved(item));
        }
        self.count(&changes.recount);
        if fault == Some(Fault::CountsTwice) {
            self.count(&changes.recount);
        }
        self.items.extend(changes.items);
    }

    /// Brings a run to its end, or looks at one that has ended again.
    pub(crate) fn finalise(&mut self, id: SyncRunId, fault: Option<Fault>) {
        let mut run = self.runs[&id].clone();
        if fault == Some(Fault::EndsAgain) {
            run.state = RunState::Running;
        }
        if let Some(ended) = end_run(&run, now()) {
            *self.ends.entry(id).or_default() += 1;
            self.runs.insert(id, ended);
        } else if !run.state.is_final() {
            return;
        }
        self.follow(fault);
    }

    /// Moves the cursor to the watermark, if that is further on.
    pub(crate) fn follow(&mut self, fault: Option<Fault>) {
        let latest = self.runs.values().last().expect("a run");
        let items = self.items.values();
        let orders = |select: fn(&ItemState) -> bool| {
            let items = items.clone().filter(move |item| select(item));
            items.filter_map(|item| item.checkpoint.clone())
        };
        let unresolved = match fault {
            Some(Fault::CursorPastFailed) => orders(ItemState::is_unfinished).min(),
            _ => orders(ItemState::is_unresolved).min(),
        };
        let below = orders(|item| item.status.is_resolved())
            .filter(|order| Some(order) < unresolved.as_ref())
            .max();
        let covered = match fault {
            Some(Fault::CursorBeyondCover) => orders(|_| true).max(),
            _ => latest.covered.clone(),
        };
        let to = protocol::watermark(covered, unresolved.as_ref(), below);
        let to = to.as_ref().map(number);
        self.cursor = self.cursor.max(to);
    }
}
