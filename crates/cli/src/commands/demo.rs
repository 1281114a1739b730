//! `demo`: the main job, on SQLite, against a stand-in for GitHub on this machine.

mod calls;
mod syncs;
mod webhook;

use std::sync::Arc;

use integrations::{
    client::{Install, IntegrationClient, IntegrationHandle, ProbeReport},
    entropy::EntropyExt as _,
    integration::{Integration, IntegrationFilter, Scope},
    keys::SystemEntropy,
    provider::Provider,
    providers::github::Github,
    request::{Request, RequestFilter},
    store::{PageRequest, Ports},
    time::Clock,
    value::{IntegrationName, ProviderKey},
    webhook::WebhookSummary,
};
use integrations_testkit::twin::github::{DEFAULT_TOKEN, GithubTwin};
use secrecy::SecretString;
use serde_json::json;

use super::{requests, view, webhooks};
use crate::{
    args::Format,
    config::{ProviderConfig, Settings},
    context::Context,
    database::Database,
    exit::{Exit, Failure, Outcome},
    output::{Output, Row, table::Column},
};

const DATABASE: &str = "sqlite://integrations-demo.db";
const NAME: &str = "demo";

pub(super) async fn run(context: &Context) -> Outcome {
    let show = Show(context.output.for_people());
    let mut settings = context.settings()?;
    // Only what was typed counts: the demo must not end up in the database one works with.
    let url = context.global.database.as_deref().unwrap_or(DATABASE);
    settings.database = Database::parse(url)?;
    show.step(
        "1. A database",
        "`migrate` makes the tables; opening a store only checks them.",
    )?;
    let applied = settings.database.migrate(&settings.prefix).await?;
    let ports = settings.database.open(&settings.prefix).await?;
    show.say(&match applied.len() {
        0 => "the schema was there already".to_owned(),
        n => format!("migrations applied: {n}"),
    })?;

    show.step(
        "2. An account",
        "A stand-in for GitHub runs on this machine. Its token is checked by a probe, sealed with \
         AES-256-GCM, and then stored.",
    )?;
    let twin = start_twin(&*ports.clock).await?;
    let webhook_secret = random_secret()?;
    let client = connect(context, ports.clone(), settings, &twin, &webhook_secret).await?;
    let integration = installed(&client).await?;
    show.account(&integration)?;

    show.step(
        "3. Calls",
        "Each is authenticated, sent, classified, redacted and recorded before its answer is \
         handed over.",
    )?;
    let began = ports.clock.now();
    let handle = client.operator().integration(integration.id);
    for line in calls::make(&handle, &twin).await? {
        show.say(&line)?;
    }

    show.step(
        "4. Syncs",
        "Issues, comments and events are enumerated page by page, stored, and handed to a handler. \
         A cursor follows what was handled, so the next sync brings only what is new.",
    )?;
    for line in syncs::make(&client, integration.id, &twin).await? {
        show.say(&line)?;
    }

    show.step(
        "5. Webhooks",
        "A delivery is verified over its exact bytes, stored, and only then answered. The same again \
         is a duplicate; what is not genuine is refused, and never stored.",
    )?;
    for line in webhook::deliver(&client, &integration, &twin, &webhook_secret).await? {
        show.say(&line)?;
    }
    twin.shutdown().await;

    show.step(
        "6. What was recorded",
        "One row for each attempt and each delivery. A body that is not text becomes a marker with \
         its length and SHA-256.",
    )?;
    let filter = RequestFilter {
        integration_id: Some(integration.id),
        since: Some(began),
        ..RequestFilter::default()
    };
    let recorded = ports
        .requests
        .query(&filter, &Scope::Operator, &PageRequest::oldest(100))
        .await?
        .items;
    let received = webhook::received(&client, &integration, began).await?;
    let integration = row_of(&handle).await?;
    show.recorded(&recorded, &received, &integration, context)?;
    show.next(url, &integration, &recorded)?;
    Ok(Exit::Done)
}

/// A secret for webhooks that nobody has seen.
fn random_secret() -> Outcome<SecretString> {
    let random = SystemEntropy::new().uid();
    let random = random.map_err(|error| Failure::failed(error.to_string()))?;
    Ok(SecretString::from(random.to_string()))
}

async fn start_twin(clock: &dyn Clock) -> Outcome<GithubTwin> {
    let twin = GithubTwin::builder().starting_at(clock.now()).start().await;
    twin.map_err(|error| Failure::failed(format!("the stand-in cannot be started: {error}")))
}

/// A client whose GitHub is the twin, which has another port each time.
async fn connect(
    context: &Context,
    ports: Ports,
    mut settings: Settings,
    twin: &GithubTwin,
    webhook_secret: &SecretString,
) -> Outcome<IntegrationClient> {
    let url = twin.base_url().parse();
    let url = url.map_err(|_| Failure::failed("the stand-in has no usable URL"))?;
    let github = Github::default();
    // One for all of the application's accounts, so it need not be stored with any of them.
    let config = ProviderConfig::at(url).with_application("webhook_secret", webhook_secret);
    settings.providers = [(github.key(), config)].into();
    let providers: [Arc<dyn Provider>; 1] = [Arc::new(github)];
    context.client_over(ports, &settings, &providers).await
}

/// The integration of an earlier demo, switched on, or a new one.
async fn installed(client: &IntegrationClient) -> Outcome<Integration> {
    let provider = ProviderKey::new("github")?;
    let name = IntegrationName::new(NAME)?;
    let operator = client.operator();
    let filter = IntegrationFilter {
        provider: Some(provider.clone()),
        name: Some(name.clone()),
        ..IntegrationFilter::default()
    };
    let earlier = operator.list(&filter, &PageRequest::oldest(1)).await?;
    if let Some(earlier) = earlier.items.first() {
        return Ok(operator.integration(earlier.id).enable().await?);
    }
    let token = SecretString::from(DEFAULT_TOKEN);
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let prepared = operator.prepare(Install {
        provider,
        name,
        owner: None,
        credentials: [("token".to_owned(), token)].into(),
        metadata: [setting("owner", "acme"), setting("repo", "widgets")].into(),
        sync_interval_minutes: None,
    })?;
    match operator.probe(&prepared).await? {
        ProbeReport::Failed(why) => Err(Failure::failed(format!("the probe failed: {why}"))),
        ProbeReport::Passed | ProbeReport::NotSupported => Ok(operator.install(prepared).await?),
    }
}

async fn row_of(handle: &IntegrationHandle) -> Outcome<Integration> {
    let row = handle.find().await?;
    row.ok_or_else(|| Failure::not_found("the demo's integration was removed meanwhile"))
}

/// What is told on the way. Where a program reads, it goes to standard error.
struct Show(Output);

impl Show {
    fn is_table(&self) -> bool {
        self.0.format() == Format::Table
    }

    fn step(&self, title: &str, explanation: &str) -> Outcome<()> {
        let style = self.0.style();
        self.line(&format!("\n{}", style.bold(title)))?;
        self.line(&style.dim(explanation))
    }

    /// Our own words around what the twin answered.
    fn say(&self, text: &str) -> Outcome<()> {
        self.line(&format!("  {}", crate::output::escape::line(text)))
    }

    fn line(&self, text: &str) -> Outcome<()> {
        if self.is_table() {
            return self.0.text(&format!("{text}\n"));
        }
        for line in text.lines() {
            self.0.note(line);
        }
        Ok(())
    }

    fn account(&self, integration: &Integration) -> Outcome<()> {
        let stored = integration
            .credentials
            .as_ref()
            .map_or("", |sealed| sealed.as_str());
        let start: String = stored.chars().take(40).collect();
        self.say(&format!(
            "integration {} `{}` of {}, uid {}",
            integration.id, integration.name, integration.provider, integration.uid
        ))?;
        self.say(&format!("its credentials as they are stored: {start}…"))
    }

    fn recorded(
        &self,
        recorded: &[Request],
        received: &[WebhookSummary],
        integration: &Integration,
        context: &Context,
    ) -> Outcome<()> {
        let rows: Vec<Row> = recorded.iter().map(requests::row).collect();
        let deliveries: Vec<Row> = received.iter().map(webhooks::row).collect();
        if !self.is_table() {
            let calls: Vec<_> = rows.into_iter().map(|row| row.json).collect();
            let deliveries: Vec<_> = deliveries.into_iter().map(|row| row.json).collect();
            let json = json!({
                "integration": view::integration_json(integration, None),
                "requests": calls,
                "webhooks": deliveries,
            });
            return self.0.record(&[], &json);
        }
        self.0.rows(&requests::COLUMNS, &rows, true)?;
        self.line("")?;
        let columns = [
            Column::right("ID"),
            Column::left("PROVIDER'S ID"),
            Column::left("ANSWER AS RECORDED"),
        ];
        let answers: Vec<Row> = recorded.iter().map(answer).collect();
        self.0.rows(&columns, &answers, true)?;
        self.line("")?;
        self.0.rows(&webhooks::COLUMNS, &deliveries, true)?;
        self.line("")?;
        let health = &integration.health;
        self.say(&format!(
            "health: {}, {} outages in a row; {} of them would make it degraded",
            health.status,
            health.consecutive_failures,
            context.settings()?.health.degraded_after
        ))
    }

    fn next(&self, url: &str, integration: &Integration, recorded: &[Request]) -> Outcome<()> {
        let program = std::env::args().next();
        let program = program.as_deref().unwrap_or("integrations");
        self.step(
            "Go on",
            "The database stays. Look at it with the same command:",
        )?;
        let mut commands = vec![
            "list".to_owned(),
            format!("show {}", integration.id),
            "requests --status failed".to_owned(),
            "webhooks".to_owned(),
            "keys list".to_owned(),
        ];
        commands.extend(
            recorded
                .first()
                .map(|first| format!("requests show {}", first.id)),
        );
        for command in commands {
            self.say(&format!("{program} --database {} {command}", shown(url)))?;
        }
        Ok(())
    }
}

/// The answer's marker or beginning.
fn answer(request: &Request) -> Row {
    const SHOWN: usize = 120;
    let attempt = &request.attempt;
    let answer = attempt.response_data.as_deref().unwrap_or(view::NONE);
    Row {
        cells: vec![
            request.id.to_string(),
            view::or_none(attempt.provider_request_id.as_ref()),
            crate::output::table::cut(answer, SHOWN),
        ],
        json: view::request_json(request),
    }
}

/// The URL as it may be shown: one with a password is not.
fn shown(url: &str) -> &str {
    if crate::database::holds_password(url) {
        "URL"
    } else {
        url
    }
}
