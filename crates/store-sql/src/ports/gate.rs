//! [`CallGate`] over SQL.
//!
//! A gate is one row of JSON. What it decides is core's; here are only the row and its lock.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    gate::{
        AdmitRequest, Admitted, Budget, CallGate, CircuitMode, CircuitOverride, GateReturn,
        GateState, GateView, RateOverride, Standing, Suppression,
    },
    id::IntegrationId,
    integration::{AuthorizationStatus, HealthStatus, Scope},
    store::StoreError,
};
use serde_json::{Value as Json, json};

use crate::{
    backend::{OwnCommit, Session},
    checks::Fits,
    dialect::time_text,
    error::SqlError,
    row::Row,
    scope::within,
    statement::Template,
    store::{SqlStore, retrying},
};

/// Makes the row of a gate that has none.
const CREATE: Template = Template::both(concat!(
    "INSERT INTO {gates} (integration_id, state, created_at, updated_at) \
     SELECT id, '{}', $2, $2 FROM {integrations} WHERE id = $1 AND removed_at IS NULL AND ",
    within!(3, 4, 5),
    " ON CONFLICT (integration_id) DO NOTHING",
));

/// Locks the gates of some integrations, in the order of their ids.
const LOCK: Template = Template::each(
    "SELECT integration_id, state FROM {gates} WHERE integration_id = ANY($1) \
     ORDER BY integration_id FOR UPDATE",
    "SELECT integration_id, state FROM {gates} \
     WHERE integration_id IN (SELECT value FROM json_each($1)) ORDER BY integration_id",
);

/// Writes gates that are locked.
const WRITE: Template = Template::each(
    "UPDATE {gates} AS g SET state = e.state, version = g.version + 1, updated_at = e.now \
     FROM jsonb_to_recordset($1) AS e (id bigint, state jsonb, now timestamptz) \
     WHERE g.integration_id = e.id",
    "UPDATE {gates} AS g SET state = e.state, version = g.version + 1, updated_at = e.now \
     FROM (SELECT value ->> 'id' AS id, value -> 'state' AS state, value ->> 'now' AS now \
     FROM json_each($1)) AS e WHERE g.integration_id = e.id",
);

impl<B: OwnCommit> SqlStore<B> {
    async fn admit_once(&self, request: &AdmitRequest) -> Result<Option<Admitted>, SqlError> {
        let mut session = self.backend.begin().await?;
        let Some(row) = self.lock_standing(&mut *session, request).await? else {
            return Ok(None);
        };
        let before = state(&row)?;
        let mut gate = before.clone();
        let (admission, transition) = gate.admit(
            request,
            circuit_override(&row)?.as_ref(),
            rate_override(&row)?.as_ref(),
        );
        if gate != before {
            let changed = BTreeMap::from([(request.integration_id, (gate, request.now))]);
            self.write_gates(&mut *session, &changed).await?;
        }
        session.commit().await?;
        Ok(Some(Admitted {
            admission,
            transition,
            standing: standing(&row)?,
        }))
    }

    /// Locks the gate and reads how its integration stands; makes the gate where there is none.
    async fn lock_standing(
        &self,
        session: &mut dyn Session,
        request: &AdmitRequest,
    ) -> Result<Option<Row>, SqlError> {
        // The integration's row is read and not locked: everybody else writes that first.
        const STANDING: Template = Template::each(
            concat!(
                "SELECT i.is_active, i.health_status, i.authorization_status, \
                 i.credentials_generation, i.updated_at, i.circuit_override, \
                 i.circuit_override_until, i.rate_override, i.rate_override_until, g.state \
                 FROM {integrations} AS i JOIN {gates} AS g ON g.integration_id = i.id \
                 WHERE i.id = $1 AND i.removed_at IS NULL AND ",
                within!(2, 3, 4),
                " FOR UPDATE OF g"
            ),
            concat!(
                "SELECT i.is_active, i.health_status, i.authorization_status, \
                 i.credentials_generation, i.updated_at, i.circuit_override, \
                 i.circuit_override_until, i.rate_override, i.rate_override_until, g.state \
                 FROM {integrations} AS i JOIN {gates} AS g ON g.integration_id = i.id \
                 WHERE i.id = $1 AND i.removed_at IS NULL AND ",
                within!(2, 3, 4),
            ),
        );
        let lock = || {
            self.sql(&STANDING)
                .bind(request.integration_id)
                .bind_scope(&request.scope)
        };
        if let Some(row) = session.query(lock()).await?.pop() {
            return Ok(Some(row));
        }
        self.create_gate(session, request.integration_id, &request.scope, request.now)
            .await?;
        Ok(session.query(lock()).await?.pop())
    }

    async fn create_gate(
        &self,
        session: &mut dyn Session,
        id: IntegrationId,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<(), SqlError> {
        let create = self.sql(&CREATE).bind(id).bind(now).bind_scope(scope);
        session.execute(create).await?;
        Ok(())
    }

    /// Locks the gates there are of these integrations.
    async fn lock_gates(
        &self,
        session: &mut dyn Session,
        ids: &[i64],
    ) -> Result<BTreeMap<IntegrationId, GateState>, SqlError> {
        let rows = session.query(self.sql(&LOCK).bind_numbers(ids)).await?;
        rows.iter()
            .map(|row| Ok((row.get("integration_id")?, state(row)?)))
            .collect()
    }

    async fn write_gates(
        &self,
        session: &mut dyn Session,
        gates: &BTreeMap<IntegrationId, (GateState, DateTime<Utc>)>,
    ) -> Result<(), SqlError> {
        let entry = |(id, (gate, now)): (&IntegrationId, &(GateState, DateTime<Utc>))| json!({ "id": id, "state": gate, "now": time_text(*now) });
        let entries: Json = gates.iter().map(entry).collect();
        session.execute(self.sql(&WRITE).bind(entries)).await?;
        Ok(())
    }

    async fn give_back_once(&self, returned: &[GateReturn]) -> Result<(), SqlError> {
        let ids: Vec<i64> = returned.iter().map(|one| one.integration_id.0).collect();
        let mut session = self.backend.begin().await?;
        let before = self.lock_gates(&mut *session, &ids).await?;
        let mut gates: BTreeMap<_, _> = BTreeMap::new();
        for one in returned {
            let id = one.integration_id;
            if let Some(gate) = before.get(&id) {
                let (gate, now) = gates
                    .entry(id)
                    .or_insert_with(|| (gate.clone(), one.admitted_at));
                gate.give_back(one);
                *now = one.admitted_at.max(*now);
            }
        }
        gates.retain(|id, (gate, _)| before.get(id) != Some(gate));
        if !gates.is_empty() {
            self.write_gates(&mut *session, &gates).await?;
            session.commit().await?;
        }
        Ok(())
    }

    async fn suppress_once(&self, suppression: &Suppression) -> Result<(), SqlError> {
        let (id, now) = (suppression.integration_id, suppression.now);
        let mut session = self.backend.begin().await?;
        self.create_gate(&mut *session, id, &Scope::Operator, now)
            .await?;
        let mut locked = self.lock_gates(&mut *session, &[id.0]).await?;
        if let Some(mut gate) = locked.remove(&id) {
            gate.suppress(suppression.until);
            let changed = BTreeMap::from([(id, (gate, now))]);
            self.write_gates(&mut *session, &changed).await?;
            session.commit().await?;
        }
        Ok(())
    }

    async fn override_circuit_once(
        &self,
        id: IntegrationId,
        scope: &Scope,
        to: Option<&CircuitOverride>,
        now: DateTime<Utc>,
    ) -> Result<bool, SqlError> {
        const OVERRIDE: Template = Template::both(concat!(
            "UPDATE {integrations} SET circuit_override = $2, circuit_override_until = $3, \
             updated_at = $4 WHERE id = $1 AND removed_at IS NULL AND ",
            within!(5, 6, 7),
        ));
        let mode = to.map(|to| to.mode.as_str());
        Fits::new().varchar(mode, 16).verdict()?;
        let statement = self
            .sql(&OVERRIDE)
            .bind(id)
            .bind(mode)
            .bind(to.and_then(|to| to.until))
            .bind(now)
            .bind_scope(scope);
        let mut session = self.backend.begin().await?;
        if session.execute(statement).await? == 0 {
            return Ok(false);
        }
        if to.is_none() {
            let mut locked = self.lock_gates(&mut *session, &[id.0]).await?;
            if let Some(mut gate) = locked.remove(&id) {
                gate.reset_circuit();
                let changed = BTreeMap::from([(id, (gate, now))]);
                self.write_gates(&mut *session, &changed).await?;
            }
        }
        session.commit().await?;
        Ok(true)
    }
}

#[async_trait]
impl<B: OwnCommit> CallGate for SqlStore<B> {
    async fn admit(&self, request: &AdmitRequest) -> Result<Option<Admitted>, StoreError> {
        retrying!(self.admit_once(request).await)
    }

    async fn give_back(&self, returned: &[GateReturn]) -> Result<(), StoreError> {
        if returned.is_empty() {
            return Ok(());
        }
        retrying!(self.give_back_once(returned).await)
    }

    async fn suppress(&self, suppression: &Suppression) -> Result<(), StoreError> {
        retrying!(self.suppress_once(suppression).await)
    }

    async fn view(
        &self,
        integration_id: IntegrationId,
        scope: &Scope,
    ) -> Result<Option<GateView>, StoreError> {
        const VIEW: Template = Template::both(concat!(
            "SELECT i.circuit_override, i.circuit_override_until, i.rate_override, \
             i.rate_override_until, g.state \
             FROM {integrations} AS i LEFT JOIN {gates} AS g ON g.integration_id = i.id \
             WHERE i.id = $1 AND i.removed_at IS NULL AND ",
            within!(2, 3, 4),
        ));
        let statement = self.sql(&VIEW).bind(integration_id).bind_scope(scope);
        let rows = self.backend.read().await?.query(statement).await?;
        let view = |row: &Row| {
            Ok(GateView {
                state: state(row)?,
                circuit_override: circuit_override(row)?,
                rate_override: rate_override(row)?,
            })
        };
        rows.first().map(view).transpose()
    }

    async fn override_circuit(
        &self,
        integration_id: IntegrationId,
        scope: &Scope,
        to: Option<CircuitOverride>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        retrying!(
            self.override_circuit_once(integration_id, scope, to.as_ref(), now)
                .await
        )
    }

    async fn override_rate(
        &self,
        integration_id: IntegrationId,
        scope: &Scope,
        to: Option<RateOverride>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        const OVERRIDE: Template = Template::both(concat!(
            "UPDATE {integrations} SET rate_override = $2, rate_override_until = $3, \
             updated_at = $4 WHERE id = $1 AND removed_at IS NULL AND ",
            within!(5, 6, 7),
        ));
        Fits::new()
            .text(to.as_ref().map(|to| to.budget.name.as_str()))
            .verdict()?;
        let statement = self
            .sql(&OVERRIDE)
            .bind(integration_id)
            .bind(to.as_ref().map(|to| json!(to.budget)))
            .bind(to.as_ref().and_then(|to| to.until))
            .bind(now)
            .bind_scope(scope);
        Ok(self.backend.write().await?.execute(statement).await? > 0)
    }
}

/// The state of a gate; that of one without a row is a new one's.
fn state(row: &Row) -> Result<GateState, StoreError> {
    let json: Option<Json> = row.get("state")?;
    json.map_or_else(
        || Ok(GateState::default()),
        |json| serde_json::from_value(json).map_err(|_| row.corrupt("state")),
    )
}

fn standing(row: &Row) -> Result<Standing, StoreError> {
    Ok(Standing {
        is_active: row.get("is_active")?,
        health_status: HealthStatus::from(row.get::<String>("health_status")?),
        authorization_status: AuthorizationStatus::from(row.get::<String>("authorization_status")?),
        credentials_generation: row.get("credentials_generation")?,
        updated_at: row.get("updated_at")?,
    })
}

/// The circuit override of an integration's row.
pub(super) fn circuit_override(row: &Row) -> Result<Option<CircuitOverride>, StoreError> {
    let mode: Option<String> = row.get("circuit_override")?;
    let until = row.get("circuit_override_until")?;
    Ok(mode.map(|mode| CircuitOverride {
        mode: CircuitMode::from(mode),
        until,
    }))
}

/// The rate override of an integration's row.
pub(super) fn rate_override(row: &Row) -> Result<Option<RateOverride>, StoreError> {
    let budget: Option<Json> = row.get("rate_override")?;
    let until = row.get("rate_override_until")?;
    let read = |json| {
        let budget: Budget =
            serde_json::from_value(json).map_err(|_| row.corrupt("rate_override"))?;
        Ok(RateOverride { budget, until })
    };
    budget.map(read).transpose()
}
