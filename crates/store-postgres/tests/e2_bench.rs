//! Scratch, to be deleted.
mod support;
use integrations_core::value::TablePrefix;
use integrations_core::{integration::*, request::*, store::Ports};
use integrations_store_postgres as adapter;
use integrations_store_sql::{Backend, Dialect, OwnCommit, Session, statement::*};
use integrations_testkit::conformance::fixtures;
use std::time::Instant;

const DIALECT: Dialect = Dialect::Postgres;

const BARE: InsertTemplate = InsertTemplate {
    head: "INSERT INTO {requests} (id, integration_id, endpoint, method, path, status_code, request_data, response_data, error, failure_class, idempotency_key, provider_request_id, duration_ms, retry_of, attempt, related_type, related_id, related_key, sync_log_id, created_at, updated_at)",
    columns: 21,
    tail: "",
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bench() {
    let scratch = support::Scratch::new();
    let store = scratch.store().await;
    let new = fixtures::new_integration();
    let row = store.create(&new).await.unwrap();
    let now = new.now;
    let outcome = CallOutcome {
        attempt: NewRequest {
            integration_id: row.id,
            endpoint: "/repos/{owner}/{repo}/issues".into(),
            method: "GET".into(),
            path: Some("/repos/a/b/issues".into()),
            status_code: Some(200),
            request_data: None,
            response_data: Some("x".repeat(1000)),
            error: None,
            failure_class: None,
            idempotency_key: None,
            provider_request_id: Some("abcdef".into()),
            duration_ms: Some(12),
            retry_of: None,
            attempt: 1,
            related: None,
            sync_log_id: None,
            created_at: now,
        },
        health: HealthVerdict::Success,
        health_policy: HealthPolicy::default(),
        authorization: None,
        circuit: None,
        completion: None,
    };
    let statements = Statements::new(DIALECT, store.table_prefix().clone());
    let mut next = 1_000_000_000_i64;
    let _ = TablePrefix::default();
    for n in [1usize, 50] {
        let batch: Vec<_> = vec![outcome.clone(); n];
        let (mut ours, mut bare) = (0.0, 0.0);
        let rounds = if n == 1 { 600 } else { 100 };
        for round in 0..rounds {
            let t = Instant::now();
            store.record(&batch).await.unwrap();
            let a = t.elapsed().as_secs_f64();
            let t = Instant::now();
            let rows = batch
                .iter()
                .map(|o| {
                    next += 1;
                    let a = &o.attempt;
                    statements
                        .row()
                        .bind(if DIALECT == Dialect::Sqlite {
                            None
                        } else {
                            Some(next)
                        })
                        .bind(a.integration_id)
                        .bind(&a.endpoint)
                        .bind(&a.method)
                        .bind(a.path.as_ref())
                        .bind(a.status_code)
                        .bind(a.request_data.as_ref())
                        .bind(a.response_data.as_ref())
                        .bind(a.error.as_ref())
                        .bind(None::<&str>)
                        .bind(None::<&str>)
                        .bind(a.provider_request_id.as_ref())
                        .bind(a.duration_ms)
                        .bind(None::<i64>)
                        .bind(a.attempt)
                        .bind(None::<&str>)
                        .bind(None::<i64>)
                        .bind(None::<&str>)
                        .bind(None::<i64>)
                        .bind(a.created_at)
                        .bind(a.created_at)
                })
                .collect();
            store
                .backend()
                .write_apart()
                .await
                .unwrap()
                .execute(statements.insert(&BARE, rows))
                .await
                .unwrap();
            let b = t.elapsed().as_secs_f64();
            if round >= 20 {
                ours += a;
                bare += b;
            }
        }
        eprintln!(
            "batch {n}: ours {:.0} us, bare {:.0} us, ratio of rates {:.2}",
            ours / (rounds - 20) as f64 * 1e6,
            bare / (rounds - 20) as f64 * 1e6,
            bare / ours
        );
    }
}
