//! The SQL files: the same versions in both dialects, frozen, with a prefix before every name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use sha2::{Digest, Sha256};

use crate::cmd::{self, Outcome};
use crate::migration_names;

pub(crate) const PLACEHOLDER: &str = "{{prefix}}";
const LOCK: &str = "checksums.lock";

#[derive(Subcommand)]
pub(crate) enum Task {
    /// Parity of the dialects, frozen files, names
    Check,
    /// Adds new files to the lock
    Freeze {
        /// Also takes over changed files, which is right only before their first release
        #[arg(long)]
        replace: bool,
    },
    /// Makes the next pair of files
    New {
        /// What it does, as `add_colour`
        name: String,
    },
    /// Prints the SQL with the prefix filled in
    Render {
        #[arg(long, value_enum)]
        dialect: Dialect,
        #[arg(long, default_value = "integration")]
        prefix: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Dialect {
    Postgres,
    Sqlite,
}

impl Dialect {
    const ALL: [Self; 2] = [Self::Postgres, Self::Sqlite];

    fn folder(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }
}

/// File contents by path below `migrations/`, as `sqlite/0001_init.sql`.
type Files = BTreeMap<String, String>;

/// Checksums by the same paths.
type Lock = BTreeMap<String, String>;

pub(crate) fn run(task: &Task) -> Outcome {
    match task {
        Task::Check => check(),
        Task::Freeze { replace } => freeze(*replace),
        Task::New { name } => new(name),
        Task::Render { dialect, prefix } => render(*dialect, prefix),
    }
}

pub(crate) fn check() -> Outcome {
    let files = read_files()?;
    let mut problems = unpaired(&files);
    problems.extend(thawed(&files, &read_lock()?));
    for (path, sql) in &files {
        // SQLite leaves unnamed what has no name.
        let makes_names_up = path.starts_with(Dialect::Postgres.folder());
        let found = migration_names::problems(sql, makes_names_up);
        problems.extend(found.iter().map(|text| format!("{path}: {text}")));
    }
    if problems.is_empty() {
        println!(
            "{} migrations in both dialects, all frozen",
            files.len() / Dialect::ALL.len()
        );
        return Ok(());
    }
    Err(format!(
        "{} problems in migrations/\n  {}",
        problems.len(),
        problems.join("\n  ")
    )
    .into())
}

fn freeze(replace: bool) -> Outcome {
    let files = read_files()?;
    let old = read_lock()?;
    let new: Lock = files
        .iter()
        .map(|(path, sql)| (path.clone(), checksum(sql)))
        .collect();
    let changed = old.iter().filter(|(path, sum)| new.get(*path) != Some(sum));
    let changed: Vec<&str> = changed.map(|(path, _)| path.as_str()).collect();
    if !changed.is_empty() && !replace {
        let list = changed.join(", ");
        return Err(format!("frozen files differ: {list}; undo that and add a migration").into());
    }
    let lines = new.iter().map(|(path, sum)| format!("{sum}  {path}\n"));
    fs::write(folder()?.join(LOCK), lines.collect::<String>())?;
    println!(
        "{} files frozen, {} of them new",
        new.len(),
        new.len().saturating_sub(old.len())
    );
    Ok(())
}

fn new(name: &str) -> Outcome {
    let is_plain = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err("name a migration in lower case with underscores, as `add_colour`".into());
    }
    let files = read_files()?;
    let last = files
        .keys()
        .filter_map(|path| version(path))
        .max()
        .unwrap_or(0);
    for dialect in Dialect::ALL {
        let file = format!("{}/{:04}_{name}.sql", dialect.folder(), last + 1);
        fs::write(folder()?.join(&file), "")?;
        println!("migrations/{file}");
    }
    Ok(())
}

fn render(dialect: Dialect, prefix: &str) -> Outcome {
    for (path, sql) in read_files()? {
        if path.starts_with(dialect.folder()) {
            print!("{}", sql.replace(PLACEHOLDER, prefix));
        }
    }
    Ok(())
}

fn folder() -> Outcome<PathBuf> {
    Ok(cmd::root()?.join("migrations"))
}

fn read_files() -> Outcome<Files> {
    let mut files = Files::new();
    for dialect in Dialect::ALL {
        for entry in fs::read_dir(folder()?.join(dialect.folder()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{}/{name}", dialect.folder());
            files.insert(path, fs::read_to_string(entry.path())?);
        }
    }
    Ok(files)
}

fn read_lock() -> Outcome<Lock> {
    let path = folder()?.join(LOCK);
    if !path.exists() {
        return Ok(Lock::new());
    }
    let text = fs::read_to_string(path)?;
    let entry = |line: &str| {
        line.split_once("  ")
            .map(|(sum, path)| (path.to_owned(), sum.to_owned()))
    };
    Ok(text.lines().filter_map(entry).collect())
}

fn checksum(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// `1` for `sqlite/0001_init.sql`; `None` for a file not named so.
fn version(path: &str) -> Option<u32> {
    let file = Path::new(path).file_name()?.to_str()?;
    let (number, name) = file.strip_suffix(".sql")?.split_once('_')?;
    (number.len() == 4 && !name.is_empty()).then(|| number.parse().ok())?
}

/// Files badly named, and those one dialect has and the other lacks.
fn unpaired(files: &Files) -> Vec<String> {
    let unnamed = files.keys().filter(|path| version(path).is_none());
    let mut problems: Vec<String> = unnamed
        .map(|path| format!("{path}: name it NNNN_name.sql"))
        .collect();
    let of = |dialect: Dialect| -> BTreeSet<&str> {
        let names = files.keys().filter_map(|path| path.split_once('/'));
        names
            .filter(|(folder, _)| *folder == dialect.folder())
            .map(|(_, name)| name)
            .collect()
    };
    let (postgres, sqlite) = (of(Dialect::Postgres), of(Dialect::Sqlite));
    problems.extend(
        postgres
            .difference(&sqlite)
            .map(|name| format!("sqlite/{name} is missing")),
    );
    problems.extend(
        sqlite
            .difference(&postgres)
            .map(|name| format!("postgres/{name} is missing")),
    );
    problems
}

/// Files that differ from the lock, are missing from it, or are gone.
fn thawed(files: &Files, lock: &Lock) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, sql) in files {
        match lock.get(path) {
            None => problems.push(format!("{path}: run `cargo xtask migrations freeze`")),
            Some(sum) if *sum != checksum(sql) => {
                problems.push(format!(
                    "{path}: frozen, and changed; undo that and add a migration"
                ));
            }
            Some(_) => {}
        }
    }
    let gone = lock.keys().filter(|path| !files.contains_key(*path));
    problems.extend(gone.map(|path| format!("{path}: frozen, and gone")));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Files {
        paths
            .iter()
            .map(|&path| (path.to_owned(), "select 1;\n".to_owned()))
            .collect()
    }

    #[test]
    fn both_dialects_hold_the_same_versions() {
        assert!(unpaired(&files(&["postgres/0001_a.sql", "sqlite/0001_a.sql"])).is_empty());
        let problems = unpaired(&files(&["postgres/0001_a.sql", "sqlite/0001_b.sql"]));
        assert_eq!(
            problems,
            [
                "sqlite/0001_a.sql is missing",
                "postgres/0001_b.sql is missing"
            ]
        );
        assert_eq!(
            unpaired(&files(&["postgres/a.sql", "sqlite/a.sql"])).len(),
            2
        );
    }

    #[test]
    fn a_frozen_file_stays_as_it_is() {
        let files = files(&["sqlite/0001_a.sql"]);
        let lock = |sum: &str| Lock::from([("sqlite/0001_a.sql".to_owned(), sum.to_owned())]);
        assert!(thawed(&files, &lock(&checksum("select 1;\n"))).is_empty());
        assert!(thawed(&files, &lock("00"))[0].contains("changed"));
        assert!(thawed(&files, &Lock::new())[0].contains("freeze"));
        assert!(thawed(&Files::new(), &lock("00"))[0].contains("gone"));
    }

    #[test]
    fn a_version_has_four_digits_and_a_name() {
        assert_eq!(version("sqlite/0012_add_colour.sql"), Some(12));
        assert_eq!(version("sqlite/12_add_colour.sql"), None);
        assert_eq!(version("sqlite/0012.sql"), None);
    }
}
