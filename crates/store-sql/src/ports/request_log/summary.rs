//! The figures of the request log, each part one statement for all integrations asked for.

use std::collections::HashMap;

use integrations_core::{
    id::IntegrationId,
    request::{RequestSummary, SummaryQuery},
    store::StoreError,
};

use crate::{
    backend::{OwnCommit, Session},
    error::SqlError,
    row::Row,
    statement::Template,
    store::SqlStore,
};

/// Which rows: `$1` lists integrations, `$2` is when to begin.
macro_rules! chosen {
    (postgres) => {
        "integration_id = ANY($1) AND created_at >= $2"
    };
    (sqlite) => {
        "integration_id IN (SELECT value FROM json_each($1)) AND created_at >= $2"
    };
}

/// The same part over the rows of either dialect.
macro_rules! over_chosen {
    ($before:literal, $after:literal) => {
        Template::each(
            concat!($before, chosen!(postgres), $after),
            concat!($before, chosen!(sqlite), $after),
        )
    };
}

const TOTALS: Template = Template::each(
    concat!(
        "SELECT integration_id, count(*) AS total, count(failure_class) AS failed, \
         count(DISTINCT endpoint) AS endpoints, \
         (avg(duration_ms) FILTER (WHERE failure_class IS NULL))::float8 AS mean_ms, \
         sum(cache_hits)::bigint AS cache_hits, sum(stale_hits)::bigint AS stale_hits \
         FROM {requests} WHERE ",
        chosen!(postgres),
        " GROUP BY integration_id"
    ),
    concat!(
        "SELECT integration_id, count(*) AS total, count(failure_class) AS failed, \
         count(DISTINCT endpoint) AS endpoints, \
         avg(duration_ms) FILTER (WHERE failure_class IS NULL) AS mean_ms, \
         sum(cache_hits) AS cache_hits, sum(stale_hits) AS stale_hits FROM {requests} WHERE ",
        chosen!(sqlite),
        " GROUP BY integration_id"
    ),
);

const PERCENTILES: Template = Template::each(
    concat!(
        "SELECT integration_id, \
         percentile_disc(0.5) WITHIN GROUP (ORDER BY duration_ms) AS p50_ms, \
         percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_ms, \
         percentile_disc(0.99) WITHIN GROUP (ORDER BY duration_ms) AS p99_ms \
         FROM {requests} WHERE duration_ms IS NOT NULL AND ",
        chosen!(postgres),
        " GROUP BY integration_id"
    ),
    concat!(
        "SELECT integration_id, \
         min(CASE WHEN rank * 100 >= of * 50 THEN duration_ms END) AS p50_ms, \
         min(CASE WHEN rank * 100 >= of * 95 THEN duration_ms END) AS p95_ms, \
         min(CASE WHEN rank * 100 >= of * 99 THEN duration_ms END) AS p99_ms \
         FROM (SELECT integration_id, duration_ms, count(*) OVER (PARTITION BY integration_id) \
         AS of, row_number() OVER (PARTITION BY integration_id ORDER BY duration_ms) AS rank \
         FROM {requests} WHERE duration_ms IS NOT NULL AND ",
        chosen!(sqlite),
        ") AS ranked GROUP BY integration_id"
    ),
);

const FAILURES: Template = over_chosen!(
    "SELECT integration_id, failure_class, CASE WHEN status_code = 429 THEN '429' \
     WHEN status_code >= 500 THEN '5xx' WHEN status_code >= 400 THEN '4xx' ELSE 'other' END \
     AS status_group, count(*) AS count FROM {requests} WHERE failure_class IS NOT NULL AND ",
    " GROUP BY 1, 2, 3"
);

/// By code point, as SQLite compares text.
const TOP_ERRORS: Template = Template::each(
    concat!(
        "SELECT integration_id, error, count FROM (SELECT integration_id, error, \
         count(*) AS count, row_number() OVER (PARTITION BY integration_id \
         ORDER BY count(*) DESC, error COLLATE \"C\") AS rank \
         FROM {requests} WHERE error IS NOT NULL AND ",
        chosen!(postgres),
        " GROUP BY integration_id, error) AS ranked WHERE rank <= 3 ORDER BY integration_id, rank"
    ),
    concat!(
        "SELECT integration_id, error, count FROM (SELECT integration_id, error, \
         count(*) AS count, row_number() OVER (PARTITION BY integration_id \
         ORDER BY count(*) DESC, error) AS rank FROM {requests} WHERE error IS NOT NULL AND ",
        chosen!(sqlite),
        " GROUP BY integration_id, error) AS ranked WHERE rank <= 3 ORDER BY integration_id, rank"
    ),
);

const LAST_ERROR: Template = over_chosen!(
    "SELECT integration_id, error, created_at FROM (SELECT integration_id, error, created_at, \
     row_number() OVER (PARTITION BY integration_id ORDER BY created_at DESC, id DESC) AS rank \
     FROM {requests} WHERE error IS NOT NULL AND ",
    ") AS ranked WHERE rank = 1"
);

/// Adds a row of one part to the summary of its integration.
type AddRow = fn(&Row, &mut RequestSummary) -> Result<(), StoreError>;

/// One summary per integration asked for, in that order.
pub(super) async fn summarise<B: OwnCommit>(
    store: &SqlStore<B>,
    query: &SummaryQuery,
) -> Result<Vec<RequestSummary>, StoreError> {
    let mut summaries = HashMap::<IntegrationId, RequestSummary>::new();
    let mut session = store.backend.read().await?;
    let parts: [(&Template, AddRow); 5] = [
        (&TOTALS, add_totals),
        (&PERCENTILES, add_percentiles),
        (&FAILURES, add_failures),
        (&TOP_ERRORS, add_top_error),
        (&LAST_ERROR, add_last_error),
    ];
    for (template, add) in parts {
        for row in part(store, &mut *session, template, query).await? {
            add(
                &row,
                summaries.entry(row.get("integration_id")?).or_default(),
            )?;
        }
    }
    let summary = |id| summaries.get(id).cloned().unwrap_or_default();
    Ok(query.integrations.iter().map(summary).collect())
}

async fn part<B: OwnCommit>(
    store: &SqlStore<B>,
    session: &mut dyn Session,
    template: &Template,
    query: &SummaryQuery,
) -> Result<Vec<Row>, SqlError> {
    let ids: Vec<i64> = query.integrations.iter().map(|id| id.0).collect();
    let statement = store.sql(template).bind_numbers(&ids).bind(query.since);
    session.query(statement).await
}

fn add_totals(row: &Row, summary: &mut RequestSummary) -> Result<(), StoreError> {
    summary.total = row.get("total")?;
    summary.failed = row.get("failed")?;
    summary.endpoints = row.get("endpoints")?;
    summary.mean_duration_ms = row.get("mean_ms")?;
    summary.cache_hits = row.get("cache_hits")?;
    summary.stale_hits = row.get("stale_hits")?;
    Ok(())
}

fn add_percentiles(row: &Row, summary: &mut RequestSummary) -> Result<(), StoreError> {
    summary.p50_ms = row.get("p50_ms")?;
    summary.p95_ms = row.get("p95_ms")?;
    summary.p99_ms = row.get("p99_ms")?;
    Ok(())
}

fn add_failures(row: &Row, summary: &mut RequestSummary) -> Result<(), StoreError> {
    let count: u64 = row.get("count")?;
    *summary
        .by_class
        .entry(row.get("failure_class")?)
        .or_default() += count;
    *summary
        .by_status
        .entry(row.get("status_group")?)
        .or_default() += count;
    Ok(())
}

fn add_top_error(row: &Row, summary: &mut RequestSummary) -> Result<(), StoreError> {
    let error = (row.get("error")?, row.get("count")?);
    summary.top_errors.push(error);
    Ok(())
}

fn add_last_error(row: &Row, summary: &mut RequestSummary) -> Result<(), StoreError> {
    summary.last_error = Some((row.get("error")?, row.get("created_at")?));
    Ok(())
}
