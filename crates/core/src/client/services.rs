//! What services that are built over a client need of it.

use std::sync::Arc;

use super::{CallError, IntegrationClient};
use crate::{
    encryptor::Keys,
    event::Event,
    id::IntegrationId,
    integration::{Integration, Scope},
    provider::{Account, Credentials, Registered},
    redact::Redactor,
};

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

    /// What stands between texts about an account and whatever keeps them: the same as for calls.
    /// By secret names and forms alone where the credentials are not to be had, or there is no
    /// account.
    pub async fn redactor_of(&self, integration: Option<IntegrationId>) -> Redactor {
        let shared = &self.shared;
        let by_names = || Redactor::new(Vec::new(), &[]).with_names(Arc::clone(&shared.log.names));
        let Some(id) = integration else {
            return by_names();
        };
        if let Ok(connection) = shared.connect(id.into(), &Scope::Operator).await {
            return connection.redactor.clone();
        }
        // An account that takes no calls has secrets all the same.
        let found = (shared.ports.integrations)
            .find(id.into(), &Scope::Operator)
            .await;
        let Ok(Some(row)) = found else {
            return by_names();
        };
        let Some(registered) = shared.registry.get(&row.provider) else {
            return by_names();
        };
        let credentials = shared.open_credentials(&row).await.unwrap_or_default();
        let account = Account::of(&row, &credentials, &registered.settings.application);
        shared.redactor(registered, &account)
    }

    /// The same for an account of a provider that is at hand, opened.
    #[must_use]
    pub fn redactor_for(&self, provider: &Registered, account: &Account<'_>) -> Redactor {
        self.shared.redactor(provider, account)
    }

    /// Counts the changes to integrations that were made through this client. Whoever keeps what it
    /// read of one compares this with what it was before the reading: another number, and it may
    /// no longer be so.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.shared.locals.changes()
    }
}
