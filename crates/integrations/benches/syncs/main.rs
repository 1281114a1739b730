//! Syncs at the level of the store: items listed, claimed and settled, beside plain SQL.
//!
//! ```text
//! INTEGRATIONS_TEST_POSTGRES_URL=postgres://.. CARGO_PROFILE_BENCH_LTO=off \
//!     CARGO_PROFILE_BENCH_CODEGEN_UNITS=16 \
//!     cargo bench -p integrations --features postgres,sqlite --bench syncs
//! ```
//!
//! `BENCH_ITEMS` (100000) is the size of the run, `BENCH_ROUNDS` (3) how often everything is
//! measured in turn, `BENCH_WORKERS` (4), `BENCH_BATCH` (100), `BENCH_SNAPSHOT_SECONDS` (0: left
//! out) how long somebody's old snapshot stays open on PostgreSQL, `BENCH_DATABASES` (both).

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark stops at the first surprise, and reads the wall clock"
)]

mod database;
mod ours;
mod raw;

use std::time::{Duration, Instant};

use self::{database::Database, ours::Bench};

/// How much is done, as the environment says.
#[derive(Clone, Copy)]
struct Size {
    items: usize,
    rounds: usize,
    workers: usize,
    batch: usize,
    snapshot: Duration,
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Items per second.
fn rate(items: usize, took: Duration) -> f64 {
    items as f64 / took.as_secs_f64()
}

/// Megabytes this process has in memory.
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kb = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kb.unwrap_or_default() / 1000.0
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("?").to_owned()
}

#[tokio::main]
async fn main() {
    let size = Size {
        items: number("BENCH_ITEMS", 100_000),
        rounds: number("BENCH_ROUNDS", 3),
        workers: number("BENCH_WORKERS", 4),
        batch: number("BENCH_BATCH", 100),
        snapshot: Duration::from_secs(number("BENCH_SNAPSHOT_SECONDS", 0) as u64),
    };
    println!(
        "{} items, {} workers, batches of {}, load {}",
        size.items,
        size.workers,
        size.batch,
        load()
    );
    let which = std::env::var("BENCH_DATABASES").unwrap_or_else(|_| "both".to_owned());
    if which != "sqlite" {
        let database = Database::postgres(size.workers).await;
        measure(&database, size).await;
        due_integrations(&database).await;
        if !size.snapshot.is_zero() {
            snapshot(&database, size).await;
        }
        database.drop_tables().await;
    }
    if which != "postgres" {
        measure(&Database::sqlite().await, size).await;
    }
}

async fn measure(database: &Database, size: Size) {
    let (mut listed, mut drained, mut plain, mut bare) = (vec![], vec![], vec![], vec![]);
    let (mut plain_whole, mut of_plain) = (vec![], vec![]);
    let (mut whole_of_plain, mut flat) = (vec![], vec![]);
    for _ in 0..size.rounds {
        let bench = Bench::new(database, size).await;
        let whole = rate(size.items, bench.list_and_settle().await);

        let bench = Bench::new(database, size).await;
        bench.list(size.items).await;
        let tenths = bench.settle_all().await;
        let drain = rate(size.items, tenths.iter().sum());

        let bench = Bench::new(database, size).await;
        bench.list(size.items).await;
        let raw = rate(size.items, raw::drain(database, size, bench.id).await);
        let alone = rate(size.items, raw::drain_bare(database, size).await);

        let bench = Bench::new(database, size).await;
        let raw_whole = raw::list_and_drain(database, size, bench.id).await;
        let raw_whole = rate(size.items, raw_whole);

        println!(
            "{:<9} listed to settled {whole:>7.0}/s, plain SQL {raw_whole:>7.0}/s ({:.2})  \
             claimed to settled {drain:>7.0}/s, plain SQL {raw:>7.0}/s ({:.2})  bare table \
             {alone:>7.0}/s  resident {:.0} MB  load {}",
            database.name(),
            whole / raw_whole,
            drain / raw,
            resident_mb(),
            load()
        );
        flat.push(tenths[9].as_secs_f64() / tenths[0].as_secs_f64());
        plain_whole.push(raw_whole);
        whole_of_plain.push(whole / raw_whole);
        of_plain.push(drain / raw);
        listed.push(whole);
        drained.push(drain);
        plain.push(raw);
        bare.push(alone);
    }
    println!(
        "{:<9} median: listed to settled {:.0}/s, plain SQL {:.0}/s ({:.2}), claimed to settled \
         {:.0}/s, plain SQL {:.0}/s ({:.2}), bare table {:.0}/s, last tenth {:.2} of the first",
        database.name(),
        median(listed),
        median(plain_whole),
        median(whole_of_plain),
        median(drained),
        median(plain),
        median(of_plain),
        median(bare),
        median(flat),
    );
    let bench = Bench::new(database, size).await;
    let mut waits = Vec::new();
    for _ in 0..200 {
        waits.push(bench.lone_item().await.as_secs_f64() * 1000.0);
    }
    waits.sort_by(f64::total_cmp);
    println!(
        "{:<9} a lone item, from before it is added until it is claimed: p50 {:.1} ms, p99 {:.1} ms",
        database.name(),
        waits[100],
        waits[198]
    );
}

/// Rates while somebody's old snapshot is open, against those just before.
async fn snapshot(database: &Database, size: Size) {
    let items = size.items.min(20_000);
    let round = async || {
        let bench = Bench::new(database, size).await;
        bench.list(items).await;
        let tenths = bench.settle_all_of(items).await;
        rate(items, tenths.iter().sum())
    };
    let before = median(vec![round().await, round().await, round().await]);
    let held = database.old_snapshot().await;
    let started = Instant::now();
    let mut rates = Vec::new();
    while started.elapsed() < size.snapshot {
        rates.push(round().await);
    }
    drop(held);
    let last = median(rates.split_off(rates.len().saturating_sub(3)));
    println!(
        "{:<9} claimed to settled: {before:.0}/s, and {last:.0}/s at the end of {} s with an old \
         snapshot open: {:.2}, load {}",
        database.name(),
        size.snapshot.as_secs(),
        last / before,
        load()
    );
}

/// A claim of 100 due integrations among very many.
async fn due_integrations(database: &Database) {
    let many = number("BENCH_INTEGRATIONS", 0);
    if many == 0 {
        return;
    }
    let took = ours::claim_due(database, many).await;
    println!(
        "{:<9} 100 due among {many} integrations are claimed in {:.1} ms (median of 20)",
        database.name(),
        median(took)
    );
}
