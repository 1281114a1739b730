//! The repository behind the twin: issues, comments, what happened to them, and the time.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use super::{
    auth::{Caller, Tokens},
    config::GithubTwinBuilder,
    rate::RateLimit,
};

/// What GitHub allows an hour without a token.
const ANONYMOUS_LIMIT: u32 = 60;

/// Somebody with an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) id: u64,
    pub(super) login: &'static str,
}

/// Whom every accepted token belongs to.
pub(super) const TOKEN_OWNER: Account = Account {
    id: 1,
    login: "octo-twin",
};
const AUTHORS: [Account; 3] = [
    Account {
        id: 2,
        login: "mona",
    },
    Account {
        id: 3,
        login: "hubot",
    },
    TOKEN_OWNER,
];

/// An issue or a pull request.
#[derive(Clone, Debug)]
pub(super) struct Issue {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) title: String,
    pub(super) body: Option<String>,
    pub(super) labels: Vec<String>,
    pub(super) author: Account,
    pub(super) is_pull_request: bool,
    pub(super) comments: u64,
    pub(super) state_reason: Option<&'static str>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) closed_at: Option<DateTime<Utc>>,
}

impl Issue {
    pub(super) fn state(&self) -> &'static str {
        if self.closed_at.is_some() {
            "closed"
        } else {
            "open"
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) issue: u64,
    pub(super) on_pull_request: bool,
    pub(super) body: String,
    pub(super) author: Account,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

/// Something that happened to an issue.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) id: u64,
    pub(super) issue: u64,
    pub(super) kind: EventKind,
    pub(super) at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub(super) enum EventKind {
    Opened,
    Closed,
    Reopened,
    Renamed { from: String, to: String },
    Labeled(String),
    Commented(u64),
}

impl EventKind {
    /// Whether the list of an issue's events has it.
    pub(super) const fn is_issue_event(&self) -> bool {
        !matches!(self, Self::Opened | Self::Commented(_))
    }

    /// Whether the list of what happened in the repository has it.
    pub(super) const fn is_activity(&self) -> bool {
        !matches!(self, Self::Renamed { .. } | Self::Labeled(_))
    }
}

/// What it takes to open an issue.
#[derive(Debug, Default)]
pub(super) struct NewIssue {
    pub(super) title: String,
    pub(super) body: Option<String>,
    pub(super) labels: Vec<String>,
    pub(super) is_pull_request: bool,
}

/// A change to an issue; `None` leaves a field as it is.
#[derive(Debug, Default)]
pub(super) struct IssueEdit {
    pub(super) title: Option<String>,
    pub(super) body: BodyEdit,
    pub(super) labels: Option<Vec<String>>,
    pub(super) open: Option<bool>,
    /// Why it is closed, where it is; `completed` unless said otherwise.
    pub(super) reason: Option<&'static str>,
}

/// A change to a body, which can be removed as well as replaced.
#[derive(Debug, Default)]
pub(super) enum BodyEdit {
    #[default]
    Keep,
    Set(Option<String>),
}

/// Everything that changes while the twin runs.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) tokens: Tokens,
    known: RateLimit,
    anonymous: RateLimit,
    issues: BTreeMap<u64, Issue>,
    comments: BTreeMap<u64, Comment>,
    events: Vec<Event>,
    created_at: DateTime<Utc>,
    now: DateTime<Utc>,
    last_id: u64,
}

impl Data {
    /// The repository as seeded: one issue an hour, the last of them an hour before the start.
    pub(super) fn new(builder: &GithubTwinBuilder) -> Self {
        // GitHub's timestamps are whole seconds.
        let start = builder
            .start
            .duration_trunc(TimeDelta::seconds(1))
            .unwrap_or(builder.start);
        let hours = builder.issues + builder.pull_requests;
        let created_at = start - hour(hours + 1);
        let mut data = Self {
            tokens: Tokens::new(&builder.tokens),
            known: RateLimit::new(builder.rate_limit, start),
            anonymous: RateLimit::new(ANONYMOUS_LIMIT, start),
            issues: BTreeMap::new(),
            comments: BTreeMap::new(),
            events: Vec::new(),
            created_at,
            now: created_at,
            last_id: 1_000,
        };
        for number in 1..=hours {
            data.now = created_at + hour(number);
            data.seed(number, number > builder.issues, builder.comments_per_issue);
        }
        data.now = start;
        data
    }

    fn seed(&mut self, number: u64, is_pull_request: bool, comments: u64) {
        let what = if is_pull_request {
            "Pull request"
        } else {
            "Issue"
        };
        self.open_issue(NewIssue {
            title: format!("{what} {number}"),
            body: (!number.is_multiple_of(5))
                .then(|| format!("What there is to say about {number}.")),
            labels: if number.is_multiple_of(3) {
                vec!["bug".to_owned()]
            } else {
                Vec::new()
            },
            is_pull_request,
        });
        for comment in 1..=comments {
            self.comment(number, format!("Comment {comment} on {number}."));
        }
        if number.is_multiple_of(4) {
            self.edit_issue(
                number,
                IssueEdit {
                    open: Some(false),
                    ..IssueEdit::default()
                },
            );
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.now
    }

    pub(super) fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    pub(super) fn advance(&mut self, by: Duration) {
        let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
        self.now = self
            .now
            .checked_add_signed(by)
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
    }

    /// Every change has a second of its own, so that the order of changes can be seen.
    fn tick(&mut self) -> DateTime<Utc> {
        self.advance(Duration::from_secs(1));
        self.now
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn issues(&self) -> impl Iterator<Item = &Issue> {
        self.issues.values()
    }

    pub(super) fn issue(&self, number: u64) -> Option<&Issue> {
        self.issues.get(&number)
    }

    pub(super) fn comments(&self) -> impl Iterator<Item = &Comment> {
        self.comments.values()
    }

    pub(super) fn comments_on(&self, issue: u64) -> impl Iterator<Item = &Comment> {
        self.comments()
            .filter(move |comment| comment.issue == issue)
    }

    pub(super) fn find_comment(&self, id: u64) -> Option<&Comment> {
        self.comments.get(&id)
    }

    /// What happened, the latest first.
    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().rev()
    }

    /// When anything here last changed.
    pub(super) fn updated_at(&self) -> DateTime<Utc> {
        let issues = self.issues().map(|issue| issue.updated_at);
        issues.max().unwrap_or(self.created_at)
    }

    pub(super) fn open_issue(&mut self, new: NewIssue) -> u64 {
        let at = self.tick();
        let number = self.issues.last_key_value().map_or(1, |(last, _)| last + 1);
        let issue = Issue {
            id: self.next_id(),
            number,
            title: new.title,
            body: new.body,
            labels: new.labels,
            author: author(number),
            is_pull_request: new.is_pull_request,
            comments: 0,
            state_reason: None,
            created_at: at,
            updated_at: at,
            closed_at: None,
        };
        self.record(number, EventKind::Opened);
        for label in &issue.labels {
            self.record(number, EventKind::Labeled(label.clone()));
        }
        self.issues.insert(number, issue);
        number
    }

    /// Applies a change; an empty one moves `updated_at` alone.
    pub(super) fn edit_issue(&mut self, number: u64, edit: IssueEdit) -> Option<&Issue> {
        if !self.issues.contains_key(&number) {
            return None;
        }
        let at = self.tick();
        let issue = self.issues.get_mut(&number)?;
        let mut happened = Vec::new();
        issue.updated_at = at;
        if let BodyEdit::Set(body) = edit.body {
            issue.body = body;
        }
        if let Some(to) = edit.title
            && to != issue.title
        {
            let from = std::mem::replace(&mut issue.title, to.clone());
            happened.push(EventKind::Renamed { from, to });
        }
        if let Some(labels) = edit.labels {
            let new = labels.iter().filter(|label| !issue.labels.contains(label));
            happened.extend(new.cloned().map(EventKind::Labeled));
            issue.labels = labels;
        }
        match edit.open {
            Some(false) if issue.closed_at.is_none() => {
                issue.closed_at = Some(at);
                let reason = edit.reason.unwrap_or("completed");
                issue.state_reason = (!issue.is_pull_request).then_some(reason);
                happened.push(EventKind::Closed);
            }
            Some(true) if issue.closed_at.is_some() => {
                issue.closed_at = None;
                issue.state_reason = (!issue.is_pull_request).then_some("reopened");
                happened.push(EventKind::Reopened);
            }
            _ => {}
        }
        for kind in happened {
            self.record(number, kind);
        }
        self.issue(number)
    }

    pub(super) fn comment(&mut self, issue: u64, body: String) -> Option<u64> {
        if !self.issues.contains_key(&issue) {
            return None;
        }
        let at = self.tick();
        let id = self.next_id();
        let author = author(id);
        let commented = self.issues.get_mut(&issue)?;
        commented.comments += 1;
        commented.updated_at = at;
        let on_pull_request = commented.is_pull_request;
        self.comments.insert(
            id,
            Comment {
                id,
                issue,
                on_pull_request,
                body,
                author,
                created_at: at,
                updated_at: at,
            },
        );
        self.record(issue, EventKind::Commented(id));
        Some(id)
    }

    fn record(&mut self, issue: u64, kind: EventKind) {
        let id = self.next_id();
        self.events.push(Event {
            id,
            issue,
            kind,
            at: self.now,
        });
    }

    /// The present window of whoever is asking.
    pub(super) fn rate(&mut self, caller: Caller) -> &mut RateLimit {
        let rate = match caller {
            Caller::Known => &mut self.known,
            Caller::Anonymous | Caller::Unknown => &mut self.anonymous,
        };
        rate.renew(self.now);
        rate
    }

    pub(super) fn set_rate_remaining(&mut self, remaining: u32) {
        self.rate(Caller::Known).set_remaining(remaining);
        self.rate(Caller::Anonymous).set_remaining(remaining);
    }
}

fn hour(count: u64) -> TimeDelta {
    TimeDelta::hours(i64::try_from(count).unwrap_or(i64::from(u32::MAX)))
}

/// Authors take turns.
fn author(turn: u64) -> Account {
    let [mona, hubot, owner] = AUTHORS;
    match turn % 3 {
        0 => mona,
        1 => hubot,
        _ => owner,
    }
}
