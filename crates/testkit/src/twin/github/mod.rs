//! The twin of GitHub: a local server with GitHub's shapes, headers, limits and failures.
//!
//! ```no_run
//! use integrations_testkit::twin::github::{Fault, GithubTwin, DEFAULT_TOKEN};
//!
//! # async fn example() -> std::io::Result<()> {
//! let twin = GithubTwin::builder().repository("acme", "widgets").issues(45).start().await?;
//! twin.inject(Fault::status(503).times(2).on_path("/repos/acme/widgets/issues"));
//! // .. point the code under test at `twin.base_url()` with `DEFAULT_TOKEN` ..
//! assert!(twin.saw_token(DEFAULT_TOKEN));
//! twin.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here is random and nothing reads the system's clock: ids count up, and every
//! timestamp comes from the twin's own time, which starts where the builder says and moves by
//! one second with each change. Where GitHub is strict the twin is too: a request without a
//! `User-Agent` is refused, the repository is private (404 without a token), and `Link` headers
//! use `/repositories/{id}`, which the twin serves as well.

mod answers;
mod auth;
mod comments;
mod config;
mod delivery;
mod events;
mod faults;
mod headers;
mod issues;
mod listing;
mod log;
mod rate;
mod repository;
mod server;
mod shapes;
mod state;

use std::{io, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

pub use self::{
    config::{DEFAULT_START, DEFAULT_TOKEN, GithubTwinBuilder},
    delivery::{WebhookEvent, signed_delivery},
    faults::{Fault, FaultRule, RetryAfter},
    log::ReceivedRequest,
};
use self::{
    server::Shared,
    state::{IssueEdit, NewIssue},
};

/// A running twin. Stops when dropped.
#[derive(Debug)]
pub struct GithubTwin {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl GithubTwin {
    /// Starts a twin as [`GithubTwinBuilder::default`] describes it.
    ///
    /// # Errors
    ///
    /// When no local port can be bound.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Describes a twin before starting it.
    #[must_use]
    pub fn builder() -> GithubTwinBuilder {
        GithubTwinBuilder::default()
    }

    async fn from_builder(builder: GithubTwinBuilder) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::new(base_url, &builder));
        let task = tokio::spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// Where the API is, as `http://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.shared.base_url
    }

    /// Stops listening, cuts the connections that are open, and returns when that is done.
    pub async fn shutdown(mut self) {
        self.task.abort();
        // The only error is the cancellation asked for above.
        let _cancelled = (&mut self.task).await;
    }

    /// The twin's time, which every timestamp it sends comes from.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.shared.data().now()
    }

    /// Moves the twin's time forward; a rate-limit window that ends by then is renewed.
    pub fn advance(&self, by: Duration) {
        self.shared.data().advance(by);
    }

    /// Accepts `token` from now on.
    pub fn accept_token(&self, token: &str) {
        self.shared.data().tokens.accept(token);
    }

    /// Answers `token` with 401 from now on, as after a rotation.
    pub fn revoke_token(&self, token: &str) {
        self.shared.data().tokens.revoke(token);
    }

    /// Sets how many requests are left in the present rate-limit window of every caller.
    pub fn set_rate_remaining(&self, remaining: u32) {
        self.shared.data().set_rate_remaining(remaining);
    }
}

/// What happens in the repository, as if somebody else had done it.
#[expect(
    clippy::must_use_candidate,
    reason = "these are called for what they change"
)]
impl GithubTwin {
    /// Opens an issue and returns its number.
    pub fn add_issue(&self, title: &str) -> u64 {
        self.shared.data().open_issue(NewIssue {
            title: title.to_owned(),
            ..NewIssue::default()
        })
    }

    /// Moves an issue's `updated_at` and returns it; `None` when there is no such issue.
    pub fn touch_issue(&self, number: u64) -> Option<DateTime<Utc>> {
        self.shared
            .data()
            .edit_issue(number, IssueEdit::default())
            .map(|issue| issue.updated_at)
    }

    /// Closes an issue; `None` when there is no such issue.
    pub fn close_issue(&self, number: u64) -> Option<DateTime<Utc>> {
        let edit = IssueEdit {
            open: Some(false),
            ..IssueEdit::default()
        };
        self.shared
            .data()
            .edit_issue(number, edit)
            .map(|issue| issue.updated_at)
    }

    /// Comments on an issue and returns the comment's id; `None` when there is no such issue.
    pub fn add_comment(&self, number: u64, body: &str) -> Option<u64> {
        self.shared.data().comment(number, body.to_owned())
    }
}

/// What the repository holds.
impl GithubTwin {
    /// An issue as the API would show it now.
    #[must_use]
    pub fn issue(&self, number: u64) -> Option<Value> {
        let data = self.shared.data();
        data.issue(number)
            .map(|issue| self.shared.shapes().issue(issue))
    }

    /// How many issues there are, pull requests included, open and closed.
    #[must_use]
    pub fn issue_count(&self) -> usize {
        self.shared.data().issues().count()
    }

    /// The `issues` event GitHub would send about an issue as it is now, for
    /// [`signed_delivery`]; `action` is `opened`, `edited`, `closed` and so on.
    #[must_use]
    pub fn issues_event(&self, action: &str, number: u64) -> Option<WebhookEvent> {
        let data = self.shared.data();
        let issue = data.issue(number)?;
        Some(WebhookEvent::issues(
            self.shared.shapes(),
            &data,
            action,
            issue,
        ))
    }
}

/// What the twin was asked.
impl GithubTwin {
    /// Every request received so far, in the order they arrived.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.shared.log.entries()
    }

    /// Forgets the finished requests.
    pub fn clear_requests(&self) {
        self.shared.log.clear();
    }

    /// Whether any request on file carried this token.
    #[must_use]
    pub fn saw_token(&self, token: &str) -> bool {
        self.requests()
            .iter()
            .any(|request| request.carried_token(token))
    }

    /// The most requests to `path` that were being answered at one time.
    #[must_use]
    pub fn max_concurrent(&self, path: &str) -> usize {
        log::max_concurrent(
            self.requests()
                .iter()
                .filter(|request| request.path == path),
        )
    }

    /// Returns once `count` requests have arrived since the start, answered or not.
    pub async fn wait_for_requests(&self, count: usize) {
        self.shared.log.wait_for(count).await;
    }
}

/// What goes wrong.
impl GithubTwin {
    /// Queues a fault: the first rule that fits a request is used up by it.
    pub fn inject(&self, rule: impl Into<FaultRule>) {
        self.shared.faults.inject(rule.into());
    }

    /// Forgets the faults not used so far.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Lets every request held by [`Fault::Hold`] go on.
    pub fn release_held(&self) {
        self.shared.faults.release_held();
    }
}

impl Drop for GithubTwin {
    fn drop(&mut self) {
        self.task.abort();
    }
}
