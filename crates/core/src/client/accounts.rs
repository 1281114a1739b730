//! Integrations as such: find, list, update, switch, remove, try.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde_json::Value as Json;
use url::Origin;

use super::{
    CallError, IntegrationHandle, ProbeReport, ScopedClient,
    install::{check_account, check_credentials},
};
use crate::{
    encryptor::{EncryptionError, Sealed},
    integration::{
        AuthorizationStatus, CredentialReplacement, Integration, IntegrationChange,
        IntegrationFilter, Removal, Replaced,
    },
    provider::{Account, Credentials, FieldError, ProviderError, Registered},
    store::{Page, PageRequest, Ports, StoreError},
    time::later,
    value::{IntegrationName, ProviderKey},
};

/// How often a replacement of credentials is tried against others.
const MAX_TRIES: u32 = 8;

/// What to change of an account. `None` leaves a thing as it is.
#[derive(Clone, Debug, Default)]
pub struct AccountUpdate {
    /// Another name.
    pub name: Option<IntegrationName>,
    /// Settings to set, beside those there are; an empty text takes one away.
    pub metadata: BTreeMap<String, String>,
    /// Credentials to set, beside those there are; an empty text takes one away.
    pub credentials: BTreeMap<String, SecretString>,
    /// Another interval in minutes; `Some(None)`: no more syncs.
    pub sync_interval_minutes: Option<Option<i32>>,
}

/// An account could not be changed or tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// No such integration within the scope.
    #[error("there is no such integration")]
    NotFound,
    /// Its provider is not registered.
    #[error("this application does not know the provider `{0}`")]
    UnknownProvider(ProviderKey),
    /// There is nothing to try.
    #[error("the provider `{0}` has no API to try: it only receives webhooks")]
    NoApi(ProviderKey),
    /// Fields are missing or wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Fields(Vec<FieldError>),
    /// The interval is not one.
    #[error("the interval must be at least one minute")]
    Interval,
    /// With these settings the credentials would go to another server.
    #[error(
        "these settings change the server the credentials are sent to; give the credentials again"
    )]
    OriginChanged,
    /// The credentials do not open; they are not overwritten in part.
    #[error("{0}")]
    Credentials(#[source] CallError),
    /// The credentials could not be sealed.
    #[error("the credentials could not be sealed")]
    Encryption(#[from] EncryptionError),
    /// Others kept changing the credentials.
    #[error("the credentials were changed by others at the same time; try again")]
    Contended,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

impl ScopedClient {
    /// A page of the integrations `filter` selects.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    pub async fn list(
        &self,
        filter: &IntegrationFilter,
        page: &PageRequest,
    ) -> Result<Page<Integration>, StoreError> {
        self.shared
            .ports
            .integrations
            .list(filter, &self.scope, page)
            .await
    }
}

impl IntegrationHandle {
    /// The row; `None` when there is no such integration within the scope.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    pub async fn find(&self) -> Result<Option<Integration>, StoreError> {
        self.shared
            .ports
            .integrations
            .find(self.reference, &self.scope)
            .await
    }

    async fn get_row(&self) -> Result<Integration, AccountError> {
        self.find().await?.ok_or(AccountError::NotFound)
    }

    /// Switches it on and resets its health.
    ///
    /// # Errors
    ///
    /// Returns [`AccountError`]; nothing is changed then.
    pub async fn enable(&self) -> Result<Integration, AccountError> {
        let change = IntegrationChange {
            is_active: Some(true),
            parks_webhooks: Some(false),
            reset_health: true,
            ..IntegrationChange::default()
        };
        self.change(&change).await
    }

    /// Switches it off: calls, syncs and webhooks are refused until it is enabled.
    ///
    /// # Errors
    ///
    /// Returns [`AccountError`]; nothing is changed then.
    pub async fn disable(&self) -> Result<Integration, AccountError> {
        self.switch_off(false).await
    }

    /// Switches it off, but for its webhooks: they are stored, and parked until it is enabled.
    ///
    /// # Errors
    ///
    /// Returns [`AccountError`]; nothing is changed then.
    pub async fn pause(&self) -> Result<Integration, AccountError> {
        self.switch_off(true).await
    }

    async fn switch_off(&self, parks_webhooks: bool) -> Result<Integration, AccountError> {
        let change = IntegrationChange {
            is_active: Some(false),
            parks_webhooks: Some(parks_webhooks),
            ..IntegrationChange::default()
        };
        self.change(&change).await
    }

    async fn change(&self, change: &IntegrationChange) -> Result<Integration, AccountError> {
        let row = self.get_row().await?;
        let Ports {
            integrations,
            clock,
            ..
        } = &self.shared.ports;
        let changed = integrations
            .update(row.id, &self.scope, change, clock.now())
            .await;
        self.shared.locals.changed(row.id);
        changed?.ok_or(AccountError::NotFound)
    }

    /// Changes name, settings, credentials and interval.
    ///
    /// Where the settings lead to another server, the old credentials are wiped before and the new
    /// ones set after them: at no time does one server see the credentials of the other.
    ///
    /// # Errors
    ///
    /// Returns [`AccountError`]. Where the store failed midway, credentials may be replaced and
    /// settings not, or, on the way to another server, credentials wiped: give them again.
    pub async fn update(&self, update: AccountUpdate) -> Result<Integration, AccountError> {
        let row = self.get_row().await?;
        let registered = self.registered(&row.provider)?;
        if update
            .sync_interval_minutes
            .flatten()
            .is_some_and(|minutes| minutes < 1)
        {
            return Err(AccountError::Interval);
        }
        let metadata = merged_metadata(registered, &row, &update)?;
        let moves =
            origin(registered, metadata.as_ref()) != origin(registered, row.metadata.as_ref());
        if moves {
            self.wipe_credentials(registered, &row, &update, metadata.as_ref())
                .await?;
        } else if update.credentials.is_empty() {
            self.check_settings(registered, &row, &update, metadata.as_ref())
                .await?;
        } else {
            self.replace_credentials(registered, &update.credentials, metadata.as_ref())
                .await?;
        }
        let now = self.shared.ports.clock.now();
        let change = IntegrationChange {
            name: update.name,
            metadata: (!update.metadata.is_empty()).then(|| metadata.clone()),
            sync_interval_minutes: update.sync_interval_minutes,
            next_sync_at: update.sync_interval_minutes.map(|interval| {
                let minutes = u64::try_from(interval?).unwrap_or(1);
                Some(later(now, std::time::Duration::from_secs(60 * minutes)))
            }),
            ..IntegrationChange::default()
        };
        let changed = self.change(&change).await?;
        if !moves || update.credentials.is_empty() {
            return Ok(changed);
        }
        self.replace_credentials(registered, &update.credentials, metadata.as_ref())
            .await?;
        self.get_row().await
    }

    /// Asks the provider whether other settings go with the credentials there are.
    async fn check_settings(
        &self,
        registered: &Registered,
        row: &Integration,
        update: &AccountUpdate,
        metadata: Option<&Json>,
    ) -> Result<(), AccountError> {
        if update.metadata.is_empty() {
            return Ok(());
        }
        let credentials = self.shared.open_credentials(row).await;
        let credentials = credentials.map_err(AccountError::Credentials)?;
        check_account(registered, metadata, &credentials).map_err(AccountError::Fields)
    }

    /// Takes the credentials away from an account that moves to another server; refused, before
    /// anything is changed, where those for the new one are not all there.
    async fn wipe_credentials(
        &self,
        registered: &Registered,
        row: &Integration,
        update: &AccountUpdate,
        metadata: Option<&Json>,
    ) -> Result<(), AccountError> {
        match (&row.credentials, update.credentials.is_empty()) {
            (None, true) => return Ok(()),
            (Some(_), true) => return Err(AccountError::OriginChanged),
            (_, false) => {}
        }
        check_credentials(registered, &update.credentials)
            .and_then(|credentials| check_account(registered, metadata, &credentials))
            .map_err(AccountError::Fields)?;
        let shared = &*self.shared;
        shared
            .keys_verified()
            .await
            .map_err(AccountError::Credentials)?;
        match self.set_credentials(row, None).await? {
            Replaced::Done { .. } => Ok(()),
            Replaced::Stale { .. } => Err(AccountError::Contended),
            Replaced::NotFound => Err(AccountError::NotFound),
        }
    }

    /// Sets credentials beside those there are, comparing generations. They are meant for the
    /// server of these settings: where others moved the account elsewhere, they are not set.
    async fn replace_credentials(
        &self,
        registered: &Registered,
        given: &BTreeMap<String, SecretString>,
        metadata: Option<&Json>,
    ) -> Result<(), AccountError> {
        let shared = &*self.shared;
        let target = origin(registered, metadata);
        for _ in 0..MAX_TRIES {
            let row = self.get_row().await?;
            if origin(registered, row.metadata.as_ref()) != target {
                return Err(AccountError::Contended);
            }
            let opened = shared
                .open_credentials(&row)
                .await
                .map_err(AccountError::Credentials)?;
            let mut texts: BTreeMap<String, SecretString> = opened
                .names()
                .filter_map(|name| Some((name.to_owned(), opened.get(name)?.clone())))
                .collect();
            texts.extend(
                given
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
            let credentials =
                check_credentials(registered, &texts).map_err(AccountError::Fields)?;
            check_account(registered, metadata, &credentials).map_err(AccountError::Fields)?;
            let sealed = shared
                .keys
                .encryptor
                .seal(&row.credentials_context(), &credentials.to_secret_json())
                .await?;
            match self.set_credentials(&row, Some(sealed)).await? {
                Replaced::Done { .. } => return Ok(()),
                Replaced::Stale { .. } => {}
                Replaced::NotFound => return Err(AccountError::NotFound),
            }
        }
        Err(AccountError::Contended)
    }

    async fn set_credentials(
        &self,
        row: &Integration,
        credentials: Option<Sealed>,
    ) -> Result<Replaced, StoreError> {
        let Ports {
            integrations,
            clock,
            ..
        } = &self.shared.ports;
        let replacement = CredentialReplacement {
            id: row.id,
            scope: self.scope.clone(),
            expected_generation: row.credentials_generation,
            credentials,
            authorization_status: AuthorizationStatus::Ok,
            now: clock.now(),
        };
        let replaced = integrations.replace_credentials(&replacement).await;
        self.shared.locals.changed(row.id);
        replaced
    }

    /// Removes it: secrets are wiped and all work is stopped at once, its rows go later. Refused
    /// while keys of at-most-once calls are unknown, unless `force`.
    ///
    /// # Errors
    ///
    /// Returns [`AccountError`]; nothing is changed then.
    pub async fn remove(&self, force: bool) -> Result<Removal, AccountError> {
        let row = self.get_row().await?;
        let Ports {
            integrations,
            clock,
            ..
        } = &self.shared.ports;
        let removal = integrations
            .remove(row.id, &self.scope, force, clock.now())
            .await;
        self.shared.locals.changed(row.id);
        Ok(removal?)
    }

    /// Tries it with the provider's probe, outside of log and health.
    ///
    /// # Errors
    ///
    /// Returns [`AccountError`] where it cannot be tried.
    pub async fn probe(&self) -> Result<ProbeReport, AccountError> {
        let row = self.get_row().await?;
        let registered = self.registered(&row.provider)?;
        let credentials = self
            .shared
            .open_credentials(&row)
            .await
            .map_err(AccountError::Credentials)?;
        let account = Account::of(&row, &credentials, &registered.settings.application);
        if registered.base_url(&account) == Err(ProviderError::NoApi) {
            return Err(AccountError::NoApi(row.provider));
        }
        Ok(self.shared.probe(registered, &account).await)
    }

    fn registered(&self, provider: &ProviderKey) -> Result<&Registered, AccountError> {
        self.shared
            .registry
            .get(provider)
            .ok_or_else(|| AccountError::UnknownProvider(provider.clone()))
    }
}

/// The settings after an update.
fn merged_metadata(
    registered: &Registered,
    row: &Integration,
    update: &AccountUpdate,
) -> Result<Option<Json>, AccountError> {
    if update.metadata.is_empty() {
        return Ok(row.metadata.clone());
    }
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in row
        .metadata
        .as_ref()
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
    {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        texts.insert(name.clone(), text);
    }
    texts.extend(update.metadata.clone());
    let metadata = registered
        .provider
        .metadata()
        .check(&texts)
        .map_err(AccountError::Fields)?;
    Ok((!metadata.is_empty()).then_some(Json::Object(metadata)))
}

/// Where an account with these settings sends its credentials.
fn origin(registered: &Registered, metadata: Option<&Json>) -> Option<Origin> {
    let nothing = Credentials::new();
    let account = Account::new(metadata, &nothing, &registered.settings.application);
    registered.base_url(&account).ok().map(|url| url.origin())
}
