//! Mocks of every port, made by mockall. Exempt from semver.

pub use crate::{
    cache::MockResponseCache,
    encryptor::MockEncryptor,
    entropy::MockEntropy,
    event::MockEventSink,
    gate::MockCallGate,
    idempotency::MockIdempotencyLedger,
    integration::MockIntegrationStore,
    key_registry::MockKeyRegistry,
    lease::MockLeases,
    mapping::MockMappingStore,
    operation_log::MockOperationLog,
    request::{MockCallJournal, MockRequestLog},
    retention::MockRetention,
    store::MockStoreClock,
    sync::{MockSyncSettlement, MockSyncStore},
    time::MockClock,
    token::MockOneTimeTokens,
    transport::MockHttpTransport,
    wake::MockWake,
    webhook::{MockWebhookInbox, MockWebhookSettlements},
    worker::MockWorkers,
};

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! compiles_as_dyn {
        ($($port:path => $mock:ident),+ $(,)?) => {
            #[test]
            fn every_port_has_a_mock_that_is_its_dyn() {
                $(let mock: Box<dyn $port> = Box::new($mock::new()); drop(mock);)+
            }
        };
    }

    compiles_as_dyn! {
        crate::cache::ResponseCache => MockResponseCache,
        crate::encryptor::Encryptor => MockEncryptor,
        crate::entropy::Entropy => MockEntropy,
        crate::event::EventSink => MockEventSink,
        crate::gate::CallGate => MockCallGate,
        crate::idempotency::IdempotencyLedger => MockIdempotencyLedger,
        crate::integration::IntegrationStore => MockIntegrationStore,
        crate::key_registry::KeyRegistry => MockKeyRegistry,
        crate::lease::Leases => MockLeases,
        crate::mapping::MappingStore => MockMappingStore,
        crate::operation_log::OperationLog => MockOperationLog,
        crate::request::CallJournal => MockCallJournal,
        crate::request::RequestLog => MockRequestLog,
        crate::retention::Retention => MockRetention,
        crate::store::StoreClock => MockStoreClock,
        crate::sync::SyncSettlement => MockSyncSettlement,
        crate::sync::SyncStore => MockSyncStore,
        crate::time::Clock => MockClock,
        crate::token::OneTimeTokens => MockOneTimeTokens,
        crate::transport::HttpTransport => MockHttpTransport,
        crate::wake::Wake => MockWake,
        crate::webhook::WebhookInbox => MockWebhookInbox,
        crate::webhook::WebhookSettlements => MockWebhookSettlements,
        crate::worker::Workers => MockWorkers,
    }
}
