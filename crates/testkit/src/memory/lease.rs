//! The `Leases` port.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    lease::{Lease, LeaseAnswer, LeaseRequest, Leases},
    store::StoreError,
};

use super::{MemoryStore, state::LeaseRow};

#[async_trait]
impl Leases for MemoryStore {
    async fn acquire(&self, request: &LeaseRequest) -> Result<LeaseAnswer, StoreError> {
        let mut state = self.lock();
        let row = state
            .leases
            .entry(request.name.clone())
            .or_insert(LeaseRow {
                fence: 0,
                held: None,
            });
        if let Some((by, until)) = &row.held
            && request.now < *until
        {
            return Ok(LeaseAnswer::Held {
                by: by.clone(),
                until: *until,
            });
        }
        row.fence += 1;
        row.held = Some((request.holder.clone(), request.until));
        Ok(LeaseAnswer::Acquired(Lease {
            name: request.name.clone(),
            holder: request.holder.clone(),
            fence: row.fence,
            until: request.until,
        }))
    }

    async fn renew(
        &self,
        lease: &Lease,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let row = state.leases.get_mut(&lease.name);
        let held = row
            .filter(|row| row.fence == lease.fence)
            .and_then(|row| row.held.as_mut())
            .filter(|(_, end)| now < *end);
        Ok(held.is_some_and(|(_, end)| {
            *end = until;
            true
        }))
    }

    async fn release(&self, lease: &Lease, _now: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let row = state.leases.get_mut(&lease.name);
        let held = row.filter(|row| row.fence == lease.fence);
        Ok(held.is_some_and(|row| row.held.take().is_some()))
    }
}
