//! The sync leases of the `IntegrationStore` port.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::IntegrationId,
    integration::{ClaimedIntegration, Integration, Scope, SyncClaim, SyncLease, SyncSelection},
};

use super::state::State;

pub(super) fn claim(state: &mut State, claim: &SyncClaim) -> Vec<ClaimedIntegration> {
    selected(state, claim)
        .into_iter()
        .filter_map(|id| {
            let row = state.integrations.get_mut(id.0)?;
            row.sync_fence += 1;
            row.sync_lease = Some(SyncLease {
                holder: claim.holder.as_str().to_owned(),
                until: claim.lease_until,
            });
            row.updated_at = claim.now;
            Some(ClaimedIntegration {
                fence: row.sync_fence,
                integration: row.clone(),
            })
        })
        .collect()
}

/// The integrations `claim` wins, the longest due first.
fn selected(state: &State, claim: &SyncClaim) -> Vec<IntegrationId> {
    let free = |row: &&Integration| {
        let leased = row.sync_lease.as_ref().is_some_and(|l| claim.now < l.until);
        row.refusal().is_none() && !leased
    };
    match &claim.selection {
        SyncSelection::Named(id) => {
            let named = state.integrations.get(id.0).filter(free);
            named.map(|row| row.id).into_iter().collect()
        }
        SyncSelection::Due { limit, providers } => {
            let mut due: Vec<_> = state
                .integrations
                .values()
                .filter(free)
                .filter(|row| providers.contains(&row.provider))
                .filter_map(|row| Some((row.next_sync_at?, row.id)))
                .filter(|(at, _)| *at <= claim.now)
                .collect();
            due.sort_unstable();
            due.truncate(*limit as usize);
            due.into_iter().map(|(_, id)| id).collect()
        }
    }
}

pub(super) fn renew(
    state: &mut State,
    id: IntegrationId,
    fence: i64,
    until: DateTime<Utc>,
) -> bool {
    let lease = state
        .integration_mut(id, &Scope::Operator)
        .filter(|row| row.sync_fence == fence)
        .and_then(|row| row.sync_lease.as_mut());
    lease.is_some_and(|lease| {
        lease.until = until;
        true
    })
}

pub(super) fn release(
    state: &mut State,
    id: IntegrationId,
    fence: i64,
    next_sync_at: Option<DateTime<Utc>>,
) -> bool {
    let row = state
        .integration_mut(id, &Scope::Operator)
        .filter(|row| row.sync_fence == fence && row.sync_lease.is_some());
    row.is_some_and(|row| {
        row.sync_lease = None;
        row.next_sync_at = next_sync_at.or(row.next_sync_at);
        true
    })
}
