//! Bringing runs to their end.

use std::time::Duration;

use super::Inner;
use crate::{
    event::EventKind,
    id::SyncRunId,
    integration::Scope,
    store::StoreError,
    sync::{Finalise, Finalised, RunEnd, SyncSchedule},
    time::later,
};

/// Runs looked at in one sweep.
const SWEEP: u32 = 100;

/// Tries at one finalisation while the store fails for a moment; the sweep comes back to what is
/// left.
const TRIES: u32 = 3;

/// The wait between tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

impl Inner {
    /// Ends a run if nothing holds it back, and tells of it. Whoever calls first ends it; for all
    /// others there is nothing to do.
    pub(super) async fn finalise(&self, run_id: SyncRunId) -> Result<Finalised, StoreError> {
        let ports = self.client.ports();
        let mut tries = 0;
        let finalised = loop {
            tries += 1;
            let finalise = Finalise {
                run_id,
                schedule: SyncSchedule {
                    max_backoff_multiplier: self.policy.max_backoff_multiplier,
                    jitter: self.jitter(),
                },
                stuck_after_runs: self.policy.stuck_after_runs,
                now: ports.clock.now(),
            };
            match ports.syncs.finalise(&finalise).await {
                Ok(finalised) => break finalised,
                Err(error) if error.is_retryable() && tries < TRIES => {
                    let again = later(ports.clock.now(), BETWEEN_TRIES);
                    ports.clock.sleep_until(again).await;
                }
                Err(error) => return Err(error),
            }
        };
        if let Finalised::Ended(end) = &finalised {
            self.tell_of(end);
        }
        Ok(finalised)
    }

    /// Ends a run; what goes wrong is reported, and the next sweep tries again.
    pub(super) async fn finalise_or_leave(&self, run_id: SyncRunId) -> Option<Finalised> {
        match self.finalise(run_id).await {
            Ok(finalised) => Some(finalised),
            Err(error) => {
                tracing::warn!(%run_id, %error, "a run could not be finalised yet");
                None
            }
        }
    }

    /// Lets the cursor follow where a run had ended before its last item was done: one that was
    /// retried by hand, say (SYN-26). Nothing is told a second time.
    pub(super) async fn look_again(&self, run_id: SyncRunId) {
        let syncs = &self.client.ports().syncs;
        let run = syncs.find_run(run_id, &Scope::Operator).await;
        if let Ok(Some(run)) = run
            && run.state.is_final()
        {
            self.finalise_or_leave(run_id).await;
        }
    }

    /// Ends every run that is at zero and that nobody ended: its last worker was killed.
    pub(super) async fn finalise_left_over(&self) -> Result<(), StoreError> {
        for run in self.client.ports().syncs.finalisable_runs(SWEEP).await? {
            self.finalise_or_leave(run.id).await;
        }
        Ok(())
    }

    fn tell_of(&self, end: &RunEnd) {
        let run = &end.run;
        let counts = &run.counts;
        tracing::info!(
            integration_id = %run.integration_id,
            run_id = %run.id,
            stream = %run.stream,
            state = %run.state,
            succeeded = counts.succeeded,
            failed = counts.failed,
            skipped = counts.skipped,
            duplicates = counts.duplicates,
            "a sync run ended"
        );
        let tell = |kind| self.tell(run.integration_id, kind);
        tell(EventKind::SyncCompleted {
            run_id: run.id,
            succeeded: counts.succeeded,
            failed: counts.failed,
            skipped: counts.skipped,
        });
        if end.synced {
            tell(EventKind::IntegrationSynced { run_id: run.id });
        }
        for record in &end.stuck {
            tell(EventKind::SyncItemStuck {
                kind: record.kind.clone(),
                external_id: record.external_id.clone(),
                runs: record.runs,
            });
        }
    }

    /// A random wait, so that what is alike does not happen together.
    pub(super) fn jitter(&self) -> Duration {
        let mut random = [0; 8];
        let most = u64::try_from(self.policy.max_jitter.as_micros()).unwrap_or(u64::MAX);
        // Without randomness there is no jitter, which is no reason not to go on.
        match self.client.keys().entropy.fill(&mut random) {
            Ok(()) => Duration::from_micros(u64::from_le_bytes(random) % most.saturating_add(1)),
            Err(_) => Duration::ZERO,
        }
    }
}
