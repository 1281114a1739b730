//! Installing: check, try, seal, store. Nothing is stored until everything is checked.

use std::collections::BTreeMap;

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value as Json;

use super::{CallError, ScopedClient, Shared, call::Draft};
use crate::{
    encryptor::{EncryptionError, SealContext, SealedColumn},
    entropy::{EntropyError, EntropyExt as _},
    event::EventKind,
    integration::{Integration, IntegrationFilter, NewIntegration, Owner, Scope},
    provider::{Account, Credentials, FieldError, Registered},
    store::{PageRequest, StoreError},
    time::later,
    value::{IntegrationName, ProviderKey},
    webhook::InvalidSecret,
};

/// The credential that webhooks are signed with, unless a provider answers otherwise.
const WEBHOOK_SECRET: &str = "webhook_secret";

/// An account to install, as somebody typed it.
#[derive(Clone, Debug)]
pub struct Install {
    /// The provider.
    pub provider: ProviderKey,
    /// What to call it.
    pub name: IntegrationName,
    /// Whose it is. Within an owner's scope it is theirs, whatever stands here.
    pub owner: Option<Owner>,
    /// Its credentials.
    pub credentials: BTreeMap<String, SecretString>,
    /// Its settings, as texts.
    pub metadata: BTreeMap<String, String>,
    /// Minutes between syncs; `None`: what the provider suggests.
    pub sync_interval_minutes: Option<i32>,
}

/// An account that was checked and can be tried and stored.
#[derive(Debug)]
pub struct PreparedInstall {
    provider: ProviderKey,
    name: IntegrationName,
    owner: Option<Owner>,
    credentials: Credentials,
    metadata: Option<Json>,
    sync_interval_minutes: Option<i32>,
}

/// An account could not be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// There is no such provider.
    #[error("this application does not know the provider `{0}`")]
    UnknownProvider(ProviderKey),
    /// Fields are missing or wrong.
    #[error("{}", join(.0))]
    Fields(Vec<FieldError>),
    /// The interval is not one.
    #[error("the interval must be at least one minute")]
    Interval,
    /// The keys are not those of the database.
    #[error("{0}")]
    Keys(#[source] CallError),
    /// The credentials could not be sealed.
    #[error("the credentials could not be sealed")]
    Encryption(#[from] EncryptionError),
    /// There were no random bytes for the uid.
    #[error("no uid could be made")]
    Entropy(#[from] EntropyError),
    /// The store failed.
    #[error("the integration could not be stored: {0}")]
    Store(#[from] StoreError),
}

fn join(errors: &[FieldError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// What trying an account came to.
#[derive(Debug)]
pub enum ProbeReport {
    /// It works.
    Passed,
    /// It does not, for this reason.
    Failed(String),
    /// The provider has no way to try.
    NotSupported,
}

impl ScopedClient {
    /// Checks an account without storing anything.
    ///
    /// # Errors
    ///
    /// Returns [`InstallError`] naming everything that is wrong with it.
    pub fn prepare(&self, install: Install) -> Result<PreparedInstall, InstallError> {
        let registered = self.shared.registered(&install.provider)?;
        let credentials = check_credentials(registered, &install.credentials);
        let metadata = registered.provider.metadata().check(&install.metadata);
        let (credentials, metadata) = match (credentials, metadata) {
            (Ok(credentials), Ok(metadata)) => (credentials, metadata),
            (credentials, metadata) => {
                let errors = credentials
                    .err()
                    .into_iter()
                    .chain(metadata.err())
                    .flatten();
                return Err(InstallError::Fields(errors.collect()));
            }
        };
        let metadata = (!metadata.is_empty()).then_some(Json::Object(metadata));
        check_not_blank(&install.credentials).map_err(InstallError::Fields)?;
        check_account(registered, metadata.as_ref(), &credentials).map_err(InstallError::Fields)?;
        let interval = install
            .sync_interval_minutes
            .or_else(|| registered.provider.default_sync_interval());
        if interval.is_some_and(|minutes| minutes < 1) {
            return Err(InstallError::Interval);
        }
        let owner = match &self.scope {
            Scope::Owner(owner) => Some(owner.clone()),
            Scope::Operator => install.owner,
        };
        Ok(PreparedInstall {
            provider: install.provider,
            name: install.name,
            owner,
            credentials,
            metadata,
            sync_interval_minutes: interval,
        })
    }

    /// Those of the same provider, owner and name that are there already.
    ///
    /// # Errors
    ///
    /// Returns [`InstallError::Store`] if the store failed.
    pub async fn installed_as(
        &self,
        prepared: &PreparedInstall,
    ) -> Result<Vec<Integration>, InstallError> {
        let filter = IntegrationFilter {
            provider: Some(prepared.provider.clone()),
            name: Some(prepared.name.clone()),
            owner: prepared.owner.clone(),
            ..IntegrationFilter::default()
        };
        let found = self
            .shared
            .ports
            .integrations
            .list(
                &filter,
                &self.scope,
                &PageRequest::oldest(PageRequest::MAX_LIMIT),
            )
            .await?;
        Ok(found
            .items
            .into_iter()
            .filter(|i| i.owner == prepared.owner)
            .collect())
    }

    /// Tries an account, changing and recording nothing.
    ///
    /// # Errors
    ///
    /// Returns [`InstallError::UnknownProvider`] where there is none to try it with.
    pub async fn probe(&self, prepared: &PreparedInstall) -> Result<ProbeReport, InstallError> {
        let registered = self.shared.registered(&prepared.provider)?;
        let account = Account::new(
            prepared.metadata.as_ref(),
            &prepared.credentials,
            &registered.settings.application,
        );
        Ok(self.shared.probe(registered, &account).await)
    }

    /// Seals and stores an account.
    ///
    /// # Errors
    ///
    /// Returns [`InstallError`]; nothing is stored then.
    pub async fn install(&self, prepared: PreparedInstall) -> Result<Integration, InstallError> {
        let shared = &*self.shared;
        shared.keys_verified().await.map_err(InstallError::Keys)?;
        let uid = shared.keys.entropy.uid()?;
        let context = SealContext {
            column: SealedColumn::Credentials,
            uid,
            provider: prepared.provider.clone(),
        };
        let plain = prepared.credentials.to_secret_json();
        let sealed = shared.keys.encryptor.seal(&context, &plain).await?;
        let now = shared.ports.clock.now();
        let next_sync_at = match prepared.sync_interval_minutes {
            Some(minutes) => Some(later(now, shared.first_wait(minutes)?)),
            None => None,
        };
        let new = NewIntegration {
            uid,
            provider: prepared.provider,
            name: prepared.name,
            owner: prepared.owner,
            credentials: Some(sealed),
            metadata: prepared.metadata,
            sync_interval_minutes: prepared.sync_interval_minutes,
            next_sync_at,
            now,
        };
        let integration = shared.ports.integrations.create(&new).await?;
        let provider = integration.provider.clone();
        shared.emit(&integration, EventKind::IntegrationCreated { provider });
        Ok(integration)
    }
}

impl Shared {
    pub(super) fn registered(&self, provider: &ProviderKey) -> Result<&Registered, InstallError> {
        self.registry
            .get(provider)
            .ok_or_else(|| InstallError::UnknownProvider(provider.clone()))
    }

    /// Tries an account with the provider's probe, outside of any log.
    pub(super) async fn probe(
        &self,
        registered: &Registered,
        account: &Account<'_>,
    ) -> ProbeReport {
        let Some(check) = registered.provider.health_check() else {
            return ProbeReport::NotSupported;
        };
        let draft = Draft::new(Method::GET, check.probe().endpoint);
        let redactor = self.redactor(registered, account);
        let failed = |text: String| ProbeReport::Failed(redactor.text(&text).into_owned());
        let outgoing = match Self::outgoing(registered, account, &draft) {
            Ok(outgoing) => outgoing,
            Err(error) => return failed(error.to_string()),
        };
        match self.transport.send(outgoing.request(None)).await {
            Ok(answer) if answer.status().is_success() => ProbeReport::Passed,
            Ok(answer) => failed(format!("the other side answered {}", answer.status())),
            Err(error) => failed(error.to_string()),
        }
    }

    /// A random part of the first interval, so that integrations made together do not sync
    /// together (W-SYN-13).
    fn first_wait(&self, minutes: i32) -> Result<std::time::Duration, EntropyError> {
        let mut random = [0; 4];
        self.keys.entropy.fill(&mut random)?;
        let seconds = u64::try_from(minutes).unwrap_or(1) * 60;
        Ok(std::time::Duration::from_secs(
            u64::from(u32::from_le_bytes(random)) % seconds,
        ))
    }
}

/// Refuses a secret of webhooks that somebody gave and that is blank.
fn check_not_blank(given: &BTreeMap<String, SecretString>) -> Result<(), Vec<FieldError>> {
    let secret = given.get(WEBHOOK_SECRET);
    if secret.is_some_and(|secret| secret.expose_secret().trim().is_empty()) {
        return Err(vec![unusable_secret(InvalidSecret::Blank)]);
    }
    Ok(())
}

fn unusable_secret(error: InvalidSecret) -> FieldError {
    FieldError::Together(format!("`{WEBHOOK_SECRET}` would verify nothing: {error}"))
}

/// Asks the provider about an account whose fields are good.
pub(super) fn check_account(
    registered: &Registered,
    metadata: Option<&Json>,
    credentials: &Credentials,
) -> Result<(), Vec<FieldError>> {
    let account = Account::new(metadata, credentials, &registered.settings.application);
    let mut errors = registered.provider.check(&account);
    let none = Credentials::new();
    let own = Account::new(metadata, credentials, &none);
    let source = registered.provider.webhook_source();
    if let Some(Err(error)) = source.and_then(|source| source.secrets(&own)) {
        errors.push(unusable_secret(error));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// Checks credentials as they were given.
pub(super) fn check_credentials(
    registered: &Registered,
    given: &BTreeMap<String, SecretString>,
) -> Result<Credentials, Vec<FieldError>> {
    // Fields check plain texts; what comes out of them goes straight back into secrets.
    let plain = given
        .iter()
        .map(|(name, value)| (name.clone(), value.expose_secret().to_owned()))
        .collect();
    registered.provider.credentials().check(&plain)?;
    let given = given
        .iter()
        .filter(|(_, value)| !value.expose_secret().trim().is_empty());
    let mut credentials = Credentials::new();
    for (name, value) in given {
        credentials.set(name.clone(), value.clone());
    }
    Ok(credentials)
}
