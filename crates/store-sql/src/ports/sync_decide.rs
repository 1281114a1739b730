//! Operators' words on items, and reading them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use integrations_core::{
    id::{SyncItemId, SyncRunId},
    integration::Scope,
    store::{Page, PageRequest, StoreError},
    sync::{ItemDecided, ItemDecision, ItemFilter, ItemStatus, ItemVerdict, SyncItem},
};
use sea_query::{Alias, Expr, ExprTrait as _};

use super::{
    sync_counts::{Recount, Standing},
    sync_rows::{self, item_columns},
    sync_state::{ItemState, state_columns},
};
use crate::{
    backend::{OwnCommit, Session},
    bind::Bind as _,
    error::SqlError,
    page::Filtered,
    scope::owned,
    statement::Template,
    store::SqlStore,
};

/// What came of one decision, before the counts are written.
enum Decided {
    Done { run_id: SyncRunId, opened: i64 },
    Refused(ItemDecided),
}

impl<B: OwnCommit> SqlStore<B> {
    pub(super) async fn decide_once(
        &self,
        decisions: &[ItemDecision],
    ) -> Result<Vec<ItemDecided>, SqlError> {
        let Some(now) = decisions.iter().map(|one| one.now).max() else {
            return Ok(Vec::new());
        };
        let mut session = self.backend.begin().await?;
        let mut items = self.lock_decided(&mut *session, decisions).await?;
        let mut changed = BTreeMap::new();
        let mut recount = Recount::default();
        let mut decided = Vec::with_capacity(decisions.len());
        for decision in decisions {
            let known = items.get_mut(&decision.id);
            let Some((_, item)) = known.filter(|(scopes, _)| scopes.contains(&&decision.scope))
            else {
                decided.push(Decided::Refused(ItemDecided::NotFound));
                continue;
            };
            let Some(after) = item.decided(decision) else {
                let status = item.shown(decision.now);
                decided.push(Decided::Refused(ItemDecided::NotPossible(status)));
                continue;
            };
            recount.moved(item.run_id, &item.status, &after.status);
            decided.push(Decided::Done {
                run_id: item.run_id,
                opened: is_open(&after.status) - is_open(&item.status),
            });
            *item = after.clone();
            changed.insert(after.id, after);
        }
        if changed.is_empty() {
            return Ok(answers(decided, BTreeMap::new()));
        }
        let changed: Vec<ItemState> = changed.into_values().collect();
        self.write_items(&mut *session, &changed).await?;
        let runs = self.recount(&mut *session, &recount, now).await?;
        session.commit().await?;
        Ok(answers(decided, runs))
    }

    /// Locks the items, each with the scopes it is within.
    async fn lock_decided<'a>(
        &self,
        session: &mut dyn Session,
        decisions: &'a [ItemDecision],
    ) -> Result<BTreeMap<SyncItemId, (Vec<&'a Scope>, ItemState)>, SqlError> {
        const LOCK: Template = Template::each(
            concat!(
                "SELECT ",
                state_columns!(),
                " FROM {sync_items} AS t WHERE t.id = ANY($1) AND t.integration_id IN (",
                owned!(2, 3, 4),
                ") ORDER BY t.id FOR UPDATE OF t"
            ),
            concat!(
                "SELECT ",
                state_columns!(),
                " FROM {sync_items} AS t WHERE t.id IN (SELECT value FROM json_each($1)) \
                 AND t.integration_id IN (",
                owned!(2, 3, 4),
                ") ORDER BY t.id"
            ),
        );
        let mut scopes: Vec<&Scope> = Vec::new();
        for decision in decisions {
            if !scopes.contains(&&decision.scope) {
                scopes.push(&decision.scope);
            }
        }
        let ids: Vec<i64> = decisions.iter().map(|one| one.id.0).collect();
        let mut items: BTreeMap<_, (Vec<&Scope>, ItemState)> = BTreeMap::new();
        for scope in scopes {
            let lock = self.sql(&LOCK).bind_numbers(&ids).bind_scope(scope);
            for row in session.query(lock).await? {
                let item = ItemState::read(&row)?;
                let entry = items.entry(item.id).or_insert((Vec::new(), item));
                entry.0.push(scope);
            }
        }
        Ok(items)
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

fn answers(decided: Vec<Decided>, mut runs: BTreeMap<SyncRunId, Standing>) -> Vec<ItemDecided> {
    // The counts are those after the last decision; going back, each takes its own away.
    let mut answers: Vec<_> = decided
        .into_iter()
        .rev()
        .map(|one| match one {
            Decided::Refused(answer) => answer,
            Decided::Done { run_id, opened } => {
                let run = runs.get_mut(&run_id);
                let finalisable = run.is_some_and(|run| {
                    let exhausted = run.enumerated && run.open == 0;
                    run.open -= opened;
                    exhausted
                });
                ItemDecided::Done {
                    run_id,
                    finalisable,
                }
            }
        })
        .collect();
    answers.reverse();
    answers
}

fn is_open(status: &ItemStatus) -> i64 {
    i64::from(matches!(
        status,
        ItemStatus::Pending | ItemStatus::Processing
    ))
}

impl ItemState {
    /// The status it reads as.
    fn shown(&self, now: DateTime<Utc>) -> ItemStatus {
        match &self.status {
            ItemStatus::Processing if !self.is_leased(now) => ItemStatus::Pending,
            status => status.clone(),
        }
    }

    /// The item after an operator's word; `None` where that is not possible.
    fn decided(&self, decision: &ItemDecision) -> Option<Self> {
        let now = decision.now;
        match (&decision.verdict, self.shown(now)) {
            (ItemVerdict::Retry, ItemStatus::Failed) => Some(Self {
                attempts: 0,
                ..self.waiting(now, now)
            }),
            (ItemVerdict::Skip { reason }, ItemStatus::Failed | ItemStatus::Pending) => {
                Some(self.ended(ItemStatus::Skipped, Some(reason.clone()), now))
            }
            _ => None,
        }
    }
}
