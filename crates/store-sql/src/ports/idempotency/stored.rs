//! Rows of `{idempotency_keys}`.

use chrono::{DateTime, Utc};
use integrations_core::{
    idempotency::{ReservationRecord, ReservationState},
    store::StoreError,
};

use crate::row::Row;

/// The columns [`Stored`] reads, for `concat!`.
macro_rules! reservation_columns {
    () => {
        "id, uid, integration_id, key, state, reservation_token, reserved_until, fingerprint, \
         request_id, status_code, sealed_answer, settled_at, resolution, created_at"
    };
}
pub(super) use reservation_columns;

/// A row as it is stored: a reservation past its time is still reserved.
pub(super) struct Stored {
    pub(super) record: ReservationRecord,
    /// Empty once an operator's word made it void.
    pub(super) token: String,
}

impl Stored {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            record: ReservationRecord {
                id: row.get("id")?,
                uid: row.get("uid")?,
                integration_id: row.get("integration_id")?,
                key: row.parse("key")?,
                state: row.get::<String>("state")?.into(),
                reserved_until: row.get("reserved_until")?,
                fingerprint: row.get("fingerprint")?,
                request_id: row.get("request_id")?,
                status_code: row.get("status_code")?,
                sealed_answer: row.get("sealed_answer")?,
                settled_at: row.get("settled_at")?,
                resolution: row.get("resolution")?,
                created_at: row.get("created_at")?,
            },
            token: row.get("reservation_token")?,
        })
    }

    /// The record as it reads at `now`.
    pub(super) fn at(&self, now: DateTime<Utc>) -> ReservationRecord {
        let mut record = self.record.clone();
        if record.state == ReservationState::Reserved && record.reserved_until <= now {
            record.state = ReservationState::Unknown;
        }
        record
    }
}
