//! The `IntegrationStore` port, but for its sync leases.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    encryptor::Sealed,
    id::IntegrationId,
    idempotency::ReservationState,
    integration::{
        AuthorizationChange, AuthorizationStatus, ClaimedIntegration, CredentialReplacement,
        HealthState, HealthStatus, HealthTransition, Integration, IntegrationChange,
        IntegrationFilter, IntegrationRef, IntegrationStore, NewIntegration, Removal, Replaced,
        Scope, SyncClaim,
    },
    store::{Page, PageRequest, Rejected, StoreError},
};

use super::{
    MemoryStore,
    columns::{Columns, refused},
    state::State,
    sync_lease,
};

#[async_trait]
impl IntegrationStore for MemoryStore {
    async fn create(&self, new: &NewIntegration) -> Result<Integration, StoreError> {
        Columns::check()
            .text(new.credentials.as_ref().map(Sealed::as_str))
            .json(new.metadata.as_ref())
            .of_row()?;
        let mut state = self.lock();
        if state.integrations.values().any(|row| row.uid == new.uid) {
            return Err(refused(&Rejected::Constraint));
        }
        let id = state.integrations.insert(|id| Integration {
            id: IntegrationId(id),
            uid: new.uid,
            provider: new.provider.clone(),
            name: new.name.clone(),
            owner: new.owner.clone(),
            credentials: new.credentials.clone(),
            credentials_generation: 0,
            metadata: new.metadata.clone(),
            is_active: true,
            parks_webhooks: false,
            health: HealthState::healthy(),
            last_error_at: None,
            authorization_status: AuthorizationStatus::Ok,
            last_synced_at: None,
            next_sync_at: new.next_sync_at,
            sync_interval_minutes: new.sync_interval_minutes,
            sync_cursor: None,
            consecutive_sync_failures: 0,
            sync_fence: 0,
            sync_lease: None,
            sync_stale_at: None,
            circuit_override: None,
            rate_override: None,
            removed_at: None,
            created_at: new.now,
            updated_at: new.now,
        });
        state
            .integrations
            .get(id)
            .cloned()
            .ok_or_else(|| refused(&Rejected::Constraint))
    }

    async fn find(
        &self,
        integration: IntegrationRef,
        scope: &Scope,
    ) -> Result<Option<Integration>, StoreError> {
        let state = self.lock();
        let id = match integration {
            IntegrationRef::Id(id) => Some(id),
            IntegrationRef::Uid(uid) => state
                .integrations
                .values()
                .find(|row| row.uid == uid)
                .map(|row| row.id),
        };
        Ok(id.and_then(|id| state.integration(id, scope)).cloned())
    }

    async fn list(
        &self,
        filter: &IntegrationFilter,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<Integration>, StoreError> {
        let state = self.lock();
        Ok(state.integrations.page(
            page,
            |row| {
                let selected = scope.admits(row.owner.as_ref()) && selects(filter, row);
                selected.then(|| row.clone())
            },
            |row| row.id.0,
        ))
    }

    async fn update(
        &self,
        id: IntegrationId,
        scope: &Scope,
        change: &IntegrationChange,
        now: DateTime<Utc>,
    ) -> Result<Option<Integration>, StoreError> {
        Columns::check()
            .json(change.metadata.as_ref().and_then(Option::as_ref))
            .of_row()?;
        let mut state = self.lock();
        let Some(row) = state.integration_mut(id, scope) else {
            return Ok(None);
        };
        apply(change, row);
        row.updated_at = now;
        Ok(Some(row.clone()))
    }

    async fn replace_credentials(
        &self,
        replacement: &CredentialReplacement,
    ) -> Result<Replaced, StoreError> {
        Columns::check()
            .text(replacement.credentials.as_ref().map(Sealed::as_str))
            .varchar(replacement.authorization_status.as_str(), 32)
            .of_row()?;
        let mut state = self.lock();
        let Some(row) = state.integration_mut(replacement.id, &replacement.scope) else {
            return Ok(Replaced::NotFound);
        };
        if row.credentials_generation != replacement.expected_generation {
            return Ok(Replaced::Stale {
                generation: row.credentials_generation,
            });
        }
        row.credentials.clone_from(&replacement.credentials);
        row.credentials_generation += 1;
        row.authorization_status = replacement.authorization_status.clone();
        row.updated_at = replacement.now;
        Ok(Replaced::Done {
            generation: row.credentials_generation,
        })
    }

    async fn claim_sync(&self, claim: &SyncClaim) -> Result<Vec<ClaimedIntegration>, StoreError> {
        Ok(sync_lease::claim(&mut self.lock(), claim))
    }

    async fn renew_sync_lease(
        &self,
        id: IntegrationId,
        fence: i64,
        until: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        Ok(sync_lease::renew(&mut self.lock(), id, fence, until))
    }

    async fn release_sync_lease(
        &self,
        id: IntegrationId,
        fence: i64,
        next_sync_at: Option<DateTime<Utc>>,
    ) -> Result<bool, StoreError> {
        let mut state = self.lock();
        Ok(sync_lease::release(&mut state, id, fence, next_sync_at))
    }

    async fn set_authorization(&self, change: &AuthorizationChange) -> Result<bool, StoreError> {
        Columns::check()
            .varchar(change.status.as_str(), 32)
            .of_row()?;
        let mut state = self.lock();
        let row = state.integration_mut(change.id, &Scope::Operator);
        Ok(row.is_some_and(|row| {
            authorize(row, change.generation, &change.status) && {
                row.updated_at = change.now;
                true
            }
        }))
    }

    async fn move_health(
        &self,
        id: IntegrationId,
        scope: &Scope,
        to: &HealthStatus,
        now: DateTime<Utc>,
    ) -> Result<Option<HealthTransition>, StoreError> {
        Columns::check().varchar(to.as_str(), 16).of_row()?;
        let mut state = self.lock();
        let Some(row) = state.integration_mut(id, scope) else {
            return Ok(None);
        };
        if row.health.status == *to {
            return Ok(None);
        }
        let from = std::mem::replace(&mut row.health.status, to.clone());
        if *to == HealthStatus::Healthy {
            row.health.consecutive_failures = 0;
        }
        row.updated_at = now;
        Ok(Some(HealthTransition {
            from,
            to: to.clone(),
            consecutive_failures: row.health.consecutive_failures,
        }))
    }

    async fn remove(
        &self,
        id: IntegrationId,
        scope: &Scope,
        force: bool,
        now: DateTime<Utc>,
    ) -> Result<Removal, StoreError> {
        let mut state = self.lock();
        if state.integration(id, scope).is_none() {
            return Ok(Removal::NotFound);
        }
        let unknown = unknown_keys(&state, id, now);
        if unknown > 0 && !force {
            return Ok(Removal::UnknownKeys(unknown));
        }
        for row in state.reservations.values_mut() {
            if row.record.integration_id == id {
                row.record.sealed_answer = None;
            }
        }
        state
            .cache
            .delete_where(|entry| entry.key.integration_id == id);
        if let Some(row) = state.integration_mut(id, scope) {
            row.credentials = None;
            row.next_sync_at = None;
            row.sync_lease = None;
            row.sync_fence += 1;
            row.removed_at = Some(now);
            row.updated_at = now;
        }
        Ok(Removal::Removed)
    }
}

fn selects(filter: &IntegrationFilter, row: &Integration) -> bool {
    (filter.include_removed || row.removed_at.is_none())
        && filter.provider.as_ref().is_none_or(|p| *p == row.provider)
        && (filter.owner.is_none() || filter.owner == row.owner)
        && filter.name.as_ref().is_none_or(|name| *name == row.name)
        && (filter.health.as_ref()).is_none_or(|health| *health == row.health.status)
        && filter
            .is_active
            .is_none_or(|active| active == row.is_active)
}

fn apply(change: &IntegrationChange, row: &mut Integration) {
    if let Some(name) = &change.name {
        row.name = name.clone();
    }
    if let Some(metadata) = &change.metadata {
        row.metadata.clone_from(metadata);
    }
    if let Some(owner) = &change.owner {
        row.owner.clone_from(owner);
    }
    if let Some(is_active) = change.is_active {
        row.is_active = is_active;
    }
    if let Some(parks_webhooks) = change.parks_webhooks {
        row.parks_webhooks = parks_webhooks;
    }
    if let Some(minutes) = change.sync_interval_minutes {
        row.sync_interval_minutes = minutes;
    }
    if let Some(next_sync_at) = change.next_sync_at {
        row.next_sync_at = next_sync_at;
    }
    if change.reset_health {
        row.health = HealthState::healthy();
    }
}

/// Takes in a finding about the credentials of `generation`; whether it is news.
pub(super) fn authorize(
    row: &mut Integration,
    generation: i64,
    status: &AuthorizationStatus,
) -> bool {
    let is_news = row.credentials_generation == generation && row.authorization_status != *status;
    if is_news {
        row.authorization_status = status.clone();
    }
    is_news
}

fn unknown_keys(state: &State, id: IntegrationId, now: DateTime<Utc>) -> u64 {
    let unknown = state.reservations.values().filter(|row| {
        row.record.integration_id == id && row.at(now).state == ReservationState::Unknown
    });
    unknown.count() as u64
}
