//! Insert, claim and complete in plain SQL: one statement each a batch, and nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use integrations::{
    id::IntegrationId,
    postgres::sqlx::{self, PgPool},
    sqlite::sqlx::SqlitePool,
};

use crate::{
    Size,
    database::{Database, Plain},
    ours::PAGE,
};

/// Drains the items of an integration over the same table and indexes.
pub(crate) async fn drain(database: &Database, size: Size, id: IntegrationId) -> Duration {
    let (claim, complete) = of_items(database);
    let started = Instant::now();
    by_workers(database, size, id, claim, complete).await;
    started.elapsed()
}

/// Inserts the items of an integration, and drains them meanwhile.
pub(crate) async fn list_and_drain(database: &Database, size: Size, id: IntegrationId) -> Duration {
    let (claim, complete) = of_items(database);
    let started = Instant::now();
    let workers = by_workers(database, size, id, claim, complete);
    tokio::join!(workers, list(database, size.items, id));
    started.elapsed()
}

async fn list(database: &Database, items: usize, id: IntegrationId) {
    let insert = database.named(match &database.plain {
        Plain::Postgres(_) => {
            "INSERT INTO {items} (integration_id, run_id, event_class, stream, external_id, \
             checkpoint_value, checkpoint_order, payload, available_at, created_at, updated_at) \
             SELECT $1, 1, 'issue', 'issues', e.external_id, to_jsonb(e.version), e.version, \
             e.payload, now(), now(), now() \
             FROM unnest($2::text[], $3::text[], $4::text[]) AS e (external_id, version, payload)"
        }
        Plain::Sqlite(_) => {
            "INSERT INTO {items} (integration_id, run_id, event_class, stream, external_id, \
             checkpoint_value, checkpoint_order, payload, available_at, created_at, updated_at) \
             SELECT $1, 1, 'issue', 'issues', value, json_quote($3 ->> e.key), $3 ->> e.key, $4 ->> e.key, \
             '2020-01-01', '2020-01-01', '2020-01-01' FROM json_each($2) AS e"
        }
    });
    let mut first = 0;
    while first < items {
        let page = first..items.min(first + PAGE);
        first = page.end;
        let ids: Vec<_> = page.clone().map(|n| format!("issue-{n}")).collect();
        let versions: Vec<_> = page.clone().map(|n| format!("{n:020}")).collect();
        let payloads: Vec<_> = page.map(|_| "x".repeat(200)).collect();
        let sql = sqlx::AssertSqlSafe(insert.as_str());
        match &database.plain {
            Plain::Postgres(pool) => {
                let insert = sqlx::query(sql).bind(id.0);
                let insert = insert.bind(ids).bind(versions).bind(payloads);
                insert.execute(pool).await.expect("inserted");
            }
            Plain::Sqlite(pool) => {
                let json = |texts: &[String]| serde_json::to_string(texts).unwrap();
                let insert = sqlx::query(sql).bind(id.0);
                let insert = insert.bind(json(&ids)).bind(json(&versions));
                insert
                    .bind(json(&payloads))
                    .execute(pool)
                    .await
                    .expect("inserted");
            }
        }
    }
}

/// The statements that claim and complete items.
fn of_items(database: &Database) -> (&'static str, &'static str) {
    match &database.plain {
        Plain::Postgres(_) => (
            "WITH due AS MATERIALIZED (SELECT id FROM {items} WHERE integration_id = $1 \
             AND completed_at IS NULL AND lease_until IS NULL AND available_at <= now() \
             ORDER BY available_at, id LIMIT $2 FOR UPDATE SKIP LOCKED) \
             UPDATE {items} SET attempts = attempts + 1, lease_until = now() + interval '1 minute', \
             lease_token = '00000000000000000000000000', updated_at = now() \
             WHERE id = ANY(ARRAY(SELECT id FROM due)) RETURNING id, external_id, payload",
            "UPDATE {items} SET status = 'success', completed_at = now(), lease_until = NULL, \
             lease_token = NULL, updated_at = now() WHERE id = ANY($1)",
        ),
        Plain::Sqlite(_) => (
            "UPDATE {items} SET attempts = attempts + 1, lease_until = '9999-01-01', \
             lease_token = '00000000000000000000000000' WHERE id IN (SELECT id FROM {items} \
             INDEXED BY {items}_claim_idx WHERE integration_id = $1 AND completed_at IS NULL \
             AND lease_until IS NULL ORDER BY available_at, id LIMIT $2) \
             RETURNING id, external_id, payload",
            "UPDATE {items} SET status = 'success', completed_at = updated_at, \
             lease_until = NULL, lease_token = NULL \
             WHERE id IN (SELECT value FROM json_each($1))",
        ),
    }
}

/// Drains a table that has a key, a state and a payload.
pub(crate) async fn drain_bare(database: &Database, size: Size) -> Duration {
    database.run("DROP TABLE IF EXISTS {bare}").await;
    database
        .run("CREATE TABLE {bare} (id bigint PRIMARY KEY, state text NOT NULL, payload text)")
        .await;
    let index = "CREATE INDEX {bare}_idx ON {bare} (id) WHERE state = 'pending'";
    database.run(index).await;
    let fill = match &database.plain {
        Plain::Postgres(_) => {
            "INSERT INTO {bare} (payload, state, id) \
             SELECT repeat('x', 200), 'pending', generate_series(1, "
        }
        Plain::Sqlite(_) => {
            "INSERT INTO {bare} WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) \
             SELECT n, 'pending', printf('%200d', n) FROM s LIMIT ("
        }
    };
    database.run(&format!("{fill}{})", size.items)).await;
    let (claim, complete) = match &database.plain {
        Plain::Postgres(_) => (
            "UPDATE {bare} SET state = 'taken' WHERE id = ANY(ARRAY(SELECT id FROM {bare} \
             WHERE state = 'pending' AND $1 > 0 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)) \
             RETURNING id, payload",
            "UPDATE {bare} SET state = 'done' WHERE id = ANY($1)",
        ),
        Plain::Sqlite(_) => (
            "UPDATE {bare} SET state = 'taken' WHERE id IN (SELECT id FROM {bare} \
             WHERE state = 'pending' AND $1 > 0 ORDER BY id LIMIT $2) RETURNING id, payload",
            "UPDATE {bare} SET state = 'done' WHERE id IN (SELECT value FROM json_each($1))",
        ),
    };
    let started = Instant::now();
    by_workers(database, size, IntegrationId(1), claim, complete).await;
    started.elapsed()
}

/// Claims and completes batches until all are done.
async fn by_workers(
    database: &Database,
    size: Size,
    id: IntegrationId,
    claim: &str,
    complete: &str,
) {
    let (claim, complete) = (database.named(claim), database.named(complete));
    let done = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..size.workers)
        .map(|_| {
            let (claim, complete, done) = (claim.clone(), complete.clone(), Arc::clone(&done));
            match &database.plain {
                Plain::Postgres(pool) => {
                    tokio::spawn(on_postgres(pool.clone(), size, id, claim, complete, done))
                }
                Plain::Sqlite(pool) => {
                    tokio::spawn(on_sqlite(pool.clone(), size, id, claim, complete, done))
                }
            }
        })
        .collect();
    for worker in workers {
        worker.await.expect("a worker");
    }
    assert_eq!(done.load(Ordering::Relaxed), size.items);
}

async fn on_postgres(
    pool: PgPool,
    size: Size,
    id: IntegrationId,
    claim: String,
    complete: String,
    done: Arc<AtomicUsize>,
) {
    while done.load(Ordering::Relaxed) < size.items {
        let claimed = sqlx::query(sqlx::AssertSqlSafe(claim.as_str()))
            .bind(id.0)
            .bind(i64::try_from(size.batch).unwrap())
            .fetch_all(&pool)
            .await
            .expect("a claim");
        if claimed.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let ids: Vec<i64> = claimed.iter().map(|row| sqlx::Row::get(row, 0)).collect();
        sqlx::query(sqlx::AssertSqlSafe(complete.as_str()))
            .bind(&ids)
            .execute(&pool)
            .await
            .expect("completed");
        done.fetch_add(ids.len(), Ordering::Relaxed);
    }
}

async fn on_sqlite(
    pool: SqlitePool,
    size: Size,
    id: IntegrationId,
    claim: String,
    complete: String,
    done: Arc<AtomicUsize>,
) {
    while done.load(Ordering::Relaxed) < size.items {
        let claimed = sqlx::query(sqlx::AssertSqlSafe(claim.as_str()))
            .bind(id.0)
            .bind(i64::try_from(size.batch).unwrap())
            .fetch_all(&pool)
            .await
            .expect("a claim");
        if claimed.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let ids: Vec<i64> = claimed.iter().map(|row| sqlx::Row::get(row, 0)).collect();
        sqlx::query(sqlx::AssertSqlSafe(complete.as_str()))
            .bind(serde_json::to_string(&ids).unwrap())
            .execute(&pool)
            .await
            .expect("completed");
        done.fetch_add(ids.len(), Ordering::Relaxed);
    }
}
