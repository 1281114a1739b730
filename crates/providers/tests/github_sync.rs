//! GitHub's syncs against its twin.

#![cfg(feature = "github")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use integrations_core::{
    client::{Install, IntegrationClient},
    integration::Integration,
    provider::{IncrementalSync as _, PageQuery, ProviderSettings},
    sync::engine::{
        Handled, RoundReport, StreamOutcome, SyncEngine, SyncRequest, WorkScope, handler_fn,
    },
    transport::AllowPrivate,
    value::IntegrationName,
    work::Stop,
};
use integrations_http::ReqwestTransport;
use integrations_providers::github::Github;
use integrations_testkit::{
    clock::ManualClock,
    encryptor::TestKeys,
    memory::MemoryStore,
    twin::github::{DEFAULT_START, DEFAULT_TOKEN, GithubTwin, GithubTwinBuilder},
};
use secrecy::SecretString;
use serde_json::Value as Json;

type Handed = Arc<Mutex<Vec<(String, String)>>>;

struct World {
    twin: GithubTwin,
    clock: ManualClock,
    client: IntegrationClient,
    engine: SyncEngine,
    integration: Integration,
    /// Kind and external id of every item that was handled.
    handed: Handed,
    stop: Stop,
}

impl World {
    async fn new(twin: GithubTwinBuilder) -> Self {
        let twin = twin.start().await.unwrap();
        let clock = ManualClock::new(DEFAULT_START);
        let store = MemoryStore::with_clock(Arc::new(clock.clone()));
        let settings = ProviderSettings {
            base_url: Some(twin.base_url().parse().unwrap()),
            allow_private: AllowPrivate::All,
            ..ProviderSettings::default()
        };
        let client = IntegrationClient::builder(store, TestKeys::default())
            .transport(ReqwestTransport::new().unwrap())
            .provider_with(Github::default(), settings)
            .build()
            .unwrap();
        let integration = install(&client).await;
        let handed = Handed::default();
        let note = Arc::clone(&handed);
        let handler = handler_fn(move |attempt| {
            let id = attempt.external_id().map(ToString::to_string);
            let handed = (attempt.kind().to_string(), id.unwrap_or_default());
            note.lock().unwrap().push(handed);
            async { Ok(Handled::Done) }
        });
        let engine = SyncEngine::builder(&client)
            .any_handler(handler)
            .build()
            .unwrap();
        Self {
            twin,
            clock,
            client,
            engine,
            integration,
            handed,
            stop: Stop::new(),
        }
    }

    async fn sync(&self) -> RoundReport {
        let request = SyncRequest::of(self.integration.id);
        let report = self.engine.sync_now(&request, &self.stop).await.unwrap();
        self.engine.drain(&WorkScope::default(), &self.stop).await;
        report
    }

    /// What was handled since the last look, by kind.
    fn take(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut by_kind = BTreeMap::<_, BTreeSet<_>>::new();
        for (kind, id) in self.handed.lock().unwrap().drain(..) {
            assert!(by_kind.entry(kind).or_default().insert(id), "handled twice");
        }
        by_kind
    }

    async fn cursors(&self) -> Json {
        let handle = self.client.operator().integration(self.integration.id);
        let row = handle.find().await.unwrap().unwrap();
        row.sync_cursor.unwrap_or_default()
    }

    fn pass(&self, by: Duration) {
        self.twin.advance(by);
        self.clock.advance(by);
    }
}

async fn install(client: &IntegrationClient) -> Integration {
    let text = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
    let prepared = client.operator().prepare(Install {
        provider: "github".parse().unwrap(),
        name: IntegrationName::new("widgets").unwrap(),
        owner: None,
        credentials: BTreeMap::from([("token".to_owned(), SecretString::from(DEFAULT_TOKEN))]),
        metadata: [("owner", "acme"), ("repo", "widgets")].map(text).into(),
        sync_interval_minutes: None,
    });
    client.operator().install(prepared.unwrap()).await.unwrap()
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> BTreeSet<String> {
    range.map(|n| n.to_string()).collect()
}

// GH-05, GH-06
#[tokio::test]
async fn a_first_sync_brings_issues_pull_requests_comments_and_events() {
    let world = World::new(GithubTwin::builder().issues(230).pull_requests(20)).await;
    world.twin.close_issue(7);

    let report = world.sync().await;

    let outcomes: Vec<_> = report.streams.iter().map(|s| &s.outcome).collect();
    assert_eq!(outcomes, [&StreamOutcome::Enumerated; 3]);
    let handled = world.take();
    assert_eq!(handled["issue"], numbers(1..=230));
    assert_eq!(handled["pull_request"], numbers(231..=250));
    assert_eq!(handled["comment"].len(), 500);
    assert!(!handled["issue_event"].is_empty());
    let cursors = world.cursors().await;
    assert_eq!(
        cursors["issues"],
        world.twin.issue(7).unwrap()["updated_at"]
    );
}

// GH-05
#[tokio::test]
async fn the_next_sync_reads_from_the_cursor_with_an_overlap_and_hands_over_only_news() {
    let world = World::new(GithubTwin::builder()).await;
    world.sync().await;
    world.take();
    world.pass(Duration::from_hours(5));
    world.twin.touch_issue(3);
    let comment = world.twin.add_comment(4, "new").unwrap();
    let new = world.twin.add_issue("new");

    world.sync().await;

    let handled = world.take();
    let issues = [3, 4, new].map(|n| n.to_string()).into();
    assert_eq!(handled["issue"], issues);
    assert_eq!(handled["comment"], BTreeSet::from([comment.to_string()]));
    assert_eq!(handled.len(), 2, "{handled:?}");

    world.sync().await;
    assert_eq!(world.take(), BTreeMap::new(), "nothing is new");
}

// W-GH-1
#[tokio::test]
async fn records_that_change_while_pages_are_read_are_not_skipped() {
    let world = World::new(GithubTwin::builder().issues(250).pull_requests(0)).await;
    let streams = Github::default().streams();
    let operator = world.client.operator();
    let mut query = PageQuery {
        integration_id: world.integration.id,
        integration: operator.integration(world.integration.id),
        since: None,
        page: None,
    };
    let mut seen = BTreeSet::new();
    loop {
        let page = streams[0].page(&query).await.unwrap();
        let ids = page.items.into_iter().filter_map(|item| item.external_id);
        seen.extend(ids.map(|id| id.to_string()));
        let Some(next) = page.next else { break };
        query.page = Some(next);
        // Those on the page before move to the end of the list, and all others up.
        for number in 1..=10 {
            world.twin.touch_issue(number);
        }
    }

    assert_eq!(seen, numbers(1..=250));
}

// L-SYN-3, GH-04
#[tokio::test]
async fn a_spent_rate_limit_puts_the_rest_off() {
    let world = World::new(GithubTwin::builder().issues(150)).await;
    world.twin.set_rate_remaining(1);

    let report = world.sync().await;

    assert!(
        matches!(report.streams[0].outcome, StreamOutcome::Paused(_)),
        "{report:?}"
    );
    assert_eq!(world.cursors().await, Json::Null);
    world.pass(Duration::from_hours(2));
    world.sync().await;
    assert_eq!(handled_issues(&world), numbers(1..=150));
}

fn handled_issues(world: &World) -> BTreeSet<String> {
    let handed = world.handed.lock().unwrap();
    let issues = handed.iter().filter(|(kind, _)| kind == "issue");
    issues.map(|(_, id)| id.clone()).collect()
}
