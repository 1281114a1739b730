//! An integration that is ready for a call: row, provider and opened credentials.

use std::sync::Arc;

use super::{CallError, CallErrorKind, Shared};
use crate::{
    encryptor::EncryptionError,
    gate::RateBudget,
    integration::{Integration, IntegrationRef, Scope},
    provider::{Account, Credentials, ProviderError, Registered},
    redact::Redactor,
};

/// Everything a call needs to know of an integration. Shared by the calls of about a second.
pub(super) struct Connection {
    pub(super) integration: Integration,
    pub(super) registered: Registered,
    pub(super) credentials: Credentials,
    /// For what this account says and hears.
    pub(super) redactor: Redactor,
    /// Every budget of the account, whichever calls it counts.
    pub(super) budgets: Vec<RateBudget>,
}

impl Connection {
    pub(super) fn account(&self) -> Account<'_> {
        Account::of(
            &self.integration,
            &self.credentials,
            &self.registered.settings.application,
        )
    }
}

impl Shared {
    /// The redactor for an account of a provider.
    pub(super) fn redactor(&self, registered: &Registered, account: &Account<'_>) -> Redactor {
        let paths = registered.redaction_paths().into_iter().flatten();
        let paths = paths.chain(self.log.paths.iter().cloned()).collect();
        Redactor::new(paths, account.secrets()).with_names(Arc::clone(&self.log.names))
    }

    /// Finds an integration that takes calls, and opens its credentials. What was read within the
    /// last second is believed, unless this process changed it.
    pub(super) async fn connect(
        &self,
        reference: IntegrationRef,
        scope: &Scope,
    ) -> Result<Arc<Connection>, CallError> {
        let read_at = self.ports.clock.monotonic();
        if let Some(connection) = self.locals.connection(reference, read_at)
            && scope.admits(connection.integration.owner.as_ref())
        {
            return Ok(connection);
        }
        let connection = Arc::new(self.read_connection(reference, scope).await?);
        self.locals.remember(&connection, read_at);
        Ok(connection)
    }

    async fn read_connection(
        &self,
        reference: IntegrationRef,
        scope: &Scope,
    ) -> Result<Connection, CallError> {
        let integration = self
            .ports
            .integrations
            .find(reference, scope)
            .await
            .map_err(|error| store_failed("the integration could not be read", error))?
            .ok_or_else(|| {
                CallError::new(
                    CallErrorKind::NotFound,
                    format!("there is no integration {reference}"),
                )
            })?;
        if let Some(refusal) = integration.refusal() {
            return Err(CallError::refused(integration.id, refusal));
        }
        let registered = self.registry.get(&integration.provider).ok_or_else(|| {
            let message = format!(
                "this application does not know the provider `{}`",
                integration.provider
            );
            CallError::new(CallErrorKind::UnknownProvider, message)
        })?;
        let credentials = self.open_credentials(&integration).await?;
        let account = Account::of(&integration, &credentials, &registered.settings.application);
        let redactor = self.redactor(registered, &account);
        Ok(Connection {
            redactor,
            budgets: registered.budgets(),
            registered: registered.clone(),
            integration,
            credentials,
        })
    }

    /// Opens the credentials of an integration; none where it has none.
    pub(super) async fn open_credentials(
        &self,
        integration: &Integration,
    ) -> Result<Credentials, CallError> {
        self.keys_verified().await?;
        let Some(sealed) = &integration.credentials else {
            return Ok(Credentials::new());
        };
        let context = integration.credentials_context();
        let opened = self.keys.encryptor.open(&context, sealed).await;
        let opened = opened.map_err(|error| credentials_failed(integration, error))?;
        Credentials::from_secret_json(&opened).map_err(|error| {
            let message = format!(
                "the credentials of integration {} cannot be read",
                integration.id
            );
            CallError::new(CallErrorKind::Credentials, message).with_source(error)
        })
    }
}

pub(super) fn store_failed(message: &str, error: crate::store::StoreError) -> CallError {
    CallError::new(CallErrorKind::Store, format!("{message}: {error}")).with_source(error)
}

pub(super) fn provider_failed(error: &ProviderError) -> CallError {
    let kind = match error {
        ProviderError::MissingCredential(_) | ProviderError::UnusableCredential(_) => {
            CallErrorKind::Credentials
        }
        ProviderError::Metadata(_) | ProviderError::BaseUrl | ProviderError::NoApi => {
            CallErrorKind::Invalid
        }
    };
    CallError::new(kind, error.to_string())
}

fn credentials_failed(integration: &Integration, error: EncryptionError) -> CallError {
    let message = format!(
        "the credentials of integration {} do not open: {error}",
        integration.id
    );
    CallError::new(CallErrorKind::Credentials, message).with_source(error)
}
