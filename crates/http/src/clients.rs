//! One `reqwest` client per guard policy.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Client, redirect, retry};
use url::{Host, Url};

use crate::{
    error::Failure,
    guard::Egress,
    resolve::{GuardedResolver, Resolver, lookup},
};

/// Policies are few: the transport's own and what single integrations add. Were they many, the
/// clients are made again rather than kept.
const MAX_CLIENTS: usize = 32;

/// What all clients have in common.
pub(crate) struct ClientSettings {
    pub(crate) connect_timeout: Duration,
    pub(crate) read_timeout: Duration,
    pub(crate) user_agent: String,
    pub(crate) proxy: Option<reqwest::Proxy>,
    pub(crate) tls: rustls::ClientConfig,
    pub(crate) resolver: Arc<dyn Resolver>,
}

/// Clients by the policy that their resolver enforces.
///
/// A client keeps connections open and lends them to any request for the same host. With one
/// client for all policies, a request could be sent over a connection that its own policy would
/// not have allowed; with a client for each, it cannot.
pub(crate) struct Clients {
    settings: ClientSettings,
    by_egress: Mutex<HashMap<Egress, Client>>,
}

impl Clients {
    pub(crate) fn new(settings: ClientSettings) -> Self {
        Self {
            settings,
            by_egress: Mutex::default(),
        }
    }

    /// The client for requests under `egress`.
    pub(crate) fn get(&self, egress: &Egress) -> Result<Client, reqwest::Error> {
        let mut clients = self
            .by_egress
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(egress) {
            return Ok(client.clone());
        }
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        let client = self.build(egress)?;
        clients.insert(egress.clone(), client.clone());
        Ok(client)
    }

    /// Judges what the client's resolver does not see: addresses written in the URL, and all
    /// targets where a proxy resolves them.
    pub(crate) async fn check(&self, egress: &Egress, url: &Url) -> Result<(), Failure> {
        match url.host() {
            Some(Host::Ipv4(address)) => Ok(egress.check(IpAddr::V4(address))?),
            Some(Host::Ipv6(address)) => Ok(egress.check(IpAddr::V6(address))?),
            Some(Host::Domain(name)) if self.settings.proxy.is_some() => {
                // The proxy picks an address by itself, so every one of them has to be allowed.
                let addresses = lookup(&*self.settings.resolver, name).await?;
                Ok(addresses
                    .into_iter()
                    .try_for_each(|address| egress.check(address))?)
            }
            Some(Host::Domain(_)) => Ok(()),
            None => Err(Failure::NoHost),
        }
    }

    fn build(&self, egress: &Egress) -> Result<Client, reqwest::Error> {
        let settings = &self.settings;
        // With a proxy, the proxy is all that is connected to. It is the operator's, and commonly
        // in a private network; `check` judges the targets.
        let guarded = settings.proxy.is_none().then(|| egress.clone());
        let resolver = GuardedResolver {
            resolver: Arc::clone(&settings.resolver),
            egress: guarded,
        };
        // Bodies are decompressed by `body`, which bounds them.
        let builder = Client::builder()
            .no_proxy()
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.read_timeout)
            .user_agent(&settings.user_agent)
            .tls_backend_preconfigured(settings.tls.clone())
            .dns_resolver(Arc::new(resolver));
        match &settings.proxy {
            Some(proxy) => builder.proxy(proxy.clone()).build(),
            None => builder.build(),
        }
    }
}
