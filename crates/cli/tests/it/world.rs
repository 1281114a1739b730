//! A folder, a database, a twin of GitHub, and the command run there.

use std::{
    env,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use integrations::{PgStore, SqliteStore, store::Ports};
use integrations::{
    SystemClock,
    time::{Clock as _, later},
};
use integrations_testkit::twin::github::{DEFAULT_TOKEN, GithubTwin};
use serde_json::Value as Json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqliteConnection};
use tempfile::TempDir;

/// 32 bytes of zeroes: what is sealed here is worth nothing.
pub(crate) const KEYS: &str = "test:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// What a process came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.text(), self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "`{text}` is missing from: {}",
            self.stderr
        );
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.stdout).expect("standard output is JSON")
    }
}

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) prefix: String,
    pub(crate) twin: GithubTwin,
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl World {
    /// Nothing but an empty database.
    pub(crate) async fn empty(kind: Kind) -> Self {
        Self::empty_with(kind, GithubTwin::start().await.unwrap())
    }

    /// The same with another twin.
    pub(crate) fn empty_with(kind: Kind, twin: GithubTwin) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Every state is seeded anew.
        let random = RandomState::new().build_hasher().finish();
        let url = match kind {
            Kind::Sqlite => format!("sqlite://{}/test.db", folder.path().display()),
            Kind::Postgres => env::var("INTEGRATIONS_TEST_POSTGRES_URL").expect(
                "INTEGRATIONS_TEST_POSTGRES_URL is not set: `cargo xtask test` starts a \
                 PostgreSQL and sets it",
            ),
        };
        let world = Self {
            folder,
            kind,
            url,
            prefix: format!("t{random:016x}"),
            twin,
            variables: vec![("INTEGRATIONS_KEYS", KEYS.to_owned())],
        };
        world.configure("");
        world
    }

    /// With a schema.
    pub(crate) async fn new(kind: Kind) -> Self {
        let world = Self::empty(kind).await;
        world.run(&["migrate"]).ok();
        world
    }

    /// With a schema and integration 1.
    pub(crate) async fn installed(kind: Kind) -> (Self, String) {
        let world = Self::new(kind).await;
        let id = world.install(&[]);
        (world, id)
    }

    /// Writes the configuration: GitHub is the twin, and `more`. Without a word on retries, each
    /// call is one attempt.
    pub(crate) fn configure(&self, more: &str) {
        let once = if more.contains("[retry]") {
            ""
        } else {
            "[retry]\nread_attempts = 1\n"
        };
        let text = format!(
            "[providers.github]\nbase_url = \"{}\"\nallow_private_network = true\n{more}\n{once}",
            self.twin.base_url()
        );
        std::fs::write(self.path("integrations.toml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Installs the twin's account, and returns its id.
    pub(crate) fn install(&self, more: &[&str]) -> String {
        let token = format!("token={DEFAULT_TOKEN}");
        let mut args = vec!["install", "github", "--credential", &token];
        args.extend(["--metadata", "owner=acme", "--metadata", "repo=widgets"]);
        args.extend(more);
        self.run(&args).ok().json()["id"].to_string()
    }

    /// The command, with nothing of this machine's environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_integrations"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("INTEGRATIONS_DATABASE_URL", &self.url)
            .env("INTEGRATIONS_PREFIX", &self.prefix)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        finish(self.command(args))
    }

    /// The database, as an application beside the command has it.
    pub(crate) async fn ports(&self) -> Ports {
        match self.kind {
            Kind::Sqlite => {
                let options = SqliteStore::connect(&self.url).unwrap();
                let options = options.prefix(&self.prefix).unwrap();
                options.open().await.unwrap().into()
            }
            Kind::Postgres => {
                let options = PgStore::connect(&self.url).unwrap();
                let options = options.prefix(&self.prefix).unwrap();
                options.open().await.unwrap().into()
            }
        }
    }

    /// Runs statements of our own.
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.replace("{p}", &self.prefix));
        match self.kind {
            Kind::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::query(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                sqlx::query(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }

    /// The text called `cell` of the first row; `None` where there is no row, or it is null.
    pub(crate) async fn cell(&self, sql: &str) -> Option<String> {
        let sql = AssertSqlSafe(sql.replace("{p}", &self.prefix));
        match self.kind {
            Kind::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                let row = sqlx::query(sql).fetch_optional(&mut connection).await;
                let cell = row.unwrap().and_then(|row| row.get("cell"));
                connection.close().await.unwrap();
                cell
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                let row = sqlx::query(sql).fetch_optional(&mut connection).await;
                let cell = row.unwrap().and_then(|row| row.get("cell"));
                connection.close().await.unwrap();
                cell
            }
        }
    }

    /// Returns once the cell holds this. Processes give no other sign than what they write.
    pub(crate) async fn until(&self, sql: &str, text: &str) {
        let clock = SystemClock::new();
        let give_up = later(clock.now(), Duration::from_mins(5));
        loop {
            let cell = self.cell(sql).await;
            if cell.as_deref() == Some(text) {
                return;
            }
            assert!(clock.now() < give_up, "{sql} is {cell:?}");
            let again = later(clock.now(), Duration::from_millis(50));
            clock.sleep_until(again).await;
        }
    }

    /// The tables under the prefix.
    pub(crate) async fn tables(&self) -> Vec<String> {
        match self.kind {
            Kind::Sqlite => {
                let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE $1";
                let pattern = format!("{}%", self.prefix);
                sqlx::query_scalar(sql)
                    .bind(pattern)
                    .fetch_all(&mut connection)
                    .await
                    .unwrap()
            }
            Kind::Postgres => postgres_tables(&self.url, &self.prefix).await,
        }
    }

    /// Everything the database keeps, as bytes to search.
    pub(crate) async fn contents(&self) -> Vec<u8> {
        if self.kind == Kind::Sqlite {
            let files = ["test.db", "test.db-wal"].map(|name| self.path(name));
            let there = files.iter().filter(|path| path.exists());
            return there
                .flat_map(|path| std::fs::read(path).unwrap())
                .collect();
        }
        let mut contents = Vec::new();
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        for table in self.tables().await {
            let sql = AssertSqlSafe(format!("SELECT t::text AS row FROM \"{table}\" t"));
            for row in sqlx::query(sql).fetch_all(&mut connection).await.unwrap() {
                contents.extend(row.get::<String, _>("row").into_bytes());
            }
        }
        contents
    }
}

/// Runs a command to its end.
pub(crate) fn finish(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().expect("the process ended by itself"),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

async fn postgres_tables(url: &str, prefix: &str) -> Vec<String> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let sql = "SELECT tablename::text FROM pg_tables WHERE starts_with(tablename, $1)";
    sqlx::query_scalar(sql)
        .bind(prefix)
        .fetch_all(&mut connection)
        .await
        .unwrap()
}

async fn drop_tables(url: &str, prefix: &str) {
    let tables = postgres_tables(url, prefix).await;
    if tables.is_empty() {
        return;
    }
    let mut connection = PgConnection::connect(url).await.unwrap();
    let sql = AssertSqlSafe(format!("DROP TABLE \"{}\" CASCADE", tables.join("\", \"")));
    sqlx::query(sql).execute(&mut connection).await.unwrap();
}

impl Drop for World {
    fn drop(&mut self) {
        if self.kind == Kind::Sqlite {
            return;
        }
        thread::scope(|scope| {
            let dropping = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(drop_tables(&self.url, &self.prefix));
            });
            let dropped = dropping.join();
            // A test that fails already says more than what it left behind.
            assert!(dropped.is_ok() || thread::panicking(), "tables are left");
        });
    }
}
