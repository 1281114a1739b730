//! What an operator does with one integration: its circuit, its budgets, its at-most-once keys.

mod circuit;
mod keys;
mod rate_limit;

use chrono::{DateTime, Utc};

use super::IntegrationHandle;
use crate::{encryptor::EncryptionError, integration::Integration, store::StoreError};

pub use circuit::CircuitControl;
pub use keys::KeyControl;
pub use rate_limit::RateLimitControl;

/// Something of an integration could not be looked at or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No such integration within the scope.
    #[error("there is no such integration")]
    NotFound,
    /// An override would have ended before it began.
    #[error("an override must end in the future")]
    UntilPassed,
    /// What is on file does not open.
    #[error("what is on file does not open: {0}")]
    Sealed(#[from] EncryptionError),
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

impl IntegrationHandle {
    /// Its circuit, and what an operator makes of it.
    #[must_use]
    pub fn circuit(&self) -> CircuitControl {
        CircuitControl::new(self.clone())
    }

    /// Its budgets, and what an operator makes of them.
    #[must_use]
    pub fn rate_limit(&self) -> RateLimitControl {
        RateLimitControl::new(self.clone())
    }

    /// The keys of its at-most-once calls.
    #[must_use]
    pub fn idempotency(&self) -> KeyControl {
        KeyControl::new(self.clone())
    }

    /// The row, which everything here needs for its number.
    async fn row(&self) -> Result<Integration, ControlError> {
        self.find().await?.ok_or(ControlError::NotFound)
    }

    /// Refuses an override that has ended already (CLI-08).
    fn check_until(&self, until: Option<DateTime<Utc>>) -> Result<(), ControlError> {
        match until {
            Some(until) if until <= self.shared.ports.clock.now() => Err(ControlError::UntilPassed),
            _ => Ok(()),
        }
    }
}
