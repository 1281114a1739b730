//! One stream of one integration, and short ways to say what the sync cases do with it.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{IntegrationId, SyncItemId, SyncRunId, Uid},
    integration::{Integration, NewIntegration, Scope, SyncClaim, SyncSelection},
    operation_log::{Direction, NewOperation},
    store::Rejected,
    sync::{
        Finalise, Finalised, ItemAdded, ItemClaim, ItemDecided, ItemDecision, ItemOutcome,
        ItemSettled, ItemSettlement, ItemVerdict, KindSelection, NewItem, OpenRun, PageAdded,
        PageEnd, Payload, RunEnd, RunOpened, RunPage, SyncItem, SyncRun, SyncSchedule,
    },
    value::{ExternalId, ItemKind, StreamName},
};
use serde_json::Value as Json;

pub(super) use super::fixtures::version;
use super::{
    Subject,
    fixtures::{at, holder, new_integration, operation, uid},
};

/// Minutes between the syncs of a feed's integration.
pub(super) const INTERVAL_MINUTES: i32 = 60;

/// Seconds a claim of a feed lasts.
pub(super) const LEASE_SECONDS: i64 = 60;

/// A stream of an integration whose sync lease is held.
#[derive(Clone)]
pub(super) struct Feed<'a> {
    pub(super) subject: &'a Subject,
    pub(super) integration_id: IntegrationId,
    pub(super) stream: StreamName,
    pub(super) fence: i64,
}

/// Items that one claim won.
pub(super) struct Work {
    pub(super) token: Uid,
    pub(super) items: Vec<SyncItem>,
}

impl Work {
    pub(super) fn ids(&self) -> Vec<SyncItemId> {
        self.items.iter().map(|item| item.id).collect()
    }

    /// The records, in the order in which they were handed out.
    pub(super) fn records(&self) -> Vec<&str> {
        self.items
            .iter()
            .filter_map(|item| item.external_id.as_ref())
            .map(ExternalId::as_str)
            .collect()
    }

    /// The only item.
    pub(super) fn only(&self) -> &SyncItem {
        assert_eq!(self.items.len(), 1, "one item should have been claimed");
        &self.items[0]
    }
}

pub(super) fn kind(name: &str) -> ItemKind {
    ItemKind::new(name).unwrap()
}

pub(super) fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

/// A version that fits no row.
pub(super) fn refused(name: &str, checkpoint: i64) -> NewItem {
    NewItem {
        payload: Payload::Text("\0".to_owned()),
        ..version(name, checkpoint)
    }
}

/// A record without a checkpoint, whose version is its digest.
pub(super) fn digested(name: &str, digest: &[u8]) -> NewItem {
    NewItem {
        checkpoint: None,
        digest: Some(digest.to_vec()),
        ..version(name, 0)
    }
}

pub(super) fn retry_at(seconds: i64) -> ItemOutcome {
    ItemOutcome::Retry {
        at: at(seconds),
        error: "try again".to_owned(),
    }
}

pub(super) fn failed() -> ItemOutcome {
    ItemOutcome::Failed {
        error: "refused by the handler".to_owned(),
    }
}

pub(super) fn skipped() -> ItemOutcome {
    ItemOutcome::Skipped {
        reason: "not wanted".to_owned(),
    }
}

impl<'a> Feed<'a> {
    /// A new integration, due every hour, whose sync lease is won.
    pub(super) async fn new(subject: &'a Subject) -> Self {
        let new = NewIntegration {
            sync_interval_minutes: Some(INTERVAL_MINUTES),
            next_sync_at: Some(at(0)),
            ..new_integration()
        };
        Self::of(subject, subject.create(&new).await.id).await
    }

    /// The sync lease of an integration, won at the beginning of time.
    pub(super) async fn of(subject: &'a Subject, integration_id: IntegrationId) -> Self {
        let mut feed = Self {
            subject,
            integration_id,
            stream: stream("issues"),
            fence: 0,
        };
        feed.win_lease(0).await;
        feed
    }

    /// The same integration and fence, another stream.
    pub(super) fn other_stream(&self, name: &str) -> Self {
        Self {
            stream: stream(name),
            ..self.clone()
        }
    }

    /// Wins the sync lease for an hour.
    pub(super) async fn win_lease(&mut self, now: i64) {
        let claim = SyncClaim {
            selection: SyncSelection::Named(self.integration_id),
            holder: holder("scheduler"),
            lease_until: at(now + 3600),
            now: at(now),
        };
        let claimed = self.subject.ports.integrations.claim_sync(&claim).await;
        let claimed = claimed.unwrap();
        assert_eq!(claimed.len(), 1, "the sync lease should be free at {now}");
        self.fence = claimed[0].fence;
    }

    /// How a run of this feed is opened.
    pub(super) fn opening(&self, now: i64) -> OpenRun {
        OpenRun {
            integration_id: self.integration_id,
            stream: self.stream.clone(),
            fence: self.fence,
            log: NewOperation {
                operation: "sync".to_owned(),
                direction: Direction::Inbound,
                now: at(now),
                ..operation(self.integration_id)
            },
            full_resync: false,
            sorted: false,
            now: at(now),
        }
    }

    /// Opens a new run.
    pub(super) async fn open(&self, now: i64) -> SyncRun {
        self.open_as(&self.opening(now)).await
    }

    /// Opens a new run that looks at everything.
    pub(super) async fn open_full(&self, now: i64) -> SyncRun {
        let opening = OpenRun {
            full_resync: true,
            ..self.opening(now)
        };
        self.open_as(&opening).await
    }

    /// Opens a new run with ascending checkpoints.
    pub(super) async fn open_sorted(&self, now: i64) -> SyncRun {
        let opening = OpenRun {
            sorted: true,
            ..self.opening(now)
        };
        self.open_as(&opening).await
    }

    async fn open_as(&self, opening: &OpenRun) -> SyncRun {
        match self.subject.ports.syncs.open_run(opening).await.unwrap() {
            RunOpened::New(run) => run,
            other => panic!("a new run should have been opened, not {other:?}"),
        }
    }

    /// Adds a page and answers whatever the store does.
    pub(super) async fn page(
        &self,
        run: SyncRunId,
        items: Vec<NewItem>,
        next: PageEnd,
        now: i64,
    ) -> PageAdded {
        let page = RunPage {
            run_id: run,
            fence: self.fence,
            items,
            next,
            cursor: None,
            now: at(now),
        };
        self.subject.ports.syncs.add_items(&page).await.unwrap()
    }

    /// Adds the last page of a run, with the cursor the provider told.
    pub(super) async fn complete_at(
        &self,
        run: SyncRunId,
        items: Vec<NewItem>,
        cursor: Json,
        now: i64,
    ) {
        let page = RunPage {
            run_id: run,
            fence: self.fence,
            items,
            next: PageEnd::Complete,
            cursor: Some(cursor),
            now: at(now),
        };
        let added = self.subject.ports.syncs.add_items(&page).await.unwrap();
        assert!(matches!(added, PageAdded::Done { .. }), "{added:?}");
    }

    /// Adds a page that is taken; one result per item.
    pub(super) async fn add(
        &self,
        run: SyncRunId,
        items: Vec<NewItem>,
        next: PageEnd,
        now: i64,
    ) -> Vec<Result<ItemAdded, Rejected>> {
        match self.page(run, items, next, now).await {
            PageAdded::Done { items, .. } => items,
            PageAdded::FenceLost => panic!("the page should have been taken"),
        }
    }

    /// A run with these items, completely enumerated.
    pub(super) async fn run_of(&self, items: Vec<NewItem>, now: i64) -> SyncRun {
        let run = self.open(now).await;
        self.add(run.id, items, PageEnd::Complete, now).await;
        run
    }

    /// A claim on every kind of this integration.
    pub(super) fn claiming(&self, limit: u32, now: i64) -> ItemClaim {
        ItemClaim {
            kinds: KindSelection::All,
            limit,
            token: uid(),
            lease_until: at(now + LEASE_SECONDS),
            integration_id: Some(self.integration_id),
            now: at(now),
        }
    }

    pub(super) async fn claim(&self, limit: u32, now: i64) -> Work {
        self.claim_as(&self.claiming(limit, now)).await
    }

    pub(super) async fn claim_as(&self, claim: &ItemClaim) -> Work {
        let items = self.subject.ports.syncs.claim_items(claim).await.unwrap();
        Work {
            token: claim.token,
            items,
        }
    }

    pub(super) async fn settle(
        &self,
        id: SyncItemId,
        token: Uid,
        outcome: ItemOutcome,
        now: i64,
    ) -> ItemSettled {
        let settlement = ItemSettlement {
            id,
            token,
            outcome,
            now: at(now),
        };
        let settlements = &self.subject.ports.sync_settlement;
        let settled = settlements.settle_items(&[settlement]).await.unwrap();
        assert_eq!(settled.len(), 1, "one result per settlement");
        settled[0]
    }

    /// Claims everything there is, again and again, and settles it as `verdict` says of the record.
    pub(super) async fn work(&self, now: i64, verdict: impl Fn(&SyncItem) -> ItemOutcome) {
        loop {
            let work = self.claim(100, now).await;
            if work.items.is_empty() {
                return;
            }
            for item in &work.items {
                let settled = self.settle(item.id, work.token, verdict(item), now).await;
                assert!(
                    matches!(settled, ItemSettled::Done { .. }),
                    "a claimed item should be settled: {item:?}"
                );
            }
        }
    }

    /// Settles every open item as done, but those of the records named as failed.
    pub(super) async fn work_but(&self, failing: &[&str], now: i64) {
        self.work(now, |item| {
            let name = item.external_id.as_ref().map_or("", ExternalId::as_str);
            if failing.contains(&name) {
                failed()
            } else {
                ItemOutcome::Succeeded
            }
        })
        .await;
    }

    pub(super) async fn finalise(&self, run: SyncRunId, now: i64) -> Finalised {
        self.finalise_as(&finalising(run, now)).await
    }

    pub(super) async fn finalise_as(&self, finalise: &Finalise) -> Finalised {
        self.subject.ports.syncs.finalise(finalise).await.unwrap()
    }

    /// Brings a run to its end.
    pub(super) async fn end(&self, run: SyncRunId, now: i64) -> RunEnd {
        self.end_as(&finalising(run, now)).await
    }

    pub(super) async fn end_as(&self, finalise: &Finalise) -> RunEnd {
        match self.finalise_as(finalise).await {
            Finalised::Ended(end) => *end,
            other => panic!("the run should have ended, not {other:?}"),
        }
    }

    /// A whole sync: lease, run, items handled but for those named, and its end.
    pub(super) async fn sync(&mut self, items: Vec<NewItem>, failing: &[&str], now: i64) -> RunEnd {
        let integrations = &self.subject.ports.integrations;
        // The lease of an earlier sync may be back already; what matters is that it is free now.
        let released = integrations.release_sync_lease(self.integration_id, self.fence, None);
        released.await.unwrap();
        self.win_lease(now).await;
        let run = self.run_of(items, now).await;
        self.work_but(failing, now).await;
        self.end(run.id, now).await
    }

    pub(super) async fn run(&self, id: SyncRunId) -> SyncRun {
        let syncs = &self.subject.ports.syncs;
        let run = syncs.find_run(id, &Scope::Operator).await.unwrap();
        run.unwrap()
    }

    pub(super) async fn item(&self, id: SyncItemId, now: i64) -> SyncItem {
        let syncs = &self.subject.ports.syncs;
        let item = syncs
            .find_item(id, &Scope::Operator, at(now))
            .await
            .unwrap();
        item.unwrap()
    }

    /// The cursor of this stream.
    pub(super) async fn cursor(&self) -> Option<Json> {
        let integration = self.integration().await;
        integration.cursor(&self.stream).cloned()
    }

    pub(super) async fn integration(&self) -> Integration {
        self.subject.read(self.integration_id).await
    }

    pub(super) async fn decide(
        &self,
        id: SyncItemId,
        verdict: ItemVerdict,
        now: i64,
    ) -> ItemDecided {
        let decision = ItemDecision {
            id,
            scope: Scope::Operator,
            verdict,
            now: at(now),
        };
        let syncs = &self.subject.ports.syncs;
        let decided = syncs.decide_items(&[decision]).await.unwrap();
        assert_eq!(decided.len(), 1, "one answer per decision");
        decided[0].clone()
    }

    pub(super) async fn retry(&self, id: SyncItemId, now: i64) -> ItemDecided {
        self.decide(id, ItemVerdict::Retry, now).await
    }

    pub(super) async fn skip(&self, id: SyncItemId, now: i64) -> ItemDecided {
        let reason = "let go".to_owned();
        self.decide(id, ItemVerdict::Skip { reason }, now).await
    }
}

/// How a run is brought to its end.
pub(super) fn finalising(run: SyncRunId, now: i64) -> Finalise {
    Finalise {
        run_id: run,
        schedule: SyncSchedule::default(),
        stuck_after_runs: 5,
        now: at(now),
    }
}

/// The ids of a page's rows, none of which was refused or dropped.
pub(super) fn stored(added: &[Result<ItemAdded, Rejected>]) -> Vec<SyncItemId> {
    added
        .iter()
        .map(|entry| match entry {
            Ok(ItemAdded::Stored(id) | ItemAdded::Requeued(id)) => *id,
            other => panic!("the item should have been queued, not {other:?}"),
        })
        .collect()
}

/// `minutes` after `from` seconds.
pub(super) fn minutes_after(from: i64, minutes: i64) -> DateTime<Utc> {
    at(from + minutes * 60)
}
