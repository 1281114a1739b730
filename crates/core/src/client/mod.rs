//! The client: calls on behalf of integrations, and the integrations themselves.

mod accounts;
mod answer;
mod attempt;
mod background;
mod builder;
mod cache;
mod call;
mod connection;
mod endpoint;
mod error;
mod events;
mod install;
mod kept;
mod keys;
mod logging;
mod mappings;
mod once;
mod operate;
mod operations;
mod pages;
mod pause;
mod pipeline;
mod recorder;
mod sdk;
mod services;
mod settle;

use std::{fmt, sync::Arc};

use tokio::sync::OnceCell;

use crate::{
    encryptor::Keys,
    gate::CircuitPolicy,
    id::LogId,
    integration::{HealthPolicy, IntegrationRef, Owner, Scope},
    provider::ProviderRegistry,
    store::Ports,
    trace::TracePropagation,
    transport::HttpTransport,
};

pub use accounts::{AccountError, AccountUpdate};
pub use answer::{Answer, AnswerSource};
pub use builder::{BuildError, ClientBuilder};
pub use call::{Call, CallAt};
pub use error::{CallError, CallErrorKind};
pub use install::{Install, InstallError, PreparedInstall, ProbeReport};
pub use keys::{KeyMismatch, verify_keys};
pub use logging::{InvalidSampleRate, SampleRate};
pub use once::Once;
pub use operate::{CircuitControl, ControlError, KeyControl, RateLimitControl};
pub use operations::{OperationDraft, OperationEnding, RunningOperation};
pub use pages::{Pages, Paging};
pub use pipeline::{RetryLimits, Retryable, WaitLimits};
pub use recorder::{Bound, LogCounts, LogMode, LogQueue};
pub use sdk::{CallContext, Reported, SdkCall};
pub use settle::UnrecordedPolicy;

/// What every handle shares.
struct Shared {
    ports: Ports,
    keys: Keys,
    transport: Arc<dyn HttpTransport>,
    registry: ProviderRegistry,
    health_policy: HealthPolicy,
    circuit: CircuitPolicy,
    retries: RetryLimits,
    waits: WaitLimits,
    log: logging::LogPolicy,
    log_mode: LogMode,
    tracing: TracePropagation,
    unrecorded: UnrecordedPolicy,
    recorder: recorder::Recorder,
    events: Arc<events::Events>,
    keys_verified: OnceCell<()>,
    locals: Arc<pipeline::local::Locals>,
    background: background::Background,
    cache: cache::Cache,
}

impl Shared {
    /// Compares this process's keys with the database's, once.
    async fn keys_verified(&self) -> Result<(), CallError> {
        let verify = async || {
            verify_keys(&*self.ports.keys, &*self.keys.encryptor, &*self.ports.clock).await
        };
        let verified = self.keys_verified.get_or_try_init(verify).await;
        verified.map_err(|error| {
            CallError::new(CallErrorKind::Credentials, error.to_string()).with_source(error)
        })?;
        Ok(())
    }
}

/// The entry to everything: cheap to clone, and safe to share.
///
/// Calls and changes are made within a [`Scope`]: [`for_owner`](Self::for_owner) is for code that
/// acts for one tenant, and cannot reach anything of another; [`operator`](Self::operator) is for
/// the rest.
#[derive(Clone)]
pub struct IntegrationClient {
    shared: Arc<Shared>,
}

impl fmt::Debug for IntegrationClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntegrationClient")
            .field("providers", &self.shared.registry)
            .finish_non_exhaustive()
    }
}

impl IntegrationClient {
    /// Begins a client over a store (or [`Ports`]) and keys.
    pub fn builder(ports: impl Into<Ports>, keys: impl Into<Keys>) -> ClientBuilder {
        ClientBuilder::new(ports.into(), keys.into())
    }

    /// The integrations of one owner, and no others.
    #[must_use]
    pub fn for_owner(&self, owner: &Owner) -> ScopedClient {
        self.within(Scope::Owner(owner.clone()))
    }

    /// Every integration.
    #[must_use]
    pub fn operator(&self) -> ScopedClient {
        self.within(Scope::Operator)
    }

    fn within(&self, scope: Scope) -> ScopedClient {
        ScopedClient {
            shared: Arc::clone(&self.shared),
            scope,
        }
    }

    /// The providers it knows.
    #[must_use]
    pub fn providers(&self) -> &ProviderRegistry {
        &self.shared.registry
    }

    /// The ports it works with.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.shared.ports
    }

    /// Compares this process's keys with those the database is sealed with. Calls do so by
    /// themselves before the first credential is opened or sealed; a program does it when it
    /// starts.
    ///
    /// # Errors
    ///
    /// Returns [`KeyMismatch`] when this process must not work on this database.
    pub async fn verify_keys(&self) -> Result<(), KeyMismatch> {
        let Shared { ports, keys, .. } = &*self.shared;
        verify_keys(&*ports.keys, &*keys.encryptor, &*ports.clock).await
    }

    /// What the request log's writer did since the client was built, and what it holds.
    #[must_use]
    pub fn log_counts(&self) -> LogCounts {
        self.shared.recorder.counts()
    }

    /// Waits until what goes on without its caller is done, every row is written, and event sinks
    /// have had everything; and other processes have heard of the work there is for them. Events of
    /// later calls are dropped.
    ///
    /// Rows that are kept because the store is away are tried once more;
    /// [`log_counts`](Self::log_counts) then says how many are lost.
    pub async fn shutdown(&self) {
        self.shared.background.drain().await;
        let rests = self.shared.locals.take_rests();
        self.shared.give_back(&rests).await;
        self.shared.cache.flush().await;
        self.shared.recorder.drain().await;
        self.shared.events.drain().await;
        self.ports().wake.flush().await;
    }
}

/// A client within a scope.
#[derive(Clone)]
pub struct ScopedClient {
    shared: Arc<Shared>,
    scope: Scope,
}

impl fmt::Debug for ScopedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedClient")
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl ScopedClient {
    /// A handle on one integration. Whether it is there shows when it is used.
    #[must_use]
    pub fn integration(&self, integration: impl Into<IntegrationRef>) -> IntegrationHandle {
        IntegrationHandle {
            shared: Arc::clone(&self.shared),
            scope: self.scope.clone(),
            reference: integration.into(),
            sync_log_id: None,
        }
    }
}

/// A handle on one integration within a scope.
#[derive(Clone)]
pub struct IntegrationHandle {
    shared: Arc<Shared>,
    scope: Scope,
    reference: IntegrationRef,
    /// The sync its calls are part of.
    sync_log_id: Option<LogId>,
}

impl fmt::Debug for IntegrationHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntegrationHandle")
            .field("integration", &self.reference)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

macro_rules! verbs_first {
    ($($(#[$doc:meta])* $verb:ident => $method:ident),+ $(,)?) => {
        impl IntegrationHandle {
            $($(#[$doc])* pub fn $verb(&self, endpoint: impl Into<String>) -> Call {
                Call::new(self.clone(), http::Method::$method, endpoint.into())
            })+
        }
    };
}

verbs_first! {
    /// A `GET` of an endpoint.
    ///
    /// Endpoints are templates of paths, `/repos/{owner}/{repo}/issues/{n}`; what stands in braces
    /// is a parameter of the call, else a setting of the integration. The log keeps the template.
    get => GET,
    /// A `POST` to an endpoint, as for [`get`](Self::get).
    post => POST,
    /// A `PUT` to an endpoint, as for [`get`](Self::get).
    put => PUT,
    /// A `PATCH` of an endpoint, as for [`get`](Self::get).
    patch => PATCH,
    /// A `DELETE` of an endpoint, as for [`get`](Self::get).
    delete => DELETE,
    /// A `HEAD` of an endpoint, as for [`get`](Self::get).
    head => HEAD,
}

impl IntegrationHandle {
    /// The same handle for calls that are part of a sync.
    pub(crate) fn during_sync(mut self, log_id: Option<LogId>) -> Self {
        self.sync_log_id = log_id;
        self
    }

    /// A call whose method comes last: `at("/issues").query("state", "open").get()`.
    pub fn at(&self, endpoint: impl Into<String>) -> CallAt {
        CallAt(Call::new(self.clone(), http::Method::GET, endpoint.into()))
    }
}
