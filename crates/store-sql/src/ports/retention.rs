//! [`Retention`] over SQL.

use async_trait::async_trait;
use integrations_core::{
    retention::{Prunable, PruneBatch, Pruned, Retention},
    store::{StoreError, StoreErrorKind},
};

use crate::{
    backend::{OwnCommit, Session},
    error::SqlError,
    statement::Template,
    store::{SqlStore, retrying},
};

/// How one kind of row is pruned.
struct Rule {
    /// Rows behind `$1` by id, at most `$2`: whether each is older than `$3`, and whether it may
    /// go.
    walk: Template,
    /// Deletes or empties those of the rows `$1` that may go still.
    delete: Template,
    /// Whether rows age in the order of their ids, so that a young one ends the walk.
    in_order: bool,
    /// Whether other rows of the table go with them.
    has_duplicates: bool,
}

/// The rule of a table: when a row was of age, and which rows may go, of the row `t`.
macro_rules! rule {
    ($table:literal, age: $age:literal, may_go: $may_go:literal) => {
        Rule {
            walk: Template::both(concat!(
                "SELECT t.id, ",
                $age,
                " < $3 AS is_old, ",
                $may_go,
                " AS may_go FROM {",
                $table,
                "} AS t WHERE t.id > $1 ORDER BY t.id LIMIT $2"
            )),
            delete: Template::each(
                concat!(
                    "DELETE FROM {",
                    $table,
                    "} AS t WHERE t.id = ANY($1) AND ",
                    $may_go
                ),
                concat!(
                    "DELETE FROM {",
                    $table,
                    "} AS t WHERE t.id IN (SELECT value FROM json_each($1)) AND ",
                    $may_go
                ),
            ),
            in_order: true,
            has_duplicates: false,
        }
    };
}

/// The same for rows that stay and lose what `$set` says.
macro_rules! emptying {
    ($table:literal, set: $set:literal, may_go: $may_go:literal) => {
        Rule {
            delete: Template::each(
                concat!(
                    "UPDATE {",
                    $table,
                    "} AS t SET ",
                    $set,
                    " WHERE t.id = ANY($1) AND ",
                    $may_go
                ),
                concat!(
                    "UPDATE {",
                    $table,
                    "} AS t SET ",
                    $set,
                    " WHERE t.id IN (SELECT value FROM json_each($1)) AND ",
                    $may_go
                ),
            ),
            ..rule!($table, age: "t.created_at", may_go: $may_go)
        }
    };
}

const REQUESTS: Rule = rule!("requests", age: "t.created_at", may_go: "true");
const REQUEST_BODIES: Rule = emptying!("requests",
    set: "request_data = NULL, response_data = NULL",
    may_go: "(t.request_data IS NOT NULL OR t.response_data IS NOT NULL)");
const OPERATIONS: Rule = rule!("logs", age: "t.created_at",
    may_go: "(NOT EXISTS (SELECT 1 FROM {sync_items} AS i WHERE i.sync_log_id = t.id \
        AND i.status NOT IN ('success', 'skipped')) \
        AND NOT EXISTS (SELECT 1 FROM {sync_runs} AS r WHERE r.log_id = t.id \
        AND r.state NOT IN ('success', 'partial', 'failed')))");
const IDEMPOTENCY_KEYS: Rule =
    rule!("idempotency_keys", age: "t.created_at", may_go: "t.state = 'succeeded'");
const SYNC_ITEMS: Rule =
    rule!("sync_items", age: "t.created_at", may_go: "t.status IN ('success', 'skipped')");
const ITEM_PAYLOADS: Rule = emptying!("sync_items", set: "payload = NULL",
    may_go: "(t.status IN ('success', 'skipped') AND t.payload IS NOT NULL)");
/// Items of a run were made before it ended, which is what an index knows.
const SYNC_RUNS: Rule = rule!("sync_runs", age: "t.started_at",
    may_go: "(t.state IN ('success', 'partial', 'failed') AND NOT EXISTS (\
        SELECT 1 FROM {sync_items} AS i WHERE i.integration_id = t.integration_id \
        AND i.created_at <= t.ended_at AND i.run_id = t.id))");
const PROCESSED_WEBHOOKS: Rule = Rule {
    has_duplicates: true,
    ..rule!("webhooks", age: "t.created_at",
        may_go: "(t.status = 'processed' AND t.duplicate_of IS NULL)")
};
const FAILED_WEBHOOKS: Rule = Rule {
    has_duplicates: true,
    ..rule!("webhooks", age: "t.created_at",
        may_go: "(t.status = 'failed' AND t.duplicate_of IS NULL)")
};
const CACHED_RESPONSES: Rule = Rule {
    in_order: false,
    ..rule!("response_cache",
        age: "CASE WHEN t.stale_until > t.expires_at THEN t.stale_until ELSE t.expires_at END",
        may_go: "true")
};
const TOKENS: Rule = Rule {
    in_order: false,
    ..rule!("tokens", age: "t.until", may_go: "true")
};

fn rule(what: Prunable) -> Option<&'static Rule> {
    Some(match what {
        Prunable::Requests => &REQUESTS,
        Prunable::RequestBodies => &REQUEST_BODIES,
        Prunable::ItemPayloads => &ITEM_PAYLOADS,
        Prunable::Operations => &OPERATIONS,
        Prunable::IdempotencyKeys => &IDEMPOTENCY_KEYS,
        Prunable::SyncItems => &SYNC_ITEMS,
        Prunable::SyncRuns => &SYNC_RUNS,
        Prunable::ProcessedWebhooks => &PROCESSED_WEBHOOKS,
        Prunable::FailedWebhooks => &FAILED_WEBHOOKS,
        Prunable::CachedResponses => &CACHED_RESPONSES,
        Prunable::Tokens => &TOKENS,
        _ => return None,
    })
}

/// Which rows of a batch go.
struct Walk {
    doomed: Vec<i64>,
    resume_after: Option<i64>,
}

impl<B: OwnCommit> SqlStore<B> {
    async fn prune_once(&self, rule: &Rule, batch: &PruneBatch) -> Result<Pruned, SqlError> {
        let mut session = self.backend.begin().await?;
        let walk = self.walk(&mut *session, rule, batch).await?;
        let mut deleted = 0;
        if !walk.doomed.is_empty() {
            if rule.has_duplicates {
                deleted += self
                    .prune_duplicates(&mut *session, &walk.doomed, batch.dry_run)
                    .await?;
            }
            deleted += if batch.dry_run {
                walk.doomed.len() as u64
            } else {
                let delete = self.sql(&rule.delete).bind_numbers(&walk.doomed);
                session.execute(delete).await?
            };
        }
        session.commit().await?;
        Ok(Pruned {
            deleted,
            resume_after: walk.resume_after,
        })
    }

    async fn walk(
        &self,
        session: &mut dyn Session,
        rule: &Rule,
        batch: &PruneBatch,
    ) -> Result<Walk, SqlError> {
        let statement = self
            .sql(&rule.walk)
            .bind(batch.after)
            .bind(batch.limit)
            .bind(batch.before);
        let rows = session.query(statement).await?;
        let is_full = rows.len() >= usize::try_from(batch.limit).unwrap_or(usize::MAX);
        let mut walk = Walk {
            doomed: Vec::new(),
            resume_after: is_full.then_some(batch.after),
        };
        for row in rows {
            let (id, is_old): (i64, bool) = (row.get("id")?, row.get("is_old")?);
            if !is_old && rule.in_order {
                walk.resume_after = None;
                break;
            }
            if is_old && row.get("may_go")? {
                walk.doomed.push(id);
            }
            walk.resume_after = walk.resume_after.map(|_| id);
        }
        Ok(walk)
    }

    /// Deletes the duplicates of deliveries that go, or counts them.
    async fn prune_duplicates(
        &self,
        session: &mut dyn Session,
        originals: &[i64],
        dry_run: bool,
    ) -> Result<u64, SqlError> {
        const COUNT: Template = Template::each(
            "SELECT count(*) AS count FROM {webhooks} \
             WHERE duplicate_of = ANY($1) AND duplicate_of IS NOT NULL",
            "SELECT count(*) AS count FROM {webhooks} \
             WHERE duplicate_of IN (SELECT value FROM json_each($1)) AND duplicate_of IS NOT NULL",
        );
        const DELETE: Template = Template::each(
            "DELETE FROM {webhooks} WHERE duplicate_of IN (SELECT id FROM {webhooks} \
             WHERE id = ANY($1) AND status IN ('processed', 'failed') ORDER BY id FOR UPDATE) \
             AND duplicate_of IS NOT NULL",
            "DELETE FROM {webhooks} WHERE duplicate_of IN (SELECT value FROM json_each($1)) \
             AND duplicate_of IS NOT NULL",
        );
        if dry_run {
            let rows = session
                .query(self.sql(&COUNT).bind_numbers(originals))
                .await?;
            return Ok(rows.first().map_or(Ok(0), |row| row.get("count"))?);
        }
        session
            .execute(self.sql(&DELETE).bind_numbers(originals))
            .await
    }

    async fn purge_once(&self, limit: u32) -> Result<u64, SqlError> {
        const REMOVED: Template = Template::both(
            "SELECT id FROM {integrations} WHERE removed_at IS NOT NULL ORDER BY id LIMIT $1",
        );
        let limit = u64::from(limit);
        let mut session = self.backend.begin().await?;
        let removed = session.query(self.sql(&REMOVED).bind(bound(limit))).await?;
        let mut deleted = 0;
        for row in removed {
            let id: i64 = row.get("id")?;
            for table in &PURGED {
                if deleted < limit {
                    let purge = self.sql(table).bind(id).bind(bound(limit - deleted));
                    deleted += session.execute(purge).await?;
                }
            }
        }
        session.commit().await?;
        Ok(deleted)
    }
}

/// Deletes at most `$2` rows of the integration `$1`.
macro_rules! purge {
    ($table:literal) => {
        purge!($table, "integration_id", "id")
    };
    ($table:literal, $of:literal, $key:literal) => {
        Template::both(concat!(
            "DELETE FROM {",
            $table,
            "} WHERE ",
            $key,
            " IN (SELECT ",
            $key,
            " FROM {",
            $table,
            "} WHERE ",
            $of,
            " = $1 ORDER BY ",
            $key,
            " DESC LIMIT $2)"
        ))
    };
}

/// Children before parents, and the integration itself at the end. The newest rows go first, so
/// that no duplicate outlives its original.
const PURGED: [Template; 12] = [
    purge!("sync_items"),
    purge!("sync_runs"),
    Template::each(
        "DELETE FROM {sync_records} WHERE ctid IN (SELECT ctid FROM {sync_records} \
         WHERE integration_id = $1 LIMIT $2)",
        "DELETE FROM {sync_records} WHERE rowid IN (SELECT rowid FROM {sync_records} \
         WHERE integration_id = $1 LIMIT $2)",
    ),
    purge!("requests"),
    purge!("mappings"),
    purge!("idempotency_keys"),
    purge!("response_cache"),
    purge!("tokens"),
    purge!("webhooks"),
    purge!("logs"),
    purge!("gates", "integration_id", "integration_id"),
    purge!("integrations", "id", "id"),
];

#[async_trait]
impl<B: OwnCommit> Retention for SqlStore<B> {
    async fn prune(&self, batch: &PruneBatch) -> Result<Pruned, StoreError> {
        let Some(rule) = rule(batch.what) else {
            return Err(StoreError::new(
                StoreErrorKind::Unsupported,
                "this version cannot prune that",
            ));
        };
        retrying!(self.prune_once(rule, batch).await)
    }

    async fn purge_removed(&self, limit: u32) -> Result<u64, StoreError> {
        retrying!(self.purge_once(limit).await)
    }
}

fn bound(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
