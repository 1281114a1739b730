//! One round of an integration: its streams enumerated under one lease.

use std::panic::AssertUnwindSafe;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use serde_json::json;

use super::{
    Inner,
    enumerator::{Enumeration, StreamCounts, StreamOutcome},
    position::Position,
};
use crate::{
    event::EventKind,
    id::{IntegrationId, SyncRunId},
    integration::ClaimedIntegration,
    operation_log::{Direction, NewOperation, OperationStatus},
    provider::{StreamOrder, SyncStream},
    store::StoreError,
    sync::{Finalised, OpenRun, RunOpened, SyncRun, SyncSchedule},
    time::later,
    value::StreamName,
    work::Stop,
};

/// What every run's operation is called.
const OPERATION: &str = "sync";

/// What came of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundReport {
    /// The integration.
    pub integration_id: IntegrationId,
    /// Its streams, in the order they were enumerated.
    pub streams: Vec<StreamReport>,
    /// What kept the round from being made at all.
    pub error: Option<String>,
}

/// What came of one stream in a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamReport {
    /// The stream.
    pub stream: StreamName,
    /// Its run.
    pub run_id: SyncRunId,
    /// Whether the run had been begun earlier.
    pub resumed: bool,
    /// How it ended.
    pub outcome: StreamOutcome,
    /// What was stored.
    pub counts: StreamCounts,
    /// Whether the run has ended too: nothing of it was left to be handled.
    pub ended: bool,
}

/// What a round is to do.
#[derive(Clone, Debug, Default)]
pub(super) struct RoundRequest {
    /// Look at everything, from the beginning.
    pub(super) full: bool,
    /// Only these streams.
    pub(super) streams: Option<Vec<StreamName>>,
}

/// A round that was begun.
pub(super) struct Round<'a> {
    engine: &'a Inner,
    claimed: &'a ClaimedIntegration,
    stop: &'a Stop,
    /// When a stream wants to go on.
    resume_at: Option<DateTime<Utc>>,
    report: RoundReport,
}

impl Inner {
    /// Makes a round of an integration whose lease was won, and gives the lease back.
    pub(super) async fn round(
        &self,
        claimed: ClaimedIntegration,
        request: RoundRequest,
        stop: &Stop,
    ) -> RoundReport {
        let id = claimed.integration.id;
        let mut round = Round {
            engine: self,
            claimed: &claimed,
            stop,
            resume_at: None,
            report: RoundReport {
                integration_id: id,
                streams: Vec::new(),
                error: None,
            },
        };
        let made = tokio::select! {
            made = round.make(&request) => made,
            () = self.keep_lease(&claimed) => Err(Unmade::LeaseLost),
        };
        if let Err(Unmade::Store(error)) = &made {
            tracing::error!(integration_id = %id, %error, "a sync was cut off by the store");
        }
        round.report.error = made.err().map(|unmade| unmade.to_string());
        round.give_back().await;
        round.report
    }

    /// Renews the lease for as long as it is ours.
    async fn keep_lease(&self, claimed: &ClaimedIntegration) {
        let ports = self.client.ports();
        let lease = self.policy.sync_lease;
        let mut until = later(ports.clock.now(), lease);
        loop {
            let now = ports.clock.now();
            ports.clock.sleep_until(later(now, lease / 3)).await;
            let next = later(ports.clock.now(), lease);
            let renewed =
                ports
                    .integrations
                    .renew_sync_lease(claimed.integration.id, claimed.fence, next);
            match renewed.await {
                Ok(true) => until = next,
                Err(error) if ports.clock.now() < until => {
                    tracing::warn!(%error, "a sync lease could not be renewed yet");
                }
                Ok(false) | Err(_) => return,
            }
        }
    }
}

/// Why a round was not made.
#[derive(Debug, thiserror::Error)]
enum Unmade {
    #[error("somebody else took the integration over")]
    LeaseLost,
    #[error("the provider has nothing to sync")]
    NoStreams,
    #[error("the provider panicked")]
    Panicked,
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

impl Round<'_> {
    async fn make(&mut self, request: &RoundRequest) -> Result<(), Unmade> {
        let streams = self.streams(request)?;
        // All runs are opened before the first is enumerated, so that none ends as the last of
        // the round while others are still to come.
        let mut runs = Vec::with_capacity(streams.len());
        for stream in streams {
            let (run, resumed) = self.open(&*stream, request.full).await?;
            runs.push((stream, run, resumed));
        }
        for (stream, run, resumed) in runs {
            let report = self.enumerate(&*stream, run, resumed).await?;
            if report.outcome == StreamOutcome::LeaseLost {
                self.report.streams.push(report);
                return Err(Unmade::LeaseLost);
            }
            self.report.streams.push(report);
        }
        Ok(())
    }

    fn streams(&self, request: &RoundRequest) -> Result<Vec<Box<dyn SyncStream>>, Unmade> {
        let provider = &self.claimed.integration.provider;
        let streams = || self.engine.streams_of(provider);
        let mut streams = std::panic::catch_unwind(AssertUnwindSafe(streams))
            .map_err(|_panic| Unmade::Panicked)?;
        if let Some(chosen) = &request.streams {
            streams.retain(|stream| chosen.contains(&stream.name()));
        }
        if streams.is_empty() {
            return Err(Unmade::NoStreams);
        }
        Ok(streams)
    }

    async fn open(&self, stream: &dyn SyncStream, full: bool) -> Result<(SyncRun, bool), Unmade> {
        let integration = &self.claimed.integration;
        let now = self.now();
        let name = stream.name();
        let full_resync = full || !self.engine.is_incremental(&integration.provider);
        let open = OpenRun {
            integration_id: integration.id,
            stream: name.clone(),
            fence: self.claimed.fence,
            log: NewOperation {
                integration_id: integration.id,
                operation: OPERATION.to_owned(),
                direction: Direction::Inbound,
                status: OperationStatus::Processing,
                summary: None,
                external_id: None,
                metadata: Some(json!({ "stream": name, "full": full_resync })),
                result_data: None,
                error: None,
                duration_ms: None,
                parent_id: None,
                now,
            },
            full_resync,
            sorted: stream.order() == StreamOrder::Ascending,
            now,
        };
        match self.engine.client.ports().syncs.open_run(&open).await? {
            RunOpened::New(run) => {
                if let Some(log_id) = run.log_id {
                    let operation = OPERATION.to_owned();
                    let started = EventKind::OperationStarted { log_id, operation };
                    self.engine.tell(integration.id, started);
                }
                Ok((run, false))
            }
            RunOpened::Resumed(run) => Ok((run, true)),
            RunOpened::FenceLost => Err(Unmade::LeaseLost),
        }
    }

    async fn enumerate(
        &mut self,
        stream: &dyn SyncStream,
        run: SyncRun,
        resumed: bool,
    ) -> Result<StreamReport, Unmade> {
        let mut report = StreamReport {
            stream: run.stream.clone(),
            run_id: run.id,
            resumed,
            outcome: StreamOutcome::InFlight,
            counts: StreamCounts::default(),
            ended: false,
        };
        let mut finalisable = run.enumerated && run.counts.open == 0;
        if run.enumerated {
            tracing::debug!(
                run_id = %run.id,
                open = run.counts.open,
                "items of the last run are still open; nothing is enumerated"
            );
        } else {
            let integration = &self.claimed.integration;
            let since = integration.cursor(&run.stream).cloned();
            let start = Position::beginning(since.filter(|_| !run.full_resync));
            let mut enumeration = Enumeration {
                engine: self.engine,
                stream,
                run,
                fence: self.claimed.fence,
                stop: self.stop,
                counts: StreamCounts::default(),
                finalisable: false,
            };
            report.outcome = Box::pin(enumeration.run(start)).await?;
            report.counts = enumeration.counts;
            finalisable = enumeration.finalisable;
        }
        match &report.outcome {
            StreamOutcome::Paused(until) => self.go_on_at(*until),
            StreamOutcome::Interrupted => self.go_on_at(self.now()),
            _ => {}
        }
        if finalisable {
            let finalised = self.engine.finalise_or_leave(report.run_id).await;
            report.ended = matches!(
                finalised,
                Some(Finalised::Ended(_) | Finalised::AlreadyEnded { .. })
            );
        }
        Ok(report)
    }

    fn go_on_at(&mut self, at: DateTime<Utc>) {
        let earlier = self.resume_at.is_none_or(|resume_at| at < resume_at);
        if earlier {
            self.resume_at = Some(at);
        }
    }

    /// Gives the lease back. Where runs are left open, says when to look again: they move the next
    /// sync themselves when they end.
    async fn give_back(&self) {
        let integration = &self.claimed.integration;
        let policy = &self.engine.policy;
        let now = self.now();
        let all_ended = !self.report.streams.is_empty()
            && self.report.error.is_none()
            && self.report.streams.iter().all(|stream| stream.ended);
        let next = self.resume_at.or_else(|| {
            let schedule = SyncSchedule {
                max_backoff_multiplier: policy.max_backoff_multiplier,
                jitter: self.engine.jitter(),
            };
            let failures = integration.consecutive_sync_failures;
            schedule
                .next(now, integration.sync_interval_minutes, failures)
                .or_else(|| Some(later(now, policy.recheck)))
                .filter(|_| !all_ended)
        });
        let integrations = &self.engine.client.ports().integrations;
        let released = AssertUnwindSafe(async {
            integrations
                .release_sync_lease(integration.id, self.claimed.fence, next)
                .await
        });
        if let Ok(Err(error)) = released.catch_unwind().await {
            let id = integration.id;
            tracing::warn!(integration_id = %id, %error, "a sync lease is left to run out");
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.engine.client.ports().clock.now()
    }
}
