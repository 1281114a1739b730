//! Operators' words on items, and reading them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use integrations_core::{
    id::SyncItemId,
    integration::Scope,
    store::{Page, PageRequest, StoreError},
    sync::{
        ItemDecided, ItemDecision, ItemFilter, SyncItem,
        protocol::{Decided, ItemState, decide},
    },
};
use sea_query::{Alias, Expr, ExprTrait as _};

use super::sync_rows::{self, item_columns};
use crate::{
    backend::{OwnCommit, Plans, Session},
    bind::Bind as _,
    error::SqlError,
    page::Filtered,
    scope::owned,
    statement::Template,
    store::{SqlStore, ended},
};

impl<B: OwnCommit> SqlStore<B> {
    pub(super) async fn decide_once(
        &self,
        decisions: &[ItemDecision],
    ) -> Result<Vec<ItemDecided>, SqlError> {
        let Some(now) = decisions.iter().map(|one| one.now).max() else {
            return Ok(Vec::new());
        };
        let mut session = self.backend.begin_batch(Plans::Fresh, &[]).await?;
        let decided = self.decide_within(&mut *session, decisions, now).await;
        ended(session, decided).await
    }

    async fn decide_within(
        &self,
        session: &mut dyn Session,
        decisions: &[ItemDecision],
        now: DateTime<Utc>,
    ) -> Result<Vec<ItemDecided>, SqlError> {
        let within = self.within_scopes(session, decisions).await?;
        let ids = decisions.iter().map(|one| one.id);
        let items = self.lock_with_versions(session, ids).await?;
        let (changes, answers) = decide(decisions, &within, &items);
        let retries = |item: &ItemState| item.is_unfinished();
        if changes.items.values().any(retries) {
            self.keep_claims_out(session).await?;
        }
        let standings = if changes.is_empty() {
            BTreeMap::new()
        } else {
            self.write_changes(session, &changes, now).await?
        };
        let answer = |decided| match decided {
            Decided::NotFound => ItemDecided::NotFound,
            Decided::NotPossible(status) => ItemDecided::NotPossible(status),
            Decided::Done(run_id) => ItemDecided::Done {
                run_id,
                finalisable: (standings.get(&run_id)).is_some_and(|run| run.is_exhausted()),
            },
        };
        Ok(answers.into_iter().map(answer).collect())
    }

    /// Whether the item of each decision is within its scope.
    async fn within_scopes(
        &self,
        session: &mut dyn Session,
        decisions: &[ItemDecision],
    ) -> Result<Vec<bool>, SqlError> {
        const WITHIN: Template = Template::each(
            concat!(
                "SELECT t.id FROM {sync_items} AS t WHERE t.id = ANY($1) \
                 AND t.integration_id IN (",
                owned!(2, 3, 4),
                ")"
            ),
            concat!(
                "SELECT t.id FROM {sync_items} AS t WHERE t.id IN \
                 (SELECT value FROM json_each($1)) AND t.integration_id IN (",
                owned!(2, 3, 4),
                ")"
            ),
        );
        let mut scopes: Vec<(&Scope, BTreeSet<SyncItemId>)> = Vec::new();
        let ids: Vec<i64> = decisions.iter().map(|one| one.id.0).collect();
        let mut within = Vec::with_capacity(decisions.len());
        for decision in decisions {
            let known = scopes.iter().find(|(scope, _)| **scope == decision.scope);
            if let Some((_, items)) = known {
                within.push(items.contains(&decision.id));
                continue;
            }
            let statement = self.sql(&WITHIN).bind_numbers(&ids);
            let rows = session.query(statement.bind_scope(&decision.scope)).await?;
            let items: BTreeSet<SyncItemId> = (rows.iter())
                .map(|row| row.get("id"))
                .collect::<Result<_, _>>()?;
            within.push(items.contains(&decision.id));
            scopes.push((&decision.scope, items));
        }
        Ok(within)
    }

    pub(super) async fn read_item(
        &self,
        id: SyncItemId,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Result<Option<SyncItem>, StoreError> {
        let query = crate::page::select(&self.statements, "sync_items", item_columns!())
            .equal("id", id)
            .within("integration_id", scope)
            .all();
        let rows = self.backend.read().await?.query(query).await?;
        rows.first()
            .map(|row| sync_rows::item_at(row, now))
            .transpose()
    }

    pub(super) async fn read_item_page(
        &self,
        filter: &ItemFilter,
        scope: &Scope,
        page: &PageRequest,
        now: DateTime<Utc>,
    ) -> Result<Page<SyncItem>, StoreError> {
        let query = crate::page::select(&self.statements, "sync_items", item_columns!())
            .equal_opt("integration_id", filter.integration_id)
            .equal_opt("run_id", filter.run_id)
            .equal_opt("stream", filter.stream.as_ref())
            .equal_opt("event_class", filter.kind.as_ref())
            .at_least_opt("created_at", filter.since)
            .within("integration_id", scope);
        let query = match &filter.status {
            None => query,
            Some(status) => shown_as(query, status.as_str(), now),
        };
        let rows = self.backend.read().await?.query(query.page(page)).await?;
        let items = rows
            .iter()
            .map(|row| sync_rows::item_at(row, now))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Page::from_overfull(items, page, |item| item.id.0))
    }
}

/// Rows of a queue that read as `status`: what is unfinished is `processing` under a live lease
/// and else `pending`, whatever is stored.
pub(super) fn shown_as<'s>(query: Filtered<'s>, status: &str, now: DateTime<Utc>) -> Filtered<'s> {
    let column = |name: &str| Expr::col(Alias::new(name));
    let now = DateTime::value(Some(now), query.dialect());
    let unfinished = ["pending", "processing"];
    let lease = match status {
        "processing" => column("lease_until").gt(now),
        "pending" => column("lease_until")
            .is_null()
            .or(column("lease_until").lte(now)),
        other => return query.and(column("status").eq(other)),
    };
    query.and(column("status").is_in(unfinished)).and(lease)
}
