//! Issues, and pull requests, which GitHub lists among them (GH-05).

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use integrations_core::{
    provider::{EnumerationError, PageQuery, StreamOrder, SyncPage, SyncStream},
    value::{ItemKind, StreamName},
};
use serde::{Deserialize, de::IgnoredAny};

use super::{keyset, kind, record::Known, stream};

/// Kinds `issue` and `pull_request`, by number.
pub(super) struct Issues;

#[derive(Deserialize)]
struct Issue {
    number: u64,
    updated_at: DateTime<Utc>,
    pull_request: Option<IgnoredAny>,
}

impl Known for Issue {
    fn kind(&self) -> ItemKind {
        kind(match self.pull_request {
            Some(IgnoredAny) => "pull_request",
            None => "issue",
        })
    }

    fn id(&self) -> u64 {
        self.number
    }

    fn at(&self) -> DateTime<Utc> {
        self.updated_at
    }
}

#[async_trait]
impl SyncStream for Issues {
    fn name(&self) -> StreamName {
        stream("issues")
    }

    fn order(&self) -> StreamOrder {
        StreamOrder::Ascending
    }

    async fn page(&self, query: &PageQuery) -> Result<SyncPage, EnumerationError> {
        let call = query.integration.get("/repos/{owner}/{repo}/issues");
        keyset::page::<Issue>(query, call.query("state", "all"), "issue").await
    }
}
