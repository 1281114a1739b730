//! Processing: claim, handle, settle.
//!
//! The inbox is the queue. A worker claims what is due, keeps its lease alive while handlers run,
//! and settles by the claim's token, so that one who was taken for dead changes nothing any more.

mod attempt;
mod builder;
mod delivery;
mod handler;
mod policy;
mod settle;
mod worker;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use integrations_core::{batch::SharedWrites, client::IntegrationClient, store::StoreError};
use tokio::{sync::watch, task::JoinHandle};

use self::{
    handler::Handlers,
    settle::{Settled, Settling},
};

pub use builder::ProcessorBuilder;
pub use delivery::Delivery;
pub use handler::{Handled, HandlerError, WebhookHandler};
pub use policy::ProcessorPolicy;

/// Processes deliveries with an application's handlers.
#[derive(Clone)]
pub struct Processor {
    shared: Arc<Shared>,
}

struct Shared {
    client: IntegrationClient,
    handlers: Handlers,
    policy: ProcessorPolicy,
    settlements: SharedWrites<Settling, Settled>,
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processor")
            .field("policy", &self.shared.policy)
            .finish_non_exhaustive()
    }
}

impl Processor {
    /// Begins a processor of the deliveries in the store of `client`.
    pub fn builder(client: &IntegrationClient) -> ProcessorBuilder {
        ProcessorBuilder::new(client.clone())
    }

    /// Processes on a task of its own until it is shut down.
    #[must_use]
    pub fn start(&self) -> RunningProcessor {
        let (stop, stopping) = watch::channel(false);
        let processor = self.clone();
        let task = tokio::spawn(async move { processor.shared.work(stopping).await });
        RunningProcessor {
            stop,
            task: Mutex::new(Some(task)),
        }
    }

    /// Processes what is due now, and returns when nothing is; how many attempts were made.
    ///
    /// Dropping the future drops the handlers; their claims run out by themselves.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] when nothing can be claimed.
    pub async fn run_until_idle(&self) -> Result<u64, StoreError> {
        self.shared.run_until_idle().await
    }
}

/// A processor at work.
#[derive(Debug)]
pub struct RunningProcessor {
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl RunningProcessor {
    /// Claims nothing more, and waits for handlers as long as the policy lets them drain. What is
    /// under way then runs out of its lease and is processed by others.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(task) = task
            && task.await.is_err()
        {
            tracing::error!("the task that processes webhooks ended early");
        }
    }
}
