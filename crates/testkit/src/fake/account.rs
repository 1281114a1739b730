//! A faked account in one line.

use integrations_core::{
    client::{ClientBuilder, IntegrationClient, IntegrationHandle},
    integration::Integration,
    provider::Provider,
};

use super::Fake;
use crate::harness::Harness;

/// An account of one provider, over the real pipeline, a store in memory and a fake of the other
/// side.
#[derive(Debug)]
pub struct Faked {
    /// What the other side answers, and what it was asked.
    pub fake: Fake,
    /// The account's handle, for the operator.
    pub handle: IntegrationHandle,
    /// The account's row as it was installed.
    pub integration: Integration,
    /// Store, clock, events and client. Its own transport is not used.
    pub harness: Harness,
}

impl Faked {
    /// An account of `provider` with these credentials and settings. Needs a tokio runtime.
    ///
    /// # Panics
    ///
    /// Panics where they are not what the provider takes, which is a mistake in the test.
    pub async fn account(
        provider: impl Provider + 'static,
        credentials: &[(&str, &str)],
        metadata: &[(&str, &str)],
    ) -> Self {
        Self::account_with(provider, credentials, metadata, |builder| builder).await
    }

    /// The same with a builder that is changed before the client is built: a policy, a sink.
    ///
    /// # Panics
    ///
    /// As for [`account`](Self::account), and where the client cannot be built.
    pub async fn account_with(
        provider: impl Provider + 'static,
        credentials: &[(&str, &str)],
        metadata: &[(&str, &str)],
        builder: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Self {
        let key = provider.key();
        let fake = Fake::new();
        let transport = fake.clone();
        let harness = Harness::with(
            |ports| ports,
            |base| builder(base.provider(provider).transport(transport)),
        );
        fake.use_clock(harness.clock.clone());
        let integration = harness
            .install(key.as_str(), None, credentials, metadata)
            .await;
        Self {
            fake,
            handle: harness.handle(&integration),
            integration,
            harness,
        }
    }

    /// The client.
    #[must_use]
    pub const fn client(&self) -> &IntegrationClient {
        &self.harness.client
    }
}
