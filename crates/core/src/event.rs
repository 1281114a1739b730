//! Domain events, told after the change they are about is committed.

use chrono::{DateTime, Utc};

use crate::{
    gate::CircuitReason,
    id::{IntegrationId, LogId, RequestId, SyncItemId, SyncRunId, WebhookId},
    integration::HealthStatus,
    request::FailureClass,
    value::{ExternalId, ItemKind, ProviderKey},
};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub at: DateTime<Utc>,
    /// To which integration; `None` for a webhook that belongs to none.
    pub integration_id: Option<IntegrationId>,
    /// What.
    pub kind: EventKind,
}

/// What happened. Never carries a secret or a body.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the fields are what the columns of the same name are"
)]
pub enum EventKind {
    /// A new integration is stored.
    IntegrationCreated { provider: ProviderKey },
    /// The sync of an integration came to a clean end, that of all its streams, with this run.
    IntegrationSynced { run_id: SyncRunId },
    /// Health moved.
    HealthChanged {
        from: HealthStatus,
        to: HealthStatus,
        consecutive_failures: i32,
    },
    /// Health disabled an integration.
    IntegrationDisabled { consecutive_failures: i32 },
    /// An attempt succeeded. There is no row where sampling left it out.
    RequestCompleted {
        request_id: Option<RequestId>,
        status_code: Option<u16>,
        duration_ms: i32,
    },
    /// An attempt failed.
    RequestFailed {
        request_id: Option<RequestId>,
        class: FailureClass,
        status_code: Option<u16>,
        duration_ms: i32,
    },
    /// An attempt was made and could not be recorded.
    RequestUnrecorded { endpoint: String, reason: String },
    /// A circuit opened.
    CircuitOpened { reason: CircuitReason },
    /// A circuit closed.
    CircuitClosed { reason: CircuitReason },
    /// An operation began.
    OperationStarted { log_id: LogId, operation: String },
    /// An operation succeeded.
    OperationCompleted { log_id: LogId, operation: String },
    /// An operation failed; `attempt` and `max_attempts` where it will be tried again.
    OperationFailed {
        log_id: LogId,
        operation: String,
        attempt: Option<(i16, i16)>,
    },
    /// A run ended.
    SyncCompleted {
        run_id: SyncRunId,
        succeeded: i64,
        failed: i64,
        skipped: i64,
    },
    /// An item is out of attempts.
    SyncItemFailed { item_id: SyncItemId, kind: ItemKind },
    /// A record fails run after run.
    SyncItemStuck {
        kind: ItemKind,
        external_id: ExternalId,
        runs: i16,
    },
    /// Syncs are overdue.
    SyncBecameStale {
        last_synced_at: Option<DateTime<Utc>>,
    },
    /// Syncs are no longer overdue.
    SyncStalenessRecovered,
    /// An OAuth flow came to its end.
    OAuthCompleted,
    /// Tokens were revoked.
    OAuthRevoked,
    /// A token could not be refreshed.
    OAuthRefreshFailed { reason: String },
    /// The provider refuses the credentials.
    AuthorizationNeeded,
    /// A delivery is stored.
    WebhookReceived {
        webhook_id: WebhookId,
        event_type: Option<String>,
    },
    /// A delivery is out of attempts.
    WebhookFailed {
        webhook_id: WebhookId,
        event_type: Option<String>,
    },
}

/// Takes events.
///
/// A sink that is slow or panics never slows or fails the operation: services hand events over
/// and go on. Implementations SHOULD return quickly, and queue what takes longer.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
pub trait EventSink: Send + Sync {
    /// Takes one event.
    fn emit(&self, event: &Event);
}
