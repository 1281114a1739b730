//! Filtered lists, built by sea-query.

use integrations_core::{
    integration::{OwnerId, Scope},
    store::{Order as PageOrder, PageRequest},
};
use sea_query::{Alias, Cond, Condition, Expr, ExprTrait as _, Order, Query, SelectStatement};

use crate::{
    bind::Bind,
    dialect::Dialect,
    statement::{Statement, Statements},
};

/// A filtered read of one table.
#[derive(Debug)]
pub struct Filtered<'s> {
    statements: &'s Statements,
    table: &'static str,
    select: SelectStatement,
    condition: Condition,
}

/// Reads `columns`, comma-separated names of `table`, that later conditions select.
#[must_use]
pub fn select<'s>(statements: &'s Statements, table: &'static str, columns: &str) -> Filtered<'s> {
    let mut select = Query::select();
    select.from(statements.table(table));
    for column in columns.split(',') {
        select.column(Alias::new(column.trim()));
    }
    Filtered {
        statements,
        table,
        select,
        condition: Cond::all(),
    }
}

/// Counts the rows of `table` that later conditions select, as `count`.
#[must_use]
pub fn count<'s>(statements: &'s Statements, table: &'static str) -> Filtered<'s> {
    let mut select = Query::select();
    select
        .from(statements.table(table))
        .expr_as(Expr::cust("count(*)"), Alias::new("count"));
    Filtered {
        statements,
        table,
        select,
        condition: Cond::all(),
    }
}

/// Counts them as `count` for each value of `columns`, comma-separated names of `table`.
#[must_use]
pub fn count_by<'s>(
    statements: &'s Statements,
    table: &'static str,
    columns: &str,
) -> Filtered<'s> {
    let mut counted = count(statements, table);
    for column in columns.split(',') {
        let column = Alias::new(column.trim());
        counted.select.column(column.clone()).group_by_col(column);
    }
    counted
}

impl Filtered<'_> {
    /// The dialect, for values of conditions of one's own.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.statements.dialect()
    }

    /// Where a column equals a value.
    #[must_use]
    pub fn equal<T: Bind>(self, column: &str, value: T) -> Self {
        let value = T::value(Some(value), self.dialect());
        self.and(Expr::col(Alias::new(column)).eq(value))
    }

    /// Where a column equals a value, if one is given.
    #[must_use]
    pub fn equal_opt<T: Bind>(self, column: &str, value: Option<T>) -> Self {
        match value {
            Some(value) => self.equal(column, value),
            None => self,
        }
    }

    /// Where a column is at least a value, if one is given.
    #[must_use]
    pub fn at_least_opt<T: Bind>(self, column: &str, value: Option<T>) -> Self {
        let Some(value) = value else { return self };
        let value = T::value(Some(value), self.dialect());
        self.and(Expr::col(Alias::new(column)).gte(value))
    }

    /// Where a column is below a value, if one is given.
    #[must_use]
    pub fn below_opt<T: Bind>(self, column: &str, value: Option<T>) -> Self {
        let Some(value) = value else { return self };
        let value = T::value(Some(value), self.dialect());
        self.and(Expr::col(Alias::new(column)).lt(value))
    }

    /// Where a condition of one's own holds.
    #[must_use]
    pub fn and(mut self, condition: Expr) -> Self {
        self.condition = self.condition.add(condition);
        self
    }

    /// Where the row's integration, named by `column`, is within `scope`.
    #[must_use]
    pub fn within(self, column: &str, scope: &Scope) -> Self {
        let Scope::Owner(owner) = scope else {
            return self;
        };
        let mut ids = Query::select();
        ids.column(Alias::new("id"))
            .from(self.statements.table("integrations"))
            .and_where(Expr::col(Alias::new("owner_type")).eq(owner.owner_type()));
        match owner.id() {
            OwnerId::Number(id) => ids.and_where(Expr::col(Alias::new("owner_id")).eq(*id)),
            OwnerId::Text(key) => {
                ids.and_where(Expr::col(Alias::new("owner_key")).eq(key.as_str()))
            }
        };
        self.and(Expr::col(Alias::new(column)).in_subquery(ids))
    }

    /// The statement, unordered.
    #[must_use]
    pub fn all(mut self) -> Statement {
        self.select.cond_where(self.condition);
        self.statements.built(&self.select)
    }

    /// The statement of one page by `id`, with one row more than the page holds.
    #[must_use]
    pub fn page(mut self, page: &PageRequest) -> Statement {
        let id = Alias::new("id");
        let (order, behind) = match page.order {
            PageOrder::OldestFirst => (
                Order::Asc,
                page.after.map(|after| Expr::col(id.clone()).gt(after)),
            ),
            PageOrder::NewestFirst => (
                Order::Desc,
                page.after.map(|after| Expr::col(id.clone()).lt(after)),
            ),
        };
        if let Some(behind) = behind {
            self.condition = self.condition.add(behind);
        }
        self.select
            .order_by(id, order)
            .limit(u64::from(page.bounded_limit()) + 1);
        self.all()
    }

    /// The statement of the largest counts, at most so many.
    #[must_use]
    pub fn largest(mut self, limit: u32) -> Statement {
        let count = Alias::new("count");
        let select = self.select.order_by(count, Order::Desc);
        select.limit(u64::from(limit));
        self.all()
    }

    /// The logical table read.
    #[must_use]
    pub const fn table(&self) -> &'static str {
        self.table
    }
}
