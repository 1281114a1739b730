//! From a name to the addresses that may be connected to.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::guard::Egress;

/// Looks names up. Replace it where names are not looked up by the system, and in tests.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// The addresses of `host`; none means that there is no such name.
    ///
    /// # Errors
    ///
    /// Returns an error when the lookup failed. Its text is not shown.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// Looks names up as the operating system does, `hosts` file included.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let addresses = tokio::net::lookup_host((host, 0)).await?;
        Ok(addresses.map(|address| address.ip()).collect())
    }
}

/// A name has no address.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name of the host does not resolve")]
pub(crate) struct Unresolved;

/// The addresses of `host`, of which there is at least one.
pub(crate) async fn lookup(resolver: &dyn Resolver, host: &str) -> Result<Vec<IpAddr>, Unresolved> {
    match resolver.resolve(host).await {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        _ => Err(Unresolved),
    }
}

/// What a client connects by. With `egress`, addresses the guard denies are left out, so that a
/// connection is made to an address that was judged and to no other.
pub(crate) struct GuardedResolver {
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) egress: Option<Egress>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = Arc::clone(&self.resolver);
        let egress = self.egress.clone();
        Box::pin(async move {
            let addresses = lookup(&*resolver, name.as_str()).await?;
            let allowed = match egress {
                Some(egress) => egress.filter(&addresses)?,
                None => addresses,
            };
            // Port 0 is replaced by the port of the URL.
            let targets = allowed
                .into_iter()
                .map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(targets) as Addrs)
        })
    }
}
