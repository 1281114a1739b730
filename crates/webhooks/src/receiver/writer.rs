//! Deliveries that come at the same time share a commit.

use std::sync::Arc;

use async_trait::async_trait;
use integrations_core::{
    batch::WriteBatch,
    store::{Rejected, StoreError},
    webhook::{NewWebhook, Received, WebhookInbox},
};

use super::Room;

/// A delivery is not on disk.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum NotStored {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

/// A delivery to write.
pub(super) struct Entry {
    pub(super) new: NewWebhook,
    /// Held until it is written, also where the sender went away.
    pub(super) room: Room,
}

/// Writes to the inbox.
pub(super) struct InboxWriter(pub(super) Arc<dyn WebhookInbox>);

#[async_trait]
impl WriteBatch<Entry, Result<Received, NotStored>> for InboxWriter {
    async fn write(&self, batch: Vec<Entry>) -> Vec<Result<Received, NotStored>> {
        let (batch, _rooms): (Vec<NewWebhook>, Vec<Room>) = batch
            .into_iter()
            .map(|entry| (entry.new, entry.room))
            .unzip();
        match self.0.receive(&batch).await {
            Ok(received) => received
                .into_iter()
                .map(|one| one.map_err(NotStored::from))
                .collect(),
            Err(error) => batch.iter().map(|_| Err(error.clone().into())).collect(),
        }
    }
}
