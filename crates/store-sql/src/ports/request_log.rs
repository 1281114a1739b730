//! [`RequestLog`] over SQL.

mod summary;

use std::collections::BTreeMap;

use async_trait::async_trait;
use integrations_core::{
    id::RequestId,
    integration::Scope,
    request::{
        FailureClass, HitCount, NewRequest, OutcomeFilter, Related, RelatedId, Request,
        RequestFilter, RequestLog, RequestSummary, SummaryQuery,
    },
    store::{Page, PageRequest, StoreError},
};
use sea_query::{Alias, Expr, ExprTrait as _};
use serde_json::{Value as Json, json};

use crate::{
    backend::OwnCommit,
    page::{Filtered, count, select},
    row::Row,
    statement::Template,
    store::{SqlStore, retrying},
};

const COLUMNS: &str = "id, integration_id, endpoint, method, path, status_code, request_data, \
    response_data, error, failure_class, idempotency_key, provider_request_id, duration_ms, \
    retry_of, attempt, related_type, related_id, related_key, sync_log_id, headers, \
    cache_hits, stale_hits, created_at";

/// Counts stay at the most their columns hold.
const ADD_HITS: Template = Template::each(
    "UPDATE {requests} AS r SET \
     cache_hits = least(r.cache_hits + n.fresh, 2147483647)::integer, \
     stale_hits = least(r.stale_hits + n.stale, 2147483647)::integer \
     FROM (SELECT q.id, m.fresh, m.stale FROM {requests} AS q \
     JOIN jsonb_to_recordset($1) AS m (id bigint, fresh bigint, stale bigint) ON m.id = q.id \
     ORDER BY q.id FOR NO KEY UPDATE OF q) AS n WHERE r.id = n.id",
    "UPDATE {requests} AS r SET \
     cache_hits = min(r.cache_hits + json_extract(n.value, '$.fresh'), 2147483647), \
     stale_hits = min(r.stale_hits + json_extract(n.value, '$.stale'), 2147483647) \
     FROM json_each($1) AS n WHERE r.id = json_extract(n.value, '$.id')",
);

#[async_trait]
impl<B: OwnCommit> RequestLog for SqlStore<B> {
    async fn find(&self, id: RequestId, scope: &Scope) -> Result<Option<Request>, StoreError> {
        let statement = select(&self.statements, "requests", COLUMNS)
            .equal("id", id)
            .within("integration_id", scope)
            .all();
        let rows = self.backend.read().await?.query(statement).await?;
        rows.first().map(request).transpose()
    }

    async fn query(
        &self,
        filter: &RequestFilter,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<Request>, StoreError> {
        let query = select(&self.statements, "requests", COLUMNS);
        let statement = filtered(query, filter, scope).page(page);
        let rows = self.backend.read().await?.query(statement).await?;
        let found = rows.iter().map(request).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::from_overfull(found, page, |row| row.id.0))
    }

    async fn count(&self, filter: &RequestFilter, scope: &Scope) -> Result<u64, StoreError> {
        let query = count(&self.statements, "requests");
        let statement = filtered(query, filter, scope).all();
        let rows = self.backend.read().await?.query(statement).await?;
        rows.first().map_or(Ok(0), |row| row.get("count"))
    }

    async fn summarise(&self, query: &SummaryQuery) -> Result<Vec<RequestSummary>, StoreError> {
        summary::summarise(self, query).await
    }

    async fn add_hits(&self, hits: &[HitCount]) -> Result<(), StoreError> {
        let mut by_request = BTreeMap::<RequestId, (u64, u64)>::new();
        for hit in hits {
            let (fresh, stale) = by_request.entry(hit.request_id).or_default();
            *fresh += u64::from(hit.fresh);
            *stale += u64::from(hit.stale);
        }
        if by_request.is_empty() {
            return Ok(());
        }
        let counts: Json = by_request
            .into_iter()
            .map(|(id, (fresh, stale))| json!({ "id": id, "fresh": fresh, "stale": stale }))
            .collect();
        let statement = self.sql(&ADD_HITS).bind(counts);
        retrying!(self.backend.write().await?.execute(statement.clone()).await).map(drop)
    }
}

fn filtered<'s>(query: Filtered<'s>, filter: &RequestFilter, scope: &Scope) -> Filtered<'s> {
    let query = query
        .within("integration_id", scope)
        .equal_opt("integration_id", filter.integration_id)
        .at_least_opt("created_at", filter.since)
        .below_opt("created_at", filter.until)
        .equal_opt("endpoint", filter.endpoint.as_ref())
        .equal_opt("method", filter.method.as_ref())
        .equal_opt("idempotency_key", filter.idempotency_key.as_ref())
        .equal_opt("provider_request_id", filter.provider_request_id.as_ref())
        .equal_opt("related_type", filter.related_type.as_ref())
        .equal_opt("related_id", filter.related_id)
        .equal_opt("related_key", filter.related_key.as_ref());
    let query = match filter.chain {
        Some(first) => {
            let is_first = Expr::col(Alias::new("id")).eq(first.0);
            query.and(is_first.or(Expr::col(Alias::new("retry_of")).eq(first.0)))
        }
        None => query,
    };
    match &filter.outcome {
        Some(outcome) => ended_as(query, outcome),
        None => query,
    }
}

fn ended_as<'s>(query: Filtered<'s>, outcome: &OutcomeFilter) -> Filtered<'s> {
    let class = Expr::col(Alias::new("failure_class"));
    match outcome {
        OutcomeFilter::Succeeded => query.and(class.is_null()),
        OutcomeFilter::Failed => query.and(class.is_not_null()),
        OutcomeFilter::Class(class) => query.equal("failure_class", class.as_str()),
        OutcomeFilter::Status(status) => query.equal("status_code", *status),
        OutcomeFilter::StatusGroup(hundred) => {
            let first = i32::from(*hundred) * 100;
            query
                .at_least_opt("status_code", Some(first))
                .below_opt("status_code", Some(first + 100))
        }
    }
}

fn request(row: &Row) -> Result<Request, StoreError> {
    Ok(Request {
        id: row.get("id")?,
        attempt: NewRequest {
            integration_id: row.get("integration_id")?,
            endpoint: row.get("endpoint")?,
            method: row.get("method")?,
            path: row.get("path")?,
            status_code: row.get("status_code")?,
            request_data: row.get("request_data")?,
            response_data: row.get("response_data")?,
            headers: row.get("headers")?,
            error: row.get("error")?,
            failure_class: row
                .get::<Option<String>>("failure_class")?
                .map(FailureClass::from),
            idempotency_key: row.parse_opt("idempotency_key")?,
            provider_request_id: row.get("provider_request_id")?,
            duration_ms: row.get("duration_ms")?,
            retry_of: row.get("retry_of")?,
            attempt: row.get("attempt")?,
            related: related(row)?,
            sync_log_id: row.get("sync_log_id")?,
            created_at: row.get("created_at")?,
        },
        cache_hits: row.get("cache_hits")?,
        stale_hits: row.get("stale_hits")?,
    })
}

fn related(row: &Row) -> Result<Option<Related>, StoreError> {
    let Some(related_type) = row.get("related_type")? else {
        return Ok(None);
    };
    let id = match (row.get("related_id")?, row.get("related_key")?) {
        (Some(id), _) => RelatedId::Number(id),
        (None, Some(key)) => RelatedId::Text(key),
        (None, None) => return Ok(None),
    };
    Ok(Some(Related { related_type, id }))
}
