//! An integration that is ready for a call: row, provider and opened credentials.

use super::{CallError, CallErrorKind, Shared};
use crate::{
    encryptor::EncryptionError,
    integration::{Integration, IntegrationRef, Scope},
    provider::{Account, Credentials, ProviderError, Registered},
    redact::Redactor,
};

/// Everything a call needs to know of an integration.
pub(super) struct Connection<'a> {
    pub(super) integration: Integration,
    pub(super) registered: &'a Registered,
    pub(super) credentials: Credentials,
}

impl Connection<'_> {
    pub(super) fn account(&self) -> Account<'_> {
        Account::of(
            &self.integration,
            &self.credentials,
            &self.registered.settings.application,
        )
    }

    /// The redactor for what this account says and hears.
    pub(super) fn redactor(&self) -> Redactor {
        redactor(self.registered, &self.account())
    }
}

/// The redactor for an account of a provider.
pub(super) fn redactor(registered: &Registered, account: &Account<'_>) -> Redactor {
    let paths = registered.redaction_paths().into_iter().flatten();
    Redactor::new(paths.collect(), account.secrets())
}

impl Shared {
    /// Finds an integration that takes calls, and opens its credentials.
    pub(super) async fn connect(
        &self,
        reference: IntegrationRef,
        scope: &Scope,
    ) -> Result<Connection<'_>, CallError> {
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
            let message = format!("integration {} takes no calls: {refusal}", integration.id);
            return Err(CallError::new(CallErrorKind::Refused(refusal), message));
        }
        let registered = self.registry.get(&integration.provider).ok_or_else(|| {
            let message = format!(
                "this application does not know the provider `{}`",
                integration.provider
            );
            CallError::new(CallErrorKind::UnknownProvider, message)
        })?;
        let credentials = self.open_credentials(&integration).await?;
        Ok(Connection {
            integration,
            registered,
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
