//! The `Leases` port.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations::{
    lease::{Lease, LeaseAnswer, LeaseRequest, Leases},
    store::StoreError,
    value::HolderName,
};

use crate::TinyStore;

/// A name that was leased once. It stays when it is free, so that its fence only grows.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    fence: i64,
    held: Option<(HolderName, DateTime<Utc>)>,
}

impl Slot {
    fn is_held_under(&self, fence: i64) -> bool {
        self.fence == fence && self.held.is_some()
    }
}

#[async_trait]
impl Leases for TinyStore {
    async fn acquire(&self, request: &LeaseRequest) -> Result<LeaseAnswer, StoreError> {
        let mut maps = self.lock();
        let slot = maps.leases.entry(request.name.clone()).or_default();
        if let Some((by, until)) = slot.held.clone().filter(|(_, until)| *until > request.now) {
            return Ok(LeaseAnswer::Held { by, until });
        }
        slot.fence += 1;
        slot.held = Some((request.holder.clone(), request.until));
        Ok(LeaseAnswer::Acquired(Lease {
            name: request.name.clone(),
            holder: request.holder.clone(),
            fence: slot.fence,
            until: request.until,
        }))
    }

    async fn renew(
        &self,
        lease: &Lease,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut maps = self.lock();
        let slot = maps.leases.entry(lease.name.clone()).or_default();
        let live = slot.held.as_ref().is_some_and(|(_, until)| *until > now);
        let renewed = slot.is_held_under(lease.fence) && live;
        if renewed {
            slot.held = Some((lease.holder.clone(), until));
        }
        Ok(renewed)
    }

    async fn release(&self, lease: &Lease, _now: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut maps = self.lock();
        let slot = maps.leases.entry(lease.name.clone()).or_default();
        let released = slot.is_held_under(lease.fence);
        if released {
            slot.held = None;
        }
        Ok(released)
    }
}
