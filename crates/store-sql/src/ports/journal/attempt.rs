//! Appending rows to `{requests}`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use integrations_core::{
    id::IntegrationId,
    integration::{HealthStatus, HealthTransition, HealthVerdict},
    request::{CallOutcome, FailureClass, NewRequest, RelatedId},
};

use super::completion;
use crate::{
    backend::{OwnCommit, Session},
    checks::Fits,
    error::SqlError,
    statement::{InsertTemplate, RowValues, Statement, Template},
    store::SqlStore,
};

/// How many rows one statement appends: its values fit the limits of either database.
pub(super) const MAX_ROWS: usize = 500;

const COLUMNS: usize = 22;

macro_rules! insert {
    () => {
        "INSERT INTO {requests} (id, integration_id, endpoint, method, path, status_code, \
         request_data, response_data, error, failure_class, idempotency_key, \
         provider_request_id, duration_ms, retry_of, attempt, related_type, related_id, \
         related_key, sync_log_id, headers, created_at, updated_at)"
    };
}

/// Integrations that a success would change. Neither the disabled nor those in a state of a newer
/// version heal by themselves.
macro_rules! ill {
    () => {
        "removed_at IS NULL AND health_status IN ('healthy', 'degraded', 'failing') \
         AND (consecutive_failures <> 0 OR health_status <> 'healthy')"
    };
}

const APPEND: InsertTemplate = InsertTemplate {
    head: insert!(),
    columns: COLUMNS,
    tail: "",
};

/// Locks what it heals in the order of ids, and knows by that what it was before. `$mark` begins
/// the numbers of the values.
macro_rules! heal {
    ($mark:literal) => {
        concat!(
            "UPDATE {integrations} AS s SET health_status = 'healthy', consecutive_failures = 0, \
             updated_at = ",
            $mark,
            "2 FROM (SELECT id, health_status FROM {integrations} WHERE id = ANY(",
            $mark,
            "1) AND ",
            ill!(),
            " ORDER BY id FOR NO KEY UPDATE) AS old WHERE s.id = old.id \
             RETURNING s.id, old.health_status AS healed_from"
        )
    };
}

const APPEND_AND_HEAL: InsertTemplate = InsertTemplate {
    head: concat!("WITH added AS (", insert!()),
    columns: COLUMNS,
    tail: concat!(") ", heal!("$+")),
};

/// The same for a batch that appends nothing.
const HEAL: Template = Template::both(heal!("$"));

/// Whether an integration is to be healed.
const ILL: Template = Template::both(concat!(
    "SELECT id FROM {integrations} WHERE id IN (SELECT value FROM json_each($1)) AND ",
    ill!(),
    " LIMIT 1"
));

/// Appends nothing where an integration is to be healed, which takes a transaction.
const APPEND_UNLESS_ILL: InsertTemplate = InsertTemplate {
    head: concat!(insert!(), " SELECT * FROM ("),
    columns: COLUMNS,
    tail: concat!(
        ") WHERE NOT EXISTS (SELECT 1 FROM {integrations} \
         WHERE id IN (SELECT value FROM json_each($+1)) AND ",
        ill!(),
        ")"
    ),
};

/// The same for a batch about one integration, as most are: unpacking a list costs a quarter of
/// the insert.
const APPEND_UNLESS_ONE_IS_ILL: InsertTemplate = InsertTemplate {
    head: concat!(insert!(), " SELECT * FROM ("),
    columns: COLUMNS,
    tail: concat!(
        ") WHERE NOT EXISTS (SELECT 1 FROM {integrations} WHERE id = $+1 AND ",
        ill!(),
        ")"
    ),
};

impl<B: OwnCommit> SqlStore<B> {
    /// Appends the rows.
    pub(super) async fn append(
        &self,
        session: &mut dyn Session,
        outcomes: &[CallOutcome],
        ids: &[Option<i64>],
    ) -> Result<(), SqlError> {
        for part in logged(outcomes, ids).chunks(MAX_ROWS) {
            let statement = self.append_statement(&APPEND, part);
            session.execute(statement).await?;
        }
        Ok(())
    }

    /// Appends the rows and heals the integrations of those that went well; the changes of
    /// status. PostgreSQL's.
    pub(super) async fn append_and_heal(
        &self,
        session: &mut dyn Session,
        outcomes: &[CallOutcome],
        ids: &[Option<i64>],
    ) -> Result<HashMap<IntegrationId, HealthTransition>, SqlError> {
        let statement = match &*logged(outcomes, ids) {
            [] => self.sql(&HEAL),
            rows => self.append_statement(&APPEND_AND_HEAL, rows),
        };
        let statement = statement
            .bind_numbers(&successful(outcomes))
            .bind(last_end(outcomes));
        let mut healed = HashMap::new();
        for row in session.query(statement).await? {
            let from: HealthStatus = row.get::<String>("healed_from")?.into();
            if from != HealthStatus::Healthy {
                let transition = HealthTransition {
                    from,
                    to: HealthStatus::Healthy,
                    consecutive_failures: 0,
                };
                healed.insert(row.get("id")?, transition);
            }
        }
        Ok(healed)
    }

    /// Appends the rows unless an integration is to be healed; whether it did. SQLite's.
    pub(super) async fn append_unless_ill(
        &self,
        session: &mut dyn Session,
        outcomes: &[CallOutcome],
        ids: &[Option<i64>],
    ) -> Result<bool, SqlError> {
        let rows = logged(outcomes, ids);
        let successful = successful(outcomes);
        if rows.is_empty() {
            let statement = self.sql(&ILL).bind_numbers(&successful);
            return Ok(session.query(statement).await?.is_empty());
        }
        let statement = match *successful {
            [only] => self
                .append_statement(&APPEND_UNLESS_ONE_IS_ILL, &rows)
                .bind(only),
            ref several => self
                .append_statement(&APPEND_UNLESS_ILL, &rows)
                .bind_numbers(several),
        };
        Ok(session.execute(statement).await? > 0)
    }

    fn append_statement(
        &self,
        template: &InsertTemplate,
        rows: &[(i64, &NewRequest)],
    ) -> Statement {
        let rows = rows.iter().map(|(id, row)| values(self.row(), *id, row));
        self.insert(template, rows.collect())
    }
}

/// The rows of a batch that are appended, each with its id.
fn logged<'a>(outcomes: &'a [CallOutcome], ids: &[Option<i64>]) -> Vec<(i64, &'a NewRequest)> {
    let rows = ids.iter().zip(outcomes);
    rows.filter_map(|(id, outcome)| Some(((*id)?, &outcome.attempt)))
        .collect()
}

/// The integrations of the entries that went well, each once, by id.
fn successful(outcomes: &[CallOutcome]) -> Vec<i64> {
    let mut ids: Vec<i64> = outcomes
        .iter()
        .filter(|o| o.health == HealthVerdict::Success)
        .map(|o| o.attempt.integration_id.0)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// When the last attempt of the batch ended.
fn last_end(outcomes: &[CallOutcome]) -> DateTime<Utc> {
    let ends = outcomes.iter().map(|o| o.attempt.created_at);
    ends.max().unwrap_or_default()
}

fn values(row: RowValues, id: i64, attempt: &NewRequest) -> RowValues {
    let related = attempt.related.as_ref();
    let (related_id, related_key) = match related.map(|related| &related.id) {
        Some(RelatedId::Number(id)) => (Some(*id), None),
        Some(RelatedId::Text(key)) => (None, Some(key)),
        None => (None, None),
    };
    row.bind(id)
        .bind(attempt.integration_id)
        .bind(&attempt.endpoint)
        .bind(&attempt.method)
        .bind(attempt.path.as_ref())
        .bind(attempt.status_code)
        .bind(attempt.request_data.as_ref())
        .bind(attempt.response_data.as_ref())
        .bind(attempt.error.as_ref())
        .bind(attempt.failure_class.as_ref().map(FailureClass::as_str))
        .bind(attempt.idempotency_key.as_ref())
        .bind(attempt.provider_request_id.as_ref())
        .bind(attempt.duration_ms)
        .bind(attempt.retry_of)
        .bind(attempt.attempt)
        .bind(related.map(|related| &related.related_type))
        .bind(related_id)
        .bind(related_key)
        .bind(attempt.sync_log_id)
        .bind(attempt.headers.as_ref())
        .bind(attempt.created_at)
        .bind(attempt.created_at)
}

/// Whether everything of an entry fits its column.
pub(super) fn check(outcome: &CallOutcome) -> Result<(), SqlError> {
    let attempt = &outcome.attempt;
    let related = attempt.related.as_ref();
    let related_key = related.and_then(|related| match &related.id {
        RelatedId::Number(_) => None,
        RelatedId::Text(key) => Some(key.as_str()),
    });
    Fits::new()
        .varchar(&*attempt.endpoint, NewRequest::MAX_ENDPOINT)
        .varchar(&*attempt.method, NewRequest::MAX_METHOD)
        .text(attempt.path.as_deref())
        .smallint(attempt.status_code)
        .text(attempt.request_data.as_deref())
        .text(attempt.response_data.as_deref())
        .text(attempt.headers.as_deref())
        .text(attempt.error.as_deref())
        .varchar(attempt.failure_class.as_ref().map(FailureClass::as_str), 16)
        .varchar(
            attempt.provider_request_id.as_deref(),
            NewRequest::MAX_PROVIDER_REQUEST_ID,
        )
        .varchar(related.map(|related| &*related.related_type), 255)
        .varchar(related_key, 191)
        .varchar(outcome.authorization.as_ref().map(|(_, s)| s.as_str()), 32)
        .verdict()?;
    outcome
        .completion
        .as_ref()
        .map_or(Ok(()), |completion| completion::fits(completion).verdict())
}
