//! [`IntegrationStore`] over SQL.

mod row;
mod sync_lease;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    encryptor::Sealed,
    id::IntegrationId,
    integration::{
        AuthorizationChange, ClaimedIntegration, CredentialReplacement, HealthStatus,
        HealthTransition, Integration, IntegrationChange, IntegrationFilter, IntegrationRef,
        IntegrationStore, NewIntegration, Removal, Replaced, Scope, SyncClaim,
    },
    store::{Page, PageRequest, StoreError},
};
use sea_query::{Alias, Expr, ExprTrait as _};

pub(super) use self::row::circuit_override;
use self::row::{INTEGRATION_COLUMNS, integration, integration_columns};
use crate::{
    backend::{OwnCommit, Session},
    checks::Fits,
    error::SqlError,
    scope::{owner_columns, within},
    statement::Template,
    store::{SqlStore, retrying},
};

impl<B: OwnCommit> SqlStore<B> {
    /// Reads status and counter of an integration to be changed in the same transaction.
    async fn lock_health(
        &self,
        session: &mut dyn Session,
        id: IntegrationId,
        scope: &Scope,
    ) -> Result<Option<(HealthStatus, i32)>, SqlError> {
        const LOCK: Template = Template::each(
            concat!(
                "SELECT id, health_status, consecutive_failures FROM {integrations} \
                 WHERE id = $1 AND removed_at IS NULL AND ",
                within!(2, 3, 4),
                " FOR NO KEY UPDATE"
            ),
            concat!(
                "SELECT id, health_status, consecutive_failures FROM {integrations} \
                 WHERE id = $1 AND removed_at IS NULL AND ",
                within!(2, 3, 4)
            ),
        );
        let statement = self.sql(&LOCK).bind(id).bind_scope(scope);
        let Some(row) = session.query(statement).await?.pop() else {
            return Ok(None);
        };
        let status: String = row.get("health_status")?;
        Ok(Some((status.into(), row.get("consecutive_failures")?)))
    }

    async fn move_health_once(
        &self,
        id: IntegrationId,
        scope: &Scope,
        to: &HealthStatus,
        now: DateTime<Utc>,
    ) -> Result<Option<HealthTransition>, SqlError> {
        const MOVE: Template = Template::both(
            "UPDATE {integrations} SET health_status = $2, consecutive_failures = $3, \
             updated_at = $4 WHERE id = $1",
        );
        let mut session = self.backend.begin().await?;
        let Some((from, counted)) = self.lock_health(&mut *session, id, scope).await? else {
            return Ok(None);
        };
        if from == *to {
            return Ok(None);
        }
        let consecutive_failures = match to {
            HealthStatus::Healthy => 0,
            _ => counted,
        };
        let statement = self
            .sql(&MOVE)
            .bind(id)
            .bind(to.as_str())
            .bind(consecutive_failures)
            .bind(now);
        session.execute(statement).await?;
        session.commit().await?;
        Ok(Some(HealthTransition {
            from,
            to: to.clone(),
            consecutive_failures,
        }))
    }

    async fn remove_once(
        &self,
        id: IntegrationId,
        scope: &Scope,
        force: bool,
        now: DateTime<Utc>,
    ) -> Result<Removal, SqlError> {
        // Stronger than the lock of an update: a key that is being reserved waits for us.
        const LOCK: Template = Template::each(
            concat!(
                "SELECT id FROM {integrations} WHERE id = $1 AND removed_at IS NULL AND ",
                within!(2, 3, 4),
                " FOR UPDATE"
            ),
            concat!(
                "SELECT id FROM {integrations} WHERE id = $1 AND removed_at IS NULL AND ",
                within!(2, 3, 4)
            ),
        );
        const UNKNOWN_KEYS: Template = Template::both(
            "SELECT count(*) AS count FROM {idempotency_keys} WHERE integration_id = $1 \
             AND (state = 'unknown' OR (state = 'reserved' AND reserved_until <= $2))",
        );
        const MARK: Template = Template::both(
            "UPDATE {integrations} SET credentials = NULL, next_sync_at = NULL, \
             sync_lease_holder = NULL, sync_lease_until = NULL, sync_fence = sync_fence + 1, \
             removed_at = $2, updated_at = $2 WHERE id = $1",
        );
        const WIPE_ANSWERS: Template = Template::both(
            "UPDATE {idempotency_keys} SET sealed_answer = NULL, updated_at = $2 \
             WHERE integration_id = $1 AND sealed_answer IS NOT NULL",
        );
        const DROP_CACHED: Template =
            Template::both("DELETE FROM {response_cache} WHERE integration_id = $1");
        const DROP_TOKENS: Template =
            Template::both("DELETE FROM {tokens} WHERE integration_id = $1");

        let mut session = self.backend.begin().await?;
        let lock = self.sql(&LOCK).bind(id).bind_scope(scope);
        if session.query(lock).await?.is_empty() {
            return Ok(Removal::NotFound);
        }
        if !force {
            let unknown = self.sql(&UNKNOWN_KEYS).bind(id).bind(now);
            if let Some(row) = session.query(unknown).await?.pop()
                && let keys @ 1.. = row.get("count")?
            {
                return Ok(Removal::UnknownKeys(keys));
            }
        }
        for wipe in [&MARK, &WIPE_ANSWERS] {
            session.execute(self.sql(wipe).bind(id).bind(now)).await?;
        }
        for drop_all in [&DROP_CACHED, &DROP_TOKENS] {
            session.execute(self.sql(drop_all).bind(id)).await?;
        }
        session.commit().await?;
        Ok(Removal::Removed)
    }
}

#[async_trait]
impl<B: OwnCommit> IntegrationStore for SqlStore<B> {
    async fn create(&self, new: &NewIntegration) -> Result<Integration, StoreError> {
        const CREATE: Template = Template::both(concat!(
            "INSERT INTO {integrations} (uid, provider, name, owner_type, owner_id, owner_key, \
             credentials, metadata, sync_interval_minutes, next_sync_at, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11) RETURNING ",
            integration_columns!()
        ));
        let credentials = new.credentials.as_ref();
        Fits::new()
            .text(credentials.map(Sealed::as_str))
            .verdict()?;
        let statement = self
            .sql(&CREATE)
            .bind(&new.uid)
            .bind(&new.provider)
            .bind(&new.name)
            .bind_owner(new.owner.as_ref())
            .bind(credentials)
            .bind(new.metadata.as_ref())
            .bind(new.sync_interval_minutes)
            .bind(new.next_sync_at)
            .bind(new.now);
        let rows = self.backend.write().await?.query(statement).await?;
        match rows.first() {
            Some(row) => integration(row),
            None => Err(StoreError::corrupt("integrations", "id", None)),
        }
    }

    async fn find(
        &self,
        reference: IntegrationRef,
        scope: &Scope,
    ) -> Result<Option<Integration>, StoreError> {
        const BY_ID: Template = Template::both(concat!(
            "SELECT ",
            integration_columns!(),
            " FROM {integrations} WHERE id = $1 AND removed_at IS NULL AND ",
            within!(2, 3, 4)
        ));
        const BY_UID: Template = Template::both(concat!(
            "SELECT ",
            integration_columns!(),
            " FROM {integrations} WHERE uid = $1 AND removed_at IS NULL AND ",
            within!(2, 3, 4)
        ));
        let statement = match reference {
            IntegrationRef::Id(id) => self.sql(&BY_ID).bind(id),
            IntegrationRef::Uid(uid) => self.sql(&BY_UID).bind(&uid),
        };
        let mut session = self.backend.read().await?;
        let rows = session.query(statement.bind_scope(scope)).await?;
        rows.first().map(integration).transpose()
    }

    async fn list(
        &self,
        filter: &IntegrationFilter,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<Integration>, StoreError> {
        let (owner_type, owner_id, owner_key) = owner_columns(filter.owner.as_ref());
        let mut query = crate::page::select(&self.statements, "integrations", INTEGRATION_COLUMNS)
            .within("id", scope)
            .equal_opt("provider", filter.provider.as_ref())
            .equal_opt("name", filter.name.as_ref())
            .equal_opt("owner_type", owner_type)
            .equal_opt("owner_id", owner_id)
            .equal_opt("owner_key", owner_key)
            .equal_opt(
                "health_status",
                filter.health.as_ref().map(HealthStatus::as_str),
            )
            .equal_opt("is_active", filter.is_active);
        if !filter.include_removed {
            query = query.and(Expr::col(Alias::new("removed_at")).is_null());
        }
        let statement = query.page(page);
        let rows = self.backend.read().await?.query(statement).await?;
        let found = rows
            .iter()
            .map(integration)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Page::from_overfull(found, page, |row| row.id.0))
    }

    async fn update(
        &self,
        id: IntegrationId,
        scope: &Scope,
        change: &IntegrationChange,
        now: DateTime<Utc>,
    ) -> Result<Option<Integration>, StoreError> {
        const UPDATE: Template = Template::both(concat!(
            "UPDATE {integrations} SET name = coalesce($2, name), \
             metadata = CASE WHEN $3 THEN $4 ELSE metadata END, \
             owner_type = CASE WHEN $5 THEN $6 ELSE owner_type END, \
             owner_id = CASE WHEN $5 THEN $7 ELSE owner_id END, \
             owner_key = CASE WHEN $5 THEN $8 ELSE owner_key END, \
             is_active = coalesce($9, is_active), \
             sync_interval_minutes = CASE WHEN $10 THEN $11 ELSE sync_interval_minutes END, \
             next_sync_at = CASE WHEN $12 THEN $13 ELSE next_sync_at END, \
             health_status = CASE WHEN $14 THEN 'healthy' ELSE health_status END, \
             consecutive_failures = CASE WHEN $14 THEN 0 ELSE consecutive_failures END, \
             parks_webhooks = coalesce($15, parks_webhooks), \
             updated_at = $16 \
             WHERE id = $1 AND removed_at IS NULL AND ",
            within!(17, 18, 19),
            " RETURNING ",
            integration_columns!()
        ));
        let owner = change.owner.as_ref();
        let statement = self
            .sql(&UPDATE)
            .bind(id)
            .bind(change.name.as_ref())
            .bind(change.metadata.is_some())
            .bind(change.metadata.as_ref().map(Option::as_ref))
            .bind(owner.is_some())
            .bind_owner(owner.and_then(Option::as_ref))
            .bind(change.is_active)
            .bind(change.sync_interval_minutes.is_some())
            .bind(change.sync_interval_minutes)
            .bind(change.next_sync_at.is_some())
            .bind(change.next_sync_at)
            .bind(change.reset_health)
            .bind(change.parks_webhooks)
            .bind(now)
            .bind_scope(scope);
        let rows = self.backend.write().await?.query(statement).await?;
        rows.first().map(integration).transpose()
    }

    async fn replace_credentials(
        &self,
        replacement: &CredentialReplacement,
    ) -> Result<Replaced, StoreError> {
        const REPLACE: Template = Template::both(concat!(
            "UPDATE {integrations} SET credentials = $3, authorization_status = $4, \
             credentials_generation = credentials_generation + 1, updated_at = $5 \
             WHERE id = $1 AND credentials_generation = $2 AND removed_at IS NULL AND ",
            within!(6, 7, 8),
            " RETURNING credentials_generation"
        ));
        const GENERATION: Template = Template::both(concat!(
            "SELECT credentials_generation FROM {integrations} \
             WHERE id = $1 AND removed_at IS NULL AND ",
            within!(2, 3, 4)
        ));
        let credentials = replacement.credentials.as_ref();
        let status = replacement.authorization_status.as_str();
        Fits::new()
            .text(credentials.map(Sealed::as_str))
            .varchar(status, 32)
            .verdict()?;
        let replace = self
            .sql(&REPLACE)
            .bind(replacement.id)
            .bind(replacement.expected_generation)
            .bind(credentials)
            .bind(status)
            .bind(replacement.now)
            .bind_scope(&replacement.scope);
        let mut session = self.backend.write().await?;
        if let Some(row) = session.query(replace).await?.pop() {
            let generation = row.get("credentials_generation")?;
            return Ok(Replaced::Done { generation });
        }
        let read = self
            .sql(&GENERATION)
            .bind(replacement.id)
            .bind_scope(&replacement.scope);
        match session.query(read).await?.pop() {
            Some(row) => Ok(Replaced::Stale {
                generation: row.get("credentials_generation")?,
            }),
            None => Ok(Replaced::NotFound),
        }
    }

    async fn claim_sync(&self, claim: &SyncClaim) -> Result<Vec<ClaimedIntegration>, StoreError> {
        retrying!(self.claim_sync_once(claim).await)
    }

    async fn renew_sync_lease(
        &self,
        id: IntegrationId,
        fence: i64,
        until: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        self.move_sync_lease(id, fence, until).await
    }

    async fn release_sync_lease(
        &self,
        id: IntegrationId,
        fence: i64,
        next_sync_at: Option<DateTime<Utc>>,
    ) -> Result<bool, StoreError> {
        self.end_sync_lease(id, fence, next_sync_at).await
    }

    async fn set_authorization(&self, change: &AuthorizationChange) -> Result<bool, StoreError> {
        const SET: Template = Template::both(
            "UPDATE {integrations} SET authorization_status = $3, updated_at = $4 \
             WHERE id = $1 AND credentials_generation = $2 AND authorization_status <> $3 \
             AND removed_at IS NULL",
        );
        Fits::new().varchar(change.status.as_str(), 32).verdict()?;
        let statement = self
            .sql(&SET)
            .bind(change.id)
            .bind(change.generation)
            .bind(change.status.as_str())
            .bind(change.now);
        Ok(self.backend.write().await?.execute(statement).await? > 0)
    }

    async fn move_health(
        &self,
        id: IntegrationId,
        scope: &Scope,
        to: &HealthStatus,
        now: DateTime<Utc>,
    ) -> Result<Option<HealthTransition>, StoreError> {
        Fits::new().varchar(to.as_str(), 16).verdict()?;
        retrying!(self.move_health_once(id, scope, to, now).await)
    }

    async fn remove(
        &self,
        id: IntegrationId,
        scope: &Scope,
        force: bool,
        now: DateTime<Utc>,
    ) -> Result<Removal, StoreError> {
        retrying!(self.remove_once(id, scope, force, now).await)
    }
}
