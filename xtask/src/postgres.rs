//! A PostgreSQL for the tests: a given one, a throw-away cluster, or a container.

mod cluster;
mod container;
mod keeper;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cmd::{self, Outcome};
use crate::postgres::keeper::Keeper;

/// Names the server the tests connect to.
pub(crate) const URL_VARIABLE: &str = "INTEGRATIONS_TEST_POSTGRES_URL";

/// A server that answers. One we started is gone when this is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    /// `PostgreSQL 15.20 (throw-away cluster)`.
    pub(crate) description: String,
    _keeper: Option<Keeper>,
}

/// Finds or starts a server, in the order the README promises.
pub(crate) fn find() -> Outcome<Server> {
    if let Some(url) = env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty()) {
        return Ok(given(url));
    }
    if let Some(binaries) = installed_binaries() {
        return cluster::start(&binaries);
    }
    if let Some(engine) = container::engine() {
        return container::start(engine);
    }
    if is_root() && cmd::installed("apt-get") {
        install_with_apt()?;
        if let Some(binaries) = installed_binaries() {
            return cluster::start(&binaries);
        }
    }
    Err(format!(
        "no PostgreSQL to test on. Install one and run this again:\n\n    {}",
        advice()
    )
    .into())
}

fn given(url: String) -> Server {
    let mut asked = Command::new("psql");
    asked.args([
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        "--command",
        "show server_version",
    ]);
    let version = cmd::output(asked.arg("--dbname").arg(&url)).unwrap_or_default();
    let version = version
        .split_whitespace()
        .next()
        .unwrap_or("of unknown version")
        .to_owned();
    let description = format!("PostgreSQL {version} ({URL_VARIABLE})");
    Server {
        url,
        description,
        _keeper: None,
    }
}

/// The folder with `initdb`, `pg_ctl` and `postgres`: from the `PATH`, else the newest of those that
/// packages install outside it.
fn installed_binaries() -> Option<PathBuf> {
    let packaged = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"];
    let mut found: Vec<PathBuf> = packaged
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| has_binaries(folder))
        .collect();
    found.sort_by_key(|folder| version_in(folder));
    cmd::path_folders()
        .find(|folder| has_binaries(folder))
        .or_else(|| found.pop())
}

fn has_binaries(folder: &Path) -> bool {
    ["initdb", "pg_ctl", "postgres"]
        .iter()
        .all(|program| folder.join(program).is_file())
}

/// The number in `/usr/lib/postgresql/15/bin` or `/opt/homebrew/opt/postgresql@15/bin`.
fn version_in(binaries: &Path) -> u32 {
    let name = binaries
        .parent()
        .and_then(Path::file_name)
        .unwrap_or_default()
        .to_string_lossy();
    let digits = name.rsplit('@').next().unwrap_or_default();
    digits.parse().unwrap_or_default()
}

/// `15.20` from `postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)`.
fn version_printed(text: &str) -> &str {
    let version = text
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    version.unwrap_or("of unknown version")
}

fn is_root() -> bool {
    cmd::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn install_with_apt() -> Outcome {
    println!("installing PostgreSQL with apt-get");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let install = ["install", "--yes", "--no-install-recommends", "postgresql"];
    if cmd::succeeds(&mut apt(&install)) {
        return Ok(());
    }
    // A fresh image has no package lists.
    cmd::run(&mut apt(&["update"]))?;
    cmd::run(&mut apt(&install))
}

fn advice() -> &'static str {
    let managers = [
        ("apt-get", "sudo apt-get install --yes postgresql"),
        ("dnf", "sudo dnf install --assumeyes postgresql-server"),
        ("brew", "brew install postgresql@17"),
        ("apk", "sudo apk add postgresql"),
    ];
    let known = managers.iter().find(|(manager, _)| cmd::installed(manager));
    known.map_or(
        "export INTEGRATIONS_TEST_POSTGRES_URL=postgres://user@host/database",
        |(_, line)| line,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_folders_and_from_the_server() {
        assert_eq!(version_in(Path::new("/usr/lib/postgresql/15/bin")), 15);
        assert_eq!(
            version_in(Path::new("/opt/homebrew/opt/postgresql@9/bin")),
            9
        );
        assert_eq!(version_in(Path::new("/opt/homebrew/opt/postgresql/bin")), 0);
        assert_eq!(
            version_printed("postgres (PostgreSQL) 15.20 (Debian 15.20-0)"),
            "15.20"
        );
        assert_eq!(version_printed(""), "of unknown version");
    }
}
