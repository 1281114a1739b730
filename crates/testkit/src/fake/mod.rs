//! A fake of other systems: a transport under the real pipeline, for tests of applications.
//!
//! Nothing of the layer is replaced but the wire: calls are logged, limited, retried and cached
//! as they are in production, over a store in memory and a clock the test moves.
//!
//! ```
//! use integrations_core::{client::CallError, provider::Provider};
//! use integrations_testkit::{fake::Faked, transport::Reply};
//! use serde_json::json;
//!
//! # async fn example(github: impl Provider + 'static) -> Result<(), CallError> {
//! let settings = [("owner", "acme"), ("repo", "widgets")];
//! let github = Faked::account(github, &[("token", "t")], &settings).await;
//! github.fake.on("GET /repos/*/*/issues", json!([{ "title": "It broke" }]));
//! github.fake.on("POST /**", [Reply::status(503), Reply::status(201)]);
//!
//! let issues = github.handle.get("/repos/{owner}/{repo}/issues").send().await?;
//! assert_eq!(issues.status, 200);
//! github.fake.assert_requested("GET /repos/acme/widgets/issues", 1);
//! github.fake.assert_not_requested("POST /**");
//! # Ok(())
//! # }
//! ```

mod account;
mod answer;
mod pattern;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use integrations_core::{
    id::IntegrationId,
    transport::{CallOrigin, HttpTransport, TransportError},
    value::ProviderKey,
};

use self::pattern::Pattern;
use crate::{
    clock::ManualClock,
    transport::{Reply, SentRequest},
};

pub use account::Faked;
pub use answer::FakeAnswer;

/// A [`HttpTransport`] that answers by patterns. Cheap to clone; clones share everything.
///
/// Of the patterns that fit a request the most precise one answers: one with a method before one
/// without, one without wildcards before one with, and of wildcards that with more slashes and
/// fewer stars; of equals the last. A request nothing fits panics and says so.
#[derive(Clone, Default)]
pub struct Fake {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    clock: Option<ManualClock>,
    rules: Vec<Rule>,
    passes: Vec<(ProviderKey, Arc<dyn HttpTransport>)>,
    requests: Vec<(SentRequest, Option<String>)>,
}

struct Rule {
    pattern: Pattern,
    /// For calls of this account alone.
    account: Option<IntegrationId>,
    answer: FakeAnswer,
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake").finish_non_exhaustive()
    }
}

impl Fake {
    /// A fake that answers nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves `clock` by what replies take.
    pub fn use_clock(&self, clock: ManualClock) {
        self.state().clock = Some(clock);
    }

    /// Answers requests of a pattern: `GET /repos/*/issues`, or without a method any. The path is
    /// that of the URL, or the template of the endpoint.
    ///
    /// # Panics
    ///
    /// Panics for a pattern that is none.
    pub fn on(&self, pattern: &str, answer: impl Into<FakeAnswer>) {
        self.add(pattern, None, answer.into());
    }

    /// The same for calls of one account, before what is there for all (FAKE-02).
    ///
    /// # Panics
    ///
    /// Panics for a pattern that is none.
    pub fn on_account(&self, account: IntegrationId, pattern: &str, answer: impl Into<FakeAnswer>) {
        self.add(pattern, Some(account), answer.into());
    }

    fn add(&self, pattern: &str, account: Option<IntegrationId>, answer: FakeAnswer) {
        let pattern = Pattern::parse(pattern);
        self.state().rules.push(Rule {
            pattern,
            account,
            answer,
        });
    }

    /// Lets the calls of a provider through to `transport`, such as a twin's. They are not kept
    /// for assertions (FAKE-03).
    ///
    /// # Panics
    ///
    /// Panics for what is no provider's key.
    #[expect(
        clippy::expect_used,
        reason = "a mistake in a test shall fail the test"
    )]
    pub fn pass(&self, provider: &str, transport: impl HttpTransport + 'static) {
        let provider = provider.parse().expect("a provider's key");
        self.state().passes.push((provider, Arc::new(transport)));
    }

    /// Every request so far, those that nothing answered included.
    #[must_use]
    pub fn requests(&self) -> Vec<SentRequest> {
        let state = self.state();
        state
            .requests
            .iter()
            .map(|(sent, _)| sent.clone())
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Assertions, which panic with what was requested.
impl Fake {
    /// Requests of the pattern, which is read as for [`on`](Self::on).
    ///
    /// # Panics
    ///
    /// Panics for a pattern that is none.
    #[must_use]
    pub fn requested(&self, pattern: &str) -> Vec<SentRequest> {
        let pattern = Pattern::parse(pattern);
        let state = self.state();
        let fitting = state.requests.iter().filter(|(sent, template)| {
            pattern.fits(&sent.method, sent.uri.path(), template.as_deref())
        });
        fitting.map(|(sent, _)| sent.clone()).collect()
    }

    /// So many requests of the pattern were made.
    ///
    /// # Panics
    ///
    /// Panics where that is not so.
    #[track_caller]
    pub fn assert_requested(&self, pattern: &str, times: usize) {
        let count = self.requested(pattern).len();
        assert_eq!(
            count,
            times,
            "`{pattern}` was requested {count} times and not {times}; {}",
            self.summary()
        );
    }

    /// A request of the pattern was made for which `holds`.
    ///
    /// # Panics
    ///
    /// Panics where that is not so.
    #[track_caller]
    pub fn assert_requested_with(&self, pattern: &str, holds: impl Fn(&SentRequest) -> bool) {
        assert!(
            self.requested(pattern).iter().any(holds),
            "`{pattern}` was not requested like that; {}",
            self.summary()
        );
    }

    /// No request of the pattern was made.
    ///
    /// # Panics
    ///
    /// Panics where that is not so.
    #[track_caller]
    pub fn assert_not_requested(&self, pattern: &str) {
        self.assert_requested(pattern, 0);
    }

    /// So many requests were made in all.
    ///
    /// # Panics
    ///
    /// Panics where that is not so.
    #[track_caller]
    pub fn assert_count(&self, times: usize) {
        let count = self.requests().len();
        assert_eq!(count, times, "{}", self.summary());
    }

    /// No request was made.
    ///
    /// # Panics
    ///
    /// Panics where that is not so.
    #[track_caller]
    pub fn assert_nothing_requested(&self) {
        self.assert_count(0);
    }

    fn summary(&self) -> String {
        let requests: Vec<String> = self
            .requests()
            .iter()
            .map(|sent| format!("{} {}", sent.method, sent.uri.path()))
            .collect();
        if requests.is_empty() {
            return "nothing was requested".to_owned();
        }
        format!("requested were: {}", requests.join(", "))
    }
}

/// What is done with a request.
enum Found {
    Pass(Arc<dyn HttpTransport>),
    Reply(Reply),
}

impl State {
    fn find(&mut self, origin: Option<&CallOrigin>, sent: &SentRequest) -> Result<Found, String> {
        let pass = origin.and_then(|origin| {
            let pass = self.passes.iter().find(|(key, _)| *key == origin.provider);
            pass.map(|(_, transport)| Arc::clone(transport))
        });
        if let Some(transport) = pass {
            return Ok(Found::Pass(transport));
        }
        let template = origin.map(|origin| origin.endpoint.clone());
        let account = origin.map(|origin| origin.integration_id);
        self.requests.push((sent.clone(), template.clone()));
        let (method, path) = (&sent.method, sent.uri.path());
        let rule = self
            .rules
            .iter_mut()
            .filter(|rule| rule.account.is_none() || rule.account == account)
            .filter(|rule| rule.pattern.fits(method, path, template.as_deref()))
            .max_by_key(|rule| (rule.account.is_some(), rule.pattern.precision()));
        let Some(rule) = rule else {
            let rules: Vec<String> = self
                .rules
                .iter()
                .map(|r| format!("`{}`", r.pattern))
                .collect();
            let rules = if rules.is_empty() {
                "it was told nothing".to_owned()
            } else {
                format!("it was told {}", rules.join(", "))
            };
            return Err(format!(
                "the fake has no answer to {method} {path}: {rules}"
            ));
        };
        let pattern = rule.pattern.to_string();
        let reply = rule.answer.next(sent);
        reply.map(Found::Reply).ok_or_else(|| {
            format!("the fake has no more answers to {method} {path}: the sequence of `{pattern}` is at its end")
        })
    }
}

#[async_trait]
impl HttpTransport for Fake {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let origin = request.extensions().get::<CallOrigin>().cloned();
        let sent = SentRequest {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            body: request.body().clone(),
        };
        let found = self.state().find(origin.as_ref(), &sent);
        match found {
            Ok(Found::Pass(transport)) => transport.send(request).await,
            Ok(Found::Reply(reply)) => {
                let clock = self.state().clock.clone();
                reply.into_answer(clock.as_ref())
            }
            // Not while the lock is held: every later request would meet it poisoned.
            Err(nothing) => panic!("{nothing}"),
        }
    }
}
