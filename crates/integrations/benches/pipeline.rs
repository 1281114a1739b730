//! Calls through the whole pipeline beside the same request over bare reqwest, in one run.
//!
//! `cargo bench -p integrations --all-features --bench pipeline` serves 1 KB of JSON on loopback and
//! prints, for PostgreSQL and for SQLite with `synchronous = FULL`: throughput with 32 calls at a
//! time, durable and in the background, as a part of bare reqwest's; the median of one call at a
//! time beside bare reqwest and one durable commit; and how memory grows. Every call is logged,
//! limited by a budget, guarded by a circuit and tracked in health. Background throughput counts
//! the time until the last row is durable.
//!
//! PostgreSQL is the server of `INTEGRATIONS_TEST_POSTGRES_URL`. `BENCH_CALLS` is how many calls a
//! round makes with 32 at a time, 8,000 by default; memory is measured over ten times as many.
//! Ratios mean something; calls per second only do beside each other.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, stops at the first surprise, and reads the wall clock"
)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use http::{HeaderMap, HeaderValue};
use integrations::{
    IntegrationClient, IntegrationHandle, KeyRing, PgStore, ReqwestTransport, RingEncryptor,
    SqliteStore,
    client::{Install, LogMode},
    gate::RateBudget,
    keys::SystemEntropy,
    postgres::sqlx::{self, PgPool, SqlitePool},
    provider::{Account, Fields, Provider, ProviderError, ProviderSettings, RateLimits},
    sqlite::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
    store::Store,
    transport::AllowPrivate,
    value::{IntegrationName, ProviderKey},
};
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use url::Url;

/// How many calls are under way at the same time.
const AT_A_TIME: usize = 32;
/// Rounds; the median counts.
const ROUNDS: usize = 5;
/// Calls of one round with one at a time.
const SINGLE: usize = 400;

/// A provider somewhere on loopback.
struct Loopback;

#[derive(JsonSchema)]
#[expect(dead_code, reason = "read through its schema")]
struct Secrets {
    token: String,
}

impl Provider for Loopback {
    fn key(&self) -> ProviderKey {
        ProviderKey::new("loopback").unwrap()
    }

    fn name(&self) -> &'static str {
        "Loopback"
    }

    fn credentials(&self) -> Fields {
        Fields::of::<Secrets>()
    }

    fn metadata(&self) -> Fields {
        Fields::default()
    }

    fn base_url(&self, _account: &Account<'_>) -> Result<Url, ProviderError> {
        Err(ProviderError::BaseUrl)
    }

    fn authenticate(
        &self,
        account: &Account<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), ProviderError> {
        let token = account.credential("token");
        let token = token.ok_or(ProviderError::MissingCredential("token"))?;
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
            .map_err(|_| ProviderError::UnusableCredential("token"))?;
        value.set_sensitive(true);
        headers.insert("authorization", value);
        Ok(())
    }

    fn rate_limits(&self) -> Option<&dyn RateLimits> {
        Some(self)
    }
}

impl RateLimits for Loopback {
    fn budgets(&self) -> Vec<RateBudget> {
        vec![RateBudget::per_minute(100_000_000)]
    }
}

/// About 1 KB of JSON, as an API answers with.
fn body() -> String {
    let labels: Vec<_> = (0..8)
        .map(|n| serde_json::json!({ "id": 208_045_946 + n, "name": "bug", "color": "f29513" }))
        .collect();
    serde_json::json!({
        "id": 1,
        "number": 1347,
        "state": "open",
        "title": "Found a bug",
        "body": "I'm having a problem with this. ".repeat(12),
        "user": { "login": "octocat", "id": 1, "type": "User", "site_admin": false },
        "labels": labels,
        "comments": 0,
        "created_at": "2011-04-22T13:33:48Z",
    })
    .to_string()
}

/// Serves it from a runtime of its own, until the process ends.
fn serve() -> Url {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let body: Arc<str> = body().into();
            let answer = move || {
                let body = Arc::clone(&body);
                async move { ([("content-type", "application/json")], body.to_string()) }
            };
            let router = axum::Router::new().route("/issues/{n}", axum::routing::get(answer));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
            let listener = listener.expect("a port");
            let address = listener.local_addr().expect("an address");
            sender.send(address).expect("somebody listens");
            axum::serve(listener, router).await.expect("a server");
        });
    });
    let address = receiver.recv().expect("an address");
    format!("http://{address}").parse().expect("a URL")
}

fn client(store: Arc<dyn Store>, base_url: &Url, mode: LogMode) -> IntegrationClient {
    let keys = KeyRing::generate(&SystemEntropy::new()).expect("keys");
    let settings = ProviderSettings {
        base_url: Some(base_url.clone()),
        allow_private: AllowPrivate::All,
        ..ProviderSettings::default()
    };
    let transport = ReqwestTransport::builder().allow_private(AllowPrivate::All);
    IntegrationClient::builder(store, RingEncryptor::new(keys))
        .transport(transport.build().expect("a transport"))
        .provider_with(Loopback, settings)
        .log_mode(mode)
        .build()
        .expect("a client")
}

async fn install(client: &IntegrationClient) -> IntegrationHandle {
    let operator = client.operator();
    let prepared = operator
        .prepare(Install {
            provider: Loopback.key(),
            name: IntegrationName::new("bench").unwrap(),
            owner: None,
            credentials: BTreeMap::from([("token".to_owned(), "bench-token-5f2b".into())]),
            metadata: BTreeMap::new(),
            sync_interval_minutes: None,
        })
        .expect("an account");
    let integration = operator.install(prepared).await.expect("a row");
    operator.integration(integration.id)
}

async fn call(handle: &IntegrationHandle) {
    let call = handle.get("/issues/{n}").param("n", 1347);
    let answer = call.send().await.expect("an answer");
    assert!(answer.body.len() > 900);
}

async fn bare(client: &reqwest::Client, url: &Url) {
    let answer = client.get(url.clone()).send().await.expect("an answer");
    assert!(answer.bytes().await.expect("a body").len() > 900);
}

/// Makes so many calls, 32 at a time, and waits for `end`; calls per second.
async fn throughput<F, Fut>(calls: usize, work: F, end: impl Future<Output = ()>) -> f64
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let left = Arc::new(AtomicUsize::new(calls));
    let started = Instant::now();
    let tasks: Vec<_> = (0..AT_A_TIME)
        .map(|_| {
            let (left, work) = (Arc::clone(&left), work.clone());
            tokio::spawn(async move {
                let one_more = |n: usize| n.checked_sub(1);
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
                    .is_ok()
                {
                    work().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task");
    }
    end.await;
    f64::from(u32::try_from(calls).unwrap()) / started.elapsed().as_secs_f64()
}

/// The median time of one call, one at a time, in microseconds.
async fn latency<F, Fut>(work: F) -> f64
where
    F: Fn() -> Fut,
    Fut: Future<Output = ()>,
{
    let mut times = Vec::with_capacity(SINGLE);
    for _ in 0..SINGLE {
        let started = Instant::now();
        work().await;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    median(times)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Processor time that the whole machine has spent, in seconds; 0 where nobody tells.
fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().into_iter().flat_map(|line| {
        let fields = line.split_whitespace().skip(1);
        let all_but_idle = |(i, ticks): (usize, &str)| match i {
            3 | 4 => None,
            _ => ticks.parse::<f64>().ok(),
        };
        fields
            .take(8)
            .enumerate()
            .filter_map(all_but_idle)
            .collect::<Vec<_>>()
    });
    ticks.sum::<f64>() / 100.0
}

fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// What a commit of one small row takes, for the latency to be compared with.
enum Commit {
    Postgres(PgPool, String),
    Sqlite(SqlitePool, String),
}

impl Commit {
    async fn once(&self) {
        let row = "x".repeat(1000);
        match self {
            Self::Postgres(pool, sql) => {
                let query = sqlx::query::<sqlx::Postgres>(sqlx::AssertSqlSafe(&**sql));
                query.bind(row).execute(pool).await.expect("a commit");
            }
            Self::Sqlite(pool, sql) => {
                let query = sqlx::query::<sqlx::Sqlite>(sqlx::AssertSqlSafe(&**sql));
                query.bind(row).execute(pool).await.expect("a commit");
            }
        }
    }
}

struct Subject {
    name: &'static str,
    store: Arc<dyn Store>,
    commit: Commit,
}

async fn measure(subject: &Subject, base_url: &Url, calls: usize) {
    let url = base_url.join("/issues/1347").unwrap();
    let plain = reqwest::Client::new();
    let durable = client(Arc::clone(&subject.store), base_url, LogMode::Durable);
    let handle = install(&durable).await;
    let name = subject.name;
    let (mut bares, mut durables, mut backgrounds) = (Vec::new(), Vec::new(), Vec::new());
    let mut cpu = [0.0; 3];
    for _ in 0..ROUNDS {
        let before = busy();
        let (plain_client, plain_url) = (plain.clone(), url.clone());
        let work = move || {
            let (client, url) = (plain_client.clone(), plain_url.clone());
            async move { bare(&client, &url).await }
        };
        let bare = throughput(calls, work, std::future::ready(())).await;
        cpu[0] += busy() - before;
        let before = busy();
        let one = handle.clone();
        let work = move || {
            let handle = one.clone();
            async move { call(&handle).await }
        };
        let ours = throughput(calls, work, std::future::ready(())).await;
        cpu[1] += busy() - before;
        let before = busy();
        let one = handle.clone();
        let work = move || {
            let handle = one.clone();
            async move {
                let call = handle.get("/issues/{n}").param("n", 1347);
                call.log(LogMode::Background)
                    .send()
                    .await
                    .expect("an answer");
            }
        };
        let drained = durable.clone();
        let later = throughput(calls, work, async move { drained.shutdown().await }).await;
        cpu[2] += busy() - before;
        bares.push(bare);
        durables.push((ours, ours / bare));
        backgrounds.push((later, later / bare));
    }
    let row = |what: &str, rounds: &[(f64, f64)]| {
        let per_second = median(rounds.iter().map(|r| r.0).collect());
        let ratio = median(rounds.iter().map(|r| r.1).collect());
        println!("{name:<10} {what:<28} {per_second:>9.0}/s {ratio:>7.2} of bare");
    };
    println!(
        "{name:<10} {:<28} {:>9.0}/s",
        "bare, 32 at a time",
        median(bares)
    );
    row("durable, 32 at a time", &durables);
    row("background, 32 at a time", &backgrounds);

    let all = f64::from(u32::try_from(calls * ROUNDS).unwrap());
    let [plain_us, durable_us, background_us] = cpu.map(|seconds| seconds * 1e6 / all);
    println!(
        "{name:<10} {:<28} bare {plain_us:.0} us, durable {durable_us:.0} us, background \
         {background_us:.0} us",
        "processor time per call"
    );
    let (mut bares, mut commits, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bares.push(latency(|| bare(&plain, &url)).await);
        commits.push(latency(|| subject.commit.once()).await);
        ours.push(latency(|| call(&handle)).await);
    }
    let (bare, commit, ours) = (median(bares), median(commits), median(ours));
    println!(
        "{name:<10} {:<28} {ours:>9.0} us = bare {bare:.0} + commit {commit:.0} + {:.0}",
        "p50, 1 at a time",
        ours - bare - commit
    );

    let before = resident_kib();
    let work = move || {
        let handle = handle.clone();
        async move { call(&handle).await }
    };
    let calls = calls * 10;
    throughput(calls, work, std::future::ready(())).await;
    if let (Some(before), Some(after)) = (before, resident_kib()) {
        println!(
            "{name:<10} {:<28} {before:>9} KiB before, {after} KiB after {calls} calls",
            "resident memory"
        );
    }
    let counts = durable.log_counts();
    let rows = f64::from(u32::try_from(counts.written).unwrap_or(u32::MAX));
    let batches = f64::from(u32::try_from(counts.batches).unwrap_or(u32::MAX));
    println!(
        "{name:<10} {:<28} {:>9.1}",
        "rows per commit",
        rows / batches
    );
    assert_eq!((counts.refused, counts.dropped, counts.kept), (0, 0, 0));
}

fn main() {
    // The bare client has no provider of its own.
    let provider = rustls::crypto::ring::default_provider();
    provider.install_default().expect("the first one");
    let calls = std::env::var("BENCH_CALLS").ok();
    let calls = calls.map_or(8_000, |calls| {
        calls.parse().expect("BENCH_CALLS is a number")
    });
    let base_url = serve();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        postgres(&base_url, calls).await;
        sqlite(&base_url, calls).await;
    });
}

async fn postgres(base_url: &Url, calls: usize) {
    let url = std::env::var("INTEGRATIONS_TEST_POSTGRES_URL")
        .expect("INTEGRATIONS_TEST_POSTGRES_URL names a PostgreSQL server to measure on");
    let prefix = format!("bench_{}", std::process::id());
    let options = || {
        let options = PgStore::connect(&url).unwrap();
        options.prefix(prefix.clone()).unwrap()
    };
    options().migrate().await.expect("a schema");
    let store = options().open().await.expect("a store");
    let pool = PgPool::connect(&url).await.expect("a pool");
    let table = format!("{prefix}_baseline");
    let create = format!("CREATE TABLE {table} (id bigserial PRIMARY KEY, row text)");
    let create = sqlx::query(sqlx::AssertSqlSafe(create));
    create.execute(&pool).await.expect("a table");
    let subject = Subject {
        name: "postgres",
        store: Arc::new(store),
        commit: Commit::Postgres(
            pool.clone(),
            format!("INSERT INTO {table} (row) VALUES ($1)"),
        ),
    };
    measure(&subject, base_url, calls).await;
    drop_tables(&pool, &prefix).await;
}

async fn drop_tables(pool: &PgPool, prefix: &str) {
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

async fn sqlite(base_url: &Url, calls: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
    let options = || SqliteStore::connect(&file("bench.db")).unwrap();
    options().migrate().await.expect("a schema");
    let store = options().open().await.expect("a store");
    let baseline: SqliteConnectOptions = file("baseline.db").parse().expect("a URL");
    let baseline = baseline
        .create_if_missing(true)
        .journal_mode(integrations::sqlite::sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .connect_with(baseline)
        .await
        .expect("a pool");
    let create =
        sqlx::query::<sqlx::Sqlite>("CREATE TABLE baseline (id integer PRIMARY KEY, row text)");
    create.execute(&pool).await.expect("a table");
    let subject = Subject {
        name: "sqlite",
        store: Arc::new(store),
        commit: Commit::Sqlite(pool, "INSERT INTO baseline (row) VALUES ($1)".to_owned()),
    };
    measure(&subject, base_url, calls).await;
}
