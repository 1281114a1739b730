//! What a twin is like before it starts.

use std::io;

use chrono::{DateTime, Utc};
use http::StatusCode;

use super::GithubTwin;

/// The token a twin accepts when the builder names none.
pub const DEFAULT_TOKEN: &str = "ghp_twin0000000000000000000000000000000";

/// The twin's time at start when the builder names none: 2026-01-01T00:00:00Z.
pub const DEFAULT_START: DateTime<Utc> = match DateTime::from_timestamp(1_767_225_600, 0) {
    Some(at) => at,
    None => DateTime::UNIX_EPOCH,
};

/// Describes a [`GithubTwin`].
///
/// By default: the private repository `acme/widgets` with 12 issues and 3 pull requests of
/// which every fourth is closed, two comments on each, 5000 requests an hour, and pages of 30,
/// at most 100.
#[derive(Clone)]
pub struct GithubTwinBuilder {
    pub(super) tokens: Vec<String>,
    pub(super) owner: String,
    pub(super) repository: String,
    pub(super) issues: u64,
    pub(super) pull_requests: u64,
    pub(super) comments_per_issue: u64,
    pub(super) rate_limit: u32,
    pub(super) exhausted_status: StatusCode,
    pub(super) default_page_size: usize,
    pub(super) max_page_size: usize,
    pub(super) start: DateTime<Utc>,
}

impl Default for GithubTwinBuilder {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            owner: "acme".to_owned(),
            repository: "widgets".to_owned(),
            issues: 12,
            pull_requests: 3,
            comments_per_issue: 2,
            rate_limit: 5000,
            exhausted_status: StatusCode::FORBIDDEN,
            default_page_size: 30,
            max_page_size: 100,
            start: DEFAULT_START,
        }
    }
}

impl std::fmt::Debug for GithubTwinBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GithubTwinBuilder")
            .field("owner", &self.owner)
            .field("repository", &self.repository)
            .finish_non_exhaustive()
    }
}

impl GithubTwinBuilder {
    /// Accepts `token`, instead of [`DEFAULT_TOKEN`]; call it again to accept several.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.tokens.push(token.into());
        self
    }

    /// Names the one repository there is.
    #[must_use]
    pub fn repository(mut self, owner: impl Into<String>, name: impl Into<String>) -> Self {
        self.owner = owner.into();
        self.repository = name.into();
        self
    }

    /// How many issues there are at the start.
    #[must_use]
    pub fn issues(mut self, count: u64) -> Self {
        self.issues = count;
        self
    }

    /// How many pull requests there are at the start, numbered after the issues.
    #[must_use]
    pub fn pull_requests(mut self, count: u64) -> Self {
        self.pull_requests = count;
        self
    }

    /// How many comments each issue and pull request has at the start.
    #[must_use]
    pub fn comments_per_issue(mut self, count: u64) -> Self {
        self.comments_per_issue = count;
        self
    }

    /// Requests allowed per hour with a token.
    #[must_use]
    pub fn rate_limit(mut self, per_hour: u32) -> Self {
        self.rate_limit = per_hour;
        self
    }

    /// The status of an answer beyond the rate limit; GitHub uses 403 and 429.
    #[must_use]
    pub fn exhausted_status(mut self, status: StatusCode) -> Self {
        self.exhausted_status = status;
        self
    }

    /// Items on a page without and, at most, with `per_page`.
    #[must_use]
    pub fn page_size(mut self, default: usize, max: usize) -> Self {
        self.max_page_size = max.max(1);
        self.default_page_size = default.clamp(1, self.max_page_size);
        self
    }

    /// The twin's time at the start. Pass the present for code that runs on the system's clock.
    #[must_use]
    pub fn starting_at(mut self, now: DateTime<Utc>) -> Self {
        self.start = now;
        self
    }

    /// Starts the twin on a free port of the loopback address.
    ///
    /// # Errors
    ///
    /// When no local port can be bound.
    pub async fn start(mut self) -> io::Result<GithubTwin> {
        if self.tokens.is_empty() {
            self.tokens.push(DEFAULT_TOKEN.to_owned());
        }
        GithubTwin::from_builder(self).await
    }
}
