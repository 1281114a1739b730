//! Receiving webhooks: shared commits beside one commit per request, in one run.
//!
//! `cargo bench -p integrations --all-features --bench webhooks` sends distinct, signed bodies of 2 KB
//! to a receiver from 1 and from 32 connections, each answered only when it is durable. The baseline
//! is the same handler (verify, digest, row) with a commit of its own per request, over the same
//! pool. Printed are deliveries per second, the 50th and 99th percentile of a delivery's time and
//! the ratio of the rates: the median over interleaved rounds. PostgreSQL is the server of
//! `INTEGRATIONS_TEST_POSTGRES_URL`, SQLite a file with `synchronous = FULL`.
//!
//! `github` compares digests, since its ids are not signed; `standard` has signed ids.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, stops at the first surprise, and reads the wall clock"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chrono::Utc;
use http::{HeaderMap, Request};
use integrations::{
    IntegrationClient, PgStore, ReqwestTransport, RingEncryptor, SqliteStore,
    client::Install,
    encryptor::DigestPurpose,
    entropy::EntropyExt as _,
    integration::Integration,
    keys::KeyRing,
    postgres::sqlx::{self, postgres::PgPoolOptions},
    provider::{Account, Fields, Provider, ProviderError, WebhookSource},
    providers::github::Github,
    store::Store,
    sync::Payload,
    time::earlier,
    value::{IntegrationName, ProviderKey},
    webhook::{
        Inbound, NewWebhook, OtherDigests, Received, SignatureScheme, WebhookPayload,
        WebhookSecrets,
    },
    webhooks::{
        Receiver, Route,
        schemes::{TIMESTAMP_TOLERANCE, Verifier},
    },
};
use ring::hmac;
use secrecy::SecretString;

/// How long each side runs per round.
const ROUND: Duration = Duration::from_secs(2);
/// Rounds; the median counts.
const ROUNDS: usize = 5;
/// Bytes of a body.
const BODY: usize = 2048;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A sender that signs ids, and has no API.
struct Standard;

impl Provider for Standard {
    fn key(&self) -> ProviderKey {
        ProviderKey::new("standard").unwrap()
    }

    fn name(&self) -> &'static str {
        "Standard"
    }

    fn credentials(&self) -> Fields {
        Fields::from_schema(&serde_json::json!({
            "properties": { "webhook_secret": { "type": "string" } },
        }))
    }

    fn metadata(&self) -> Fields {
        Fields::default()
    }

    fn base_url(&self, _account: &Account<'_>) -> Result<url::Url, ProviderError> {
        Err(ProviderError::BaseUrl)
    }

    fn authenticate(
        &self,
        _account: &Account<'_>,
        _headers: &mut HeaderMap,
    ) -> Result<(), ProviderError> {
        Ok(())
    }

    fn webhook_source(&self) -> Option<&dyn WebhookSource> {
        Some(self)
    }
}

impl WebhookSource for Standard {
    fn scheme(&self, _account: &Account<'_>) -> Result<SignatureScheme, ProviderError> {
        Ok(SignatureScheme::Standard)
    }
}

/// A signed delivery that was never sent before.
fn delivery(provider: &str, key: &hmac::Key) -> Request<Bytes> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let started = std::process::id();
    let mut body = format!(r#"{{"n":{n},"type":"bench","pid":{started},"fill":""#);
    body.push_str(&"z".repeat(BODY - body.len() - 2));
    body.push_str("\"}");
    let id = format!("msg_{started}_{n}");
    let request =
        Request::post("/integrations/bench/webhook").header("content-type", "application/json");
    let request = if provider == "github" {
        let tag = hex::encode(hmac::sign(key, body.as_bytes()));
        request
            .header("x-github-event", "issues")
            .header("x-github-delivery", id)
            .header("x-hub-signature-256", format!("sha256={tag}"))
    } else {
        let at = Utc::now().timestamp();
        let signed = format!("{id}.{at}.{body}");
        let tag = STANDARD.encode(hmac::sign(key, signed.as_bytes()));
        request
            .header("webhook-id", id)
            .header("webhook-timestamp", at)
            .header("webhook-signature", format!("v1,{tag}"))
    };
    request.body(Bytes::from(body)).unwrap()
}

/// What both sides work with.
struct Bench {
    client: IntegrationClient,
    provider: &'static str,
    integration: Integration,
    verifier: Verifier,
    key: hmac::Key,
}

impl Bench {
    async fn over(store: Arc<dyn Store>, provider: &'static str) -> Self {
        let keys = RingEncryptor::new(
            KeyRing::parse(&format!("bench:{}", STANDARD.encode([7; 32]))).unwrap(),
        );
        let client = IntegrationClient::builder(store, keys)
            .transport(ReqwestTransport::new().unwrap())
            .provider(Github::default())
            .provider(Standard)
            .build()
            .unwrap();
        let text = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
        let metadata = match provider {
            "github" => [("owner", "octo"), ("repo", "hello")].map(text).into(),
            _ => std::collections::BTreeMap::new(),
        };
        let mut credentials = std::collections::BTreeMap::new();
        credentials.insert("webhook_secret".to_owned(), SecretString::from(SECRET));
        if provider == "github" {
            credentials.insert("token".to_owned(), SecretString::from("ghp_x"));
        }
        let operator = client.operator();
        let prepared = operator
            .prepare(Install {
                provider: ProviderKey::new(provider).unwrap(),
                name: IntegrationName::new("bench").unwrap(),
                owner: None,
                credentials,
                metadata,
                sync_interval_minutes: None,
            })
            .unwrap();
        let integration = operator.install(prepared).await.unwrap();
        let scheme = SignatureScheme::named(provider).unwrap();
        let secrets = WebhookSecrets::parse(&SecretString::from(SECRET)).unwrap();
        let secret = match provider {
            "github" => SECRET.as_bytes().to_vec(),
            _ => STANDARD
                .decode(SECRET.strip_prefix("whsec_").unwrap())
                .unwrap(),
        };
        Self {
            client,
            provider,
            integration,
            verifier: Verifier::new(scheme, &secrets).unwrap(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
        }
    }

    /// The handler with a commit per request.
    async fn alone(&self, request: Request<Bytes>) -> bool {
        let inbound = Inbound {
            method: request.method(),
            path: request.uri().path(),
            query: request.uri().query(),
            headers: request.headers(),
            body: request.body(),
        };
        let ports = self.client.ports();
        let now = ports.clock.now();
        let verified = self
            .verifier
            .verify(&inbound, now, TIMESTAMP_TOLERANCE)
            .unwrap();
        let told = self.verifier.scheme().describe(&inbound);
        let is_signed = self.provider != "github";
        let digest = if is_signed {
            None
        } else {
            let encryptor = &self.client.keys().encryptor;
            let digests = encryptor
                .digests(DigestPurpose::WebhookDedup, &verified.signed)
                .await;
            Some(digests.unwrap()[0].to_bytes())
        };
        let kept = |name: &str| {
            inbound
                .header(name)
                .map(|v| (name.to_owned(), v.to_owned()))
        };
        let new = NewWebhook {
            uid: self.client.keys().entropy.uid().unwrap(),
            integration_id: Some(self.integration.id),
            provider: self.integration.provider.clone(),
            event_type: told.event_type,
            dedup_key: told.delivery_id.clone(),
            delivery_id: told.delivery_id,
            digest_duplicate_since: (!is_signed).then(|| earlier(now, Duration::from_hours(24))),
            body_digest: digest,
            other_digests: OtherDigests::default(),
            payload: WebhookPayload::Plain(Payload::from_bytes(request.body().to_vec())),
            headers: [
                "content-type",
                "x-github-event",
                "x-github-delivery",
                "webhook-id",
                "webhook-timestamp",
            ]
            .into_iter()
            .filter_map(kept)
            .collect(),
            method: "POST".to_owned(),
            path: request.uri().path().to_owned(),
            query: None,
            remote_addr: None,
            ordering_key: None,
            available_at: Some(now),
            now,
        };
        let received = ports.inbox.receive(&[new]).await.unwrap();
        matches!(received[..], [Ok(Received::New(_))])
    }
}

/// What a round measured.
struct Measured {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

/// Sends from so many connections for a round.
async fn round(bench: &Arc<Bench>, receiver: Option<&Receiver>, connections: usize) -> Measured {
    let started = Instant::now();
    let sending: Vec<_> = (0..connections)
        .map(|_| {
            let (bench, receiver) = (Arc::clone(bench), receiver.cloned());
            tokio::spawn(async move {
                let route = Route::integration(bench.provider, bench.integration.uid.to_string());
                let mut times = Vec::new();
                while started.elapsed() < ROUND {
                    let request = delivery(bench.provider, &bench.key);
                    let sent = Instant::now();
                    let accepted = match &receiver {
                        Some(receiver) => {
                            receiver.receive(&route, request, None).await.status() == 202
                        }
                        None => bench.alone(request).await,
                    };
                    assert!(accepted, "every delivery is new and genuine");
                    times.push(sent.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for sender in sending {
        times.extend(sender.await.unwrap());
    }
    let took = started.elapsed();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let sent = u32::try_from(times.len()).unwrap();
    Measured {
        per_second: f64::from(sent) / took.as_secs_f64(),
        p50: at(50),
        p99: at(99),
    }
}

fn median(rounds: &mut [Measured]) -> &Measured {
    rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    &rounds[rounds.len() / 2]
}

async fn compare(name: &str, store: Arc<dyn Store>) {
    for provider in ["standard", "github"] {
        let bench = Arc::new(Bench::over(Arc::clone(&store), provider).await);
        let receiver = Receiver::builder(&bench.client).build();
        for connections in [1, 32] {
            let (mut shared, mut alone) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                shared.push(round(&bench, Some(&receiver), connections).await);
                alone.push(round(&bench, None, connections).await);
            }
            let (shared, alone) = (median(&mut shared), median(&mut alone));
            println!(
                "{name} {provider} {connections:>2} connections: shared {:>6.0}/s (p50 {:.2?}, p99 {:.2?}), \
                 one commit each {:>6.0}/s (p50 {:.2?}, p99 {:.2?}), ratio {:.2}",
                shared.per_second,
                shared.p50,
                shared.p99,
                alone.per_second,
                alone.p50,
                alone.p99,
                shared.per_second / alone.per_second
            );
        }
        receiver.shutdown().await;
    }
}

async fn postgres() {
    let url = std::env::var("INTEGRATIONS_TEST_POSTGRES_URL")
        .expect("INTEGRATIONS_TEST_POSTGRES_URL names a PostgreSQL server to measure on");
    let prefix = format!("bench_wh_{}", std::process::id());
    let options = || {
        PgStore::connect(&url)
            .unwrap()
            .prefix(prefix.clone())
            .unwrap()
    };
    options().migrate().await.expect("a schema");
    let store = options().max_connections(16).open().await.expect("a store");
    compare("PostgreSQL", Arc::new(store)).await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&url);
    drop_tables(&pool.await.expect("a connection"), &prefix).await;
}

async fn drop_tables(pool: &sqlx::PgPool, prefix: &str) {
    let names: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE tablename LIKE $1 || '%'")
            .bind(prefix)
            .fetch_all(pool)
            .await
            .unwrap();
    for name in names {
        let sql = format!("DROP TABLE IF EXISTS \"{name}\" CASCADE");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(pool)
            .await
            .unwrap();
    }
}

async fn sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("bench.db").display());
    let options = || SqliteStore::connect(&url).unwrap();
    options().migrate().await.expect("a schema");
    let store = options().open().await.expect("a store");
    compare("SQLite FULL", Arc::new(store)).await;
}

#[tokio::main]
async fn main() {
    postgres().await;
    sqlite().await;
}
