//! GitHub's JSON.

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::state::{Account, Comment, Data, Event, EventKind, Issue};

/// The id of the one repository.
pub(super) const REPOSITORY_ID: u64 = 1_296_269;
const OWNER_ID: u64 = 9_919;
const REACTIONS: [&str; 8] = [
    "+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes",
];

/// Renders what there is for one server and repository.
#[derive(Debug)]
pub(super) struct Shapes {
    base: String,
    owner: String,
    name: String,
}

impl Shapes {
    pub(super) fn new(base: &str, owner: &str, name: &str) -> Self {
        Self {
            base: base.to_owned(),
            owner: owner.to_owned(),
            name: name.to_owned(),
        }
    }

    /// A path of the repository's API.
    pub(super) fn api(&self, path: &str) -> String {
        format!("{}/repos/{}/{}{path}", self.base, self.owner, self.name)
    }

    fn html(&self, path: &str) -> String {
        format!("https://github.com/{}/{}{path}", self.owner, self.name)
    }

    pub(super) fn account(&self, account: Account) -> Value {
        self.user(account.id, account.login, "User")
    }

    fn user(&self, id: u64, login: &str, kind: &str) -> Value {
        let url = format!("{}/users/{login}", self.base);
        json!({
            "login": login,
            "id": id,
            "node_id": node_id("User", id),
            "avatar_url": format!("{}/avatars/u/{id}?v=4", self.base),
            "gravatar_id": "",
            "url": url,
            "html_url": format!("https://github.com/{login}"),
            "followers_url": format!("{url}/followers"),
            "following_url": format!("{url}/following{{/other_user}}"),
            "gists_url": format!("{url}/gists{{/gist_id}}"),
            "starred_url": format!("{url}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{url}/subscriptions"),
            "organizations_url": format!("{url}/orgs"),
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events{{/privacy}}"),
            "received_events_url": format!("{url}/received_events"),
            "type": kind,
            "user_view_type": "public",
            "site_admin": false,
        })
    }

    /// Whom the token belongs to, with what only they and `GET /user` see.
    pub(super) fn token_owner(&self, account: Account, created_at: DateTime<Utc>) -> Value {
        let profile = json!({
            "name": "Octo Twin",
            "company": null,
            "blog": "",
            "location": null,
            "email": "octo-twin@example.com",
            "hireable": null,
            "bio": null,
            "twitter_username": null,
            "notification_email": "octo-twin@example.com",
            "public_repos": 2,
            "public_gists": 0,
            "followers": 3,
            "following": 1,
            "created_at": timestamp(created_at),
            "updated_at": timestamp(created_at),
        });
        merge(self.account(account), profile)
    }

    pub(super) fn repository(&self, data: &Data) -> Value {
        let open = data
            .issues()
            .filter(|issue| issue.closed_at.is_none())
            .count();
        let about = json!({
            "id": REPOSITORY_ID,
            "node_id": node_id("Repository", REPOSITORY_ID),
            "name": self.name,
            "full_name": format!("{}/{}", self.owner, self.name),
            "private": true,
            "owner": self.user(OWNER_ID, &self.owner, "Organization"),
            "html_url": self.html(""),
            "description": "A repository to try integrations on",
            "fork": false,
            "url": self.api(""),
            "language": "Rust",
            "license": null,
            "topics": ["integrations"],
            "visibility": "private",
            "default_branch": "main",
            "size": 108,
        });
        let counts = json!({
            "forks_count": 0,
            "stargazers_count": 7,
            "watchers_count": 7,
            "open_issues_count": open,
            "forks": 0,
            "watchers": 7,
            "open_issues": open,
            "network_count": 0,
            "subscribers_count": 4,
            "has_issues": true,
            "has_projects": true,
            "has_wiki": false,
            "has_pages": false,
            "archived": false,
            "disabled": false,
        });
        let links = json!({
            "issues_url": self.api("/issues{/number}"),
            "issue_comment_url": self.api("/issues/comments{/number}"),
            "issue_events_url": self.api("/issues/events{/number}"),
            "events_url": self.api("/events"),
            "comments_url": self.api("/comments{/number}"),
            "contents_url": self.api("/contents/{+path}"),
            "pulls_url": self.api("/pulls{/number}"),
            "labels_url": self.api("/labels{/name}"),
            "clone_url": self.html(".git"),
            "created_at": timestamp(data.created_at()),
            "updated_at": timestamp(data.updated_at()),
            "pushed_at": timestamp(data.created_at()),
            "permissions":
                { "admin": false, "maintain": false, "push": true, "triage": true, "pull": true },
        });
        merge(merge(about, counts), links)
    }

    pub(super) fn issue(&self, issue: &Issue) -> Value {
        let url = self.api(&format!("/issues/{}", issue.number));
        let kind = html_kind(issue.is_pull_request);
        let content = json!({
            "id": issue.id,
            "node_id": node_id("Issue", issue.id),
            "number": issue.number,
            "title": issue.title,
            "body": issue.body,
            "user": self.account(issue.author),
            "labels": issue.labels.iter().map(|name| self.label(name)).collect::<Vec<_>>(),
            "state": issue.state(),
            "state_reason": issue.state_reason,
            "locked": false,
            "active_lock_reason": null,
            "assignee": null,
            "assignees": [],
            "milestone": null,
            "type": null,
            "comments": issue.comments,
            "author_association": "CONTRIBUTOR",
            "closed_by": issue.closed_at.map(|_| self.account(issue.author)),
            "performed_via_github_app": null,
        });
        let links = json!({
            "url": url,
            "repository_url": self.api(""),
            "labels_url": format!("{url}/labels{{/name}}"),
            "comments_url": format!("{url}/comments"),
            "events_url": format!("{url}/events"),
            "timeline_url": format!("{url}/timeline"),
            "html_url": self.html(&format!("/{kind}/{}", issue.number)),
            "reactions": reactions(&url),
            "created_at": timestamp(issue.created_at),
            "updated_at": timestamp(issue.updated_at),
            "closed_at": issue.closed_at.map(timestamp),
        });
        let shape = merge(content, links);
        if !issue.is_pull_request {
            let summary = json!({ "total": 0, "completed": 0, "percent_completed": 0 });
            return merge(shape, json!({ "sub_issues_summary": summary }));
        }
        let html = self.html(&format!("/pull/{}", issue.number));
        let pull_request = json!({
            "url": self.api(&format!("/pulls/{}", issue.number)),
            "html_url": html,
            "diff_url": format!("{html}.diff"),
            "patch_url": format!("{html}.patch"),
            "merged_at": null,
        });
        merge(
            shape,
            json!({ "draft": false, "pull_request": pull_request }),
        )
    }

    fn label(&self, name: &str) -> Value {
        // GitHub numbers labels; here the name makes the number, so that it stays the same.
        let id = name.bytes().fold(0, |id: u32, byte| {
            id.wrapping_mul(31).wrapping_add(u32::from(byte))
        });
        json!({
            "id": id,
            "node_id": node_id("Label", u64::from(id)),
            "url": self.api(&format!("/labels/{name}")),
            "name": name,
            "color": "d73a4a",
            "default": name == "bug",
            "description": null,
        })
    }

    pub(super) fn comment(&self, comment: &Comment) -> Value {
        let url = self.api(&format!("/issues/comments/{}", comment.id));
        let kind = html_kind(comment.on_pull_request);
        let anchor = format!("/{kind}/{}#issuecomment-{}", comment.issue, comment.id);
        json!({
            "url": url,
            "html_url": self.html(&anchor),
            "issue_url": self.api(&format!("/issues/{}", comment.issue)),
            "id": comment.id,
            "node_id": node_id("IssueComment", comment.id),
            "user": self.account(comment.author),
            "created_at": timestamp(comment.created_at),
            "updated_at": timestamp(comment.updated_at),
            "author_association": "CONTRIBUTOR",
            "body": comment.body,
            "reactions": reactions(&url),
            "performed_via_github_app": null,
        })
    }

    /// An event of `/issues/events`; `None` for what GitHub does not list there.
    pub(super) fn issue_event(&self, data: &Data, event: &Event) -> Option<Value> {
        let issue = data.issue(event.issue)?;
        let (name, detail) = match &event.kind {
            EventKind::Closed => ("closed", json!({ "state_reason": issue.state_reason })),
            EventKind::Reopened => ("reopened", json!({ "state_reason": null })),
            EventKind::Renamed { from, to } => {
                ("renamed", json!({ "rename": { "from": from, "to": to } }))
            }
            EventKind::Labeled(label) => (
                "labeled",
                json!({ "label": { "name": label, "color": "d73a4a" } }),
            ),
            EventKind::Opened | EventKind::Commented(_) => return None,
        };
        let shape = json!({
            "id": event.id,
            "node_id": node_id("IssueEvent", event.id),
            "url": self.api(&format!("/issues/events/{}", event.id)),
            "actor": self.account(issue.author),
            "event": name,
            "commit_id": null,
            "commit_url": null,
            "created_at": timestamp(event.at),
            "issue": self.issue(issue),
            "performed_via_github_app": null,
        });
        Some(merge(shape, detail))
    }

    /// An event of `/events`; `None` for what GitHub does not list there.
    pub(super) fn activity(&self, data: &Data, event: &Event) -> Option<Value> {
        let issue = data.issue(event.issue)?;
        let mut payload = json!({ "issue": self.issue(issue) });
        let (kind, action) = match &event.kind {
            EventKind::Opened => ("IssuesEvent", "opened"),
            EventKind::Closed => ("IssuesEvent", "closed"),
            EventKind::Reopened => ("IssuesEvent", "reopened"),
            EventKind::Commented(id) => {
                payload["comment"] = self.comment(data.find_comment(*id)?);
                ("IssueCommentEvent", "created")
            }
            EventKind::Renamed { .. } | EventKind::Labeled(_) => return None,
        };
        payload["action"] = action.into();
        let actor = issue.author;
        Some(json!({
            "id": event.id.to_string(),
            "type": kind,
            "actor": {
                "id": actor.id,
                "login": actor.login,
                "display_login": actor.login,
                "gravatar_id": "",
                "url": format!("{}/users/{}", self.base, actor.login),
                "avatar_url": format!("{}/avatars/u/{}?", self.base, actor.id),
            },
            "repo": {
                "id": REPOSITORY_ID,
                "name": format!("{}/{}", self.owner, self.name),
                "url": self.api(""),
            },
            "payload": payload,
            "public": false,
            "created_at": timestamp(event.at),
        }))
    }
}

/// Where the page of an issue or pull request is.
fn html_kind(is_pull_request: bool) -> &'static str {
    if is_pull_request { "pull" } else { "issues" }
}

fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// GitHub's first form of node ids: the type's length, the type and the id, in base64.
fn node_id(kind: &str, id: u64) -> String {
    STANDARD.encode(format!("{:03}:{kind}{id}", kind.len()))
}

fn reactions(url: &str) -> Value {
    let mut reactions = json!({ "url": format!("{url}/reactions"), "total_count": 0 });
    for name in REACTIONS {
        reactions[name] = 0.into();
    }
    reactions
}

/// The fields of both objects. `json!` alone cannot hold the largest of them in one piece.
fn merge(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}
