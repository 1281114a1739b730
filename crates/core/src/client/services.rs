//! What services that are built over a client need of it.

use super::{CallError, IntegrationClient};
use crate::{encryptor::Keys, event::Event, integration::Integration, provider::Credentials};

impl IntegrationClient {
    /// The keys it seals and opens with.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    /// Hands an event to the sinks, after the change it is about is committed.
    pub fn emit(&self, event: Event) {
        self.shared.events.emit(event);
    }

    /// Opens the credentials of an integration; none where it has none.
    ///
    /// # Errors
    ///
    /// Returns [`CallError`] where this process's keys are not those of the database, or the
    /// credentials do not open.
    pub async fn open_credentials(
        &self,
        integration: &Integration,
    ) -> Result<Credentials, CallError> {
        self.shared.open_credentials(integration).await
    }
}
