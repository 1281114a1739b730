//! Runs the tests on every store and counts what ran where.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::Args;
use serde_json::Value;

use crate::cmd::{self, Outcome};
use crate::postgres;

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Tests of these crates only
    #[arg(short, long = "package")]
    packages: Vec<String>,
    /// Passed to the test binaries
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Outcome<ExitCode> {
    let server = postgres::find()?;
    println!("testing on SQLite and {}", server.description);
    let crates = crates_by_binary(options)?;

    let mut command = cargo_test(options)?;
    command
        .args(["--no-fail-fast", "--"])
        .args(&options.arguments);
    // Colours would hide the lines that are counted.
    command
        .env("CARGO_TERM_COLOR", "never")
        .env(postgres::URL_VARIABLE, &server.url);
    let mut tally = Tally::new(crates);
    let succeeded = stream(command, |line| tally.read(line))?;

    println!("\nSQLite: {} tests", tally.sqlite);
    println!("{}: {} tests", server.description, tally.postgres);
    println!("memory: {} tests", tally.memory);
    drop(server);
    let whole = options.packages.is_empty() && options.arguments.is_empty();
    let missed = whole && (tally.sqlite == 0 || tally.postgres == 0);
    if missed {
        println!("no test ran on one of the databases");
    }
    if missed || !succeeded {
        // A database without tests and a test binary that crashed have no result line of their own.
        tally.failed = tally.failed.max(1);
    }
    println!(
        "{} passed, {} failed, {} skipped",
        tally.passed, tally.failed, tally.skipped
    );
    Ok(if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn cargo_test(options: &Options) -> Outcome<Command> {
    let mut command = cmd::cargo(["test", "--all-features"])?;
    if options.packages.is_empty() {
        command.arg("--workspace");
    }
    for package in &options.packages {
        command.args(["--package", package]);
    }
    Ok(command)
}

/// Builds the tests. Answers the crate's folder for each binary's file name, which alone may be just
/// `conformance-0123abcd`.
fn crates_by_binary(options: &Options) -> Outcome<BTreeMap<String, String>> {
    let mut command = cargo_test(options)?;
    command.args(["--no-run", "--message-format", "json-render-diagnostics"]);
    command.stderr(std::process::Stdio::inherit());
    let built = command.output()?;
    let messages = String::from_utf8_lossy(&built.stdout);
    // What does not compile is reported by the run that follows.
    Ok(messages.lines().filter_map(binary_and_crate).collect())
}

fn binary_and_crate(message: &str) -> Option<(String, String)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let binary = Path::new(message["executable"].as_str()?).file_name()?;
    let folder = Path::new(message["manifest_path"].as_str()?)
        .parent()?
        .file_name()?;
    Some((
        binary.to_string_lossy().into_owned(),
        folder.to_string_lossy().into_owned(),
    ))
}

/// Runs a command, passing its output on line by line, both streams in the order written.
fn stream(mut command: Command, mut read: impl FnMut(&str)) -> Outcome<bool> {
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds ends of the pipe that would keep it open.
    drop(command);
    let mut terminal = io::stdout().lock();
    let mut lines = BufReader::new(reader);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        terminal.write_all(&line)?;
        read(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(child.wait()?.success())
}

/// Sums of what cargo and the test binaries print.
struct Tally {
    crates: BTreeMap<String, String>,
    /// Crate and file of the binary that is running.
    current: String,
    passed: u64,
    failed: u64,
    skipped: u64,
    sqlite: u64,
    postgres: u64,
    memory: u64,
}

impl Tally {
    fn new(crates: BTreeMap<String, String>) -> Self {
        let current = String::new();
        Self {
            crates,
            current,
            passed: 0,
            failed: 0,
            skipped: 0,
            sqlite: 0,
            postgres: 0,
            memory: 0,
        }
    }

    fn read(&mut self, line: &str) {
        let text = line.trim_start();
        if let Some(running) = text.strip_prefix("Running ") {
            self.current = self.place(running);
        } else if let Some(library) = text.strip_prefix("Doc-tests ") {
            library.clone_into(&mut self.current);
        } else if let Some(result) = text.strip_prefix("test result: ") {
            self.add(result);
        } else if let Some(test) = text.strip_prefix("test ") {
            self.count_by_store(test);
        }
    }

    /// `store-postgres tests/conformance.rs` for
    /// `tests/conformance.rs (target/debug/deps/conformance-0123abcd)`.
    fn place(&self, running: &str) -> String {
        let (file, binary) = running.split_once(" (").unwrap_or((running, ""));
        let binary = binary
            .trim_end_matches(')')
            .rsplit(['/', '\\'])
            .next()
            .unwrap_or_default();
        let folder = self.crates.get(binary).map_or("", String::as_str);
        format!("{folder} {file}")
    }

    /// Adds `ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s`.
    fn add(&mut self, result: &str) {
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let count = words
                .next()
                .and_then(|word| word.parse::<u64>().ok())
                .unwrap_or(0);
            match words.next() {
                Some("passed") => self.passed += count,
                Some("failed") => self.failed += count,
                Some("ignored") => self.skipped += count,
                _ => {}
            }
        }
    }

    /// A test belongs to the stores its crate, file, module or name speaks of.
    fn count_by_store(&mut self, test: &str) {
        let ran = test.ends_with("... ok") || test.ends_with("... FAILED");
        // Our own tests speak of the databases without using one.
        if !ran || self.current.starts_with("xtask ") {
            return;
        }
        let whole = format!("{} {test}", self.current).to_lowercase();
        self.sqlite += u64::from(whole.contains("sqlite"));
        self.postgres += u64::from(whole.contains("postgres"));
        self.memory += u64::from(whole.contains("memory"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
     Running unittests src/lib.rs (target/debug/deps/integrations_core-1)

running 2 tests
test a::works ... ok
test a::later ... ignored, needs thought

test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s

     Running tests/conformance.rs (target/debug/deps/conformance-2)
test claims ... ok
test memory_claims ... FAILED

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.5s

   Doc-tests integrations_store_sqlite
test crates/store-sqlite/src/lib.rs - SqliteStore (line 12) ... ok
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";

    #[test]
    fn results_are_summed_and_counted_by_store() {
        let crates = BTreeMap::from([("conformance-2".to_owned(), "store-postgres".to_owned())]);
        let mut tally = Tally::new(crates);
        OUTPUT.lines().for_each(|line| tally.read(line));
        assert_eq!((tally.passed, tally.failed, tally.skipped), (3, 1, 1));
        assert_eq!((tally.sqlite, tally.postgres, tally.memory), (1, 2, 1));
    }

    #[test]
    fn a_binary_is_known_by_its_crate() {
        let message = r#"{"reason":"compiler-artifact","executable":"/t/deps/conformance-2",
            "manifest_path":"/r/crates/store-postgres/Cargo.toml"}"#;
        let known = binary_and_crate(message);
        assert_eq!(
            known,
            Some(("conformance-2".to_owned(), "store-postgres".to_owned()))
        );
        assert_eq!(binary_and_crate(r#"{"executable":null}"#), None);
    }
}
