//! The scheduler: claims what is due, and looks after what others left behind.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::task::JoinSet;

use super::{
    Inner,
    round::{RoundReport, RoundRequest},
};
use crate::{
    event::EventKind,
    integration::{ClaimedIntegration, HealthStatus, Integration, SyncClaim, SyncSelection},
    store::StoreError,
    sync::KindSelection,
    time::{earlier, later},
    value::ItemKind,
    wake::WakeChannel,
    work::Stop,
};

/// Rows one statement of the housekeeping changes at most.
const BATCH: u32 = 1000;

impl Inner {
    /// Enumerates what is due until it is stopped; rounds under way then come to their end at the
    /// next page.
    pub(super) async fn schedule(self: Arc<Self>, stop: Stop) {
        let ports = self.client.ports();
        let mut bell = ports.wake.listen(WakeChannel::Syncs);
        let mut rounds = JoinSet::new();
        let mut chores = Chores::new(ports.clock.now());
        while !stop.is_stopped() {
            chores.due(&self).await;
            let free = self.policy.enumerations - rounds.len().min(self.policy.enumerations);
            for claimed in self.claim_due_or_wait(free).await {
                let (engine, stop) = (Arc::clone(&self), stop.clone());
                rounds.spawn(async move { engine.scheduled_round(claimed, &stop).await });
            }
            let poll = later(ports.clock.now(), self.policy.poll);
            tokio::select! {
                () = stop.stopped() => {}
                Some(ended) = rounds.join_next() => note(ended),
                () = bell.rung() => {}
                () = ports.clock.sleep_until(poll) => {}
            }
        }
        let limit = later(ports.clock.now(), self.policy.drain_limit);
        let ends = async {
            while let Some(ended) = rounds.join_next().await {
                note(ended);
            }
        };
        tokio::select! {
            () = ends => {}
            () = ports.clock.sleep_until(limit) => {
                tracing::warn!("syncs were cut off by the stop; they go on when their leases end");
            }
        }
    }

    /// Makes a round of an integration that is due, unless its health asks for more time; `None`
    /// then.
    pub(super) async fn scheduled_round(
        &self,
        claimed: ClaimedIntegration,
        stop: &Stop,
    ) -> Option<RoundReport> {
        let Some(until) = rests_until(&claimed.integration, self.now()) else {
            let request = RoundRequest::default();
            return Some(self.round(claimed, request, stop).await);
        };
        let (id, fence) = (claimed.integration.id, claimed.fence);
        let integrations = &self.client.ports().integrations;
        let released = integrations.release_sync_lease(id, fence, Some(until));
        if let Err(error) = released.await {
            tracing::warn!(integration_id = %id, %error, "a sync lease is left to run out");
        }
        None
    }

    /// At most `limit` of the integrations that are due.
    pub(super) async fn claim_due(
        &self,
        limit: usize,
    ) -> Result<Vec<ClaimedIntegration>, StoreError> {
        let providers = self.syncable();
        if limit == 0 || providers.is_empty() {
            return Ok(Vec::new());
        }
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        self.claim(SyncSelection::Due { limit, providers }).await
    }

    pub(super) async fn claim(
        &self,
        selection: SyncSelection,
    ) -> Result<Vec<ClaimedIntegration>, StoreError> {
        let ports = self.client.ports();
        let now = ports.clock.now();
        let claim = SyncClaim {
            selection,
            holder: self.holder.clone(),
            lease_until: later(now, self.policy.sync_lease),
            now,
        };
        ports.integrations.claim_sync(&claim).await
    }

    async fn claim_due_or_wait(&self, limit: usize) -> Vec<ClaimedIntegration> {
        self.claim_due(limit).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "due integrations could not be claimed yet");
            Vec::new()
        })
    }
}

/// Until when an integration that is not well is left alone: its intervals count double while it
/// is degraded, and tenfold while it is failing (HLT-07).
fn rests_until(integration: &Integration, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let multiple = match integration.health.status {
        HealthStatus::Degraded => 2,
        HealthStatus::Failing => 10,
        _ => return None,
    };
    let minutes = u64::try_from(integration.sync_interval_minutes?).ok()?;
    let spacing = Duration::from_secs(minutes.saturating_mul(60 * multiple));
    let since = integration.last_synced_at.unwrap_or(integration.created_at);
    Some(later(since, spacing)).filter(|until| *until > now)
}

fn note(ended: Result<Option<RoundReport>, tokio::task::JoinError>) {
    if let Err(error) = ended {
        // Code of providers is caught where it is called; this is ours.
        tracing::error!(%error, "a sync ended early; its lease runs out");
    }
}

/// What is done from time to time, by every engine: each step is safe to be done by several.
struct Chores {
    reclaim_at: DateTime<Utc>,
    staleness_at: DateTime<Utc>,
    kinds_at: DateTime<Utc>,
    reported: BTreeSet<ItemKind>,
}

impl Chores {
    const RECLAIM_EVERY: Duration = Duration::from_secs(30);
    const STALENESS_EVERY: Duration = Duration::from_mins(1);
    const KINDS_EVERY: Duration = Duration::from_mins(5);

    fn new(now: DateTime<Utc>) -> Self {
        Self {
            reclaim_at: now,
            staleness_at: now,
            kinds_at: now,
            reported: BTreeSet::new(),
        }
    }

    /// Does what is due; what goes wrong is reported, and done at the next time.
    async fn due(&mut self, engine: &Inner) {
        if let Err(error) = self.try_due(engine).await {
            tracing::warn!(%error, "housekeeping of syncs could not be done yet");
        }
    }

    async fn try_due(&mut self, engine: &Inner) -> Result<(), StoreError> {
        engine.finalise_left_over().await?;
        let ports = engine.client.ports();
        let now = ports.clock.now();
        if self.reclaim_at <= now {
            self.reclaim_at = later(now, Self::RECLAIM_EVERY);
            ports.syncs.reclaim_items(now, BATCH).await?;
        }
        if self.staleness_at <= now {
            self.staleness_at = later(now, Self::STALENESS_EVERY);
            engine.sweep_staleness(now).await?;
        }
        if self.kinds_at <= now {
            self.kinds_at = later(now, Self::KINDS_EVERY);
            self.report_unhandled(engine, now).await?;
        }
        Ok(())
    }

    /// Reports kinds that wait and that no living worker handles, each once for as long as it
    /// lasts.
    async fn report_unhandled(
        &mut self,
        engine: &Inner,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let ports = engine.client.ports();
        let waiting = ports.syncs.waiting_kinds().await?;
        let workers = ports
            .workers
            .alive(earlier(now, super::roll::ALIVE))
            .await?;
        let own = engine.handlers.selection();
        let handled = |kind: &ItemKind| {
            let by_own = match &own {
                KindSelection::All => true,
                KindSelection::Only(kinds) => kinds.contains(kind),
            };
            by_own
                || workers
                    .iter()
                    .any(|worker| (worker.kinds.as_ref()).is_none_or(|kinds| kinds.contains(kind)))
        };
        let unhandled = waiting.into_iter().filter(|(kind, _)| !handled(kind));
        let unhandled: Vec<_> = unhandled.collect();
        for (kind, count) in &unhandled {
            if !self.reported.contains(kind) {
                tracing::warn!(%kind, count, "items wait that no worker handles");
            }
        }
        self.reported = unhandled.into_iter().map(|(kind, _)| kind).collect();
        Ok(())
    }
}

impl Inner {
    /// Tells of syncs that are overdue, and of those that no longer are, each once (HLT-14).
    async fn sweep_staleness(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let syncs = &self.client.ports().syncs;
        let intervals = self.policy.stale_after_intervals;
        for change in syncs.sweep_staleness(intervals, BATCH, now).await? {
            let last_synced_at = change.last_synced_at;
            let kind = if change.stale {
                EventKind::SyncBecameStale { last_synced_at }
            } else {
                EventKind::SyncStalenessRecovered
            };
            self.tell(change.integration_id, kind);
        }
        Ok(())
    }
}
