//! [`SqlStore`]: the storage ports over a [`Backend`].

use std::sync::Arc;

use integrations_core::{
    store::{Batch, Rejected, StoreError},
    value::TablePrefix,
};

use crate::{
    backend::{Backend, Session},
    error::SqlError,
    ids::IdBlocks,
    ports::{Rotation, WebhookRotation},
    statement::{InsertTemplate, RowValues, Statement, Statements, Template},
};

/// How often a transaction that lost against others is run again.
const MAX_TRIES: u32 = 8;

/// A store over a SQL database. Adapters name it `PgStore` and `SqliteStore`.
pub struct SqlStore<B> {
    pub(crate) backend: B,
    pub(crate) statements: Arc<Statements>,
    pub(crate) ids: Arc<IdBlocks>,
    /// Whose turn it is at a claim on items.
    pub(crate) rotation: Arc<Rotation>,
    /// Whose turn it is at a claim on deliveries.
    pub(crate) webhook_rotation: Arc<WebhookRotation>,
}

impl<B> std::fmt::Debug for SqlStore<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlStore")
            .field("prefix", self.statements.prefix())
            .finish_non_exhaustive()
    }
}

impl<B: Backend> SqlStore<B> {
    /// A store under `prefix`.
    #[must_use]
    pub fn over(backend: B, prefix: TablePrefix) -> Self {
        Self {
            backend,
            statements: Arc::new(Statements::new(B::DIALECT, prefix)),
            ids: Arc::new(IdBlocks::new()),
            rotation: Arc::default(),
            webhook_rotation: Arc::default(),
        }
    }

    /// The same store over another backend, such as a caller's transaction.
    #[must_use]
    pub fn rebound<C: Backend>(&self, backend: C, ids: IdBlocks) -> SqlStore<C> {
        SqlStore {
            backend,
            statements: Arc::clone(&self.statements),
            ids: Arc::new(ids),
            rotation: Arc::clone(&self.rotation),
            webhook_rotation: Arc::clone(&self.webhook_rotation),
        }
    }

    /// The backend.
    #[must_use]
    pub const fn backend(&self) -> &B {
        &self.backend
    }

    /// What its tables begin with.
    #[must_use]
    pub fn table_prefix(&self) -> &TablePrefix {
        self.statements.prefix()
    }

    /// The statement of a template, without values yet.
    pub(crate) fn sql(&self, template: &Template) -> Statement {
        self.statements.of(template)
    }

    /// An empty row for [`insert`](Self::insert).
    pub(crate) fn row(&self) -> RowValues {
        self.statements.row()
    }

    /// A multi-row insert.
    pub(crate) fn insert(&self, template: &InsertTemplate, rows: Vec<RowValues>) -> Statement {
        self.statements.insert(template, rows)
    }
}

/// Runs `$work`, an expression of `Result<_, SqlError>`, again while it loses against others.
macro_rules! retrying {
    ($work:expr) => {{
        let mut tries = 0;
        loop {
            match $work {
                Err(error) if $crate::store::may_try_again(&error, &mut tries) => {}
                result => break result.map_err(integrations_core::store::StoreError::from),
            }
        }
    }};
}
pub(crate) use retrying;

/// Whether a transaction lost against others and has tries left.
pub(crate) fn may_try_again(error: &SqlError, tries: &mut u32) -> bool {
    *tries += 1;
    error.is_transient() && *tries < MAX_TRIES
}

/// Ends a transaction before what was done in it is answered: with a commit, or where it failed
/// with a rollback.
///
/// One that is dropped is rolled back later, and until then claims pass over the rows it has
/// locked. So work over a transaction is given it by reference, and its caller ends it here.
pub(crate) async fn ended<R>(
    session: Box<dyn Session + '_>,
    work: Result<R, SqlError>,
) -> Result<R, SqlError> {
    match work {
        Ok(_) => session.commit().await?,
        Err(_) => session.rollback().await,
    }
    work
}

/// The work of one batch, for [`bisect`].
pub(crate) type BatchWork<'a, R> =
    std::pin::Pin<Box<dyn Future<Output = Result<Vec<R>, SqlError>> + Send + 'a>>;

/// Runs a batch; where an entry's data is to blame, runs its halves, so that it fails alone.
///
/// `work` must be all or nothing for the entries it is given, and answer one result each. Where it
/// fails for another reason after it took some of them, the rest alone is not stored.
pub(crate) async fn bisect<'a, T: Sync, R: Send>(
    entries: &'a [T],
    work: impl Fn(&'a [T]) -> BatchWork<'a, R> + Send + Sync,
) -> Batch<R> {
    let mut results = Vec::with_capacity(entries.len());
    let mut todo = vec![entries];
    while let Some(part) = todo.pop() {
        if part.is_empty() {
            continue;
        }
        let mut tries = 0;
        let result = loop {
            match work(part).await {
                Err(error) if may_try_again(&error, &mut tries) => {}
                result => break result,
            }
        };
        match result {
            Ok(answers) => results.extend(answers.into_iter().map(Ok)),
            Err(error) => match error.rejection() {
                None => {
                    let error = StoreError::from(error);
                    if !results.iter().any(Result::is_ok) {
                        return Err(error);
                    }
                    // Parts go from the first to the last.
                    results.extend(left_over(&error, entries.len() - results.len()));
                    return Ok(results);
                }
                Some(why) if part.len() == 1 => results.push(Err::<R, Rejected>(why)),
                Some(_) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    todo.push(second);
                    todo.push(first);
                }
            },
        }
    }
    Ok(results)
}

/// The answers of entries that could not be stored when others of their batch had been.
pub(crate) fn left_over<R>(error: &StoreError, count: usize) -> Vec<Result<R, Rejected>> {
    tracing::warn!(%error, count, "the store failed after it took a part of a batch");
    (0..count).map(|_| Err(Rejected::Unavailable)).collect()
}
