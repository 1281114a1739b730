//! Everything a test of domain logic needs: the real client over a store in memory, a manual
//! clock, and a transport that answers from a script.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use integrations_core::{
    client::{ClientBuilder, Install, IntegrationClient, IntegrationHandle},
    event::{Event, EventKind, EventSink},
    integration::{Integration, Owner, Scope},
    provider::Provider,
    request::{Request, RequestFilter},
    store::{PageRequest, Ports},
    value::IntegrationName,
    webhook::{Webhook, WebhookFilter},
};
use secrecy::SecretString;

use crate::{
    clock::ManualClock, encryptor::TestKeys, memory::MemoryStore, transport::ScriptedTransport,
};

/// The parts of a test.
#[derive(Debug)]
pub struct Harness {
    /// The store.
    pub store: MemoryStore,
    /// The clock of store and client.
    pub clock: ManualClock,
    /// What answers requests.
    pub transport: ScriptedTransport,
    /// What was told.
    pub events: RecordedEvents,
    /// The client: the real pipeline.
    pub client: IntegrationClient,
}

/// An [`EventSink`] that remembers.
#[derive(Clone, Debug, Default)]
pub struct RecordedEvents(Arc<Mutex<Vec<Event>>>);

impl RecordedEvents {
    /// What was told so far. Events arrive on a task of their own: call
    /// [`IntegrationClient::shutdown`] first.
    #[must_use]
    pub fn kinds(&self) -> Vec<EventKind> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().map(|event| event.kind.clone()).collect()
    }
}

impl EventSink for RecordedEvents {
    fn emit(&self, event: &Event) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event.clone());
    }
}

impl Harness {
    /// A harness with one provider. Needs a tokio runtime.
    #[must_use]
    pub fn new(provider: impl Provider + 'static) -> Self {
        Self::with(|ports| ports, |builder| builder.provider(provider))
    }

    /// A harness whose ports and builder are changed before the client is built: put a mock over
    /// one port, set a policy.
    ///
    /// # Panics
    ///
    /// Panics when the client cannot be built, which is a mistake in the test.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a mistake in a test shall fail the test"
    )]
    pub fn with(
        ports: impl FnOnce(Ports) -> Ports,
        builder: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Self {
        let clock = ManualClock::default();
        let store = MemoryStore::with_clock(Arc::new(clock.clone()));
        let transport = ScriptedTransport::new().on_clock(clock.clone());
        let events = RecordedEvents::default();
        let base = IntegrationClient::builder(ports(store.clone().into()), TestKeys::default())
            .transport(transport.clone())
            .event_sink(events.clone());
        let client = builder(base).build().expect("a client that can be built");
        Self {
            store,
            clock,
            transport,
            events,
            client,
        }
    }

    /// Installs an account of `provider`; the row.
    ///
    /// # Panics
    ///
    /// Panics when it cannot be installed, which is a mistake in the test.
    #[expect(
        clippy::expect_used,
        reason = "a mistake in a test shall fail the test"
    )]
    pub async fn install(
        &self,
        provider: &str,
        owner: Option<Owner>,
        credentials: &[(&str, &str)],
        metadata: &[(&str, &str)],
    ) -> Integration {
        let text = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        let secret = |(k, v): &(&str, &str)| ((*k).to_owned(), SecretString::from(*v));
        let operator = self.client.operator();
        let prepared = operator
            .prepare(Install {
                provider: provider.parse().expect("a provider key"),
                name: IntegrationName::new("test").expect("a name"),
                owner,
                credentials: credentials.iter().map(secret).collect::<BTreeMap<_, _>>(),
                metadata: metadata.iter().map(text).collect(),
                sync_interval_minutes: None,
            })
            .expect("an account that is complete");
        operator
            .install(prepared)
            .await
            .expect("a store that takes it")
    }

    /// A handle on an installed account, for the operator.
    #[must_use]
    pub fn handle(&self, integration: &Integration) -> IntegrationHandle {
        self.client.operator().integration(integration.id)
    }

    /// Every row of the request log, oldest first.
    ///
    /// # Panics
    ///
    /// Never: the store is in memory.
    #[expect(clippy::expect_used, reason = "a store in memory does not fail")]
    pub async fn requests(&self) -> Vec<Request> {
        let everything = RequestFilter::default();
        let page = PageRequest::oldest(PageRequest::MAX_LIMIT);
        let requests = &self.client.ports().requests;
        requests
            .query(&everything, &Scope::Operator, &page)
            .await
            .expect("a store in memory")
            .items
    }

    /// Every delivery, oldest first.
    ///
    /// # Panics
    ///
    /// Never: the store is in memory.
    #[expect(clippy::expect_used, reason = "a store in memory does not fail")]
    pub async fn deliveries(&self) -> Vec<Webhook> {
        let ports = self.client.ports();
        let now = ports.clock.now();
        let page = PageRequest::oldest(PageRequest::MAX_LIMIT);
        let every = WebhookFilter::default();
        let ids = (ports.inbox.ids(&every, &Scope::Operator, &page, now)).await;
        let mut deliveries = Vec::new();
        for id in ids.expect("a store in memory").items {
            let found = ports.inbox.find(id, &Scope::Operator, now).await;
            deliveries.extend(found.expect("a store in memory"));
        }
        deliveries
    }
}
