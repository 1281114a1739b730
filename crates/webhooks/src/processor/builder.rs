//! Building a processor.

use std::{fmt, sync::Arc};

use integrations_core::{batch::SharedWrites, client::IntegrationClient, value::ProviderKey};

use super::{
    Processor, ProcessorPolicy, Shared, WebhookHandler, handler::Handlers, settle::SettlementWriter,
};

/// Attempts that are settled in one write.
const BATCH: usize = 128;

/// Collects what a processor is made of.
#[must_use = "a builder does nothing until it is built"]
pub struct ProcessorBuilder {
    client: IntegrationClient,
    handlers: Handlers,
    policy: ProcessorPolicy,
}

impl fmt::Debug for ProcessorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessorBuilder")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl ProcessorBuilder {
    pub(super) fn new(client: IntegrationClient) -> Self {
        Self {
            client,
            handlers: Handlers::default(),
            policy: ProcessorPolicy::default(),
        }
    }

    /// Deals with one type of event of a provider.
    ///
    /// Deliveries are claimed only of providers that have a handler. Of those, events without one
    /// go to the provider's fallback; without a fallback they are of no interest (WH-21).
    pub fn on(
        mut self,
        provider: ProviderKey,
        event_type: &str,
        handler: impl WebhookHandler + 'static,
    ) -> Self {
        self.handlers.on(provider, event_type, Arc::new(handler));
        self
    }

    /// Deals with a provider's events that have no handler of their own.
    pub fn fallback(
        mut self,
        provider: ProviderKey,
        handler: impl WebhookHandler + 'static,
    ) -> Self {
        self.handlers.fallback(provider, Arc::new(handler));
        self
    }

    /// The fallback of every provider that sends webhooks and has none by now.
    pub fn fallback_for_all(mut self, handler: impl WebhookHandler + 'static) -> Self {
        let handler: Arc<dyn WebhookHandler> = Arc::new(handler);
        let senders = (self.client.providers().iter())
            .filter(|(_, registered)| registered.provider.webhook_source().is_some())
            .map(|(key, _)| key.clone());
        for provider in senders.collect::<Vec<_>>() {
            self.handlers
                .fallback_if_none(provider, Arc::clone(&handler));
        }
        self
    }

    /// Another policy: `.policy(|policy| policy.max_attempts = 5)`.
    pub fn policy(mut self, change: impl FnOnce(&mut ProcessorPolicy)) -> Self {
        change(&mut self.policy);
        self
    }

    /// The processor. Needs a tokio runtime, for the task that settles.
    #[must_use]
    pub fn build(self) -> Processor {
        let ports = self.client.ports();
        let writer = SettlementWriter {
            settlements: Arc::clone(&ports.webhook_settlements),
            operations: Arc::clone(&ports.operations),
        };
        let waiting = self.policy.concurrency.max(1) as usize;
        let settlements = SharedWrites::start(writer, waiting, BATCH);
        Processor {
            shared: Arc::new(Shared {
                settlements,
                client: self.client,
                handlers: self.handlers,
                policy: self.policy,
            }),
        }
    }
}
