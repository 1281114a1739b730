//! Upserts in the application's transaction: one entity and one mapping, whoever else is at it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use integrations_core::{
    integration::IntegrationStore,
    mapping::{Entities, MappingStore, Mappings, Record, UpsertError, Upserted},
    store::{StoreClock, StoreErrorKind},
    sync::Checkpoint,
    value::InternalId,
};
use integrations_store_postgres::{
    PgStore,
    sqlx::{self, AssertSqlSafe, PgConnection, query, query_scalar},
};
use integrations_testkit::conformance::fixtures::{external, new_integration, ticket};
use support::Scratch;

/// The application's table of tickets, in its own transaction.
struct Tickets<'t> {
    store: &'t PgStore,
    tx: &'t mut PgConnection,
    table: &'t str,
    title: String,
}

fn id_of(entity: &InternalId) -> i64 {
    entity.as_str().parse().unwrap()
}

#[async_trait]
impl Entities for Tickets<'_> {
    type Error = sqlx::Error;

    fn mappings(&mut self) -> Box<dyn MappingStore + '_> {
        Box::new(self.store.within(self.tx))
    }

    async fn create(&mut self) -> Result<InternalId, sqlx::Error> {
        let insert = format!(
            "INSERT INTO {} (title) VALUES ($1) RETURNING id",
            self.table
        );
        let id: i64 = query_scalar(AssertSqlSafe(insert))
            .bind(&self.title)
            .fetch_one(&mut *self.tx)
            .await?;
        Ok(InternalId::new(id.to_string()).unwrap())
    }

    async fn update(&mut self, entity: &InternalId) -> Result<bool, sqlx::Error> {
        let update = format!("UPDATE {} SET title = $1 WHERE id = $2", self.table);
        let done = query(AssertSqlSafe(update))
            .bind(&self.title)
            .bind(id_of(entity))
            .execute(&mut *self.tx)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    async fn exists(&mut self, entity: &InternalId) -> Result<bool, sqlx::Error> {
        let exists = format!("SELECT count(*) FROM {} WHERE id = $1", self.table);
        let found: i64 = query_scalar(AssertSqlSafe(exists))
            .bind(id_of(entity))
            .fetch_one(&mut *self.tx)
            .await?;
        Ok(found > 0)
    }

    async fn discard(&mut self, entity: &InternalId) -> Result<(), sqlx::Error> {
        let delete = format!("DELETE FROM {} WHERE id = $1", self.table);
        let delete = query(AssertSqlSafe(delete)).bind(id_of(entity));
        delete.execute(&mut *self.tx).await?;
        Ok(())
    }
}

/// The application and its store.
struct App {
    store: Arc<PgStore>,
    pool: sqlx::PgPool,
    mappings: Mappings<'static>,
    table: String,
    _scratch: Scratch,
}

impl App {
    async fn new() -> Arc<Self> {
        let scratch = Scratch::new();
        let store = Arc::new(scratch.store().await);
        let pool = sqlx::PgPool::connect(&scratch.url).await.unwrap();
        let table = format!("{}_tickets", scratch.prefix);
        let columns = "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL";
        query(AssertSqlSafe(format!("CREATE TABLE {table} ({columns})")))
            .execute(&pool)
            .await
            .unwrap();
        let integration = store.create(&new_integration()).await.unwrap();
        let mappings: Arc<dyn MappingStore> = Arc::<PgStore>::clone(&store);
        Arc::new(Self {
            mappings: Mappings::new(mappings, store.clock(), integration.id),
            store,
            pool,
            table,
            _scratch: scratch,
        })
    }

    /// Upserts the record `issue-1`, as often as the databases asks for it.
    async fn upsert(&self, version: i64) -> Upserted {
        loop {
            let mut tx = self.pool.begin().await.unwrap();
            let mut tickets = Tickets {
                store: &self.store,
                tx: &mut tx,
                table: &self.table,
                title: format!("version {version}"),
            };
            let record = Record::new(ticket(), external("issue-1"));
            let record = record.version(Checkpoint::Number(version));
            match self.mappings.upsert(&mut tickets, &record).await {
                Ok(done) => {
                    tx.commit().await.unwrap();
                    return done;
                }
                Err(UpsertError::Store(error)) if error.kind == StoreErrorKind::Conflict => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    async fn upsert_together(
        self: &Arc<Self>,
        versions: impl Iterator<Item = i64>,
    ) -> Vec<Upserted> {
        let upserts = versions.map(|version| {
            let app = Arc::clone(self);
            tokio::spawn(async move { app.upsert(version).await })
        });
        let done = join_all(upserts.collect::<Vec<_>>()).await;
        done.into_iter().map(Result::unwrap).collect()
    }

    /// The titles of all tickets, and the ticket that the record is.
    async fn rows(&self) -> (Vec<String>, Option<InternalId>) {
        let titles = query_scalar(AssertSqlSafe(format!("SELECT title FROM {}", self.table)));
        let titles = titles.fetch_all(&self.pool).await.unwrap();
        let mapped = self.mappings.resolve(&ticket(), &external("issue-1")).await;
        (titles, mapped.unwrap())
    }
}

fn created(done: &[Upserted]) -> usize {
    let is_new = |done: &&Upserted| matches!(done, Upserted::Created { .. });
    done.iter().filter(is_new).count()
}

// MAP-06, MAP-07, INV-13, W-MAP-2
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn upserts_at_once_make_one_entity_that_shows_the_newest_version() {
    let app = App::new().await;
    let done = app.upsert_together(1..=20).await;

    assert_eq!(created(&done), 1, "{done:?}");
    let (titles, mapped) = app.rows().await;
    assert_eq!(titles, ["version 20"]);
    assert!(
        done.iter()
            .all(|done| Some(done.entity()) == mapped.as_ref())
    );
}

// INV-13, W-MAP-1
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mapping_whose_entity_is_gone_heals_once() {
    let app = App::new().await;
    let first = app.upsert(1).await;
    let delete = format!("DELETE FROM {}", app.table);
    query(AssertSqlSafe(delete))
        .execute(&app.pool)
        .await
        .unwrap();

    // Neither newer nor older versions, nor the same one, leave it dangling.
    let done = app.upsert_together((0..10).map(|n| n % 3)).await;

    assert_eq!(created(&done), 1, "{done:?}");
    let (titles, mapped) = app.rows().await;
    assert_eq!(titles.len(), 1);
    let healed = done
        .iter()
        .find(|done| matches!(done, Upserted::Created { .. }));
    let Some(Upserted::Created { entity, replaced }) = healed else {
        panic!("{done:?}");
    };
    assert_eq!(replaced.as_ref(), Some(first.entity()));
    assert_eq!(mapped.as_ref(), Some(entity));
}

// L-MAP-2, INV-13: entity and mapping are one commit
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_leaves_neither_entity_nor_mapping() {
    let app = App::new().await;
    let mut tx = app.pool.begin().await.unwrap();
    let mut tickets = Tickets {
        store: &app.store,
        tx: &mut tx,
        table: &app.table,
        title: "never".to_owned(),
    };
    let record = Record::new(ticket(), external("issue-1"));
    let done = app.mappings.upsert(&mut tickets, &record).await.unwrap();
    assert_eq!(created(&[done]), 1);
    tx.rollback().await.unwrap();

    assert_eq!(app.rows().await, (vec![], None));
}
