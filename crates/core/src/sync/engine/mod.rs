//! The sync engine: schedules, enumerates, hands items to handlers, and brings runs to their end.
//!
//! ```text
//! scheduler ─► round ─► enumerator ─► (store) ─► worker: claim, handle, settle ─► finaliser
//! ```
//!
//! Everything is durable between the steps, so any step may be done by any process, and a killed
//! one is picked up where it was: claims on integrations and items are leases, and runs that
//! nobody ended are ended by the next scheduler.

mod builder;
mod enumerator;
mod finaliser;
mod handler;
mod operator;
mod policy;
mod position;
mod roll;
mod round;
mod scheduler;
mod text;
mod worker;

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    client::IntegrationClient,
    event::{Event, EventKind},
    id::{IntegrationId, SyncRunId},
    integration::{IntegrationChange, IntegrationRef, Refusal, Scope, SyncSelection},
    provider::SyncStream,
    store::StoreError,
    sync::SyncRun,
    time::later,
    value::{HolderName, ProviderKey, StreamName},
    work::Stop,
};

pub use builder::{EngineBuildError, SyncEngineBuilder};
pub use enumerator::{StreamCounts, StreamOutcome};
pub use handler::{Handled, HandlerError, ItemAttempt, ItemHandler, PayloadError, handler_fn};
pub use operator::{CursorReport, Items};
pub use policy::SyncPolicy;
pub use round::{RoundReport, StreamReport};
pub use worker::{HandledCounts, WorkScope};

use self::{handler::Handlers, round::RoundRequest};

/// Keeps integrations in step with the other side. Cheap to clone.
///
/// Any number of engines may work on one store, in one process or on many machines.
#[derive(Clone)]
pub struct SyncEngine {
    inner: Arc<Inner>,
}

/// What the parts of an engine share.
struct Inner {
    client: IntegrationClient,
    policy: SyncPolicy,
    handlers: Handlers,
    holder: HolderName,
}

impl fmt::Debug for SyncEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncEngine")
            .field("holder", &self.inner.holder)
            .field("kinds", &self.inner.handlers.selection())
            .field("policy", &self.inner.policy)
            .finish_non_exhaustive()
    }
}

/// A sync that is asked for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The integration.
    pub integration: IntegrationRef,
    /// On whose behalf.
    pub scope: Scope,
    /// Look at everything, from the beginning.
    pub full: bool,
    /// Only these streams; `None`: all of them.
    pub streams: Option<Vec<StreamName>>,
}

impl SyncRequest {
    /// All streams of an integration from their cursors, at an operator's word.
    pub fn of(integration: impl Into<IntegrationRef>) -> Self {
        Self {
            integration: integration.into(),
            scope: Scope::Operator,
            full: false,
            streams: None,
        }
    }
}

/// A sync could not be made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// No such integration within the scope.
    #[error("there is no such integration")]
    NotFound,
    /// The integration is switched off.
    #[error("the integration takes no syncs: {0}")]
    Refused(Refusal),
    /// Its provider is not registered.
    #[error("this application does not know the provider `{0}`")]
    UnknownProvider(ProviderKey),
    /// Its provider has nothing to sync.
    #[error("the provider `{0}` has nothing to sync")]
    NotSyncable(ProviderKey),
    /// It has no such stream.
    #[error("the provider `{provider}` has no stream `{stream}`")]
    UnknownStream {
        /// The provider.
        provider: ProviderKey,
        /// The stream.
        stream: StreamName,
    },
    /// Somebody syncs it already.
    #[error("the integration is being synced already")]
    Busy,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

impl SyncEngine {
    /// Begins an engine over a client's store, providers and clock.
    pub fn builder(client: &IntegrationClient) -> SyncEngineBuilder {
        SyncEngineBuilder::new(client.clone())
    }

    /// Schedules, enumerates and handles until it is stopped, then drains: nothing new is begun,
    /// what is under way may end within the drain limit, and the rest is given back.
    ///
    /// Without handlers it schedules and enumerates only. Dropping the future instead of stopping
    /// leaves claims to run out.
    pub async fn run(&self, stop: Stop) -> HandledCounts {
        let inner = &self.inner;
        let ((), handled, ()) = tokio::join!(
            Arc::clone(inner).schedule(stop.clone()),
            self.handle_until(&stop),
            inner.stay_on_roll(&stop),
        );
        handled
    }

    /// Schedules and enumerates only, until it is stopped.
    pub async fn run_scheduler(&self, stop: Stop) {
        Arc::clone(&self.inner).schedule(stop).await;
    }

    /// Handles items only, until it is stopped; drains as [`run`](Self::run) does.
    pub async fn run_workers(&self, stop: Stop) -> HandledCounts {
        let (handled, ()) = tokio::join!(self.handle_until(&stop), self.inner.stay_on_roll(&stop));
        handled
    }

    async fn handle_until(&self, stop: &Stop) -> HandledCounts {
        if self.inner.handlers.is_empty() {
            return HandledCounts::default();
        }
        worker::work(
            &self.inner,
            &WorkScope::default(),
            worker::Until::Stopped,
            stop,
        )
        .await
    }

    /// Handles the items that are due, and those that become due meanwhile, until there are none;
    /// items that wait for another attempt are left.
    pub async fn drain(&self, scope: &WorkScope, stop: &Stop) -> HandledCounts {
        let handled = worker::work(&self.inner, scope, worker::Until::NothingDue, stop).await;
        if let Err(error) = self.inner.finalise_left_over().await {
            tracing::warn!(%error, "runs at zero are left to the scheduler");
        }
        handled
    }

    /// Enumerates an integration now, due or not, and returns once its items are stored. Workers
    /// handle them: those of [`run`](Self::run), or [`drain`](Self::drain).
    ///
    /// A run of it that was cut off goes on where it was. A process that is killed meanwhile
    /// leaves the integration due.
    ///
    /// # Errors
    ///
    /// Returns a [`SyncError`] where there is nothing to begin. What goes wrong on the way is in
    /// the report.
    pub async fn sync_now(
        &self,
        request: &SyncRequest,
        stop: &Stop,
    ) -> Result<RoundReport, SyncError> {
        let inner = &self.inner;
        let ports = inner.client.ports();
        let found = ports
            .integrations
            .find(request.integration, &request.scope)
            .await?;
        let integration = found.ok_or(SyncError::NotFound)?;
        if let Some(refusal) = integration.refusal() {
            return Err(SyncError::Refused(refusal));
        }
        inner.check(&integration.provider, request.streams.as_deref())?;
        // Due from now on, so that it is taken over should this process be killed.
        let due = IntegrationChange {
            next_sync_at: Some(Some(ports.clock.now())),
            ..IntegrationChange::default()
        };
        let claimed = inner
            .claim(SyncSelection::Named(integration.id))
            .await?
            .pop()
            .ok_or(SyncError::Busy)?;
        ports
            .integrations
            .update(integration.id, &request.scope, &due, ports.clock.now())
            .await?;
        let round = RoundRequest {
            full: request.full,
            streams: request.streams.clone(),
        };
        Ok(inner.round(claimed, round, stop).await)
    }

    /// Enumerates what is due, at most `limit` integrations, one after the other.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if nothing could be claimed.
    pub async fn sync_due(
        &self,
        limit: usize,
        stop: &Stop,
    ) -> Result<Vec<RoundReport>, StoreError> {
        let mut reports = Vec::new();
        while reports.len() < limit && !stop.is_stopped() {
            let Some(claimed) = self.inner.claim_due(1).await?.pop() else {
                break;
            };
            reports.extend(self.inner.scheduled_round(claimed, stop).await);
        }
        Ok(reports)
    }

    /// Returns once these runs have ended, or it is stopped; the runs as they are then. Cancel
    /// safe.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] if the store failed.
    pub async fn ended(&self, runs: &[SyncRunId], stop: &Stop) -> Result<Vec<SyncRun>, StoreError> {
        let ports = self.inner.client.ports();
        loop {
            let mut found = Vec::with_capacity(runs.len());
            for id in runs {
                found.extend(ports.syncs.find_run(*id, &Scope::Operator).await?);
            }
            if stop.is_stopped() || found.iter().all(|run| run.state.is_final()) {
                return Ok(found);
            }
            let again = later(ports.clock.now(), self.inner.policy.poll);
            tokio::select! {
                () = stop.stopped() => {}
                () = ports.clock.sleep_until(again) => {}
            }
        }
    }

    /// The items, for operators.
    #[must_use]
    pub fn items(&self) -> Items {
        Items::new(Arc::clone(&self.inner), Scope::Operator)
    }

    /// How it works.
    #[must_use]
    pub fn policy(&self) -> &SyncPolicy {
        &self.inner.policy
    }

    /// The streams of a provider, by name.
    #[must_use]
    pub fn streams(&self, provider: &ProviderKey) -> Vec<StreamName> {
        let streams = self.inner.streams_of(provider);
        streams.iter().map(|stream| stream.name()).collect()
    }
}

impl Inner {
    /// Providers with something to sync.
    fn syncable(&self) -> Vec<ProviderKey> {
        let registry = self.client.providers().iter();
        registry
            .filter(|(_, registered)| {
                let provider = &registered.provider;
                provider.incremental_sync().is_some() || provider.scheduled_sync().is_some()
            })
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// The streams of a provider: those that know cursors, where it has any (SYN-06).
    fn streams_of(&self, provider: &ProviderKey) -> Vec<Box<dyn SyncStream>> {
        let Some(registered) = self.client.providers().get(provider) else {
            return Vec::new();
        };
        let provider = &registered.provider;
        match (provider.incremental_sync(), provider.scheduled_sync()) {
            (Some(incremental), _) => incremental.streams(),
            (None, Some(scheduled)) => scheduled.streams(),
            (None, None) => Vec::new(),
        }
    }

    fn is_incremental(&self, provider: &ProviderKey) -> bool {
        let registered = self.client.providers().get(provider);
        registered.is_some_and(|registered| registered.provider.incremental_sync().is_some())
    }

    fn check(
        &self,
        provider: &ProviderKey,
        chosen: Option<&[StreamName]>,
    ) -> Result<(), SyncError> {
        if self.client.providers().get(provider).is_none() {
            return Err(SyncError::UnknownProvider(provider.clone()));
        }
        let streams = self.streams_of(provider);
        if streams.is_empty() {
            return Err(SyncError::NotSyncable(provider.clone()));
        }
        let known = |name: &&StreamName| streams.iter().any(|stream| stream.name() == **name);
        match chosen.unwrap_or_default().iter().find(|name| !known(name)) {
            Some(stream) => Err(SyncError::UnknownStream {
                provider: provider.clone(),
                stream: stream.clone(),
            }),
            None => Ok(()),
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.client.ports().clock.now()
    }

    /// Tells of something that happened to an integration, once it is committed.
    fn tell(&self, integration_id: IntegrationId, kind: EventKind) {
        self.client.emit(Event {
            at: self.now(),
            integration_id: Some(integration_id),
            kind,
        });
    }
}
