//! The stores' two hot writes beside the same rows inserted by plain sqlx, in one run.
//!
//! `cargo bench -p integrations --all-features --bench stores` prints, for `CallJournal::record` and
//! `WebhookInbox::receive` at batches of 1 and 50, rows per second of both and their ratio: the
//! median over interleaved rounds. PostgreSQL is the server of `INTEGRATIONS_TEST_POSTGRES_URL`,
//! SQLite a file in a temporary folder with `synchronous = FULL`. Ratios mean something; rows per
//! second only do beside each other.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, stops at the first surprise, and reads the wall clock"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use integrations::{
    PgStore, SqliteStore,
    id::{IntegrationId, Uid},
    integration::{HealthPolicy, HealthVerdict, NewIntegration},
    postgres::sqlx::{self, postgres::PgPoolOptions},
    request::{CallOutcome, NewRequest},
    sqlite::sqlx::sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
    },
    store::Store,
    sync::Payload,
    value::{IntegrationName, ProviderKey},
    webhook::{NewWebhook, OtherDigests, WebhookPayload},
};

/// How long each side runs per round.
const ROUND: Duration = Duration::from_millis(1500);
/// Rounds; the median counts.
const ROUNDS: usize = 5;

fn uid(n: u128) -> Uid {
    Uid::from_bits(0xbe7c_0000_0000_0000_0000_0000_0000_0000_u128 ^ n)
}

fn fresh_uid() -> Uid {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    uid(u128::from(NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn now() -> DateTime<Utc> {
    integrations::time::to_micros(Utc::now())
}

fn outcome(integration_id: IntegrationId) -> CallOutcome {
    CallOutcome {
        attempt: NewRequest {
            integration_id,
            endpoint: "/repos/{owner}/{repo}/issues".to_owned(),
            method: "GET".to_owned(),
            path: Some("/repos/octo/hello/issues?page=2".to_owned()),
            status_code: Some(200),
            request_data: Some("x".repeat(300)),
            response_data: Some("y".repeat(600)),
            headers: None,
            error: None,
            failure_class: None,
            idempotency_key: None,
            provider_request_id: Some("A1B2:C3D4:0011:2233".to_owned()),
            duration_ms: Some(120),
            retry_of: None,
            attempt: 1,
            related: None,
            sync_log_id: None,
            created_at: now(),
        },
        logged: true,
        health: HealthVerdict::Success,
        health_policy: HealthPolicy::default(),
        authorization: None,
        circuit: None,
        completion: None,
    }
}

fn webhook(integration_id: IntegrationId) -> NewWebhook {
    let uid = fresh_uid();
    NewWebhook {
        uid,
        integration_id: Some(integration_id),
        provider: ProviderKey::new("github").unwrap(),
        event_type: Some("issues".to_owned()),
        delivery_id: Some(uid.to_string()),
        dedup_key: Some(uid.to_string()),
        body_digest: None,
        digest_duplicate_since: None,
        other_digests: OtherDigests::default(),
        payload: WebhookPayload::Plain(Payload::Text("z".repeat(1000))),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        method: "POST".to_owned(),
        path: "/integrations/github/webhook".to_owned(),
        query: None,
        remote_addr: Some("127.0.0.1".to_owned()),
        ordering_key: None,
        available_at: Some(now()),
        now: now(),
    }
}

/// The columns the stores write, but for the id, which the baseline leaves to the sequence.
const REQUEST_COLUMNS: &str = "integration_id, endpoint, method, path, status_code, request_data, \
    response_data, provider_request_id, duration_ms, attempt, created_at, updated_at, error, \
    failure_class, idempotency_key, related_type, related_key, retry_of, related_id, sync_log_id, headers";
const WEBHOOK_COLUMNS: &str = "uid, integration_id, provider, event_type, delivery_id, dedup_key, \
    payload, headers, method, path, remote_addr, available_at, created_at, updated_at, \
    payload_encoding, status, query, duplicate_reason, ordering_key, body_digest, duplicate_of";

fn values(rows: usize, columns: usize) -> String {
    let row = |r: usize| {
        let marks: Vec<String> = (1..=columns)
            .map(|c| format!("${}", r * columns + c))
            .collect();
        format!("({})", marks.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// The statements of the baseline, which differ only in how a time and JSON are bound.
macro_rules! baseline {
    ($name:ident, $db:ty, $time:expr, $json:expr) => {
        async fn $name(
            pool: &sqlx::Pool<$db>,
            sql: &str,
            kind: Kind,
            id: IntegrationId,
            rows: usize,
        ) {
            let mut query = sqlx::query::<$db>(sqlx::AssertSqlSafe(sql));
            for _ in 0..rows {
                query = match kind {
                    Kind::Record => {
                        let row = outcome(id).attempt;
                        query
                            .bind(id.0)
                            .bind(row.endpoint)
                            .bind(row.method)
                            .bind(row.path)
                            .bind(row.status_code.map(|s| i16::try_from(s).unwrap()))
                            .bind(row.request_data)
                            .bind(row.response_data)
                            .bind(row.provider_request_id)
                            .bind(row.duration_ms)
                            .bind(row.attempt)
                            .bind($time(row.created_at))
                            .bind($time(row.created_at))
                            .bind(None::<String>)
                            .bind(None::<String>)
                            .bind(None::<String>)
                            .bind(None::<String>)
                            .bind(None::<String>)
                            .bind(row.retry_of.map(|id| id.0))
                            .bind(None::<i64>)
                            .bind(row.sync_log_id.map(|id| id.0))
                            .bind(row.headers)
                    }
                    Kind::Receive => {
                        let row = webhook(id);
                        query
                            .bind(row.uid.to_string())
                            .bind(id.0)
                            .bind("github")
                            .bind(row.event_type)
                            .bind(row.delivery_id)
                            .bind(row.dedup_key)
                            .bind("z".repeat(1000))
                            .bind($json(serde_json::json!([[
                                "content-type",
                                "application/json"
                            ]])))
                            .bind(row.method)
                            .bind(row.path)
                            .bind(row.remote_addr)
                            .bind($time(row.now))
                            .bind($time(row.now))
                            .bind($time(row.now))
                            .bind("utf8")
                            .bind("pending")
                            .bind(row.query)
                            .bind(None::<String>)
                            .bind(row.ordering_key)
                            .bind(row.body_digest)
                            .bind(None::<i64>)
                    }
                };
            }
            query.execute(pool).await.expect("the baseline's insert");
        }
    };
}

fn time_text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

baseline!(
    on_postgres,
    sqlx::Postgres,
    std::convert::identity,
    std::convert::identity
);
baseline!(
    on_sqlite,
    sqlx::Sqlite,
    time_text,
    |json: serde_json::Value| json.to_string()
);

#[derive(Clone, Copy)]
enum Kind {
    Record,
    Receive,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Receive => "receive",
        }
    }

    fn insert(self, prefix: &str, rows: usize) -> String {
        let (table, columns) = match self {
            Self::Record => ("requests", REQUEST_COLUMNS),
            Self::Receive => ("webhooks", WEBHOOK_COLUMNS),
        };
        let marks = values(rows, columns.split(',').count());
        format!("INSERT INTO {prefix}_{table} ({columns}) VALUES {marks}")
    }
}

async fn ours(store: &dyn Store, kind: Kind, id: IntegrationId, rows: usize) {
    match kind {
        Kind::Record => {
            let batch: Vec<_> = (0..rows).map(|_| outcome(id)).collect();
            let recorded = store.record(&batch).await.expect("record");
            assert!(recorded.iter().all(Result::is_ok));
        }
        Kind::Receive => {
            let batch: Vec<_> = (0..rows).map(|_| webhook(id)).collect();
            let received = store.receive(&batch).await.expect("receive");
            assert!(received.iter().all(Result::is_ok));
        }
    }
}

/// Runs `work` on so many tasks for a round; rows per second.
async fn measure<F, Fut>(tasks: usize, rows: usize, work: F) -> f64
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let started = Instant::now();
    let workers: Vec<_> = (0..tasks)
        .map(|_| {
            let work = work.clone();
            tokio::spawn(async move {
                let mut batches = 0_u32;
                while started.elapsed() < ROUND {
                    work().await;
                    batches += 1;
                }
                batches
            })
        })
        .collect();
    let mut batches = 0;
    for worker in workers {
        batches += worker.await.expect("a worker");
    }
    f64::from(batches) * f64::from(u32::try_from(rows).unwrap()) / started.elapsed().as_secs_f64()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn print(database: &str, kind: Kind, tasks: usize, rows: usize, rounds: &[(f64, f64)]) {
    let plain = median(rounds.iter().map(|r| r.0).collect());
    let ours = median(rounds.iter().map(|r| r.1).collect());
    let ratio = median(rounds.iter().map(|r| r.1 / r.0).collect());
    let name = kind.name();
    println!(
        "{database:<10} {name:<8} {tasks:>5} {rows:>5} {plain:>12.0} {ours:>12.0} {ratio:>7.2}"
    );
}

async fn integration(store: &dyn Store) -> IntegrationId {
    let new = NewIntegration {
        uid: fresh_uid(),
        provider: ProviderKey::new("github").unwrap(),
        name: IntegrationName::new("bench").unwrap(),
        owner: None,
        credentials: None,
        metadata: None,
        sync_interval_minutes: None,
        next_sync_at: None,
        now: now(),
    };
    store.create(&new).await.expect("an integration").id
}

#[tokio::main]
async fn main() {
    println!("database   write    tasks batch    plain r/s     ours r/s   ratio");
    postgres().await;
    sqlite().await;
}

async fn postgres() {
    let url = std::env::var("INTEGRATIONS_TEST_POSTGRES_URL")
        .expect("INTEGRATIONS_TEST_POSTGRES_URL names a PostgreSQL server to measure on");
    let prefix = format!("bench_{}", std::process::id());
    let options = || {
        PgStore::connect(&url)
            .unwrap()
            .prefix(prefix.clone())
            .unwrap()
    };
    options().migrate().await.expect("a schema");
    // As many connections as the baseline has.
    let store = options().max_connections(8).apart_connections(8).open();
    let store: Arc<dyn Store> = Arc::new(store.await.expect("a store"));
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .test_before_acquire(false)
        .connect(&url);
    let pool = pool.await.expect("a pool");
    let id = integration(&*store).await;
    for kind in [Kind::Record, Kind::Receive] {
        for (tasks, rows) in [(1, 1), (1, 50), (8, 1), (8, 50)] {
            let sql: Arc<str> = kind.insert(&prefix, rows).into();
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                let plain = {
                    let (pool, sql) = (pool.clone(), Arc::clone(&sql));
                    measure(tasks, rows, move || {
                        let (pool, sql) = (pool.clone(), Arc::clone(&sql));
                        async move { on_postgres(&pool, &sql, kind, id, rows).await }
                    })
                    .await
                };
                let store = Arc::clone(&store);
                let ours = measure(tasks, rows, move || {
                    let store = Arc::clone(&store);
                    async move { ours(&*store, kind, id, rows).await }
                })
                .await;
                rounds.push((plain, ours));
            }
            print("postgres", kind, tasks, rows, &rounds);
        }
    }
    drop_tables(&pool, &prefix).await;
}

async fn drop_tables(pool: &sqlx::PgPool, prefix: &str) {
    let tables: Vec<(String,)> =
        sqlx::query_as("SELECT tablename::text FROM pg_tables WHERE tablename LIKE $1")
            .bind(format!("{prefix}%"))
            .fetch_all(pool)
            .await
            .expect("the tables");
    for (table,) in tables {
        let sql = format!("DROP TABLE IF EXISTS \"{table}\" CASCADE");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(pool)
            .await
            .expect("a dropped table");
    }
}

async fn sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("bench.db").display());
    SqliteStore::connect(&url)
        .unwrap()
        .migrate()
        .await
        .expect("a schema");
    let store: Arc<dyn Store> = Arc::new(
        SqliteStore::connect(&url)
            .unwrap()
            .open()
            .await
            .expect("a store"),
    );
    let options: SqliteConnectOptions = url.parse().expect("a URL");
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10));
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .expect("a pool");
    let id = integration(&*store).await;
    for kind in [Kind::Record, Kind::Receive] {
        for (tasks, rows) in [(1, 1), (1, 50)] {
            let sql: Arc<str> = kind.insert("integration", rows).into();
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                let plain = {
                    let (pool, sql) = (pool.clone(), Arc::clone(&sql));
                    measure(tasks, rows, move || {
                        let (pool, sql) = (pool.clone(), Arc::clone(&sql));
                        async move { on_sqlite(&pool, &sql, kind, id, rows).await }
                    })
                    .await
                };
                let store = Arc::clone(&store);
                let ours = measure(tasks, rows, move || {
                    let store = Arc::clone(&store);
                    async move { ours(&*store, kind, id, rows).await }
                })
                .await;
                rounds.push((plain, ours));
            }
            print("sqlite", kind, tasks, rows, &rounds);
        }
    }
}
