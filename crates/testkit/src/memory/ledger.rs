//! The `IdempotencyLedger` port.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    encryptor::Sealed,
    id::{IntegrationId, RequestId, ReservationId},
    idempotency::{
        Completion, CompletionResult, IdempotencyLedger, KeyReleased, KeyResolution, KeyResolved,
        KeyedOutcome, NewReservation, Reservation, ReservationFilter, ReservationRecord,
        ReservationRef, ReservationState,
    },
    integration::Scope,
    store::{Page, PageRequest, Rejected, StoreError},
    value::IdempotencyKey,
};

use super::{
    MemoryStore,
    columns::{Columns, refused},
    state::{ReservationRow, State},
};

#[async_trait]
impl IdempotencyLedger for MemoryStore {
    async fn reserve(&self, claim: &NewReservation) -> Result<Reservation, StoreError> {
        let mut state = self.lock();
        let ReservationRef {
            integration_id,
            key,
            ..
        } = &claim.reservation;
        (state.references(*integration_id)).map_err(|rejected| refused(&rejected))?;
        match find_mut(&mut state, *integration_id, key) {
            Some(row) => Ok(answer_from(row, claim)),
            None => insert(&mut state, claim),
        }
    }

    async fn renew(
        &self,
        reservation: &ReservationRef,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let row = find_mut(&mut state, reservation.integration_id, &reservation.key);
        let held = row.filter(|row| {
            row.token == Some(reservation.token) && row.at(now).state == ReservationState::Reserved
        });
        Ok(held.is_some_and(|row| {
            row.record.reserved_until = until;
            true
        }))
    }

    async fn find(
        &self,
        integration_id: IntegrationId,
        key: &IdempotencyKey,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<Option<ReservationRecord>, StoreError> {
        let state = self.lock();
        let row = find(&state, integration_id, key, scope);
        Ok(row.map(|row| row.at(now)))
    }

    async fn list(
        &self,
        filter: &ReservationFilter,
        scope: &Scope,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<ReservationRecord>, StoreError> {
        let state = self.lock();
        let read = |row: &ReservationRow| {
            let record = row.at(now);
            let selected = (filter.integration_id).is_none_or(|id| id == record.integration_id)
                && (filter.state.as_ref()).is_none_or(|wanted| *wanted == record.state)
                && state.admits(record.integration_id, scope);
            selected.then_some(record)
        };
        Ok(state.reservations.page(page, read, |record| record.id.0))
    }

    async fn resolve(&self, resolution: &KeyResolution) -> Result<KeyResolved, StoreError> {
        Columns::check().text(resolution.reason.as_str()).of_row()?;
        let mut state = self.lock();
        let KeyResolution {
            integration_id,
            key,
            scope,
            now,
            ..
        } = resolution;
        let Some(row) = find(&state, *integration_id, key, scope) else {
            return Ok(KeyResolved::NotFound);
        };
        let record = row.at(*now);
        if record.state != ReservationState::Unknown {
            return Ok(KeyResolved::NotUnknown(record.state));
        }
        if !resolution.happened {
            state.reservations.remove(record.id.0);
        } else if let Some(row) = state.reservations.get_mut(record.id.0) {
            row.token = None;
            row.record.state = ReservationState::Succeeded;
            row.record.settled_at = Some(*now);
            row.record.resolution = Some(resolution.reason.clone());
        }
        Ok(KeyResolved::Done)
    }

    async fn release(
        &self,
        integration_id: IntegrationId,
        key: &IdempotencyKey,
        scope: &Scope,
        force: bool,
        now: DateTime<Utc>,
    ) -> Result<KeyReleased, StoreError> {
        let mut state = self.lock();
        let Some(row) = find(&state, integration_id, key, scope) else {
            return Ok(KeyReleased::NotFound);
        };
        let record = row.at(now);
        if record.state == ReservationState::Reserved && !force {
            return Ok(KeyReleased::Live {
                until: record.reserved_until,
            });
        }
        state.reservations.remove(record.id.0);
        Ok(KeyReleased::Done)
    }
}

/// What a claim on a key that is on file comes to.
fn answer_from(row: &mut ReservationRow, claim: &NewReservation) -> Reservation {
    let record = row.at(claim.now);
    let differs =
        |stored: &Vec<u8>| !claim.fingerprints.is_empty() && !claim.fingerprints.contains(stored);
    if record.fingerprint.as_ref().is_some_and(differs) {
        return Reservation::Mismatch(Box::new(record));
    }
    match record.state {
        ReservationState::Reserved => Reservation::Held {
            until: record.reserved_until,
        },
        ReservationState::Succeeded => Reservation::Succeeded(Box::new(record)),
        ReservationState::Unknown if claim.retry_unknown => {
            row.token = Some(claim.reservation.token);
            row.record.state = ReservationState::Reserved;
            row.record.reserved_until = claim.reserved_until;
            row.record.settled_at = None;
            Reservation::Acquired(record.id)
        }
        // A state of a newer version is not known to be free either.
        ReservationState::Unknown | ReservationState::Unrecognised(_) => {
            Reservation::Unknown(Box::new(record))
        }
    }
}

fn insert(state: &mut State, claim: &NewReservation) -> Result<Reservation, StoreError> {
    let mut rows = state.reservations.values();
    if rows.any(|row| row.record.uid == claim.uid) {
        return Err(refused(&Rejected::Constraint));
    }
    let id = state.reservations.insert(|id| ReservationRow {
        record: ReservationRecord {
            id: ReservationId(id),
            uid: claim.uid,
            integration_id: claim.reservation.integration_id,
            key: claim.reservation.key.clone(),
            state: ReservationState::Reserved,
            reserved_until: claim.reserved_until,
            fingerprint: claim.fingerprints.first().cloned(),
            request_id: None,
            status_code: None,
            sealed_answer: None,
            settled_at: None,
            resolution: None,
            created_at: claim.now,
        },
        token: Some(claim.reservation.token),
    });
    Ok(Reservation::Acquired(ReservationId(id)))
}

/// The values of a completion whose types do not hold them to their columns.
pub(super) fn columns(completion: &Completion) -> Columns {
    match &completion.outcome {
        KeyedOutcome::DidNotHappen => Columns::check(),
        KeyedOutcome::Succeeded {
            status_code,
            answer,
        }
        | KeyedOutcome::Unknown {
            status_code,
            answer,
        } => Columns::check()
            .smallint(*status_code)
            .text(answer.as_ref().map(Sealed::as_str)),
    }
}

/// Ends a reservation, if the token is its own. What succeeded stays so.
pub(super) fn complete(
    state: &mut State,
    completion: &Completion,
    request_id: Option<RequestId>,
) -> CompletionResult {
    let ReservationRef {
        integration_id,
        key,
        token,
    } = &completion.reservation;
    let held = find_mut(state, *integration_id, key).filter(|row| {
        let open = matches!(
            row.record.state,
            ReservationState::Reserved | ReservationState::Unknown
        );
        open && row.token == Some(*token)
    });
    let Some(row) = held else {
        return CompletionResult::NotHolder;
    };
    let (settled, status_code, answer) = match &completion.outcome {
        KeyedOutcome::Succeeded {
            status_code,
            answer,
        } => (ReservationState::Succeeded, status_code, answer),
        KeyedOutcome::Unknown {
            status_code,
            answer,
        } => (ReservationState::Unknown, status_code, answer),
        KeyedOutcome::DidNotHappen => {
            let id = row.record.id;
            state.reservations.remove(id.0);
            return CompletionResult::Done;
        }
    };
    row.record.state = settled;
    row.record.status_code = *status_code;
    row.record.sealed_answer.clone_from(answer);
    row.record.request_id = request_id.or(row.record.request_id);
    row.record.settled_at = Some(completion.now);
    CompletionResult::Done
}

fn find<'a>(
    state: &'a State,
    integration_id: IntegrationId,
    key: &IdempotencyKey,
    scope: &Scope,
) -> Option<&'a ReservationRow> {
    let mut rows = state.reservations.values();
    rows.find(|row| is_under(row, integration_id, key))
        .filter(|_| state.admits(integration_id, scope))
}

fn find_mut<'a>(
    state: &'a mut State,
    integration_id: IntegrationId,
    key: &IdempotencyKey,
) -> Option<&'a mut ReservationRow> {
    let mut rows = state.reservations.values_mut();
    rows.find(|row| is_under(row, integration_id, key))
}

fn is_under(row: &ReservationRow, integration_id: IntegrationId, key: &IdempotencyKey) -> bool {
    row.record.integration_id == integration_id && row.record.key == *key
}
