//! Deliveries that come at the same time share a commit.

use std::sync::Arc;

use async_trait::async_trait;
use integrations_core::{
    batch::WriteBatch,
    store::{Rejected, StoreError},
    webhook::{NewWebhook, Received, WebhookInbox},
};

/// A delivery is not on disk.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum NotStored {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

/// Writes to the inbox.
pub(super) struct InboxWriter(pub(super) Arc<dyn WebhookInbox>);

#[async_trait]
impl WriteBatch<NewWebhook, Result<Received, NotStored>> for InboxWriter {
    async fn write(&self, batch: Vec<NewWebhook>) -> Vec<Result<Received, NotStored>> {
        match self.0.receive(&batch).await {
            Ok(received) => received
                .into_iter()
                .map(|one| one.map_err(NotStored::from))
                .collect(),
            Err(error) => batch.iter().map(|_| Err(error.clone().into())).collect(),
        }
    }
}
