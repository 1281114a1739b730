//! Building a sync engine.

use std::{collections::HashMap, fmt, sync::Arc};

use super::{
    Inner, ItemHandler, SyncEngine, SyncPolicy,
    handler::{Handlers, Handling},
};
use crate::{
    client::IntegrationClient,
    entropy::{EntropyError, EntropyExt as _},
    value::{HolderName, InvalidValue, ItemKind},
};

/// A sync engine cannot be built like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineBuildError {
    /// A kind is not one.
    #[error(transparent)]
    Kind(#[from] InvalidValue),
    /// There are two handlers of one kind.
    #[error("the kind `{0}` has two handlers")]
    DuplicateHandler(ItemKind),
    /// There are two handlers for all other kinds.
    #[error("there are two handlers for every other kind")]
    DuplicateAnyHandler,
    /// An option of the policy is out of its range.
    #[error("sync policy: {0}")]
    Policy(&'static str),
    /// There were no random bytes for the engine's name.
    #[error("no name could be made for the engine")]
    Entropy(#[from] EntropyError),
}

/// Collects what a sync engine is made of.
#[must_use = "a builder does nothing until it is built"]
pub struct SyncEngineBuilder {
    client: IntegrationClient,
    policy: SyncPolicy,
    handlers: Handlers,
    holder: Option<HolderName>,
    wrong: Option<EngineBuildError>,
}

impl fmt::Debug for SyncEngineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncEngineBuilder")
            .field("policy", &self.policy)
            .field("kinds", &self.handlers.selection())
            .finish_non_exhaustive()
    }
}

impl SyncEngineBuilder {
    pub(super) fn new(client: IntegrationClient) -> Self {
        Self {
            client,
            policy: SyncPolicy::default(),
            handlers: Handlers {
                by_kind: HashMap::new(),
                any: None,
            },
            holder: None,
            wrong: None,
        }
    }

    /// Handles the items of a kind.
    pub fn handler(self, kind: impl Into<String>, handler: impl ItemHandler + 'static) -> Self {
        self.handling(kind.into(), Handling::By(Arc::new(handler)))
    }

    /// Handles the items of every kind that has no handler of its own: for sinks.
    pub fn any_handler(mut self, handler: impl ItemHandler + 'static) -> Self {
        if self.handlers.any.replace(Arc::new(handler)).is_some() {
            self.wrong = Some(EngineBuildError::DuplicateAnyHandler);
        }
        self
    }

    /// Lets the items of a kind go, unhandled. A kind that is neither handled nor ignored is left
    /// to other workers, and holds the cursor until one takes it.
    pub fn ignore(self, kind: impl Into<String>) -> Self {
        self.handling(kind.into(), Handling::Ignored)
    }

    fn handling(mut self, kind: String, handling: Handling) -> Self {
        match ItemKind::new(kind) {
            Ok(kind) => {
                let former = self.handlers.by_kind.insert(kind.clone(), handling);
                if former.is_some() {
                    self.wrong = Some(EngineBuildError::DuplicateHandler(kind));
                }
            }
            Err(error) => self.wrong = Some(error.into()),
        }
        self
    }

    /// How it works.
    pub fn policy(mut self, policy: SyncPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// How many items to handle at once.
    pub fn concurrency(mut self, items: usize) -> Self {
        self.policy.concurrency = items;
        self
    }

    /// The name its leases carry, and under which it stands on the roll of workers; a random one
    /// unless set. No two engines may share one.
    pub fn holder(mut self, holder: HolderName) -> Self {
        self.holder = Some(holder);
        self
    }

    /// The engine.
    ///
    /// # Errors
    ///
    /// Returns [`EngineBuildError`] naming what is wrong.
    pub fn build(self) -> Result<SyncEngine, EngineBuildError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        if let Some(mistake) = self.policy.mistake() {
            return Err(EngineBuildError::Policy(mistake));
        }
        let holder = match self.holder {
            Some(holder) => holder,
            None => HolderName::new(format!("sync-{}", self.client.keys().entropy.uid()?))?,
        };
        Ok(SyncEngine {
            inner: Arc::new(Inner {
                client: self.client,
                policy: self.policy,
                handlers: self.handlers,
                holder,
            }),
        })
    }
}
