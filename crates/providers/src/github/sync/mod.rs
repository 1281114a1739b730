//! What of a repository is synced: issues and pull requests, comments, issue events.
//!
//! Issues and comments are read by when they were last updated, ascending, and each page begins
//! where the one before ended: numbered pages of a list that changes meanwhile would skip what
//! moves. Where more than a page of records were updated in one second there is no other way, so no
//! stream is exhaustive: what a full run does not tell may be there. Sources: <https://docs.github.com/en/rest/issues/issues#list-repository-issues>,
//! <https://docs.github.com/en/rest/issues/comments#list-issue-comments-for-a-repository>,
//! <https://docs.github.com/en/rest/issues/events#list-issue-events-for-a-repository>.

mod comments;
mod events;
mod issues;
mod keyset;
mod record;

use chrono::{DateTime, Utc};
use integrations_core::{
    client::Answer,
    provider::{EnumerationError, IncrementalSync, PageQuery, SyncStream},
    value::{ItemKind, StreamName},
};

use super::Github;

/// Records on a page, the most GitHub gives.
const PER_PAGE: usize = 100;

/// How far before its cursor a stream is read again, since lists lag behind (GH-05, L-SYN-6).
/// Versions that are done already are dropped by the engine.
const OVERLAP: chrono::Duration = chrono::Duration::hours(1);

impl IncrementalSync for Github {
    fn streams(&self) -> Vec<Box<dyn SyncStream>> {
        vec![
            Box::new(issues::Issues),
            Box::new(comments::Comments),
            Box::new(events::Events),
        ]
    }
}

/// The instant to read from: the cursor, less the overlap.
fn since(query: &PageQuery) -> Result<Option<DateTime<Utc>>, EnumerationError> {
    Ok(query.since_instant()?.map(|cursor| cursor - OVERLAP))
}

/// Whether there is a page behind this one.
fn has_next(answer: &Answer) -> bool {
    let links = answer.headers.get_all(http::header::LINK).iter();
    let mut links = links.filter_map(|value| value.to_str().ok());
    links.any(|value| value.split(',').any(|link| link.contains("rel=\"next\"")))
}

/// The name of one of GitHub's streams.
#[expect(
    clippy::expect_used,
    reason = "the literals are valid names, as a test shows"
)]
fn stream(name: &'static str) -> StreamName {
    StreamName::new(name).expect("a literal that is a stream's name")
}

/// One of GitHub's kinds.
#[expect(
    clippy::expect_used,
    reason = "the literals are valid kinds, as a test shows"
)]
fn kind(name: &'static str) -> ItemKind {
    ItemKind::new(name).expect("a literal that is a kind")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_have_the_names_their_cursors_are_kept_under() {
        let streams = Github.streams();
        let names: Vec<_> = streams.iter().map(|stream| stream.name()).collect();
        assert_eq!(names, ["issues", "comments", "events"].map(stream));
        let kinds = ["issue", "pull_request", "comment", "issue_event"];
        assert_eq!(kinds.map(|name| kind(name).to_string()), kinds);
    }
}
