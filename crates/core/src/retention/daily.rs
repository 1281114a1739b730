//! Pruning once a day, by one of a fleet.
//!
//! One lease is both the exclusion and the mark of the day: it is held and renewed during a pass,
//! and at the end kept until the next is due. Where the pruner was killed it runs out in minutes,
//! and another goes on.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{PruneReport, Pruner, pruner::MayGoOn};
use crate::{
    lease::{Lease, LeaseAnswer, LeaseRequest},
    store::StoreError,
    time::later,
    value::{HolderName, InvalidValue, LeaseName},
};

const LEASE: &str = "retention";

/// How long a pruner may be silent during a pass.
const SILENCE: Duration = Duration::from_mins(10);

/// How long after the beginning of a pass the next is due.
const EVERY: Duration = Duration::from_hours(24);

/// How long to wait where the store failed.
const AFTER_A_FAILURE: Duration = Duration::from_mins(10);

/// What came of a look whether a pass is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pass {
    /// It was, and is done.
    Done(PruneReport),
    /// It was begun, and somebody else took over.
    TakenOver,
    /// Somebody else does it, or did.
    NotDue {
        /// When to look again.
        until: DateTime<Utc>,
    },
}

struct Renewing<'a> {
    pruner: &'a Pruner,
    lease: Lease,
}

impl MayGoOn for Renewing<'_> {
    async fn may_go_on(&mut self) -> Result<bool, StoreError> {
        let now = self.pruner.clock.now();
        if later(now, SILENCE / 2) < self.lease.until {
            return Ok(true);
        }
        let until = later(now, SILENCE);
        let renewed = self.pruner.leases.renew(&self.lease, until, now).await?;
        self.lease.until = until;
        Ok(renewed)
    }
}

impl Pruner {
    /// Prunes once a day among all who share the store, until the future is dropped.
    ///
    /// Cancel safe: a pass that is cut off goes on when its lease has run out.
    pub async fn daily(&self, holder: &HolderName) {
        loop {
            let now = self.clock.now();
            let again = match self.pass_if_due(holder).await {
                Ok(Pass::Done(report)) => {
                    tracing::info!(rows = report.total(), "pruned");
                    later(now, EVERY)
                }
                Ok(Pass::TakenOver) => later(now, EVERY),
                Ok(Pass::NotDue { until }) => until,
                Err(error) => {
                    tracing::warn!(%error, "what is past its age could not be pruned yet");
                    later(now, AFTER_A_FAILURE)
                }
            };
            self.clock.sleep_until(again).await;
        }
    }

    /// Prunes if nobody else does, or did within a day.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed; the pass goes on when its lease has run out.
    pub async fn pass_if_due(&self, holder: &HolderName) -> Result<Pass, StoreError> {
        let began = self.clock.now();
        let request = LeaseRequest {
            name: lease_name()?,
            holder: holder.clone(),
            until: later(began, SILENCE),
            now: began,
        };
        let lease = match self.leases.acquire(&request).await? {
            LeaseAnswer::Acquired(lease) => lease,
            LeaseAnswer::Held { until, .. } => return Ok(Pass::NotDue { until }),
        };
        let mut renewing = Renewing {
            pruner: self,
            lease,
        };
        let (report, finished) = self.pass(false, &mut renewing).await?;
        if !finished {
            return Ok(Pass::TakenOver);
        }
        let next = later(began, EVERY);
        self.leases
            .renew(&renewing.lease, next, self.clock.now())
            .await?;
        Ok(Pass::Done(report))
    }
}

fn lease_name() -> Result<LeaseName, StoreError> {
    LeaseName::new(LEASE).map_err(|error: InvalidValue| {
        StoreError::new(crate::store::StoreErrorKind::Other, error.to_string())
    })
}
