//! [`IdempotencyLedger`] over SQL.

mod reserve;
mod stored;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    id::IntegrationId,
    idempotency::{
        IdempotencyLedger, KeyReleased, KeyResolution, KeyResolved, NewReservation, Reservation,
        ReservationFilter, ReservationRecord, ReservationRef, ReservationState,
    },
    integration::Scope,
    store::{Page, PageRequest, StoreError},
    value::IdempotencyKey,
};
use sea_query::{Alias, Expr, ExprTrait as _};

use self::stored::{Stored, reservation_columns};
use crate::{
    backend::{OwnCommit, Session},
    bind::Bind as _,
    checks::Fits,
    error::SqlError,
    page::{Filtered, select},
    scope::owned,
    statement::Template,
    store::{SqlStore, retrying},
};

const FIND: Template = Template::both(concat!(
    "SELECT ",
    reservation_columns!(),
    " FROM {idempotency_keys} WHERE integration_id = $1 AND key = $2 AND integration_id IN (",
    owned!(3, 4, 5),
    ")"
));

const LOCK: Template = Template::each(
    concat!(
        "SELECT ",
        reservation_columns!(),
        " FROM {idempotency_keys} WHERE integration_id = $1 AND key = $2 AND integration_id IN (",
        owned!(3, 4, 5),
        ") FOR UPDATE"
    ),
    concat!(
        "SELECT ",
        reservation_columns!(),
        " FROM {idempotency_keys} WHERE integration_id = $1 AND key = $2 AND integration_id IN (",
        owned!(3, 4, 5),
        ")"
    ),
);

const FREE: Template = Template::both("DELETE FROM {idempotency_keys} WHERE id = $1");

impl<B: OwnCommit> SqlStore<B> {
    /// Reads a row to be changed in the same transaction.
    async fn lock_reservation(
        &self,
        session: &mut dyn Session,
        integration_id: IntegrationId,
        key: &IdempotencyKey,
        scope: &Scope,
    ) -> Result<Option<Stored>, SqlError> {
        let lock = self
            .sql(&LOCK)
            .bind(integration_id)
            .bind(key)
            .bind_scope(scope);
        let row = session.query(lock).await?.pop();
        Ok(row.as_ref().map(Stored::read).transpose()?)
    }

    async fn resolve_once(&self, resolution: &KeyResolution) -> Result<KeyResolved, SqlError> {
        // No holder has an empty token, so whoever held the key no longer does.
        const HAPPENED: Template = Template::both(
            "UPDATE {idempotency_keys} SET state = 'succeeded', reservation_token = '', \
             settled_at = $2, resolution = $3, updated_at = $2 WHERE id = $1",
        );
        let KeyResolution {
            integration_id,
            key,
            scope,
            happened,
            reason,
            now,
        } = resolution;
        let mut session = self.backend.begin_apart().await?;
        let Some(stored) = self
            .lock_reservation(&mut *session, *integration_id, key, scope)
            .await?
        else {
            return Ok(KeyResolved::NotFound);
        };
        let record = stored.at(*now);
        if record.state != ReservationState::Unknown {
            return Ok(KeyResolved::NotUnknown(record.state));
        }
        let statement = if *happened {
            self.sql(&HAPPENED).bind(record.id).bind(*now).bind(reason)
        } else {
            self.sql(&FREE).bind(record.id)
        };
        session.execute(statement).await?;
        session.commit().await?;
        Ok(KeyResolved::Done)
    }

    async fn release_once(
        &self,
        integration_id: IntegrationId,
        key: &IdempotencyKey,
        scope: &Scope,
        force: bool,
        now: DateTime<Utc>,
    ) -> Result<KeyReleased, SqlError> {
        let mut session = self.backend.begin_apart().await?;
        let Some(stored) = self
            .lock_reservation(&mut *session, integration_id, key, scope)
            .await?
        else {
            return Ok(KeyReleased::NotFound);
        };
        let record = stored.at(now);
        if record.state == ReservationState::Reserved && !force {
            return Ok(KeyReleased::Live {
                until: record.reserved_until,
            });
        }
        session.execute(self.sql(&FREE).bind(record.id)).await?;
        session.commit().await?;
        Ok(KeyReleased::Done)
    }
}

#[async_trait]
impl<B: OwnCommit> IdempotencyLedger for SqlStore<B> {
    async fn reserve(&self, claim: &NewReservation) -> Result<Reservation, StoreError> {
        retrying!(self.reserve_once(claim).await)
    }

    async fn renew(
        &self,
        reservation: &ReservationRef,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        const RENEW: Template = Template::both(
            "UPDATE {idempotency_keys} SET reserved_until = $4, updated_at = $5 \
             WHERE integration_id = $1 AND key = $2 AND reservation_token = $3 \
             AND state = 'reserved' AND reserved_until > $5",
        );
        let statement = self
            .sql(&RENEW)
            .bind(reservation.integration_id)
            .bind(&reservation.key)
            .bind(&reservation.token)
            .bind(until)
            .bind(now);
        Ok(self.backend.write_apart().await?.execute(statement).await? > 0)
    }

    async fn find(
        &self,
        integration_id: IntegrationId,
        key: &IdempotencyKey,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<Option<ReservationRecord>, StoreError> {
        let statement = self
            .sql(&FIND)
            .bind(integration_id)
            .bind(key)
            .bind_scope(scope);
        let rows = self.backend.read().await?.query(statement).await?;
        let stored = rows.first().map(Stored::read).transpose()?;
        Ok(stored.map(|stored| stored.at(now)))
    }

    async fn list(
        &self,
        filter: &ReservationFilter,
        scope: &Scope,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<ReservationRecord>, StoreError> {
        let query = select(&self.statements, "idempotency_keys", reservation_columns!())
            .within("integration_id", scope)
            .equal_opt("integration_id", filter.integration_id);
        let query = match &filter.state {
            Some(state) => in_state(query, state, now),
            None => query,
        };
        let rows = self.backend.read().await?.query(query.page(page)).await?;
        let found = rows
            .iter()
            .map(|row| Ok(Stored::read(row)?.at(now)))
            .collect::<Result<Vec<_>, StoreError>>()?;
        Ok(Page::from_overfull(found, page, |record| record.id.0))
    }

    async fn resolve(&self, resolution: &KeyResolution) -> Result<KeyResolved, StoreError> {
        Fits::new().text(&*resolution.reason).verdict()?;
        retrying!(self.resolve_once(resolution).await)
    }

    async fn release(
        &self,
        integration_id: IntegrationId,
        key: &IdempotencyKey,
        scope: &Scope,
        force: bool,
        now: DateTime<Utc>,
    ) -> Result<KeyReleased, StoreError> {
        retrying!(
            self.release_once(integration_id, key, scope, force, now)
                .await
        )
    }
}

/// The keys that read as `state` at `now`.
fn in_state<'s>(query: Filtered<'s>, state: &ReservationState, now: DateTime<Utc>) -> Filtered<'s> {
    let stored_as = |state: &ReservationState| Expr::col(Alias::new("state")).eq(state.as_str());
    let until = || Expr::col(Alias::new("reserved_until"));
    let now = DateTime::value(Some(now), query.dialect());
    match state {
        ReservationState::Reserved => query.and(stored_as(state).and(until().gt(now))),
        ReservationState::Unknown => {
            let lost = stored_as(&ReservationState::Reserved).and(until().lte(now));
            query.and(stored_as(state).or(lost))
        }
        ReservationState::Succeeded | ReservationState::Unrecognised(_) => {
            query.and(stored_as(state))
        }
    }
}
