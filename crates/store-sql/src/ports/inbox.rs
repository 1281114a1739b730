//! [`WebhookInbox`] over SQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    id::{Uid, WebhookId},
    integration::Scope,
    store::{Batch, Page, PageRequest, StoreError},
    webhook::{
        NewWebhook, Received, Webhook, WebhookClaim, WebhookFilter, WebhookGroup, WebhookInbox,
        WebhookSummary,
    },
};
use sea_query::{Alias, Expr, ExprTrait as _};

use super::{
    inbox_rows::{PARKED, SUMMARY_COLUMNS, summary_at, webhook_at, webhook_columns},
    sync_decide::shown_as,
};
use crate::{
    backend::OwnCommit,
    error::SqlError,
    page::Filtered,
    row::Row,
    scope::owned,
    statement::Template,
    store::{SqlStore, retrying},
};

impl<B: OwnCommit> SqlStore<B> {
    async fn renew_webhooks_once(
        &self,
        token: Uid,
        deliveries: &[WebhookId],
        until: DateTime<Utc>,
    ) -> Result<Vec<WebhookId>, SqlError> {
        const RENEW: Template = Template::each(
            "WITH held AS (SELECT id FROM {webhooks} WHERE id = ANY($1) AND lease_token = $2 \
             AND status IN ('pending', 'processing') ORDER BY id FOR UPDATE) \
             UPDATE {webhooks} AS w SET lease_until = $3 FROM held WHERE w.id = held.id \
             RETURNING w.id",
            "UPDATE {webhooks} SET lease_until = $3 \
             WHERE id IN (SELECT value FROM json_each($1)) AND lease_token = $2 \
             AND status IN ('pending', 'processing') RETURNING id",
        );
        let statement = self
            .sql(&RENEW)
            .bind_numbers(&numbers(deliveries))
            .bind(&token)
            .bind(until);
        let rows = self.backend.write().await?.query(statement).await?;
        let kept = read_ids(&rows)?;
        Ok(deliveries
            .iter()
            .copied()
            .filter(|id| !kept.contains(id))
            .collect())
    }

    async fn replay_once(
        &self,
        deliveries: &[WebhookId],
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<Vec<WebhookId>, SqlError> {
        const REPLAY: Template = Template::each(
            concat!(
                "WITH idle AS (SELECT id FROM {webhooks} WHERE id = ANY($1) \
                 AND duplicate_of IS NULL \
                 AND status IN ('pending', 'processing', 'processed', 'failed') \
                 AND (status IN ('processed', 'failed') OR lease_until IS NULL \
                 OR lease_until <= $2) AND (integration_id IN (",
                owned!(3, 4, 5),
                ") OR (integration_id IS NULL AND $3 IS NULL)) ORDER BY id FOR UPDATE) \
                 UPDATE {webhooks} AS w SET status = 'pending', attempts = 0, replayed = true, queued_at = $2, \
                 available_at = $2, \
                 processed_at = NULL, lease_until = NULL, lease_token = NULL, updated_at = $2 \
                 FROM idle WHERE w.id = idle.id RETURNING w.id",
            ),
            concat!(
                "UPDATE {webhooks} SET status = 'pending', attempts = 0, replayed = true, queued_at = $2, \
                 available_at = $2, \
                 processed_at = NULL, lease_until = NULL, lease_token = NULL, updated_at = $2 \
                 WHERE id IN (SELECT value FROM json_each($1)) AND duplicate_of IS NULL \
                 AND status IN ('pending', 'processing', 'processed', 'failed') \
                 AND (status IN ('processed', 'failed') OR lease_until IS NULL \
                 OR lease_until <= $2) AND (integration_id IN (",
                owned!(3, 4, 5),
                ") OR (integration_id IS NULL AND $3 IS NULL)) RETURNING id",
            ),
        );
        let statement = self
            .sql(&REPLAY)
            .bind_numbers(&numbers(deliveries))
            .bind(now)
            .bind_scope(scope);
        let rows = self.backend.write().await?.query(statement).await?;
        let mut queued = read_ids(&rows)?;
        let place = |id: &WebhookId| deliveries.iter().position(|given| given == id);
        queued.sort_by_key(place);
        Ok(queued)
    }

    async fn recover_once(&self, now: DateTime<Utc>, limit: u32) -> Result<u64, SqlError> {
        const RECOVER: Template = Template::each(
            "WITH left_over AS MATERIALIZED (SELECT w.id FROM {webhooks} AS w \
             WHERE w.status IN ('pending', 'processing') AND (w.lease_until <= $1 \
             OR (w.available_at = $2 AND w.lease_until IS NULL AND w.duplicate_of IS NULL \
             AND (w.integration_id IS NULL OR EXISTS (SELECT 1 FROM {integrations} AS i \
             WHERE i.id = w.integration_id AND i.is_active AND i.removed_at IS NULL AND i.health_status <> 'disabled')))) \
             ORDER BY w.id LIMIT $3 FOR UPDATE OF w SKIP LOCKED) \
             UPDATE {webhooks} SET status = 'pending', lease_until = NULL, lease_token = NULL, \
             queued_at = CASE WHEN available_at = $2 THEN $1 ELSE queued_at END, \
             available_at = CASE WHEN available_at = $2 THEN $1 ELSE available_at END, \
             updated_at = $1 WHERE id IN (SELECT id FROM left_over)",
            "UPDATE {webhooks} SET status = 'pending', lease_until = NULL, lease_token = NULL, \
             queued_at = CASE WHEN available_at = $2 THEN $1 ELSE queued_at END, \
             available_at = CASE WHEN available_at = $2 THEN $1 ELSE available_at END, \
             updated_at = $1 WHERE id IN (SELECT w.id FROM {webhooks} AS w \
             WHERE w.status IN ('pending', 'processing') AND (w.lease_until <= $1 \
             OR (w.available_at = $2 AND w.lease_until IS NULL AND w.duplicate_of IS NULL \
             AND (w.integration_id IS NULL OR EXISTS (SELECT 1 FROM {integrations} AS i \
             WHERE i.id = w.integration_id AND i.is_active AND i.removed_at IS NULL AND i.health_status <> 'disabled')))) \
             ORDER BY w.id LIMIT $3)",
        );
        let statement = self.sql(&RECOVER).bind(now).bind(PARKED).bind(limit);
        self.backend.write().await?.execute(statement).await
    }
}

#[async_trait]
impl<B: OwnCommit> WebhookInbox for SqlStore<B> {
    async fn receive(&self, deliveries: &[NewWebhook]) -> Batch<Received> {
        self.receive_all(deliveries).await
    }

    async fn claim(&self, claim: &WebhookClaim) -> Result<Vec<Webhook>, StoreError> {
        retrying!(self.claim_webhooks_once(claim).await)
    }

    async fn renew(
        &self,
        token: Uid,
        deliveries: &[WebhookId],
        until: DateTime<Utc>,
    ) -> Result<Vec<WebhookId>, StoreError> {
        retrying!(self.renew_webhooks_once(token, deliveries, until).await)
    }

    async fn replay(
        &self,
        deliveries: &[WebhookId],
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<Vec<WebhookId>, StoreError> {
        retrying!(self.replay_once(deliveries, scope, now).await)
    }

    async fn recover(&self, now: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        retrying!(self.recover_once(now, limit).await)
    }

    async fn find(
        &self,
        id: WebhookId,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<Option<Webhook>, StoreError> {
        let query = crate::page::select(&self.statements, "webhooks", webhook_columns!())
            .equal("id", id)
            .within("integration_id", scope)
            .all();
        let rows = self.backend.read().await?.query(query).await?;
        rows.first().map(|row| webhook_at(row, now)).transpose()
    }

    async fn query(
        &self,
        filter: &WebhookFilter,
        scope: &Scope,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<WebhookSummary>, StoreError> {
        let all = crate::page::select(&self.statements, "webhooks", SUMMARY_COLUMNS);
        let query = selected(all, filter, scope, now).page(page);
        let rows = self.backend.read().await?.query(query).await?;
        let webhooks = rows
            .iter()
            .map(|row| summary_at(row, now))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Page::from_overfull(webhooks, page, |webhook| webhook.id.0))
    }

    async fn ids(
        &self,
        filter: &WebhookFilter,
        scope: &Scope,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<WebhookId>, StoreError> {
        let all = crate::page::select(&self.statements, "webhooks", "id");
        let query = selected(all, filter, scope, now).page(page);
        let rows = self.backend.read().await?.query(query).await?;
        Ok(Page::from_overfull(read_ids(&rows)?, page, |id| id.0))
    }

    async fn count(
        &self,
        filter: &WebhookFilter,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let all = crate::page::count(&self.statements, "webhooks");
        let query = selected(all, filter, scope, now).all();
        let rows = self.backend.read().await?.query(query).await?;
        rows.first().map_or(Ok(0), |row| row.get("count"))
    }

    async fn count_by_type(
        &self,
        filter: &WebhookFilter,
        scope: &Scope,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<WebhookGroup>, StoreError> {
        const COLUMNS: &str = "provider, integration_id, event_type";
        let all = crate::page::count_by(&self.statements, "webhooks", COLUMNS);
        let query = selected(all, filter, scope, now).largest(limit);
        let rows = self.backend.read().await?.query(query).await?;
        let group = |row: &Row| {
            Ok(WebhookGroup {
                provider: row.parse("provider")?,
                integration_id: row.get("integration_id")?,
                event_type: row.get("event_type")?,
                count: row.get("count")?,
            })
        };
        rows.iter().map(group).collect()
    }
}

fn selected<'s>(
    query: Filtered<'s>,
    filter: &WebhookFilter,
    scope: &Scope,
    now: DateTime<Utc>,
) -> Filtered<'s> {
    let query = query
        .equal_opt("integration_id", filter.integration_id)
        .equal_opt("provider", filter.provider.as_ref())
        .equal_opt("event_type", filter.event_type.as_deref())
        .equal_opt("delivery_id", filter.delivery_id.as_deref())
        .at_least_opt("created_at", filter.since)
        .below_opt("created_at", filter.until)
        .within("integration_id", scope);
    let query = match &filter.status {
        None => query,
        Some(status) => shown_as(query, status.as_str(), now),
    };
    if filter.originals_only {
        query.and(Expr::col(Alias::new("duplicate_of")).is_null())
    } else {
        query
    }
}

fn numbers(ids: &[WebhookId]) -> Vec<i64> {
    ids.iter().map(|id| id.0).collect()
}

fn read_ids(rows: &[Row]) -> Result<Vec<WebhookId>, SqlError> {
    rows.iter().map(|row| Ok(row.get("id")?)).collect()
}
