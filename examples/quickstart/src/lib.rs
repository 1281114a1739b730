//! The smallest useful application: install a GitHub account, read an issue, look at the log.

use std::{collections::BTreeMap, error::Error};

use integrations::{
    IntegrationClient, Owner, ReqwestTransport, RingEncryptor, SqliteStore,
    client::Install,
    integration::{Integration, Scope},
    provider::ProviderSettings,
    providers::github::Github,
    request::{Request, RequestFilter},
    store::PageRequest,
    value::{IntegrationName, ProviderKey},
};
use secrecy::SecretString;

/// What this application needs to know of an issue.
#[derive(Debug, serde::Deserialize)]
pub struct Issue {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
}

/// A client over a SQLite file, whose schema it brings up.
///
/// # Errors
///
/// Returns what went wrong with the database or the transport.
pub async fn client(
    database: &str,
    keys: RingEncryptor,
    github: ProviderSettings,
) -> Result<IntegrationClient, Box<dyn Error>> {
    SqliteStore::connect(database)?.migrate().await?;
    let store = SqliteStore::connect(database)?.open().await?;
    Ok(IntegrationClient::builder(store, keys)
        .transport(ReqwestTransport::new()?)
        .provider_with(Github::default(), github)
        .build()?)
}

/// Installs a repository for an owner.
///
/// # Errors
///
/// Returns what is wrong with the account, or with the store.
pub async fn install(
    client: &IntegrationClient,
    owner: &Owner,
    token: SecretString,
) -> Result<Integration, Box<dyn Error>> {
    let metadata = [("owner", "octo-org"), ("repo", "octo-repo")];
    let scoped = client.for_owner(owner);
    let prepared = scoped.prepare(Install {
        provider: ProviderKey::new("github")?,
        name: IntegrationName::new("octo-repo")?,
        owner: None,
        credentials: BTreeMap::from([("token".to_owned(), token)]),
        metadata: metadata.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        sync_interval_minutes: None,
    })?;
    Ok(scoped.install(prepared).await?)
}

/// Reads an issue: one attempt, one row.
///
/// # Errors
///
/// Returns what went wrong with the call.
pub async fn issue(
    client: &IntegrationClient,
    owner: &Owner,
    integration: &Integration,
    number: u64,
) -> Result<Issue, Box<dyn Error>> {
    let github = client.for_owner(owner).integration(integration.id);
    let call = github
        .get("/repos/{owner}/{repo}/issues/{n}")
        .param("n", number);
    Ok(call.json().await?)
}

/// What was recorded for an owner, newest first.
///
/// # Errors
///
/// Returns what went wrong with the store.
pub async fn log(
    client: &IntegrationClient,
    owner: &Owner,
) -> Result<Vec<Request>, Box<dyn Error>> {
    let requests = &client.ports().requests;
    let scope = Scope::Owner(owner.clone());
    let page = requests
        .query(&RequestFilter::default(), &scope, &PageRequest::newest(20))
        .await?;
    Ok(page.items)
}
