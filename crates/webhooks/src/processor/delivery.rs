//! A delivery as its handler sees it.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};
use integrations_core::{
    client::{IntegrationClient, IntegrationHandle},
    encryptor::{EncryptionError, SealContext, SealedColumn},
    id::{IntegrationId, LogId, Uid, WebhookId},
    operation_log::{Direction, NewOperation, OperationStatus},
    store::StoreError,
    value::ProviderKey,
    webhook::{Webhook, WebhookOutcome, WebhookPayload, WebhookSettlement},
};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use super::HandlerError;

/// A delivery that a handler has to deal with. Cheap to clone.
#[derive(Clone)]
pub struct Delivery(Arc<Inner>);

struct Inner {
    client: IntegrationClient,
    webhook: Webhook,
    token: Uid,
    body: Vec<u8>,
    operation: OnceCell<Option<LogId>>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.id())
            .field("provider", self.provider())
            .field("event_type", &self.event_type())
            .finish_non_exhaustive()
    }
}

impl Delivery {
    /// Makes a claimed row ready for its handler; without a body, and why, where that is sealed and
    /// does not open.
    pub(super) async fn open(
        client: &IntegrationClient,
        webhook: Webhook,
        token: Uid,
    ) -> (Self, Option<EncryptionError>) {
        let (body, error) = match &webhook.delivery.payload {
            WebhookPayload::Plain(payload) => (payload.as_bytes().to_vec(), None),
            WebhookPayload::Sealed(sealed) => {
                let context = SealContext {
                    column: SealedColumn::WebhookPayload,
                    uid: webhook.delivery.uid,
                    provider: webhook.delivery.provider.clone(),
                };
                match client.keys().encryptor.open(&context, sealed).await {
                    Ok(opened) => (opened.expose_secret().to_vec(), None),
                    Err(error) => (Vec::new(), Some(error)),
                }
            }
        };
        let delivery = Self(Arc::new(Inner {
            client: client.clone(),
            webhook,
            token,
            body,
            operation: OnceCell::new(),
        }));
        (delivery, error)
    }

    /// The number of its row.
    #[must_use]
    pub fn id(&self) -> WebhookId {
        self.0.webhook.id
    }

    /// The integration; `None` where the application's secret verified it and none matches.
    #[must_use]
    pub fn integration_id(&self) -> Option<IntegrationId> {
        self.0.webhook.delivery.integration_id
    }

    /// A handle on the integration, to make calls with.
    #[must_use]
    pub fn integration(&self) -> Option<IntegrationHandle> {
        let id = self.integration_id()?;
        Some(self.0.client.operator().integration(id))
    }

    /// Who sent it.
    #[must_use]
    pub fn provider(&self) -> &ProviderKey {
        &self.0.webhook.delivery.provider
    }

    /// What happened.
    #[must_use]
    pub fn event_type(&self) -> Option<&str> {
        self.0.webhook.delivery.event_type.as_deref()
    }

    /// The sender's id of it.
    #[must_use]
    pub fn delivery_id(&self) -> Option<&str> {
        self.0.webhook.delivery.delivery_id.as_deref()
    }

    /// The body, exactly as it came.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// The body as JSON of this form.
    ///
    /// # Errors
    ///
    /// Returns a permanent [`HandlerError`] that names the place where it differs, and nothing of
    /// the body.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HandlerError> {
        serde_json::from_slice(&self.0.body).map_err(|error| {
            HandlerError::permanent(format!(
                "the body is not JSON of the expected form, at line {} column {}",
                error.line(),
                error.column()
            ))
        })
    }

    /// The headers that were kept, in their order.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.0.webhook.delivery.headers
    }

    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers().iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The row: method, path, query, remote address, when it was received.
    #[must_use]
    pub fn row(&self) -> &Webhook {
        &self.0.webhook
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> i16 {
        self.0.webhook.attempts
    }

    /// Whether somebody had it processed again.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.0.webhook.replayed
    }

    /// The settlement for a handler that settles within its own transaction, by
    /// `store.within(&mut tx)`, and then answers `Handled::AlreadySettled`.
    #[must_use]
    pub fn settlement(&self, now: DateTime<Utc>) -> WebhookSettlement {
        WebhookSettlement {
            id: self.id(),
            token: self.0.token,
            outcome: WebhookOutcome::Processed,
            now,
        }
    }

    /// The operation this attempt is logged as, for operations of the handler's own to be part of;
    /// `None` without an integration.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`] when it cannot be logged.
    pub async fn operation(&self) -> Result<Option<LogId>, StoreError> {
        let begin = async || {
            let Some(new) = self.new_operation(OperationStatus::Processing) else {
                return Ok(None);
            };
            let operations = &self.0.client.ports().operations;
            let logged = operations.append(&[new]).await?.pop();
            // One that is refused lost its integration, and is logged nowhere.
            Ok(logged.and_then(Result::ok))
        };
        self.0.operation.get_or_try_init(begin).await.copied()
    }

    /// The operation, if the handler asked for it.
    pub(super) fn begun_operation(&self) -> Option<LogId> {
        self.0.operation.get().copied().flatten()
    }

    /// The operation to log, in a state.
    pub(super) fn new_operation(&self, status: OperationStatus) -> Option<NewOperation> {
        let operation = if self.is_replay() {
            "webhook_replay"
        } else {
            "webhook"
        };
        Some(NewOperation {
            integration_id: self.integration_id()?,
            operation: operation.to_owned(),
            direction: Direction::Inbound,
            status,
            summary: self.event_type().map(str::to_owned),
            external_id: self.delivery_id().map(str::to_owned),
            metadata: Some(serde_json::json!({
                "webhook_id": self.id(),
                "attempt": self.attempt(),
            })),
            result_data: None,
            error: None,
            duration_ms: None,
            parent_id: None,
            now: self.0.client.ports().clock.now(),
        })
    }
}
