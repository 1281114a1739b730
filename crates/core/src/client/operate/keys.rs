//! The at-most-once keys of one integration, for its operator.

use super::{ControlError, IntegrationHandle};
use crate::{
    client::{Answer, kept::Kept},
    encryptor::{EncryptionError, SealContext, SealedColumn},
    idempotency::{
        KeyReleased, KeyResolution, KeyResolved, ReservationFilter, ReservationRecord,
        ReservationState,
    },
    store::{Page, PageRequest},
    value::IdempotencyKey,
};

/// Looks at the keys of one integration's at-most-once calls, and settles those whose outcome
/// nobody knows.
#[derive(Clone, Debug)]
pub struct KeyControl(IntegrationHandle);

impl KeyControl {
    pub(super) const fn new(handle: IntegrationHandle) -> Self {
        Self(handle)
    }

    /// A page of the keys, those in `state` where one is given.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`] where there is no such integration, or the store failed.
    pub async fn list(
        &self,
        state: Option<ReservationState>,
        page: &PageRequest,
    ) -> Result<Page<ReservationRecord>, ControlError> {
        let row = self.0.row().await?;
        let ports = &self.0.shared.ports;
        let filter = ReservationFilter {
            integration_id: Some(row.id),
            state,
        };
        let now = ports.clock.now();
        Ok(ports.ledger.list(&filter, &self.0.scope, page, now).await?)
    }

    /// What is on file for a key; `None` where the key is free.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`] where there is no such integration, or the store failed.
    pub async fn find(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<ReservationRecord>, ControlError> {
        let row = self.0.row().await?;
        let ports = &self.0.shared.ports;
        let now = ports.clock.now();
        Ok(ports.ledger.find(row.id, key, &self.0.scope, now).await?)
    }

    /// The answer that is on file; `None` where there is none.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`] where there is no such integration, the store failed, or the
    /// answer does not open with the keys of this process.
    pub async fn answer(&self, record: &ReservationRecord) -> Result<Option<Answer>, ControlError> {
        let Some(sealed) = &record.sealed_answer else {
            return Ok(None);
        };
        let row = self.0.row().await?;
        let context = SealContext {
            column: SealedColumn::LedgerAnswer,
            uid: record.uid,
            provider: row.provider,
        };
        let opened = self.0.shared.keys.encryptor.open(&context, sealed).await?;
        let kept = Kept::read(&opened).ok_or(EncryptionError::Malformed)?;
        Ok(Some(Answer::recorded(kept, record.request_id)))
    }

    /// Settles a key whose outcome is unknown: the call `happened`, and is never made again under
    /// this key, or it did not, and the key is free.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`]; nothing is changed then.
    pub async fn resolve(
        &self,
        key: &IdempotencyKey,
        happened: bool,
        reason: impl Into<String> + Send,
    ) -> Result<KeyResolved, ControlError> {
        let reason = reason.into();
        let row = self.0.row().await?;
        let ports = &self.0.shared.ports;
        let resolution = KeyResolution {
            integration_id: row.id,
            key: key.clone(),
            scope: self.0.scope.clone(),
            happened,
            reason,
            now: ports.clock.now(),
        };
        Ok(ports.ledger.resolve(&resolution).await?)
    }

    /// Frees a key in whatever state; one whose call is under way only with `force`, which may
    /// do the work twice.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError`]; nothing is changed then.
    pub async fn release(
        &self,
        key: &IdempotencyKey,
        force: bool,
    ) -> Result<KeyReleased, ControlError> {
        let row = self.0.row().await?;
        let ports = &self.0.shared.ports;
        let now = ports.clock.now();
        let ledger = &ports.ledger;
        Ok(ledger
            .release(row.id, key, &self.0.scope, force, now)
            .await?)
    }
}
