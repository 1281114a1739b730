//! Statements: text with its values.
//!
//! A statement whose text never changes is a [`Template`]: written once, with `{requests}` for a
//! table and `$1` for a value (both databases read that), rendered once per store and kept. What
//! depends on its arguments, a filter say, is built by sea-query. Multi-row inserts are templates
//! too: PostgreSQL unpacks a list per column, so that one text, prepared once, takes any number of
//! rows; SQLite gets a text per number of rows, which it runs faster than unpacking lists.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, PoisonError, RwLock},
};

use integrations_core::value::TablePrefix;
use sea_query::{ArrayType, PostgresQueryBuilder, QueryStatementWriter, SqliteQueryBuilder, Value};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use crate::{bind::Bind, dialect::Dialect};

/// Fixed text for each dialect.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    postgres: &'static str,
    sqlite: &'static str,
}

impl Template {
    /// The same text for both.
    #[must_use]
    pub const fn both(text: &'static str) -> Self {
        Self {
            postgres: text,
            sqlite: text,
        }
    }

    /// Different texts.
    #[must_use]
    pub const fn each(postgres: &'static str, sqlite: &'static str) -> Self {
        Self { postgres, sqlite }
    }

    const fn text(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Postgres => self.postgres,
            Dialect::Sqlite => self.sqlite,
        }
    }
}

/// An insert of any number of rows: `INSERT INTO {table} (columns)`, the rows, and a tail.
#[derive(Clone, Copy, Debug)]
pub struct InsertTemplate {
    /// The head, up to and without the rows; may begin with common table expressions.
    pub head: &'static str,
    /// How many columns a row has.
    pub columns: usize,
    /// What follows the rows, such as `ON CONFLICT .. RETURNING ..`. In it `$+1` is the first of
    /// the values bound after those of the rows.
    pub tail: &'static str,
}

/// Text ready to run, with its values.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The text.
    pub sql: Arc<str>,
    /// The values of `$1`, `$2` and so on.
    pub values: Vec<Value>,
    /// Whether the text is one of a bounded set, worth preparing once per connection.
    pub persistent: bool,
    dialect: Dialect,
}

impl Statement {
    /// The same with one more value.
    #[must_use]
    pub fn bind<T: Bind>(mut self, value: T) -> Self {
        self.values.push(T::value(Some(value), self.dialect));
        self
    }

    /// The same, planned for the values it runs with: a plan that was kept knows neither how long
    /// its lists are nor how large a table has become, and may read all of it.
    #[must_use]
    pub fn planned_anew(mut self) -> Self {
        self.persistent = false;
        self
    }

    /// The same with a list of numbers as one more value.
    #[must_use]
    pub fn bind_numbers(mut self, numbers: &[i64]) -> Self {
        self.values.push(self.dialect.numbers(numbers));
        self
    }

    /// The same with a list of rows: for `unnest($n, $n+1, ..)` an array per column, for
    /// `json_each($n)` one list of lists. To be bound after everything else, since the numbers
    /// behind it differ.
    #[must_use]
    pub fn bind_rows(mut self, columns: &[Column], rows: Vec<RowValues>) -> Self {
        if self.dialect == Dialect::Sqlite {
            let row = |row: RowValues| row.values.into_iter().map(json_of).collect::<Json>();
            let rows: Json = rows.into_iter().map(row).collect();
            self.values.push(Value::from(rows.to_string()));
            return self;
        }
        let types = columns.iter().map(|column| column.array_type());
        self.values.extend(lists(types, rows));
        self
    }

    /// The same with a list of texts as one more value.
    #[must_use]
    pub fn bind_texts<T: AsRef<str>>(mut self, texts: &[T]) -> Self {
        self.values.push(self.dialect.texts(texts));
        self
    }
}

/// What a column of a list of rows holds; none of them takes null.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    /// `bigint`.
    Number,
    /// `smallint`.
    Small,
    /// `text`.
    Text,
    /// `timestamptz`.
    Time,
}

impl Column {
    const fn array_type(self) -> ArrayType {
        match self {
            Self::Number => ArrayType::BigInt,
            Self::Small => ArrayType::SmallInt,
            Self::Text => ArrayType::String,
            Self::Time => ArrayType::ChronoDateTimeUtc,
        }
    }
}

/// A value within a JSON list of rows.
fn json_of(value: Value) -> Json {
    match value {
        Value::BigInt(Some(n)) => Json::from(n),
        Value::SmallInt(Some(n)) => Json::from(n),
        Value::String(Some(text)) => Json::from(text),
        other => {
            debug_assert!(false, "{other:?} is in no list of rows");
            Json::Null
        }
    }
}

/// The values of one row of an insert.
#[derive(Debug)]
pub struct RowValues {
    values: Vec<Value>,
    dialect: Dialect,
}

impl RowValues {
    /// An empty row.
    #[must_use]
    pub const fn new(dialect: Dialect) -> Self {
        Self {
            values: Vec::new(),
            dialect,
        }
    }

    /// The same with one more column.
    #[must_use]
    pub fn bind<T: Bind>(mut self, value: T) -> Self {
        self.values.push(T::value(Some(value), self.dialect));
        self
    }

    fn array_types(&self) -> Vec<ArrayType> {
        self.values.iter().map(Value::array_type).collect()
    }
}

/// The logical tables and what each is called behind the prefix.
const TABLES: [(&str, &str); 19] = [
    ("integrations", "s"),
    ("requests", "_requests"),
    ("logs", "_logs"),
    ("mappings", "_mappings"),
    ("idempotency_keys", "_idempotency_keys"),
    ("sync_items", "_sync_items"),
    ("sync_runs", "_sync_runs"),
    ("sync_records", "_sync_records"),
    ("webhooks", "_webhooks"),
    ("response_cache", "_response_cache"),
    ("gates", "_gates"),
    ("leases", "_leases"),
    ("tokens", "_tokens"),
    ("keys", "_keys"),
    ("workers", "_workers"),
    ("migrations", "_migrations"),
    // Indexes that SQLite has to be told of.
    ("sync_items_claim_idx", "_sync_items_claim_idx"),
    ("webhooks_ordering_idx", "_webhooks_ordering_idx"),
    ("webhooks_ordered_lease_idx", "_webhooks_ordered_lease_idx"),
];

/// The name of a logical table under a prefix.
///
/// # Panics
///
/// Never for the tables of the schema, which are all that this crate asks for.
#[must_use]
pub fn table_name(prefix: &TablePrefix, logical: &str) -> String {
    let suffix = TABLES
        .iter()
        .find(|(name, _)| *name == logical)
        .map(|(_, suffix)| *suffix);
    debug_assert!(suffix.is_some(), "no table {logical}");
    format!("{prefix}{}", suffix.unwrap_or_default())
}

/// The addresses of a template's texts, which are static, and a number of rows.
type TextKey = (usize, usize, usize);

/// Renders statements for one prefix and dialect, and keeps the texts.
#[derive(Debug)]
pub struct Statements {
    dialect: Dialect,
    prefix: TablePrefix,
    texts: RwLock<HashMap<TextKey, Arc<str>>>,
}

impl Statements {
    /// Renders for `prefix`.
    #[must_use]
    pub fn new(dialect: Dialect, prefix: TablePrefix) -> Self {
        Self {
            dialect,
            prefix,
            texts: RwLock::default(),
        }
    }

    /// The dialect rendered for.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The prefix rendered for.
    #[must_use]
    pub const fn prefix(&self) -> &TablePrefix {
        &self.prefix
    }

    /// The number of locks that are about a table.
    #[must_use]
    pub fn lock_number(&self, logical: &str) -> i64 {
        let digest = Sha256::digest(table_name(&self.prefix, logical));
        let head = digest.first_chunk().copied();
        head.map_or(0, i64::from_be_bytes)
    }

    /// A table as an identifier for sea-query.
    #[must_use]
    pub fn table(&self, logical: &str) -> sea_query::DynIden {
        table_name(&self.prefix, logical).into()
    }

    /// The statement of a template, without values yet.
    #[must_use]
    pub fn of(&self, template: &Template) -> Statement {
        let text = template.text(self.dialect);
        self.statement(
            self.kept((text.as_ptr().addr(), 0, 0), || self.render(text)),
            Vec::new(),
            true,
        )
    }

    /// An insert of `rows`, which must not be empty and have the template's number of columns.
    #[must_use]
    pub fn insert(&self, template: &InsertTemplate, rows: Vec<RowValues>) -> Statement {
        debug_assert!(
            rows.iter().all(|row| row.values.len() == template.columns),
            "columns of {}",
            template.head
        );
        match self.dialect {
            Dialect::Postgres => self.insert_lists(template, rows),
            Dialect::Sqlite => self.insert_rows(template, rows),
        }
    }

    fn insert_lists(&self, template: &InsertTemplate, rows: Vec<RowValues>) -> Statement {
        let sql = self.insert_text(template, 0, |text| {
            text.push_str(" SELECT * FROM unnest");
            push_list(text, template.columns, |text, column| {
                // Writing to a String cannot fail.
                let _ = write!(text, "${}", column + 1);
            });
            template.columns
        });
        let types: Vec<_> = rows.first().map_or_else(Vec::new, RowValues::array_types);
        self.statement(sql, lists(types, rows), true)
    }

    fn insert_rows(&self, template: &InsertTemplate, rows: Vec<RowValues>) -> Statement {
        let (count, columns) = (rows.len(), template.columns);
        let sql = self.insert_text(template, count, |text| {
            text.push_str(" VALUES ");
            // SQLite looks each named value up among all of them, and the driver does so again for
            // each run; values without names are found by their place.
            push_list_of(text, count, |text, _| {
                push_list(text, columns, |text, _| text.push('?'));
            });
            count * columns
        });
        let mut values = Vec::with_capacity(count * columns);
        values.extend(rows.into_iter().flat_map(|row| row.values));
        self.statement(sql, values, true)
    }

    /// The text of an insert; `push` adds the rows and says how many values they are.
    fn insert_text(
        &self,
        template: &InsertTemplate,
        count: usize,
        push: impl FnOnce(&mut String) -> usize,
    ) -> Arc<str> {
        let (head, tail) = (template.head.as_ptr(), template.tail.as_ptr());
        self.kept((head.addr(), tail.addr(), count), || {
            let mut text = self.render(template.head);
            let values = push(&mut text);
            text.push(' ');
            push_numbered(&mut text, &self.render(template.tail), values);
            text
        })
    }

    /// A statement that sea-query built.
    #[must_use]
    pub fn built(&self, query: &impl QueryStatementWriter) -> Statement {
        let (sql, values) = match self.dialect {
            Dialect::Postgres => query.build(PostgresQueryBuilder),
            Dialect::Sqlite => query.build(SqliteQueryBuilder),
        };
        self.statement(sql.into(), values.0, false)
    }

    /// An empty row for [`insert`](Self::insert).
    #[must_use]
    pub const fn row(&self) -> RowValues {
        RowValues::new(self.dialect)
    }

    /// How many rows of so many columns fit one statement, at most 500.
    #[must_use]
    pub fn rows_per_insert(&self, columns: usize) -> usize {
        (self.dialect.max_binds() / columns.max(1)).clamp(1, 500)
    }

    fn statement(&self, sql: Arc<str>, values: Vec<Value>, persistent: bool) -> Statement {
        Statement {
            sql,
            values,
            persistent,
            dialect: self.dialect,
        }
    }

    fn kept(&self, key: TextKey, render: impl FnOnce() -> String) -> Arc<str> {
        let texts = self.texts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(sql) = texts.get(&key) {
            return Arc::clone(sql);
        }
        drop(texts);
        let sql: Arc<str> = render().into();
        let mut texts = self.texts.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(texts.entry(key).or_insert(sql))
    }

    fn render(&self, text: &str) -> String {
        TABLES.iter().fold(text.to_owned(), |sql, (name, suffix)| {
            let table = match *name {
                // With a prefix such as `a` its name is a keyword.
                "integrations" => format!("\"{}{suffix}\"", self.prefix),
                _ => format!("{}{suffix}", self.prefix),
            };
            sql.replace(&format!("{{{name}}}"), &table)
        })
    }
}

/// The values of rows as a list per column.
fn lists(types: impl IntoIterator<Item = ArrayType>, rows: Vec<RowValues>) -> Vec<Value> {
    let mut lists: Vec<(ArrayType, Vec<Value>)> = types
        .into_iter()
        .map(|of| (of, Vec::with_capacity(rows.len())))
        .collect();
    for row in rows {
        debug_assert_eq!(row.values.len(), lists.len(), "columns of a row");
        for ((_, list), value) in lists.iter_mut().zip(row.values) {
            list.push(value);
        }
    }
    let list = |(of, list)| Value::Array(of, Some(Box::new(list)));
    lists.into_iter().map(list).collect()
}

/// Writes `(..)` around [`push_list_of`].
fn push_list(text: &mut String, length: usize, push: impl Fn(&mut String, usize)) {
    text.push('(');
    push_list_of(text, length, push);
    text.push(')');
}

/// Writes as many things with commas between them.
fn push_list_of(text: &mut String, length: usize, push: impl Fn(&mut String, usize)) {
    for i in 0..length {
        if i > 0 {
            text.push_str(", ");
        }
        push(text, i);
    }
}

/// Writes `tail` with the values it calls `$+1` and so on numbered behind `before` others.
fn push_numbered(text: &mut String, tail: &str, before: usize) {
    let mut parts = tail.split("$+");
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = part.split_at(digits);
        let number = number.parse::<usize>().unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = write!(text, "${}{rest}", before + number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(dialect: Dialect) -> Statements {
        Statements::new(dialect, TablePrefix::new("acme").unwrap())
    }

    #[test]
    fn templates_name_the_prefixed_tables() {
        let template = Template::both("SELECT 1 FROM {integrations}, {sync_items} WHERE a = $1");
        let statement = statements(Dialect::Postgres).of(&template).bind(7_i64);
        assert_eq!(
            &*statement.sql,
            r#"SELECT 1 FROM "acmes", acme_sync_items WHERE a = $1"#
        );
        assert_eq!(statement.values, [Value::from(7_i64)]);
    }

    #[test]
    fn sqlite_gets_a_text_for_a_number_of_rows() {
        let template = InsertTemplate {
            head: "INSERT INTO {keys} (a, b)",
            columns: 2,
            tail: "",
        };
        let statements = statements(Dialect::Sqlite);
        let rows = || {
            vec![
                statements.row().bind(1_i64).bind("x"),
                statements.row().bind(2_i64).bind("y"),
            ]
        };
        let statement = statements.insert(&template, rows());
        assert_eq!(
            &*statement.sql,
            "INSERT INTO acme_keys (a, b) VALUES (?, ?), (?, ?) "
        );
        assert!(Arc::ptr_eq(
            &statement.sql,
            &statements.insert(&template, rows()).sql
        ));
    }

    #[test]
    fn postgresql_gets_one_text_for_any_number_of_rows() {
        let template = InsertTemplate {
            head: "INSERT INTO {keys} (a, b)",
            columns: 2,
            tail: "RETURNING a = $+1",
        };
        let statements = statements(Dialect::Postgres);
        let row = || statements.row().bind(1_i64).bind(None::<&str>);
        let statement = statements.insert(&template, vec![row(), row()]);
        assert_eq!(
            &*statement.sql,
            "INSERT INTO acme_keys (a, b) SELECT * FROM unnest($1, $2) RETURNING a = $3"
        );
        let list = |of, value: Value| Value::Array(of, Some(Box::new(vec![value; 2])));
        let numbers = list(ArrayType::BigInt, Value::from(1_i64));
        let texts = list(ArrayType::String, Value::String(None));
        assert_eq!(statement.values, [numbers, texts]);
        assert!(Arc::ptr_eq(
            &statement.sql,
            &statements.insert(&template, vec![row()]).sql
        ));
    }

    #[test]
    fn values_of_the_tail_are_numbered_behind_the_rows() {
        let template = InsertTemplate {
            head: "INSERT INTO {workers} (a)",
            columns: 1,
            tail: "RETURNING a = $+1, a = $+12",
        };
        let statements = statements(Dialect::Sqlite);
        let rows = vec![statements.row().bind(1_i64), statements.row().bind(2_i64)];
        assert_eq!(
            &*statements.insert(&template, rows).sql,
            "INSERT INTO acme_workers (a) VALUES (?), (?) RETURNING a = $3, a = $14"
        );
    }
}
