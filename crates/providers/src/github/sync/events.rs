//! What happened to issues: closed, labelled, renamed.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    provider::{EnumerationError, PageQuery, SyncPage, SyncStream},
    value::{ItemKind, StreamName},
};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{
    PER_PAGE, has_next, kind,
    record::{self, Known},
    since, stream,
};

/// Kind `issue_event`, by id. GitHub lists the latest first and takes no `since`: pages are read
/// until one reaches what was read before. What happens meanwhile moves the others down, so a
/// page may repeat records, and skips none.
pub(super) struct Events;

#[derive(Deserialize)]
struct IssueEvent {
    id: u64,
    created_at: DateTime<Utc>,
}

impl Known for IssueEvent {
    fn kind(&self) -> ItemKind {
        kind("issue_event")
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn at(&self) -> DateTime<Utc> {
        self.created_at
    }
}

#[async_trait]
impl SyncStream for Events {
    fn name(&self) -> StreamName {
        stream("events")
    }

    async fn page(&self, query: &PageQuery) -> Result<SyncPage, EnumerationError> {
        let since = since(query)?;
        let page = query.page.as_ref().and_then(Json::as_u64).unwrap_or(1);
        let answer = query
            .integration
            .get("/repos/{owner}/{repo}/issues/events")
            .query("per_page", PER_PAGE)
            .query("page", page)
            .send()
            .await?;
        let records = record::read::<IssueEvent>(&answer, &kind("issue_event"))?;
        let reached = since.zip(records.last);
        let reached = reached.is_some_and(|(since, oldest)| oldest < since);
        Ok(SyncPage {
            items: records.items,
            next: (has_next(&answer) && !reached).then(|| json!(page + 1)),
            cursor: None,
        })
    }
}
