//! What attempts say about integrations: health and authorization.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use integrations_core::{
    id::IntegrationId,
    integration::{
        AuthorizationStatus, HealthDelta, HealthPolicy, HealthState, HealthTransition,
        HealthVerdict,
    },
    request::CallOutcome,
};
use serde_json::{Value as Json, json};

use crate::{
    backend::{OwnCommit, Session},
    dialect::time_text,
    error::SqlError,
    row::Row,
    statement::Template,
    store::SqlStore,
};

const LOCK: Template = Template::each(
    "SELECT id, health_status, consecutive_failures, last_error_at, credentials_generation, \
     authorization_status FROM {integrations} WHERE id = ANY($1) AND removed_at IS NULL \
     ORDER BY id FOR NO KEY UPDATE",
    "SELECT id, health_status, consecutive_failures, last_error_at, credentials_generation, \
     authorization_status FROM {integrations} \
     WHERE id IN (SELECT value FROM json_each($1)) AND removed_at IS NULL",
);

const WRITE: Template = Template::each(
    "UPDATE {integrations} AS s SET health_status = n.health_status, \
     consecutive_failures = n.consecutive_failures, last_error_at = n.last_error_at, \
     authorization_status = n.authorization_status, updated_at = n.updated_at \
     FROM jsonb_to_recordset($1) AS n (id bigint, health_status text, \
     consecutive_failures integer, last_error_at timestamptz, authorization_status text, \
     updated_at timestamptz) WHERE s.id = n.id",
    "UPDATE {integrations} AS s SET health_status = json_extract(n.value, '$.health_status'), \
     consecutive_failures = json_extract(n.value, '$.consecutive_failures'), \
     last_error_at = json_extract(n.value, '$.last_error_at'), \
     authorization_status = json_extract(n.value, '$.authorization_status'), \
     updated_at = json_extract(n.value, '$.updated_at') \
     FROM json_each($1) AS n WHERE s.id = json_extract(n.value, '$.id')",
);

/// What the entries of a batch about one integration say, in their order.
struct Finding<'a> {
    delta: HealthDelta,
    policy: HealthPolicy,
    latest_outage: Option<DateTime<Utc>>,
    /// Place in the batch, generation of the credentials, and what was found of them.
    authorization: Vec<(usize, i64, &'a AuthorizationStatus)>,
    now: DateTime<Utc>,
}

/// What a batch says about integrations, by their ids.
pub(super) struct Findings<'a>(BTreeMap<IntegrationId, Finding<'a>>);

impl<'a> Findings<'a> {
    /// Folds the entries that say anything.
    pub(super) fn of(outcomes: &'a [CallOutcome]) -> Self {
        let mut findings = BTreeMap::<_, Finding<'a>>::new();
        for (i, outcome) in outcomes.iter().enumerate() {
            if outcome.health == HealthVerdict::Neutral && outcome.authorization.is_none() {
                continue;
            }
            let ended = outcome.attempt.created_at;
            let finding = findings
                .entry(outcome.attempt.integration_id)
                .or_insert_with(|| Finding {
                    delta: HealthDelta::default(),
                    policy: outcome.health_policy,
                    latest_outage: None,
                    authorization: Vec::new(),
                    now: ended,
                });
            finding.delta = finding.delta.then(outcome.health);
            finding.policy = outcome.health_policy;
            finding.now = ended;
            if outcome.health == HealthVerdict::Outage {
                finding.latest_outage = finding.latest_outage.max(Some(ended));
            }
            if let Some((generation, status)) = &outcome.authorization {
                finding.authorization.push((i, *generation, status));
            }
        }
        Self(findings)
    }
}

/// Applies what was found; the changes of health, and the entries whose finding about the
/// credentials was news.
pub(super) async fn apply_findings<B: OwnCommit>(
    store: &SqlStore<B>,
    session: &mut dyn Session,
    findings: &Findings<'_>,
) -> Result<(HashMap<IntegrationId, HealthTransition>, Vec<usize>), SqlError> {
    let (mut transitions, mut news, mut writes) = (HashMap::new(), Vec::new(), Vec::new());
    let ids: Vec<i64> = findings.0.keys().map(|id| id.0).collect();
    if ids.is_empty() {
        return Ok((transitions, news));
    }
    let lock = store.sql(&LOCK).bind_numbers(&ids);
    for row in session.query(lock).await? {
        let id: IntegrationId = row.get("id")?;
        let Some(finding) = findings.0.get(&id) else {
            continue;
        };
        let before = Stored::read(&row)?;
        let (after, noticed) = before.after(finding);
        if after == before {
            continue;
        }
        news.extend(noticed);
        writes.push(after.write(id, finding.now));
        if after.health.status != before.health.status {
            let transition = HealthTransition {
                from: before.health.status,
                to: after.health.status,
                consecutive_failures: after.health.consecutive_failures,
            };
            transitions.insert(id, transition);
        }
    }
    if !writes.is_empty() {
        let write = store.sql(&WRITE).bind(Json::Array(writes));
        session.execute(write).await?;
    }
    Ok((transitions, news))
}

/// What is stored of an integration's health and authorization.
#[derive(Clone, PartialEq)]
struct Stored {
    health: HealthState,
    last_error_at: Option<DateTime<Utc>>,
    generation: i64,
    authorization: AuthorizationStatus,
}

impl Stored {
    fn read(row: &Row) -> Result<Self, SqlError> {
        Ok(Self {
            health: HealthState {
                status: row.get::<String>("health_status")?.into(),
                consecutive_failures: row.get("consecutive_failures")?,
            },
            last_error_at: row.get("last_error_at")?,
            generation: row.get("credentials_generation")?,
            authorization: row.get::<String>("authorization_status")?.into(),
        })
    }

    /// What becomes of it, and the entries whose finding about the credentials was news.
    fn after(&self, finding: &Finding<'_>) -> (Self, Vec<usize>) {
        let mut after = Self {
            health: finding.delta.apply(&self.health, &finding.policy),
            last_error_at: self.last_error_at.max(finding.latest_outage),
            ..self.clone()
        };
        let mut news = Vec::new();
        for (i, generation, status) in &finding.authorization {
            if *generation == self.generation && after.authorization != **status {
                after.authorization = (*status).clone();
                news.push(*i);
            }
        }
        (after, news)
    }

    fn write(&self, id: IntegrationId, now: DateTime<Utc>) -> Json {
        json!({
            "id": id,
            "health_status": self.health.status.as_str(),
            "consecutive_failures": self.health.consecutive_failures,
            "last_error_at": self.last_error_at.map(time_text),
            "authorization_status": self.authorization.as_str(),
            "updated_at": time_text(now),
        })
    }
}
