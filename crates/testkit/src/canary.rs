//! Canaries: secrets in every place a call has one, and everything that is said of such calls.
//!
//! A test of a store releases them over it and then looks for [`CANARY`] in what the store keeps
//! and in what was told.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use integrations_core::{
    client::{Install, IntegrationClient, IntegrationHandle},
    event::{Event, EventSink},
    provider::{
        Account, EnumerationError, Fields, PageQuery, Provider, ProviderError, Redaction,
        ScheduledSync, SourceItem, SyncPage, SyncStream,
    },
    redact::{JsonPath, SecretNames},
    store::Ports,
    sync::{
        Payload,
        engine::{Handled, HandlerError, SyncEngine, SyncRequest, WorkScope, handler_fn},
    },
    trace::TraceContext,
    transport::{Reached, TransportErrorKind},
    value::{ExternalId, IntegrationName, ItemKind, ProviderKey, StreamName},
    work::Stop,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::DefaultGuard,
};
use url::Url;

use crate::{
    encryptor::TestKeys,
    transport::{Reply, ScriptedTransport},
};

/// What every planted secret holds.
pub const CANARY: &str = "canary";

const TOKEN: &str = "canary-token-0f/1+";
const PASSWORD: &str = "canary-password-2a";

/// Everything that is said: events, errors and traces.
#[derive(Clone, Debug, Default)]
pub struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    fn note(&self, text: String) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.push(text);
    }

    /// Hears what is traced on this thread, until the guard is dropped.
    #[must_use]
    pub fn hear_traces(&self) -> DefaultGuard {
        tracing::subscriber::set_default(Listener {
            said: self.clone(),
            next: AtomicU64::new(1),
        })
    }

    /// What was said so far.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl EventSink for Said {
    fn emit(&self, event: &Event) {
        self.note(format!("{event:?}"));
    }
}

/// A subscriber that notes every span and event of this layer, whatever their level.
struct Listener {
    said: Said,
    next: AtomicU64,
}

struct Fieldwise<'a>(&'a Said);

impl Visit for Fieldwise<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.note(format!("{field}={value:?}"));
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("integrations")
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        self.said.note(attributes.metadata().name().to_owned());
        attributes.record(&mut Fieldwise(&self.said));
        span::Id::from_u64(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _span: &span::Id, values: &span::Record<'_>) {
        values.record(&mut Fieldwise(&self.said));
    }

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut Fieldwise(&self.said));
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

/// A provider with two credentials and a path to redact.
struct Aviary;

impl Provider for Aviary {
    fn key(&self) -> ProviderKey {
        #[expect(clippy::expect_used, reason = "the key is a valid one")]
        ProviderKey::new("aviary").expect("a key")
    }

    fn name(&self) -> &'static str {
        "Aviary"
    }

    fn credentials(&self) -> Fields {
        Fields::from_schema(&json!({
            "type": "object",
            "properties": { "token": { "type": "string" }, "password": { "type": "string" } },
            "required": ["token", "password"],
        }))
    }

    fn metadata(&self) -> Fields {
        Fields::default()
    }

    fn base_url(&self, _account: &Account<'_>) -> Result<Url, ProviderError> {
        "https://aviary.example"
            .parse()
            .map_err(|_| ProviderError::BaseUrl)
    }

    fn authenticate(
        &self,
        account: &Account<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), ProviderError> {
        let token = account
            .credential("token")
            .ok_or(ProviderError::MissingCredential("token"))?;
        let value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
            .map_err(|_| ProviderError::UnusableCredential("token"))?;
        headers.insert("authorization", value);
        Ok(())
    }

    fn request_id_header(&self) -> Option<HeaderName> {
        Some(HeaderName::from_static("x-request-id"))
    }

    fn redaction(&self) -> Option<&dyn Redaction> {
        Some(self)
    }

    fn scheduled_sync(&self) -> Option<&dyn ScheduledSync> {
        Some(self)
    }
}

impl Redaction for Aviary {
    fn paths(&self) -> Vec<String> {
        vec!["$.birds[*].ring".to_owned()]
    }
}

impl ScheduledSync for Aviary {
    fn streams(&self) -> Vec<Box<dyn SyncStream>> {
        vec![Box::new(Birds)]
    }
}

/// What is told of secrets where nothing but text can be told.
fn told() -> String {
    format!(
        "GET https://x.example/?key=1&secret=canary-in-an-error: Bearer canary-bearer-12345 \
         {PASSWORD}"
    )
}

/// Two pages, of which the second fails.
struct Birds;

#[async_trait]
impl SyncStream for Birds {
    #[expect(clippy::expect_used, reason = "the name is a valid one")]
    fn name(&self) -> StreamName {
        StreamName::new("birds").expect("a name")
    }

    #[expect(clippy::expect_used, reason = "the names are valid ones")]
    async fn page(&self, query: &PageQuery) -> Result<SyncPage, EnumerationError> {
        if query.page.is_some() {
            return Err(EnumerationError::failed(told()));
        }
        let kinds = ["fails", "hopeless", "skips"].into_iter();
        let item = |kind| SourceItem {
            kind: ItemKind::new(kind).expect("a kind"),
            payload: Payload::Text("{}".to_owned()),
            external_id: Some(ExternalId::new("bird").expect("an id")),
            checkpoint: None,
        };
        Ok(SyncPage {
            items: kinds.map(item).collect(),
            next: Some(json!(2)),
            cursor: None,
        })
    }
}

/// Makes calls with a secret in every place there is for one; what was said meanwhile. Everything
/// is written when this returns.
///
/// Traces are heard on the thread it runs on: use a runtime of one thread.
///
/// # Panics
///
/// Panics when a call does not come to what it should.
#[expect(
    clippy::expect_used,
    reason = "a mistake in a test shall fail the test"
)]
pub async fn release(ports: impl Into<Ports>) -> Said {
    let said = Said::default();
    let listening = said.hear_traces();
    let transport = ScriptedTransport::new();
    let listed = [
        "authorization",
        "cookie",
        "set-cookie",
        "x-echo",
        "x-api-key",
        "traceparent",
        "location",
    ];
    let names = SecretNames::default().with("nest*").expect("a name");
    let client = IntegrationClient::builder(ports, TestKeys::default())
        .transport(transport.clone())
        .provider(Aviary)
        .event_sink(said.clone())
        .log_headers(listed.map(HeaderName::from_static))
        .redact_names(names)
        .redact_paths([JsonPath::parse("$.**.egg").expect("a path")])
        .build()
        .expect("a client");
    let handle = install(&client).await;
    json_bodies(&transport, &handle, &said).await;
    other_bodies(&transport, &handle, &said).await;
    failures(&transport, &handle, &said).await;
    sdk(&handle, &said).await;
    sync(&client, &handle, &said).await;
    client.shutdown().await;
    said.note(format!("{client:?} {handle:?}"));
    drop(listening);
    said
}

#[expect(
    clippy::expect_used,
    reason = "a mistake in a test shall fail the test"
)]
async fn install(client: &IntegrationClient) -> IntegrationHandle {
    let secret = |(name, value): (&str, &str)| (name.to_owned(), SecretString::from(value));
    let credentials = [("token", TOKEN), ("password", PASSWORD)].map(secret);
    let operator = client.operator();
    let prepared = operator
        .prepare(Install {
            provider: Aviary.key(),
            name: IntegrationName::new("aviary").expect("a name"),
            owner: None,
            credentials: BTreeMap::from(credentials),
            metadata: BTreeMap::new(),
            sync_interval_minutes: None,
        })
        .expect("an account");
    let integration = operator.install(prepared).await.expect("a row");
    operator.integration(integration.id)
}

/// Path, query, headers and JSON bodies, under a key, with a context.
#[expect(
    clippy::expect_used,
    reason = "a mistake in a test shall fail the test"
)]
async fn json_bodies(transport: &ScriptedTransport, handle: &IntegrationHandle, said: &Said) {
    let body = json!({
        "client_secret": "canary-by-name",
        "nest-box": "canary-by-the-applications-name",
        "birds": [{ "ring": "canary-by-the-providers-path" }],
        "deep": { "er": { "egg": { "in": "canary-by-the-applications-path" } } },
        "note": format!("says {TOKEN} and Bearer canary-bearer-12345"),
        "link": "https://canary:canary-2@x.example/?access_token=canary-in-a-link",
        "pem": "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----",
        "passing": "canary-in-the-path canary-in-the-query canary-in-a-header",
    });
    let reply = Reply::status(200)
        .json(&body)
        .header("x-request-id", &format!("id-{PASSWORD}"))
        .header("set-cookie", "session=canary-cookie")
        .header("location", "https://x.example/?token=canary-in-a-location")
        .header("x-echo", TOKEN);
    let path = "/nests/canary-in-the-path";
    transport.reply(Method::POST, path, reply);
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let call = handle
        .post("/nests/{nest_key}")
        .param("nest_key", "canary-in-the-path")
        .query("signature", "canary-in-the-query")
        .query("echo", TOKEN)
        .header("x-api-key", "canary-in-a-header")
        .header("cookie", "a=canary-in-a-cookie")
        .body(&body)
        .idempotency_key("k1")
        .trace_context(TraceContext::parse(given, None).expect("a context"));
    said.note(format!("{call:?}"));
    let answer = call.send().await.expect("an answer");
    said.note(format!("{answer:?}"));
}

/// Forms, plain text, multipart and bytes.
#[expect(
    clippy::expect_used,
    reason = "a mistake in a test shall fail the test"
)]
async fn other_bodies(transport: &ScriptedTransport, handle: &IntegrationHandle, said: &Said) {
    let form = "a=1&password=canary-in-a-form&echo=canary-token-0f%2F1%2B";
    let multipart = "--b\r\ncontent-disposition: form-data; name=\"x\"\r\n\r\ncanary-in-a-part";
    let binary = [&[0, 255], TOKEN.as_bytes()].concat();
    let bodies: [(&[u8], &str); 3] = [
        (form.as_bytes(), "application/x-www-form-urlencoded"),
        (multipart.as_bytes(), "multipart/form-data; boundary=b"),
        (&binary, "application/octet-stream"),
    ];
    for (body, kind) in bodies {
        let reply = Reply::status(200)
            .bytes(body.to_vec())
            .header("content-type", kind);
        transport.reply(Method::PUT, "/flights", reply);
        let call = handle.put("/flights").bytes(body.to_vec(), kind);
        let answer = call.send().await.expect("an answer");
        said.note(format!("{answer:?}"));
    }
}

/// Answers that are errors, and no answer at all.
async fn failures(transport: &ScriptedTransport, handle: &IntegrationHandle, said: &Said) {
    let echo = json!({ "error": format!("bad token {TOKEN}"), "api_key": "canary-key" });
    let unread = Reply::failure(TransportErrorKind::Interrupted, Reached::MaybeSent);
    for reply in [
        Reply::status(401).json(&echo),
        Reply::status(500).json(&echo),
        unread,
    ] {
        transport.reply(Method::DELETE, "/flights", reply);
        let call = handle.delete("/flights").attempts(1);
        let outcome = call.send().await;
        said.note(format!("{outcome:?}"));
        if let Err(error) = outcome {
            said.note(error.to_string());
        }
    }
}

/// A label and an error that tell what they should not.
async fn sdk(handle: &IntegrationHandle, said: &Said) {
    let label = format!("birds.list {TOKEN}");
    let work = |_| async move { Err::<(), _>(std::io::Error::other(told())) };
    if let Err(error) = handle.run(&label, work).await {
        said.note(error.to_string());
    }
}

/// A sync whose enumeration, handlers and reasons tell what they should not.
#[expect(
    clippy::expect_used,
    reason = "a mistake in a test shall fail the test"
)]
async fn sync(client: &IntegrationClient, handle: &IntegrationHandle, said: &Said) {
    let handler = handler_fn(|attempt| async move {
        match attempt.kind().as_str() {
            "fails" => Err(std::io::Error::other(told()).into()),
            "hopeless" => Err(HandlerError::hopeless(told())),
            _ => Ok(Handled::Skipped { reason: told() }),
        }
    });
    let engine = SyncEngine::builder(client).any_handler(handler).build();
    let engine = engine.expect("an engine");
    let account = handle.find().await.expect("a store").expect("an account");
    let stop = Stop::new();
    let report = engine.sync_now(&SyncRequest::of(account.id), &stop).await;
    let report = report.expect("a round");
    said.note(format!("{report:?}"));
    let counts = engine.drain(&WorkScope::default(), &stop).await;
    let ended = (counts.retried, counts.failed, counts.skipped);
    assert_eq!(ended, (1, 1, 1), "{report:?}");
}
