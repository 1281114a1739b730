//! Building a client.

use std::{collections::BTreeSet, fmt, sync::Arc};

use http::HeaderName;
use tokio::sync::OnceCell;

use super::{
    IntegrationClient, LogMode, LogQueue, RetryLimits, SampleRate, Shared, UnrecordedPolicy,
    WaitLimits, background::Background, cache::Cache, events::Events, logging::LogPolicy,
    pipeline::local::Locals, recorder::Recorder,
};
use crate::{
    body::BodyCaps,
    encryptor::Keys,
    event::EventSink,
    gate::{CircuitPolicy, RateBudget},
    integration::HealthPolicy,
    provider::{DuplicateProvider, Provider, ProviderRegistry, ProviderSettings},
    redact::{InvalidPath, JsonPath, SecretNames},
    store::Ports,
    trace::TracePropagation,
    transport::HttpTransport,
    value::{InvalidValue, ProviderKey},
};

/// A client cannot be built like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no transport.
    #[error("a client needs a transport; give it one with `transport`")]
    NoTransport,
    /// Two providers share a key.
    #[error(transparent)]
    DuplicateProvider(#[from] DuplicateProvider),
    /// A provider names a path to redact that is not one; nothing would be redacted there.
    #[error("the provider `{provider}`: {path}")]
    RedactionPath {
        /// The provider.
        provider: ProviderKey,
        /// What is wrong with the path.
        path: InvalidPath,
    },
    /// A rate budget of a provider is none, or two of them would be counted as one.
    #[error("the provider `{provider}`: {budget}")]
    RateBudget {
        /// The provider.
        provider: ProviderKey,
        /// What is wrong with the budget.
        budget: InvalidValue,
    },
    /// Event sinks are served on a task, which needs a runtime.
    #[error("a client with event sinks is built within a tokio runtime")]
    NoRuntime,
}

/// Collects what a client is made of.
#[must_use = "a builder does nothing until it is built"]
pub struct ClientBuilder {
    ports: Ports,
    keys: Keys,
    transport: Option<Arc<dyn HttpTransport>>,
    registry: Result<ProviderRegistry, DuplicateProvider>,
    sinks: Vec<Arc<dyn EventSink>>,
    health_policy: HealthPolicy,
    circuit: CircuitPolicy,
    retries: RetryLimits,
    waits: WaitLimits,
    log: LogPolicy,
    log_mode: LogMode,
    log_queue: LogQueue,
    tracing: TracePropagation,
    unrecorded: UnrecordedPolicy,
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    pub(super) fn new(ports: Ports, keys: Keys) -> Self {
        Self {
            ports,
            keys,
            transport: None,
            registry: Ok(ProviderRegistry::default()),
            sinks: Vec::new(),
            health_policy: HealthPolicy::default(),
            circuit: CircuitPolicy::default(),
            retries: RetryLimits::default(),
            waits: WaitLimits::default(),
            log: LogPolicy::default(),
            log_mode: LogMode::default(),
            log_queue: LogQueue::default(),
            tracing: TracePropagation::default(),
            unrecorded: UnrecordedPolicy::default(),
        }
    }

    /// What requests are sent over.
    pub fn transport(mut self, transport: impl HttpTransport + 'static) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// What requests are sent over, where it is shared already.
    pub fn shared_transport(mut self, transport: Arc<dyn HttpTransport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Registers a provider as it comes.
    pub fn provider(self, provider: impl Provider + 'static) -> Self {
        self.provider_with(provider, ProviderSettings::default())
    }

    /// Registers a provider with settings: another base URL, application credentials.
    pub fn provider_with(
        self,
        provider: impl Provider + 'static,
        settings: ProviderSettings,
    ) -> Self {
        self.shared_provider(Arc::new(provider), settings)
    }

    /// Registers a provider that is shared already.
    pub fn shared_provider(
        mut self,
        provider: Arc<dyn Provider>,
        settings: ProviderSettings,
    ) -> Self {
        self.registry = self.registry.and_then(|mut registry| {
            registry.register(provider, settings)?;
            Ok(registry)
        });
        self
    }

    /// Adds a sink for events.
    pub fn event_sink(mut self, sink: impl EventSink + 'static) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// How many outages lead to which health.
    pub fn health_policy(mut self, policy: HealthPolicy) -> Self {
        self.health_policy = policy;
        self
    }

    /// What opens a circuit, and how it closes.
    pub fn circuit_policy(mut self, policy: CircuitPolicy) -> Self {
        self.circuit = policy;
        self
    }

    /// How calls are tried again.
    pub fn retry_limits(mut self, limits: RetryLimits) -> Self {
        self.retries = limits;
        self
    }

    /// How calls wait for budgets and pauses.
    pub fn wait_limits(mut self, limits: WaitLimits) -> Self {
        self.waits = limits;
        self
    }

    /// How much of a body the log keeps.
    pub fn body_caps(mut self, caps: BodyCaps) -> Self {
        self.log.caps = caps;
        self
    }

    /// When calls go on once their last attempt ended, unless they say so themselves.
    pub fn log_mode(mut self, mode: LogMode) -> Self {
        self.log_mode = mode;
        self
    }

    /// How much the writer of the request log does at once and holds on to.
    pub fn log_queue(mut self, queue: LogQueue) -> Self {
        self.log_queue = queue;
        self
    }

    /// The part of successful attempts that leave a row, all of them by default. Those left out
    /// count for health and circuit all the same; failures, retries and calls under a key always
    /// leave theirs.
    pub fn sample_successes(mut self, rate: SampleRate) -> Self {
        self.log.successes = rate;
        self
    }

    /// The headers of requests and answers that the log keeps, none by default. Of one whose name
    /// says secret it keeps that it was there.
    pub fn log_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.log.headers = names.into_iter().collect();
        self
    }

    /// Names under which values are redacted, whichever provider they are from, on top of those
    /// that say secret by themselves.
    pub fn redact_names(mut self, names: SecretNames) -> Self {
        self.log.names = Arc::new(names);
        self
    }

    /// Paths into JSON bodies at which values are redacted, on top of each provider's own.
    pub fn redact_paths(mut self, paths: impl IntoIterator<Item = JsonPath>) -> Self {
        self.log.paths = paths.into_iter().collect();
        self
    }

    /// Which outgoing calls say where they stand in a trace.
    pub fn trace_propagation(mut self, which: TracePropagation) -> Self {
        self.tracing = which;
        self
    }

    /// What to do when a call was made and cannot be recorded.
    pub fn when_unrecorded(mut self, policy: UnrecordedPolicy) -> Self {
        self.unrecorded = policy;
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError`] without a transport, with two providers of one key, over a provider
    /// whose redaction paths or rate budgets are none, or with event sinks outside of a tokio
    /// runtime.
    pub fn build(self) -> Result<IntegrationClient, BuildError> {
        let transport = self.transport.ok_or(BuildError::NoTransport)?;
        let registry = self.registry?;
        for (provider, registered) in registry.iter() {
            for path in registered.redaction_paths() {
                path.map_err(|path| BuildError::RedactionPath {
                    provider: provider.clone(),
                    path,
                })?;
            }
            check_budgets(&registered.budgets()).map_err(|budget| BuildError::RateBudget {
                provider: provider.clone(),
                budget,
            })?;
        }
        if !self.sinks.is_empty() && tokio::runtime::Handle::try_current().is_err() {
            return Err(BuildError::NoRuntime);
        }
        let events = Arc::new(Events::start(self.sinks));
        let locals = Arc::new(Locals::default());
        let recorder = Recorder::new(
            Arc::clone(&self.ports.journal),
            Arc::clone(&self.ports.clock),
            Arc::clone(&events),
            Arc::clone(&locals),
            self.log_queue,
        );
        let shared = Shared {
            cache: Cache::new(&self.ports),
            ports: self.ports,
            keys: self.keys,
            transport,
            registry,
            health_policy: self.health_policy,
            circuit: self.circuit,
            retries: self.retries,
            waits: self.waits,
            log: self.log,
            log_mode: self.log_mode,
            tracing: self.tracing,
            unrecorded: self.unrecorded,
            recorder,
            events,
            keys_verified: OnceCell::new(),
            locals,
            background: Background::default(),
        };
        Ok(IntegrationClient {
            shared: Arc::new(shared),
        })
    }
}

/// Refuses budgets that are none, and two that would be counted as one.
fn check_budgets(budgets: &[RateBudget]) -> Result<(), InvalidValue> {
    let mut counted = BTreeSet::new();
    for budget in budgets {
        budget.check()?;
        if !counted.insert(budget.budget().usage_key()) {
            let rule = "must be the only one of its group and window";
            return Err(InvalidValue::new("rate budget", rule));
        }
    }
    Ok(())
}
