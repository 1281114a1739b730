//! Rows of `{integrations}`.

use chrono::{DateTime, Utc};
use integrations_core::{
    gate::{CircuitOverride, RateOverride},
    integration::{HealthState, Integration, Owner, SyncLease},
    store::StoreError,
};
use serde_json::Value as Json;

use crate::row::Row;

/// The columns [`integration`] reads, for `concat!`.
macro_rules! integration_columns {
    () => {
        "id, uid, provider, name, owner_type, owner_id, owner_key, credentials, \
         credentials_generation, metadata, is_active, parks_webhooks, health_status, consecutive_failures, \
         last_error_at, authorization_status, last_synced_at, next_sync_at, \
         sync_interval_minutes, sync_cursor, consecutive_sync_failures, sync_fence, \
         sync_lease_holder, sync_lease_until, sync_stale_at, circuit_override, \
         circuit_override_until, rate_override, rate_override_until, removed_at, created_at, \
         updated_at"
    };
}
pub(super) use integration_columns;

/// The columns [`integration`] reads.
pub(super) const INTEGRATION_COLUMNS: &str = integration_columns!();

/// Reads a whole row.
pub(super) fn integration(row: &Row) -> Result<Integration, StoreError> {
    Ok(Integration {
        id: row.get("id")?,
        uid: row.get("uid")?,
        provider: row.parse("provider")?,
        name: row.parse("name")?,
        owner: owner(row)?,
        credentials: row.get("credentials")?,
        credentials_generation: row.get("credentials_generation")?,
        metadata: row.get("metadata")?,
        is_active: row.get("is_active")?,
        parks_webhooks: row.get("parks_webhooks")?,
        health: HealthState {
            status: row.get::<String>("health_status")?.into(),
            consecutive_failures: row.get("consecutive_failures")?,
        },
        last_error_at: row.get("last_error_at")?,
        authorization_status: row.get::<String>("authorization_status")?.into(),
        last_synced_at: row.get("last_synced_at")?,
        next_sync_at: row.get("next_sync_at")?,
        sync_interval_minutes: row.get("sync_interval_minutes")?,
        sync_cursor: row.get("sync_cursor")?,
        consecutive_sync_failures: row.get("consecutive_sync_failures")?,
        sync_fence: row.get("sync_fence")?,
        sync_lease: sync_lease(row)?,
        sync_stale_at: row.get("sync_stale_at")?,
        circuit_override: circuit_override(row)?,
        rate_override: rate_override(row)?,
        removed_at: row.get("removed_at")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

fn owner(row: &Row) -> Result<Option<Owner>, StoreError> {
    let Some(owner_type) = row.get::<Option<String>>("owner_type")? else {
        return Ok(None);
    };
    let owner = match (
        row.get::<Option<i64>>("owner_id")?,
        row.get::<Option<String>>("owner_key")?,
    ) {
        (Some(id), _) => Owner::new(owner_type, id),
        (None, Some(key)) => Owner::new(owner_type, key),
        (None, None) => return Ok(None),
    };
    owner.map(Some).map_err(|_| row.corrupt("owner_type"))
}

fn sync_lease(row: &Row) -> Result<Option<SyncLease>, StoreError> {
    let holder: Option<String> = row.get("sync_lease_holder")?;
    let until: Option<DateTime<Utc>> = row.get("sync_lease_until")?;
    Ok(holder
        .zip(until)
        .map(|(holder, until)| SyncLease { holder, until }))
}

/// The operator's circuit override, in `circuit_override` and `circuit_override_until`.
pub(in crate::ports) fn circuit_override(row: &Row) -> Result<Option<CircuitOverride>, StoreError> {
    let Some(mode) = row.get::<Option<String>>("circuit_override")? else {
        return Ok(None);
    };
    Ok(Some(CircuitOverride {
        mode: mode.into(),
        until: row.get("circuit_override_until")?,
    }))
}

/// The operator's rate override: its budget in `rate_override`, its end in `rate_override_until`.
pub(in crate::ports) fn rate_override(row: &Row) -> Result<Option<RateOverride>, StoreError> {
    let Some(budget) = row.get::<Option<Json>>("rate_override")? else {
        return Ok(None);
    };
    Ok(Some(RateOverride {
        budget: serde_json::from_value(budget).map_err(|_| row.corrupt("rate_override"))?,
        until: row.get("rate_override_until")?,
    }))
}
