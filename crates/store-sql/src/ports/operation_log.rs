//! [`OperationLog`] over SQL.

use std::collections::HashMap;

use async_trait::async_trait;
use integrations_core::{
    id::LogId,
    integration::Scope,
    operation_log::{
        NewOperation, Operation, OperationEnd, OperationFilter, OperationLog, OperationStatus,
    },
    store::{Batch, Page, PageRequest, StoreError},
};
use sea_query::{Alias, Expr, ExprTrait as _};

use crate::{
    backend::Backend,
    checks::Fits,
    error::SqlError,
    page::select,
    row::Row,
    scope::owned,
    statement::{InsertTemplate, Template},
    store::{SqlStore, bisect},
};

macro_rules! columns {
    () => {
        "id, integration_id, operation, direction, status, summary, external_id, metadata, \
         result_data, error, duration_ms, parent_id, created_at, updated_at"
    };
}

const APPEND: InsertTemplate = InsertTemplate {
    head: concat!("INSERT INTO {logs} (", columns!(), ")"),
    columns: 14,
    tail: "",
};

/// Level by level, so that where the limit cuts, every row still has its parent.
const TREE: Template = Template::both(concat!(
    "WITH RECURSIVE below (id) AS (SELECT id FROM {logs} WHERE id = $1 AND integration_id IN (",
    owned!(2, 3, 4),
    ") UNION ALL SELECT l.id FROM {logs} AS l JOIN below ON l.parent_id = below.id \
     WHERE l.parent_id IS NOT NULL) SELECT ",
    columns!(),
    " FROM {logs} WHERE id IN (SELECT id FROM below LIMIT 10000) ORDER BY id"
));

impl<B: Backend> SqlStore<B> {
    /// Appends all of `entries`, or none.
    async fn append_operations(&self, entries: &[NewOperation]) -> Result<Vec<LogId>, SqlError> {
        for entry in entries {
            Fits::new()
                .varchar(&*entry.operation, 255)
                .varchar(entry.direction.as_str(), 16)
                .varchar(entry.status.as_str(), 32)
                .text(entry.summary.as_deref())
                .varchar(entry.external_id.as_deref(), 500)
                .text(entry.error.as_deref())
                .verdict()?;
        }
        let ids = self
            .ids
            .take(&self.backend, &self.statements, "logs", entries.len())
            .await?;
        let mut session = self.backend.begin().await?;
        for (part, part_ids) in entries.chunks(500).zip(ids.chunks(500)) {
            let rows = part.iter().zip(part_ids).map(|(entry, id)| {
                self.row()
                    .bind(*id)
                    .bind(entry.integration_id)
                    .bind(&entry.operation)
                    .bind(entry.direction.as_str())
                    .bind(entry.status.as_str())
                    .bind(entry.summary.as_ref())
                    .bind(entry.external_id.as_ref())
                    .bind(entry.metadata.as_ref())
                    .bind(entry.result_data.as_ref())
                    .bind(entry.error.as_ref())
                    .bind(entry.duration_ms)
                    .bind(entry.parent_id)
                    .bind(entry.now)
                    .bind(entry.now)
            });
            session
                .execute(self.insert(&APPEND, rows.collect()))
                .await?;
        }
        session.commit().await?;
        Ok(ids.into_iter().map(LogId).collect())
    }
}

#[async_trait]
impl<B: Backend> OperationLog for SqlStore<B> {
    async fn append(&self, entries: &[NewOperation]) -> Batch<LogId> {
        bisect(entries, |part| Box::pin(self.append_operations(part))).await
    }

    async fn finish(&self, id: LogId, end: &OperationEnd) -> Result<bool, StoreError> {
        const FINISH: Template = Template::both(
            "UPDATE {logs} SET status = $2, summary = coalesce($3, summary), \
             result_data = coalesce($4, result_data), error = $5, duration_ms = $6, \
             updated_at = $7 WHERE id = $1 AND status NOT IN ('success', 'partial', 'failed')",
        );
        Fits::new()
            .varchar(end.status.as_str(), 32)
            .text(end.summary.as_deref())
            .text(end.error.as_deref())
            .verdict()?;
        let statement = self
            .sql(&FINISH)
            .bind(id)
            .bind(end.status.as_str())
            .bind(end.summary.as_ref())
            .bind(end.result_data.as_ref())
            .bind(end.error.as_ref())
            .bind(end.duration_ms)
            .bind(end.now);
        Ok(self.backend.write().await?.execute(statement).await? > 0)
    }

    async fn tree(&self, id: LogId, scope: &Scope) -> Result<Vec<Operation>, StoreError> {
        let statement = self.sql(&TREE).bind(id).bind_scope(scope);
        let rows = self.backend.read().await?.query(statement).await?;
        let rows = rows.iter().map(operation).collect::<Result<Vec<_>, _>>()?;
        Ok(depth_first(id, rows))
    }

    async fn query(
        &self,
        filter: &OperationFilter,
        scope: &Scope,
        page: &PageRequest,
    ) -> Result<Page<Operation>, StoreError> {
        let mut query = select(&self.statements, "logs", columns!())
            .within("integration_id", scope)
            .equal_opt("integration_id", filter.integration_id)
            .equal_opt("operation", filter.operation.as_ref())
            .equal_opt(
                "status",
                filter.status.as_ref().map(OperationStatus::as_str),
            )
            .at_least_opt("created_at", filter.since)
            .equal_opt("external_id", filter.external_id.as_ref());
        if filter.roots_only {
            query = query.and(Expr::col(Alias::new("parent_id")).is_null());
        }
        let rows = self.backend.read().await?.query(query.page(page)).await?;
        let found = rows.iter().map(operation).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::from_overfull(found, page, |row| row.id.0))
    }
}

/// The rows of one tree, which come by id, parents before children.
fn depth_first(root: LogId, rows: Vec<Operation>) -> Vec<Operation> {
    let mut ordered = Vec::with_capacity(rows.len());
    let mut children: HashMap<LogId, Vec<Operation>> = HashMap::new();
    let mut open = Vec::new();
    for row in rows {
        match row.entry.parent_id {
            // The root may have a parent itself, which is not part of the tree.
            _ if row.id == root => open.push(row),
            Some(parent) => children.entry(parent).or_default().push(row),
            None => {}
        }
    }
    while let Some(row) = open.pop() {
        // The last one pushed is visited first.
        open.extend(children.remove(&row.id).into_iter().flatten().rev());
        ordered.push(row);
    }
    ordered
}

fn operation(row: &Row) -> Result<Operation, StoreError> {
    Ok(Operation {
        id: row.get("id")?,
        entry: NewOperation {
            integration_id: row.get("integration_id")?,
            operation: row.get("operation")?,
            direction: row.get::<String>("direction")?.into(),
            status: row.get::<String>("status")?.into(),
            summary: row.get("summary")?,
            external_id: row.get("external_id")?,
            metadata: row.get("metadata")?,
            result_data: row.get("result_data")?,
            error: row.get("error")?,
            duration_ms: row.get("duration_ms")?,
            parent_id: row.get("parent_id")?,
            now: row.get("created_at")?,
        },
        updated_at: row.get("updated_at")?,
    })
}
