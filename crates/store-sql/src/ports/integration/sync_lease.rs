//! The sync lease of an integration: claimed, renewed, given back.

use chrono::{DateTime, Utc};
use integrations_core::{
    id::IntegrationId,
    integration::{ClaimedIntegration, SyncClaim, SyncSelection},
    store::StoreError,
};

use super::row::{integration, integration_columns};
use crate::{backend::OwnCommit, error::SqlError, statement::Template, store::SqlStore};

/// Whose lease `$1`, an instant, finds free.
macro_rules! claimable {
    () => {
        "health_status <> 'disabled' AND (sync_lease_until IS NULL OR sync_lease_until <= $1)"
    };
}

/// Repeats the clause of the index on due rows word for word.
const CLAIM_DUE: Template = Template::each(
    concat!(
        "UPDATE {integrations} SET sync_lease_holder = $2, sync_lease_until = $3, \
         sync_fence = sync_fence + 1, updated_at = $1 WHERE id = ANY(ARRAY(\
         SELECT id FROM {integrations} WHERE is_active and removed_at is null \
         and next_sync_at is not null AND next_sync_at <= $1 AND provider = ANY($4) AND ",
        claimable!(),
        " ORDER BY next_sync_at, id LIMIT $5 FOR NO KEY UPDATE SKIP LOCKED)) RETURNING ",
        integration_columns!()
    ),
    // The unary plus keeps the planner off the index on providers, which is in no useful order.
    concat!(
        "UPDATE {integrations} SET sync_lease_holder = $2, sync_lease_until = $3, \
         sync_fence = sync_fence + 1, updated_at = $1 WHERE id IN (\
         SELECT id FROM {integrations} WHERE is_active and removed_at is null \
         and next_sync_at is not null AND next_sync_at <= $1 \
         AND +provider IN (SELECT value FROM json_each($4)) AND ",
        claimable!(),
        " ORDER BY next_sync_at, id LIMIT $5) RETURNING ",
        integration_columns!()
    ),
);

const CLAIM_NAMED: Template = Template::both(concat!(
    "UPDATE {integrations} SET sync_lease_holder = $2, sync_lease_until = $3, \
     sync_fence = sync_fence + 1, updated_at = $1 WHERE id = $4 \
     AND is_active AND removed_at IS NULL AND ",
    claimable!(),
    " RETURNING ",
    integration_columns!()
));

impl<B: OwnCommit> SqlStore<B> {
    /// Claims in one statement; the longest due first.
    pub(super) async fn claim_sync_once(
        &self,
        claim: &SyncClaim,
    ) -> Result<Vec<ClaimedIntegration>, SqlError> {
        let template = match claim.selection {
            SyncSelection::Due { .. } => &CLAIM_DUE,
            SyncSelection::Named(_) => &CLAIM_NAMED,
        };
        let statement = self
            .sql(template)
            .bind(claim.now)
            .bind(&claim.holder)
            .bind(claim.lease_until);
        let statement = match &claim.selection {
            SyncSelection::Due { limit, providers } => statement.bind_texts(providers).bind(*limit),
            SyncSelection::Named(id) => statement.bind(*id),
        };
        let rows = self.backend.write().await?.query(statement).await?;
        let mut claimed = rows
            .iter()
            .map(integration)
            .collect::<Result<Vec<_>, _>>()?;
        claimed.sort_unstable_by_key(|row| (row.next_sync_at, row.id));
        Ok(claimed
            .into_iter()
            .map(|integration| ClaimedIntegration {
                fence: integration.sync_fence,
                integration,
            })
            .collect())
    }

    /// Moves the end of a lease that has not been given back.
    pub(super) async fn move_sync_lease(
        &self,
        id: IntegrationId,
        fence: i64,
        until: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        const RENEW: Template = Template::both(
            "UPDATE {integrations} SET sync_lease_until = $3 WHERE id = $1 AND sync_fence = $2 \
             AND sync_lease_until IS NOT NULL AND removed_at IS NULL",
        );
        let statement = self.sql(&RENEW).bind(id).bind(fence).bind(until);
        Ok(self.backend.write().await?.execute(statement).await? > 0)
    }

    /// Gives a lease back, keeping its fence.
    pub(super) async fn end_sync_lease(
        &self,
        id: IntegrationId,
        fence: i64,
        next_sync_at: Option<DateTime<Utc>>,
    ) -> Result<bool, StoreError> {
        const RELEASE: Template = Template::both(
            "UPDATE {integrations} SET sync_lease_holder = NULL, sync_lease_until = NULL, \
             next_sync_at = coalesce($3, next_sync_at) \
             WHERE id = $1 AND sync_fence = $2 AND sync_lease_until IS NOT NULL \
             AND removed_at IS NULL",
        );
        let statement = self.sql(&RELEASE).bind(id).bind(fence).bind(next_sync_at);
        Ok(self.backend.write().await?.execute(statement).await? > 0)
    }
}
