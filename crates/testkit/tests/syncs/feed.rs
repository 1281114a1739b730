//! A provider whose records, order and failures a test decides.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use http::HeaderMap;
use integrations_core::{
    provider::{
        Account, EnumerationError, Fields, IncrementalSync, PageQuery, Provider, ProviderError,
        ScheduledSync, SourceItem, StreamOrder, SyncPage, SyncStream,
    },
    sync::{Checkpoint, Payload},
    value::{ExternalId, ItemKind, ProviderKey, StreamName},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use url::Url;

/// What goes wrong at the next page.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Fails,
    Panics,
    Throttles,
    /// Never answers.
    Hangs,
}

#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Id and version, as the other side tells them.
    pub(crate) records: Vec<(String, i64)>,
    pub(crate) sorted: bool,
    /// Whether a run from the beginning tells every record.
    pub(crate) exhaustive: bool,
    /// Whether records are told without a version.
    pub(crate) unversioned: bool,
    /// Records that are told in a form no store takes.
    pub(crate) unfit: BTreeSet<String>,
    /// Where to go on, as the other side tells it.
    pub(crate) cursor: Option<serde_json::Value>,
    /// What happens at the pages to come, in order; then all goes well.
    pub(crate) faults: VecDeque<Option<Fault>>,
    /// The cursor and page of each page that was asked for.
    pub(crate) asked: Vec<(Option<i64>, i64)>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) streams: BTreeMap<String, Stream>,
    pub(crate) page_size: usize,
    pub(crate) incremental: bool,
    /// Makes a call through the pipeline for each page.
    pub(crate) calls: bool,
}

/// The provider. Clones share what it tells.
#[derive(Clone, Debug)]
pub(crate) struct Feed(Arc<Mutex<State>>);

impl Feed {
    pub(crate) fn new(streams: &[&str]) -> Self {
        let streams = streams
            .iter()
            .map(|name| ((*name).to_owned(), Stream::default()));
        Self(Arc::new(Mutex::new(State {
            streams: streams.collect(),
            page_size: 2,
            incremental: true,
            calls: false,
        })))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Changes a stream.
    pub(crate) fn stream(&self, name: &str, change: impl FnOnce(&mut Stream)) {
        change(self.state().streams.get_mut(name).unwrap());
    }

    /// Puts a record in place of an older version of it.
    pub(crate) fn put(&self, stream: &str, id: &str, version: i64) {
        self.stream(stream, |stream| {
            stream.records.retain(|(other, _)| other != id);
            stream.records.push((id.to_owned(), version));
        });
    }

    pub(crate) fn fail_next(&self, stream: &str, fault: Fault) {
        self.stream(stream, |stream| stream.faults.push_back(Some(fault)));
    }

    pub(crate) fn asked(&self, stream: &str) -> Vec<(Option<i64>, i64)> {
        self.state().streams[stream].asked.clone()
    }
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

impl Provider for Feed {
    fn key(&self) -> ProviderKey {
        ProviderKey::new("feed").unwrap()
    }

    fn name(&self) -> &'static str {
        "Feed"
    }

    fn credentials(&self) -> Fields {
        Fields::of::<Nothing>()
    }

    fn metadata(&self) -> Fields {
        Fields::of::<Nothing>()
    }

    fn base_url(&self, _account: &Account<'_>) -> Result<Url, ProviderError> {
        "https://feed.example/"
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

    fn default_sync_interval(&self) -> Option<i32> {
        Some(10)
    }

    fn scheduled_sync(&self) -> Option<&dyn ScheduledSync> {
        Some(self)
    }

    fn incremental_sync(&self) -> Option<&dyn IncrementalSync> {
        let incremental = self.state().incremental;
        incremental.then_some(self)
    }
}

impl ScheduledSync for Feed {
    fn streams(&self) -> Vec<Box<dyn SyncStream>> {
        let state = self.state();
        let stream = |(name, stream): (&String, &Stream)| {
            Box::new(FeedStream {
                feed: self.clone(),
                name: name.clone(),
                sorted: stream.sorted,
                exhaustive: stream.exhaustive,
            }) as Box<dyn SyncStream>
        };
        state.streams.iter().map(stream).collect()
    }
}

impl IncrementalSync for Feed {
    fn streams(&self) -> Vec<Box<dyn SyncStream>> {
        ScheduledSync::streams(self)
    }
}

struct FeedStream {
    feed: Feed,
    name: String,
    sorted: bool,
    exhaustive: bool,
}

#[async_trait]
impl SyncStream for FeedStream {
    fn name(&self) -> StreamName {
        StreamName::new(self.name.clone()).unwrap()
    }

    fn order(&self) -> StreamOrder {
        if self.sorted {
            StreamOrder::Ascending
        } else {
            StreamOrder::Unsorted
        }
    }

    fn is_exhaustive(&self) -> bool {
        self.exhaustive
    }

    async fn page(&self, query: &PageQuery) -> Result<SyncPage, EnumerationError> {
        let since = query.since.as_ref().and_then(serde_json::Value::as_i64);
        let page = query.page.as_ref().and_then(serde_json::Value::as_i64);
        let page = page.unwrap_or(1);
        let (fault, calls) = {
            let mut state = self.feed.state();
            let calls = state.calls;
            let stream = state.streams.get_mut(&self.name).unwrap();
            stream.asked.push((since, page));
            (stream.faults.pop_front().flatten(), calls)
        };
        match fault {
            Some(Fault::Fails) => return Err(EnumerationError::failed("the feed is down")),
            Some(Fault::Panics) => panic!("a mistake of the provider"),
            Some(Fault::Throttles) => return Err(EnumerationError::later(None, "slow down")),
            Some(Fault::Hangs) => std::future::pending().await,
            None => {}
        }
        if calls {
            query.integration.get("/records").send().await?;
        }
        let state = self.feed.state();
        let size = state.page_size;
        let stream = &state.streams[&self.name];
        let told: Vec<_> = stream
            .records
            .iter()
            .filter(|(_, version)| since.is_none_or(|since| *version >= since))
            .collect();
        let first = size * usize::try_from(page - 1).unwrap();
        let items = told.iter().skip(first).take(size);
        Ok(SyncPage {
            items: items
                .map(|(id, version)| {
                    let mut item = item(&self.name, id, *version);
                    if stream.unfit.contains(id) {
                        item.payload = Payload::Text("\0".to_owned());
                    }
                    if stream.unversioned {
                        item.checkpoint = None;
                    }
                    item
                })
                .collect(),
            next: (first + size < told.len()).then(|| json!(page + 1)),
            cursor: stream.cursor.clone(),
        })
    }
}

fn item(stream: &str, id: &str, version: i64) -> SourceItem {
    SourceItem {
        kind: ItemKind::new(stream.trim_end_matches('s')).unwrap(),
        payload: Payload::Text(json!({ "id": id, "version": version }).to_string()),
        // One that cannot be read is told without an id.
        external_id: ExternalId::new(id).ok(),
        checkpoint: Some(Checkpoint::Number(version)),
    }
}
