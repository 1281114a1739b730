//! Claiming a key: a single statement that commits on its own, an insert, or an update that still
//! finds the row as it was read. Whoever comes second reads what is on file.

use integrations_core::{
    id::ReservationId,
    idempotency::{NewReservation, Reservation, ReservationState},
    integration::Scope,
    store::{StoreError, StoreErrorKind},
};

use super::{FIND, stored::Stored};
use crate::{
    backend::{OwnCommit, Session},
    error::SqlError,
    statement::Template,
    store::SqlStore,
};

/// How often a claim starts anew because the row went away or changed hands under it.
const MAX_CLAIMS: u32 = 16;

const INSERT: Template = Template::both(
    "INSERT INTO {idempotency_keys} (uid, integration_id, key, state, reservation_token, \
     reserved_until, fingerprint, created_at, updated_at) \
     VALUES ($1, $2, $3, 'reserved', $4, $5, $6, $7, $7) \
     ON CONFLICT (integration_id, key) DO NOTHING RETURNING id",
);

const TAKE_OVER: Template = Template::both(
    "UPDATE {idempotency_keys} SET state = 'reserved', reservation_token = $5, \
     reserved_until = $6, settled_at = NULL, updated_at = $7 \
     WHERE id = $1 AND state = $2 AND reservation_token = $3 AND reserved_until = $4",
);

impl<B: OwnCommit> SqlStore<B> {
    /// Claims a key, or reports what is on file for it.
    pub(super) async fn reserve_once(
        &self,
        claim: &NewReservation,
    ) -> Result<Reservation, SqlError> {
        let mut session = self.backend.write_apart().await?;
        for _ in 0..MAX_CLAIMS {
            if let Some(answer) = self.try_reserve(&mut *session, claim).await? {
                return Ok(answer);
            }
        }
        Err(SqlError::from(StoreError::new(
            StoreErrorKind::Conflict,
            "the key changed hands again and again; try again",
        )))
    }

    /// The same; `None` when the row changed between two statements.
    async fn try_reserve(
        &self,
        session: &mut dyn Session,
        claim: &NewReservation,
    ) -> Result<Option<Reservation>, SqlError> {
        if let Some(id) = self.insert_reservation(session, claim).await? {
            return Ok(Some(Reservation::Acquired(id)));
        }
        let find = self
            .sql(&FIND)
            .bind(claim.reservation.integration_id)
            .bind(&claim.reservation.key)
            .bind_scope(&Scope::Operator);
        let Some(row) = session.query(find).await?.pop() else {
            return Ok(None);
        };
        let stored = Stored::read(&row)?;
        let record = stored.at(claim.now);
        let differs = |fingerprint: &Vec<u8>| {
            !claim.fingerprints.is_empty() && !claim.fingerprints.contains(fingerprint)
        };
        if record.fingerprint.as_ref().is_some_and(differs) {
            return Ok(Some(Reservation::Mismatch(Box::new(record))));
        }
        match record.state {
            ReservationState::Reserved => Ok(Some(Reservation::Held {
                until: record.reserved_until,
            })),
            ReservationState::Succeeded => Ok(Some(Reservation::Succeeded(Box::new(record)))),
            ReservationState::Unknown if claim.retry_unknown => {
                let is_ours = self.take_over(session, &stored, claim).await?;
                Ok(is_ours.then_some(Reservation::Acquired(record.id)))
            }
            // A state of a newer version is not known to be free either.
            ReservationState::Unknown | ReservationState::Unrecognised(_) => {
                Ok(Some(Reservation::Unknown(Box::new(record))))
            }
        }
    }

    async fn insert_reservation(
        &self,
        session: &mut dyn Session,
        claim: &NewReservation,
    ) -> Result<Option<ReservationId>, SqlError> {
        let insert = self
            .sql(&INSERT)
            .bind(&claim.uid)
            .bind(claim.reservation.integration_id)
            .bind(&claim.reservation.key)
            .bind(&claim.reservation.token)
            .bind(claim.reserved_until)
            .bind(claim.fingerprints.first().map(Vec::as_slice))
            .bind(claim.now);
        let inserted = session.query(insert).await?.pop();
        Ok(inserted.map(|row| row.get("id")).transpose()?)
    }

    /// Takes over a key whose outcome is unknown, if its row is still as it was read.
    async fn take_over(
        &self,
        session: &mut dyn Session,
        stored: &Stored,
        claim: &NewReservation,
    ) -> Result<bool, SqlError> {
        let take_over = self
            .sql(&TAKE_OVER)
            .bind(stored.record.id)
            .bind(stored.record.state.as_str())
            .bind(&stored.token)
            .bind(stored.record.reserved_until)
            .bind(&claim.reservation.token)
            .bind(claim.reserved_until)
            .bind(claim.now);
        Ok(session.execute(take_over).await? > 0)
    }
}
