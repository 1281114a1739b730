//! Whole calls from many clients at once, each of which remembers nothing of the others: what a
//! client's own knowledge must never loosen.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use integrations_core::{
    client::{CallErrorKind, Install, IntegrationClient, IntegrationHandle, Once},
    encryptor::Keys,
    gate::{CircuitPolicy, CircuitStrategy, RateBudget},
    provider::{Account, Fields, Provider, ProviderError, ProviderSettings},
    transport::{HttpTransport, TransportError},
    value::{IntegrationName, ProviderKey},
};
use url::Url;

use super::{count, together};
use crate::{clock::ManualClock, conformance::Subject, encryptor::TestKeys};

/// A provider without credentials or settings.
struct Plain;

impl Provider for Plain {
    fn key(&self) -> ProviderKey {
        ProviderKey::new("plain").unwrap()
    }

    fn name(&self) -> &'static str {
        "Plain"
    }

    fn credentials(&self) -> Fields {
        Fields::default()
    }

    fn metadata(&self) -> Fields {
        Fields::default()
    }

    fn base_url(&self, _account: &Account<'_>) -> Result<Url, ProviderError> {
        "https://plain.example"
            .parse()
            .map_err(|_| ProviderError::BaseUrl)
    }

    fn authenticate(&self, _: &Account<'_>, _: &mut HeaderMap) -> Result<(), ProviderError> {
        Ok(())
    }
}

/// Counts requests and answers all of them alike.
#[derive(Clone)]
struct Counting {
    sent: Arc<AtomicUsize>,
    status: StatusCode,
}

#[async_trait]
impl HttpTransport for Counting {
    async fn send(&self, _request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        // Long enough for others to come in between.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let mut answer = Response::new(Bytes::from_static(b"{}"));
        *answer.status_mut() = self.status;
        Ok(answer)
    }
}

/// Clients over one store that stand at one instant.
struct Crowd {
    handles: Vec<IntegrationHandle>,
    sent: Arc<AtomicUsize>,
    clock: ManualClock,
}

impl Crowd {
    async fn new(subject: &Subject, clients: usize, status: u16) -> Self {
        let keys = Keys::from(TestKeys::default());
        let clock = ManualClock::default();
        let transport = Counting {
            sent: Arc::default(),
            status: StatusCode::from_u16(status).unwrap(),
        };
        let client = || {
            let mut ports = subject.ports.clone();
            ports.clock = Arc::new(clock.clone());
            let settings = ProviderSettings {
                budgets: Some(vec![RateBudget::per_minute(100)]),
                ..ProviderSettings::default()
            };
            let policy = CircuitPolicy {
                strategy: CircuitStrategy::Count { threshold: 1 },
                ..CircuitPolicy::default()
            };
            IntegrationClient::builder(ports, keys.clone())
                .transport(transport.clone())
                .provider_with(Plain, settings)
                .circuit_policy(policy)
                .build()
                .unwrap()
        };
        let operator = client().operator();
        let install = Install {
            provider: Plain.key(),
            name: IntegrationName::new("plain").unwrap(),
            owner: None,
            credentials: [].into(),
            metadata: [].into(),
            sync_interval_minutes: None,
        };
        let prepared = operator.prepare(install).unwrap();
        let installed = operator.install(prepared).await.unwrap();
        Self {
            handles: (0..clients)
                .map(|_| client().operator().integration(installed.id))
                .collect(),
            sent: transport.sent,
            clock,
        }
    }

    fn handle(&self, task: usize) -> IntegrationHandle {
        self.handles[task % self.handles.len()].clone()
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Eight clients make fifty calls each against a hundred a minute: exactly a hundred are sent
/// (INV-05).
pub async fn clients_never_exceed_a_budget(subject: &Subject) {
    let crowd = Crowd::new(subject, 8, 200).await;

    let answers = together(400, |task| {
        let call = crowd.handle(task).get("/x");
        async move { call.send().await.map_err(|error| error.kind().clone()) }
    })
    .await;

    assert_eq!((count(&answers, Result::is_ok), crowd.sent()), (100, 100));
    let refused =
        |answer: &Result<_, CallErrorKind>| matches!(answer, Err(CallErrorKind::RateLimited));
    assert_eq!(count(&answers, refused), 300);
}

/// Sixteen clients find a circuit whose cool-down is over: one sends the probe (CB-03, INV-02).
pub async fn clients_send_one_probe(subject: &Subject) {
    let crowd = Crowd::new(subject, 16, 503).await;
    let outage = crowd.handle(0).post("/x").send().await.unwrap_err();
    assert_eq!(outage.answer().unwrap().status.as_u16(), 503);
    for task in 0..16 {
        let error = crowd.handle(task).post("/x").send().await.unwrap_err();
        let open = CallErrorKind::CircuitOpen { forced: false };
        assert_eq!(error.kind(), &open, "client {task}");
    }
    crowd.clock.advance(CircuitPolicy::default().cooldown);

    let answers = together(16, |task| {
        let call = crowd.handle(task).post("/x");
        async move { call.send().await.unwrap_err().kind().clone() }
    })
    .await;

    let open = CallErrorKind::CircuitOpen { forced: false };
    assert_eq!(
        (count(&answers, |kind| *kind == open), crowd.sent()),
        (15, 2)
    );
}

/// Two hundred calls from eight clients under one key: one is sent, the others learn what became
/// of it (INV-12).
pub async fn clients_send_one_call_per_key(subject: &Subject) {
    let crowd = Crowd::new(subject, 8, 201).await;

    let answers = together(200, |task| {
        let call = crowd.handle(task).post("/charges").idempotency_key("k1");
        async move { call.json_once::<serde_json::Value>().await.unwrap() }
    })
    .await;

    let done = count(&answers, |one| matches!(one, Once::Done(_)));
    let told = count(&answers, |one| {
        matches!(one, Once::Recorded(_) | Once::InFlight { .. })
    });
    assert_eq!((done, told, crowd.sent()), (1, 199, 1));
}
