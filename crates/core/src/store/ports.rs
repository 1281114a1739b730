//! [`Store`], the sum of the storage ports, and [`Ports`], what services are built from.

use std::sync::Arc;

use crate::{
    cache::ResponseCache,
    gate::CallGate,
    idempotency::IdempotencyLedger,
    integration::IntegrationStore,
    key_registry::KeyRegistry,
    lease::Leases,
    mapping::MappingStore,
    operation_log::OperationLog,
    request::{CallJournal, RequestLog},
    retention::Retention,
    sync::{SyncSettlement, SyncStore},
    time::Clock,
    token::OneTimeTokens,
    wake::Wake,
    webhook::{WebhookInbox, WebhookSettlements},
    worker::Workers,
};

/// The clock that everyone who shares a store goes by.
///
/// A store in one file answers the system's clock; a shared one corrects it by the offset of its
/// database, so that leases mean the same to every worker.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
pub trait StoreClock: Send + Sync {
    /// The clock. MUST be the same for the life of the store.
    fn clock(&self) -> Arc<dyn Clock>;
}

macro_rules! define_store {
    ($($port:ident),+ $(,)?) => {
        /// A complete store: every storage port at once.
        ///
        /// There is nothing to implement here; whatever implements the ports is a store, and
        /// `Arc<dyn Store>` upcasts to each of them.
        pub trait Store: $($port +)+ {}

        impl<T: ?Sized> Store for T where T: $($port +)+ {}
    };
}

define_store!(
    IntegrationStore,
    CallJournal,
    RequestLog,
    ResponseCache,
    OperationLog,
    MappingStore,
    IdempotencyLedger,
    SyncStore,
    SyncSettlement,
    WebhookInbox,
    WebhookSettlements,
    CallGate,
    Leases,
    OneTimeTokens,
    KeyRegistry,
    Retention,
    Workers,
    Wake,
    StoreClock,
);

macro_rules! define_ports {
    ($($(#[$doc:meta])* $field:ident: $port:ident),+ $(,)?) => {
        /// What services are built from: one field per port, so that a test can put one mock over
        /// a `MemoryStore`.
        #[derive(Clone)]
        pub struct Ports {
            $($(#[$doc])* pub $field: Arc<dyn $port>,)+
            /// What time it is. From the store, unless replaced.
            pub clock: Arc<dyn Clock>,
        }

        impl From<Arc<dyn Store>> for Ports {
            fn from(store: Arc<dyn Store>) -> Self {
                Self {
                    clock: store.clock(),
                    $($field: Arc::<dyn Store>::clone(&store),)+
                }
            }
        }

        impl<S: Store + 'static> From<Arc<S>> for Ports {
            fn from(store: Arc<S>) -> Self {
                (store as Arc<dyn Store>).into()
            }
        }

        impl<S: Store + 'static> From<S> for Ports {
            fn from(store: S) -> Self {
                Arc::new(store).into()
            }
        }

        impl std::fmt::Debug for Ports {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("Ports").finish_non_exhaustive()
            }
        }
    };
}

define_ports! {
    /// Integrations.
    integrations: IntegrationStore,
    /// The one write of the request pipeline.
    journal: CallJournal,
    /// The request log.
    requests: RequestLog,
    /// The response cache.
    cache: ResponseCache,
    /// The operation log.
    operations: OperationLog,
    /// Id mappings.
    mappings: MappingStore,
    /// At-most-once keys.
    ledger: IdempotencyLedger,
    /// Sync runs and items.
    syncs: SyncStore,
    /// Settling items.
    sync_settlement: SyncSettlement,
    /// Webhooks.
    inbox: WebhookInbox,
    /// Settling webhooks.
    webhook_settlements: WebhookSettlements,
    /// Admission.
    gate: CallGate,
    /// Leases.
    leases: Leases,
    /// One-time tokens.
    tokens: OneTimeTokens,
    /// Keys in use.
    keys: KeyRegistry,
    /// Retention.
    retention: Retention,
    /// The roll of workers.
    workers: Workers,
    /// Wake-ups.
    wake: Wake,
}
