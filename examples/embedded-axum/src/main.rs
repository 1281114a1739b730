//! Runs the application on a free port, sends itself two webhooks, and ends.

use std::error::Error;

use axum::body::Body;
use bytes::Bytes;
use example_embedded_axum::{Titles, application, by_hand, processor};
use http::{Request, StatusCode};
use integrations::{
    IntegrationClient, KeyRing, ReqwestTransport, RingEncryptor, SqliteStore,
    client::Install,
    integration::Integration,
    keys::SystemEntropy,
    providers::github::Github,
    value::{IntegrationName, ProviderKey},
    webhooks::Receiver,
};
use ring::hmac;
use secrecy::SecretString;
use tower::ServiceExt as _;

const DATABASE: &str = "sqlite://embedded-axum.db";
const SECRET: &str = "it's a secret";

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = client().await?;
    let account = install(&client).await?;
    let titles = Titles::default();
    let receiver = Receiver::builder(&client).build();
    let application = application(titles.clone(), receiver.clone());

    // An application serves it: `axum::serve(listener, application)`, or with the limits of
    // `integrations-server`. Here a request is handed over without a connection.
    let path = format!("/integrations/github/{}/webhook", account.uid);
    let mounted = signed(
        &path,
        "delivery-1",
        r#"{"issue":{"title":"By the routes"}}"#,
    )?;
    let answer = application.oneshot(mounted.map(Body::from)).await?;
    println!("by the routes: {}", answer.status());
    assert_eq!(answer.status(), StatusCode::ACCEPTED);

    let read = signed("/hooks", "delivery-2", r#"{"issue":{"title":"By hand"}}"#)?;
    let answer = by_hand(&receiver, account.uid.as_str(), read).await;
    println!("by hand: {}", answer.status());
    assert_eq!(answer.status(), StatusCode::ACCEPTED);

    // A server starts it instead, and shuts it down with itself.
    let processor = processor(&client, account.provider, titles.clone());
    let attempts = processor.run_until_idle().await?;
    // In either order: deliveries without an ordering key are handled side by side.
    let mut handled = titles.all();
    handled.sort_unstable();
    println!("handled {attempts}: {handled:?}");
    assert_eq!(handled, ["By hand", "By the routes"]);

    receiver.shutdown().await;
    client.shutdown().await;
    Ok(())
}

async fn client() -> Result<IntegrationClient, Box<dyn Error>> {
    // The example begins anew each time: its keys are made below and kept nowhere.
    for file in [
        "embedded-axum.db",
        "embedded-axum.db-wal",
        "embedded-axum.db-shm",
    ] {
        let _ = std::fs::remove_file(file);
    }
    SqliteStore::connect(DATABASE)?.migrate().await?;
    let store = SqliteStore::connect(DATABASE)?.open().await?;
    let keys = KeyRing::generate(&SystemEntropy::new())?;
    let client = IntegrationClient::builder(store, RingEncryptor::new(keys))
        .transport(ReqwestTransport::new()?)
        .provider(Github::default())
        .build()?;
    Ok(client)
}

async fn install(client: &IntegrationClient) -> Result<Integration, Box<dyn Error>> {
    let operator = client.operator();
    let secret = |name: &str, value: &str| (name.to_owned(), SecretString::from(value));
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let prepared = operator.prepare(Install {
        provider: ProviderKey::new("github")?,
        name: IntegrationName::new("GitHub")?,
        owner: None,
        credentials: [secret("token", "unused"), secret("webhook_secret", SECRET)].into(),
        metadata: [setting("owner", "octo"), setting("repo", "hello")].into(),
        sync_interval_minutes: None,
    })?;
    Ok(operator.install(prepared).await?)
}

/// A delivery as GitHub sends it.
fn signed(path: &str, delivery: &str, body: &'static str) -> http::Result<Request<Bytes>> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    let hex = hex::encode(tag);
    Request::post(path)
        .header("content-type", "application/json")
        .header("x-github-event", "issues")
        .header("x-github-delivery", delivery)
        .header("x-hub-signature-256", format!("sha256={hex}"))
        .body(Bytes::from_static(body.as_bytes()))
}
