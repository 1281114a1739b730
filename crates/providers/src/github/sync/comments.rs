//! Comments on issues and pull requests.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    provider::{EnumerationError, PageQuery, StreamOrder, SyncPage, SyncStream},
    value::{ItemKind, StreamName},
};
use serde::Deserialize;

use super::{keyset, kind, record::Known, stream};

/// Kind `comment`, by id.
pub(super) struct Comments;

#[derive(Deserialize)]
struct Comment {
    id: u64,
    updated_at: DateTime<Utc>,
}

impl Known for Comment {
    fn kind(&self) -> ItemKind {
        kind("comment")
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn at(&self) -> DateTime<Utc> {
        self.updated_at
    }
}

#[async_trait]
impl SyncStream for Comments {
    fn name(&self) -> StreamName {
        stream("comments")
    }

    fn order(&self) -> StreamOrder {
        StreamOrder::Ascending
    }

    async fn page(&self, query: &PageQuery) -> Result<SyncPage, EnumerationError> {
        let call = query
            .integration
            .get("/repos/{owner}/{repo}/issues/comments");
        keyset::page::<Comment>(query, call, "comment").await
    }
}
