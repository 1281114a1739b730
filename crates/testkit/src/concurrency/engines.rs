//! Sync engines side by side on one store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use http::HeaderMap;
use integrations_core::{
    client::IntegrationClient,
    id::IntegrationId,
    integration::{IntegrationChange, Scope},
    provider::{
        Account, EnumerationError, Fields, PageQuery, Provider, ProviderError, ScheduledSync,
        SourceItem, SyncPage, SyncStream,
    },
    sync::{
        Checkpoint, Payload,
        engine::{Handled, SyncEngine, WorkScope, handler_fn},
    },
    value::{ItemKind, ProviderKey, StreamName},
    work::Stop,
};
use serde_json::json;
use url::Url;

use crate::{
    conformance::{
        Subject,
        fixtures::{at, external, new_integration, provider},
    },
    encryptor::TestKeys,
    transport::ScriptedTransport,
};

use super::together;

/// Integrations that are synced.
const INTEGRATIONS: usize = 5;

/// Pages of each enumeration, of one record each.
const PAGES: i64 = 3;

/// Times that each scheduler makes everything due and syncs it.
const ROUNDS: i64 = 4;

/// Two schedulers and eight workers: no integration is enumerated by two at once, and every
/// record of every round is handled.
pub async fn engines_sync_each_integration_one_at_a_time(subject: &Subject) {
    let mut ids = Vec::new();
    for _ in 0..INTEGRATIONS {
        let new = integrations_core::integration::NewIntegration {
            provider: provider("acme"),
            ..new_integration()
        };
        ids.push(subject.ports.integrations.create(&new).await.unwrap().id);
    }
    let server = Server::default();
    let ended = Arc::new(AtomicBool::new(false));
    let schedulers_left = Arc::new(Mutex::new(2));

    together(10, |n| {
        let (subject, ids) = (subject.ports.clone(), ids.clone());
        let (server, ended) = (server.clone(), Arc::clone(&ended));
        let schedulers_left = Arc::clone(&schedulers_left);
        async move {
            let stop = Stop::new();
            let engine = engine(subject.clone(), &server);
            if n >= 2 {
                while !ended.load(Ordering::Acquire) {
                    engine.drain(&WorkScope::default(), &stop).await;
                    tokio::task::yield_now().await;
                }
                return;
            }
            for _ in 0..ROUNDS {
                server.next_version();
                for id in &ids {
                    let due = IntegrationChange {
                        next_sync_at: Some(Some(at(0))),
                        ..IntegrationChange::default()
                    };
                    let scope = Scope::Operator;
                    let made_due = subject.integrations.update(*id, &scope, &due, at(0)).await;
                    made_due.unwrap();
                }
                engine.sync_due(2 * INTEGRATIONS, &stop).await.unwrap();
            }
            let mut left = schedulers_left.lock().unwrap();
            *left -= 1;
            ended.store(*left == 0, Ordering::Release);
        }
    })
    .await;

    // Runs that were open at the last round kept a newer version from being told.
    let stop = Stop::new();
    let engine = engine(subject.ports.clone(), &server);
    engine.drain(&WorkScope::default(), &stop).await;
    for id in &ids {
        let request = integrations_core::sync::engine::SyncRequest::of(*id);
        engine.sync_now(&request, &stop).await.unwrap();
    }
    engine.drain(&WorkScope::default(), &stop).await;

    let server = server.lock();
    assert_eq!(server.overlaps, 0, "calls of one integration overlapped");
    let last = server.version;
    for id in ids {
        let handled = server.handled.get(&id).unwrap();
        let expected: BTreeSet<_> = (0..PAGES).map(|page| format!("r{page}@{last}")).collect();
        assert!(handled.is_superset(&expected), "{handled:?}");
    }
}

fn engine(ports: integrations_core::store::Ports, server: &Server) -> SyncEngine {
    let client = IntegrationClient::builder(ports, TestKeys::default())
        .transport(ScriptedTransport::new())
        .provider(server.clone())
        .build()
        .unwrap();
    let server = server.clone();
    let handler = handler_fn(move |attempt| {
        let payload = String::from_utf8_lossy(attempt.payload()).into_owned();
        let mut state = server.lock();
        let handled = state.handled.entry(attempt.item().integration_id);
        handled.or_default().insert(payload);
        async { Ok(Handled::Done) }
    });
    SyncEngine::builder(&client)
        .any_handler(handler)
        .build()
        .unwrap()
}

/// The other side, which keeps a log of the calls it is answering.
#[derive(Clone, Debug, Default)]
struct Server(Arc<Mutex<ServerState>>);

#[derive(Debug, Default)]
struct ServerState {
    version: i64,
    answering: BTreeSet<IntegrationId>,
    overlaps: usize,
    handled: BTreeMap<IntegrationId, BTreeSet<String>>,
}

impl Server {
    fn lock(&self) -> std::sync::MutexGuard<'_, ServerState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_version(&self) {
        self.lock().version += 1;
    }
}

impl Provider for Server {
    fn key(&self) -> ProviderKey {
        provider("acme")
    }

    fn name(&self) -> &'static str {
        "Acme"
    }

    fn credentials(&self) -> Fields {
        Fields::default()
    }

    fn metadata(&self) -> Fields {
        Fields::default()
    }

    fn base_url(&self, _account: &Account<'_>) -> Result<Url, ProviderError> {
        "https://acme.example/"
            .parse()
            .map_err(|_| ProviderError::BaseUrl)
    }

    fn authenticate(
        &self,
        _account: &Account<'_>,
        _headers: &mut HeaderMap,
    ) -> Result<(), ProviderError> {
        Ok(())
    }

    fn scheduled_sync(&self) -> Option<&dyn ScheduledSync> {
        Some(self)
    }
}

impl ScheduledSync for Server {
    fn streams(&self) -> Vec<Box<dyn SyncStream>> {
        vec![Box::new(self.clone())]
    }
}

#[async_trait]
impl SyncStream for Server {
    fn name(&self) -> StreamName {
        StreamName::default()
    }

    async fn page(&self, query: &PageQuery) -> Result<SyncPage, EnumerationError> {
        let id = query.integration_id;
        let page = query.page.as_ref().and_then(serde_json::Value::as_i64);
        let page = page.unwrap_or(0);
        let version = {
            let mut state = self.lock();
            if !state.answering.insert(id) {
                state.overlaps += 1;
            }
            state.version
        };
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.lock().answering.remove(&id);
        Ok(SyncPage {
            items: vec![SourceItem {
                kind: ItemKind::new("record").unwrap(),
                payload: Payload::Text(format!("r{page}@{version}")),
                external_id: Some(external(&format!("r{page}"))),
                checkpoint: Some(Checkpoint::Number(version)),
            }],
            next: (page + 1 < PAGES).then(|| json!(page + 1)),
            cursor: None,
        })
    }
}
