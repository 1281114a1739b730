//! Leases: mutual exclusion by name, with an end and a fence.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    store::StoreError,
    value::{HolderName, LeaseName},
};

/// A claim on a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// What is excluded from.
    pub name: LeaseName,
    /// Who asks.
    pub holder: HolderName,
    /// When others may take over.
    pub until: DateTime<Utc>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// What came of a claim on a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// It is the caller's.
    Acquired(Lease),
    /// Somebody has it, the same holder included.
    Held {
        /// Who.
        by: HolderName,
        /// Until when.
        until: DateTime<Utc>,
    },
}

/// A lease that was won.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What it excludes from.
    pub name: LeaseName,
    /// Who has it.
    pub holder: HolderName,
    /// Greater than that of any earlier lease of the name.
    pub fence: i64,
    /// When others may take over.
    pub until: DateTime<Utc>,
}

/// Named mutual exclusion between processes.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes a lease that is free or has run out.
    ///
    /// Of any number of requests at once exactly one MUST win, and each winner's fence MUST be
    /// greater than every earlier one of that name, released leases included.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`]; the lease may then be taken, and runs out.
    async fn acquire(&self, request: &LeaseRequest) -> Result<LeaseAnswer, StoreError>;

    /// Moves the end; `false` when the lease has another fence by now, was released, or had run
    /// out at `now`.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn renew(
        &self,
        lease: &Lease,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError>;

    /// Gives the lease back; `false` when it has another fence by now, or was released.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    async fn release(&self, lease: &Lease, now: DateTime<Utc>) -> Result<bool, StoreError>;
}
