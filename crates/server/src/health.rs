//! Whether a process is alive, and whether it can do its work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::Json;
use http::StatusCode;
use integrations_core::{
    integration::{IntegrationFilter, Scope},
    store::{PageRequest, Ports},
};
use serde_json::{Value, json};

/// How long a check may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Says whether something this process needs is there.
#[async_trait]
pub trait ReadinessCheck: Send + Sync {
    /// What is checked, `database` for instance.
    fn name(&self) -> &'static str;

    /// Whether it is there. One that takes longer than 3 s counts as not there.
    async fn is_ready(&self) -> bool;
}

/// Whether the database answers.
#[derive(Clone, Debug)]
pub struct DatabaseCheck(pub Ports);

#[async_trait]
impl ReadinessCheck for DatabaseCheck {
    fn name(&self) -> &'static str {
        "database"
    }

    async fn is_ready(&self) -> bool {
        let anything = IntegrationFilter::default();
        let one = PageRequest::oldest(1);
        let integrations = &self.0.integrations;
        let read = integrations.list(&anything, &Scope::Operator, &one).await;
        if let Err(error) = &read {
            tracing::warn!(%error, "the database does not answer the readiness check");
        }
        read.is_ok()
    }
}

/// Every check, and whether the server is about to stop.
#[derive(Clone, Default)]
pub(crate) struct Readiness {
    checks: Vec<Arc<dyn ReadinessCheck>>,
    stopping: Arc<AtomicBool>,
}

impl Readiness {
    pub(crate) fn add(&mut self, check: Arc<dyn ReadinessCheck>) {
        self.checks.push(check);
    }

    /// From now on it is not ready.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// 200 where everything is there, else 503, with each check's result.
    pub(crate) async fn report(&self) -> (StatusCode, Json<Value>) {
        let results = self.checks.iter().map(|check| async {
            let asked = tokio::time::timeout(PATIENCE, check.is_ready()).await;
            (check.name(), asked.unwrap_or(false))
        });
        let results = futures::future::join_all(results).await;
        let stopping = self.stopping.load(Ordering::Relaxed);
        let ready = !stopping && results.iter().all(|(_, is_ready)| *is_ready);
        let checks: serde_json::Map<_, _> = results
            .into_iter()
            .map(|(name, ok)| {
                (
                    name.to_owned(),
                    Value::from(if ok { "ok" } else { "failed" }),
                )
            })
            .collect();
        let status = match (ready, stopping) {
            (true, _) => "ready",
            (false, true) => "stopping",
            (false, false) => "not ready",
        };
        let code = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        (code, Json(json!({ "status": status, "checks": checks })))
    }
}

/// It answers, so it is alive.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({ "status": "live" }))
}
