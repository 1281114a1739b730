//! Workers are killed without warning while the other side changes and fails. Nothing is lost.
//!
//! The size is for every day; `INTEGRATIONS_TEST_CHAOS_ITEMS` and `INTEGRATIONS_TEST_CHAOS_KILLS`
//! make it what one wants, and `INTEGRATIONS_TEST_CHAOS_RESTART` is a command that restarts
//! PostgreSQL, run twice on the way.

use std::{
    collections::BTreeSet,
    env,
    process::{Child, Command, Stdio},
    time::Duration,
};

use integrations::{
    SystemClock,
    time::{Clock as _, later},
};
use integrations_testkit::twin::github::{Fault, GithubTwin};
use serde_json::Value as Json;

use crate::world::{Kind, World};

const TOTAL: &str = "SELECT CAST(count(*) AS text) AS cell FROM {p}_sync_items";
const UNRESOLVED: &str = "SELECT CAST(count(*) AS text) AS cell FROM {p}_sync_items \
    WHERE status NOT IN ('success', 'skipped')";
const UNFINISHED: &str =
    "SELECT CAST(count(*) AS text) AS cell FROM {p}_sync_runs WHERE state = 'running'";
/// One statement, so that both are of one instant.
const CURSOR_AND_LOWEST: &str = "SELECT CAST(s.sync_cursor AS text) || ' ' || coalesce((\
    SELECT min(CAST(i.checkpoint_value AS text)) FROM {p}_sync_items i \
    WHERE i.integration_id = s.id AND i.stream = 'issues' \
    AND i.status NOT IN ('success', 'skipped')), '') AS cell FROM {p}s s \
    WHERE s.sync_cursor IS NOT NULL";

fn size(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |size| size.parse().unwrap())
}

/// The time between two kills. Nothing is expected to have happened by its end.
async fn let_it_run() {
    let clock = SystemClock::new();
    clock
        .sleep_until(later(clock.now(), Duration::from_millis(250)))
        .await;
}

struct Chaos {
    world: World,
    id: String,
    workers: Vec<Child>,
    syncs: Vec<Child>,
    dice: u64,
}

impl Chaos {
    async fn new(kind: Kind, items: u64, workers: usize) -> Self {
        let twin = GithubTwin::builder()
            .issues(items)
            .pull_requests(0)
            .comments_per_issue(0)
            .rate_limit(u32::MAX)
            .start();
        let world = World::empty_with(kind, twin.await.unwrap());
        // A killed process is followed within a second, and kills cost attempts.
        world.configure(
            "[sync]\nmax_attempts = 1000\nbackoff = [\"1s\"]\nitem_lease = \"1s\"\n\
             sync_lease = \"1s\"\npoll = \"1s\"\n",
        );
        world.run(&["migrate"]).ok();
        let id = world.install(&[]);
        let mut chaos = Self {
            world,
            id,
            workers: Vec::new(),
            syncs: Vec::new(),
            dice: 88_172_645_463_325_252,
        };
        for n in 0..workers {
            let worker = chaos.worker(n);
            chaos.workers.push(worker);
        }
        chaos
    }

    fn worker(&self, n: usize) -> Child {
        let sink = format!("ndjson:out-{n}.ndjson");
        let mut command = self.world.command(&["worker", "--sink", &sink]);
        command.stderr(Stdio::null()).spawn().unwrap()
    }

    /// The next number of a fixed sequence.
    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }

    /// The other side lives on: records are added, and old ones change and so move in the order.
    fn change(&mut self) {
        for _ in 0..3 {
            let count = self.world.twin.issue_count() as u64;
            let number = 1 + self.roll() % count;
            self.world.twin.touch_issue(number);
        }
        self.world.twin.add_issue("added");
        // One call in twenty of those that are made meanwhile.
        let fault = if self.roll().is_multiple_of(2) {
            Fault::status(503)
        } else {
            Fault::CutMidBody
        };
        self.world.twin.inject(fault);
    }

    fn sync(&mut self) {
        let mut command = self
            .world
            .command(&["sync", &self.id, "--stream", "issues"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.syncs.push(command.spawn().unwrap());
    }

    fn kill_one(&mut self, n: usize) {
        let n = n % self.workers.len();
        kill(&mut self.workers[n]);
        self.workers[n] = self.worker(n);
        if let Some(mut sync) = self.syncs.pop() {
            kill(&mut sync);
        }
    }

    /// The cursor is at no moment past an item that is not resolved.
    async fn look_at_the_cursor(&self) {
        let Some(seen) = self.world.cell(CURSOR_AND_LOWEST).await else {
            return;
        };
        let (cursor, lowest) = seen.rsplit_once(' ').unwrap();
        let Ok(cursor) = serde_json::from_str::<Json>(cursor) else {
            panic!("{seen}");
        };
        let lowest = lowest.trim_matches('"');
        if let Some(cursor) = cursor["issues"].as_str()
            && !lowest.is_empty()
        {
            assert!(cursor < lowest, "the cursor passed an item: {seen}");
        }
    }

    /// Every version of every issue that was delivered.
    fn delivered(&self) -> BTreeSet<(String, String)> {
        let files = (0..self.workers.len()).map(|n| format!("out-{n}.ndjson"));
        let lines = files.flat_map(|file| self.world.lines(&file));
        let lines = lines.filter(|line| line["kind"] == "issue");
        let version = |line: Json| {
            let record = line["external_id"].as_str().unwrap().to_owned();
            (
                record,
                line["payload"]["updated_at"].as_str().unwrap().to_owned(),
            )
        };
        lines.map(version).collect()
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        for child in self.workers.iter_mut().chain(&mut self.syncs) {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// SIGKILL.
fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn restart_postgres() {
    if let Ok(command) = env::var("INTEGRATIONS_TEST_CHAOS_RESTART") {
        let restarted = Command::new("sh").args(["-c", &command]).status();
        assert!(restarted.unwrap().success());
    }
}

// Acceptance: nothing is lost, whoever is killed
pub(crate) async fn nothing_is_lost(kind: Kind) {
    let items = size("INTEGRATIONS_TEST_CHAOS_ITEMS", 300);
    let kills = size("INTEGRATIONS_TEST_CHAOS_KILLS", 10);
    let workers = match kind {
        Kind::Sqlite => 1,
        Kind::Postgres => 4,
    };
    let mut chaos = Chaos::new(kind, items, workers).await;
    for n in 0..kills {
        chaos.change();
        chaos.sync();
        let_it_run().await;
        chaos.look_at_the_cursor().await;
        chaos.kill_one(usize::try_from(n).unwrap());
        if kind == Kind::Postgres && (n == kills / 3 || n == 2 * kills / 3) {
            restart_postgres();
        }
    }
    // The dust settles: what was cut off goes on, and then one more sync sees what changed last. An
    // integration that is not well would be left alone for longer.
    chaos.world.twin.clear_faults();
    let world = &chaos.world;
    world.until(UNFINISHED, "0").await;
    world
        .execute(
            "UPDATE {p}s SET next_sync_at = created_at, health_status = 'healthy', \
             consecutive_failures = 0",
        )
        .await;
    let due = "SELECT CAST(count(*) AS text) AS cell FROM {p}s \
               WHERE next_sync_at <= created_at OR sync_lease_holder IS NOT NULL";
    world.until(due, "0").await;
    world.until(UNFINISHED, "0").await;
    world.until(UNRESOLVED, "0").await;
    chaos.look_at_the_cursor().await;

    let delivered = chaos.delivered();
    for number in 1..=world.twin.issue_count() as u64 {
        let issue = world.twin.issue(number).unwrap();
        let last = (
            number.to_string(),
            issue["updated_at"].as_str().unwrap().to_owned(),
        );
        assert!(delivered.contains(&last), "{last:?} was not delivered");
    }
    let total = world.cell(TOTAL).await.unwrap();
    assert!(total.parse::<u64>().unwrap() >= items, "{total}");
}
