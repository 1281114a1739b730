//! What every command works with.

use std::sync::Arc;

use integrations::{
    client::IntegrationClient,
    http::ReqwestTransport,
    integration::{Integration, IntegrationRef, Scope},
    keys::RingEncryptor,
    provider::Provider,
    store::Ports,
    value::ProviderKey,
};

use crate::{
    args::Global,
    config::{ProviderConfig, Settings},
    database,
    exit::{Failure, Outcome, chain},
    keys,
    output::Output,
    terminal::Terminal,
};

/// Arguments, providers, and where output goes. Database and keys are opened when a command needs
/// them.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) output: Output,
    pub(crate) terminal: Terminal,
    providers: Vec<Arc<dyn Provider>>,
}

impl Context {
    pub(crate) fn new(global: Global, providers: Vec<Arc<dyn Provider>>, output: Output) -> Self {
        if global
            .database
            .as_deref()
            .is_some_and(database::holds_password)
        {
            output.warn(
                "a password on the command line is seen by everyone on this machine: set \
                 INTEGRATIONS_DATABASE_URL instead",
            );
        }
        let terminal = Terminal::new(global.no_interaction);
        Self {
            global,
            output,
            terminal,
            providers,
        }
    }

    /// Flags, environment and file.
    pub(crate) fn settings(&self) -> Outcome<Settings> {
        Settings::load(&self.global)
    }

    /// The providers, in the order of their keys.
    pub(crate) fn providers(&self) -> Vec<&dyn Provider> {
        let mut providers: Vec<&dyn Provider> = self.providers.iter().map(|p| &**p).collect();
        providers.sort_by_key(|provider| provider.key());
        providers
    }

    /// A provider this program knows.
    pub(crate) fn provider(&self, key: &ProviderKey) -> Option<&dyn Provider> {
        let found = self
            .providers
            .iter()
            .find(|provider| provider.key() == *key);
        found.map(|provider| &**provider)
    }

    /// The database, its schema checked. Credentials stay sealed.
    pub(crate) async fn ports(&self) -> Outcome<Ports> {
        let settings = self.settings()?;
        settings.database.open(&settings.prefix).await
    }

    /// A client over the database, its keys compared with the database's.
    pub(crate) async fn client(&self) -> Outcome<IntegrationClient> {
        let settings = self.settings()?;
        let ports = settings.database.open(&settings.prefix).await?;
        self.client_over(ports, &settings, &self.providers).await
    }

    /// A client over ports, with these providers set up as the settings say.
    pub(crate) async fn client_over(
        &self,
        ports: Ports,
        settings: &Settings,
        providers: &[Arc<dyn Provider>],
    ) -> Outcome<IntegrationClient> {
        let ring = keys::load(&settings.database, &*ports.keys, &self.output).await?;
        let transport = ReqwestTransport::new().map_err(|error| Failure::failed(chain(&error)))?;
        let mut builder = IntegrationClient::builder(ports, RingEncryptor::new(ring))
            .transport(transport)
            .health_policy(settings.health)
            .retry_limits(settings.retry.clone())
            .wait_limits(settings.rate_limit)
            .circuit_policy(settings.circuit);
        builder = settings.log.apply(builder);
        for provider in providers {
            let key = provider.key();
            let config = settings.providers.get(&key).cloned().unwrap_or_default();
            check_application(&**provider, &config)?;
            builder = builder.shared_provider(Arc::clone(provider), config.resolve(&key)?);
        }
        for key in settings.providers.keys() {
            if !providers.iter().any(|provider| provider.key() == *key) {
                let warning = format!("`providers.{key}` sets up a provider nobody knows here");
                self.output.warn(&warning);
            }
        }
        let client = builder.build()?;
        client.verify_keys().await?;
        Ok(client)
    }
}

/// Refuses application credentials that the provider would never look at.
fn check_application(provider: &dyn Provider, config: &ProviderConfig) -> Outcome<()> {
    let fields = provider.credentials();
    let unknown = config
        .application_names()
        .find(|name| fields.get(name).is_none());
    let Some(unknown) = unknown else {
        return Ok(());
    };
    let known: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    Err(Failure::usage(format!(
        "`providers.{}.app.{unknown}` is not known; known are: {}",
        provider.key(),
        known.join(", ")
    )))
}

/// The row of an integration.
pub(crate) async fn integration(ports: &Ports, id: IntegrationRef) -> Outcome<Integration> {
    let found = ports.integrations.find(id, &Scope::Operator).await?;
    found.ok_or_else(|| no_such_integration(id))
}

/// There is no such row.
pub(crate) fn no_such_integration(id: IntegrationRef) -> Failure {
    Failure::not_found(format!("there is no integration {id}"))
}
