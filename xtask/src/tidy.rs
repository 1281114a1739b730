//! House rules no linter knows: module docs, file sizes, unfinished work, where SQL text is trusted.

use serde_json::Value;

use crate::cmd::{self, Outcome};
use crate::source::{self, Source};

const LONGEST_FILE: usize = 600;

/// Words that mark unfinished work. Spelled in halves, so that this file passes its own check.
const UNFINISHED: [&str; 6] = [
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("HA", "CK"),
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("#[ig", "nore"),
];

/// Folders that exist on one machine only.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
];

/// Vouches for SQL text that is not a literal.
const TRUSTED_SQL: &str = concat!("AssertSql", "Safe");

/// The files that may vouch for SQL text: they run statements `store-sql` built, or rendered
/// migrations.
const MAY_TRUST_SQL: [&str; 6] = [
    "session.rs",
    "backend.rs",
    "migrate.rs",
    "migrations.rs",
    "executor.rs",
    "within.rs",
];

pub(crate) fn check() -> Outcome {
    let sources = source::all()?;
    let mut problems: Vec<String> = sources.iter().flat_map(problems_in).collect();
    for package in cmd::packages()? {
        problems.extend(unversioned_paths(&package));
    }
    if problems.is_empty() {
        println!("{} files are tidy", sources.len());
        return Ok(());
    }
    Err(format!("{} untidy places\n{}", problems.len(), problems.join("\n")).into())
}

fn problems_in(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    let mut report = |line: usize, what: &str| {
        problems.push(format!("  {}:{line}: {what}", source.path));
    };
    // Lock files belong to cargo, snapshots to insta.
    let ours = !source.has_extension("lock") && !source.has_extension("snap");
    if ours && !source.text.is_empty() && !source.text.ends_with('\n') {
        report(source.text.lines().count(), "ends without a newline");
    }
    for (index, line) in source.text.lines().enumerate() {
        if ours && line.ends_with([' ', '\t']) {
            report(index + 1, "white space at the end of the line");
        }
        if let Some(path) = MACHINE_PATHS
            .iter()
            .find(|path| mentions_folder(line, path))
        {
            report(index + 1, &format!("`{path}` exists on one machine only"));
        }
    }
    if source.is_rust() {
        rust_problems(source, &mut report);
    }
    problems
}

fn rust_problems(source: &Source, report: &mut impl FnMut(usize, &str)) {
    let first = source
        .text
        .lines()
        .find(|line| !line.starts_with("#!") && !line.trim().is_empty());
    if !first.is_some_and(|line| line.starts_with("//!")) {
        report(
            1,
            "begins without a `//!` line that says what the file is for",
        );
    }
    let length = source.text.lines().count();
    if length > LONGEST_FILE {
        report(
            length,
            &format!("more than {LONGEST_FILE} lines; split it by idea"),
        );
    }
    let may_trust = may_trust_sql(&source.path);
    for (index, line) in source.text.lines().enumerate() {
        if let Some(word) = UNFINISHED.iter().find(|word| line.contains(**word)) {
            report(index + 1, &format!("`{word}` marks unfinished work"));
        }
        if !may_trust && line.contains(TRUSTED_SQL) {
            report(
                index + 1,
                &format!("`{TRUSTED_SQL}` belongs in a store's session or migrator"),
            );
        }
    }
}

/// A folder named in text; not a URL's or a repository's own path that happens to contain the word.
fn mentions_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|char| char.is_alphanumeric() || "._-/}".contains(char))
    })
}

fn may_trust_sql(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let file = parts.next().unwrap_or_default();
    let in_store =
        path.starts_with("crates/store-postgres/") || path.starts_with("crates/store-sqlite/");
    // Tests look at tables directly.
    let in_tests =
        parts.any(|folder| folder == "tests" || folder == "benches" || folder == "examples");
    in_tests || (in_store && MAY_TRUST_SQL.contains(&file))
}

/// A published crate cannot depend on a path alone; a dev-dependency must, or publishing goes round
/// in circles.
fn unversioned_paths(package: &Value) -> Vec<String> {
    let dependencies = package["dependencies"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    dependencies
        .iter()
        .filter(|dependency| dependency["path"].is_string())
        .filter(|dependency| dependency["kind"] != "dev" && dependency["req"] == "*")
        .map(|dependency| {
            format!(
                "  {}: the path dependency {} needs a version",
                package["name"].as_str().unwrap_or_default(),
                dependency["name"].as_str().unwrap_or_default(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        problems_in(&Source {
            path: path.to_owned(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn a_tidy_file_passes() {
        assert!(problems("crates/core/src/a.rs", "//! A.\n\nfn a() {}\n").is_empty());
    }

    #[test]
    fn each_rule_names_the_place() {
        let cases = [
            ("fn a() {}\n", "a.rs:1: begins without"),
            ("//! A.\nfn a() {} \n", "a.rs:2: white space"),
            ("//! A.", "a.rs:1: ends without a newline"),
            (concat!("//! A.\nfn a() { to", "do!() }\n"), "a.rs:2: `to"),
            (
                concat!("//! A.\nconst A: &str = \"/ho", "me/me\";\n"),
                "exists on one machine",
            ),
            (
                concat!("//! A.\nuse sqlx::AssertSql", "Safe;\n"),
                "belongs in a store",
            ),
        ];
        for (text, expected) in cases {
            let found = problems("a.rs", text);
            assert!(
                found.len() == 1 && found[0].contains(expected),
                "{text:?}: {found:?}"
            );
        }
        assert!(
            problems("a.rs", &format!("//! A.\n{}", "\n".repeat(600)))[0].contains("600 lines")
        );
    }

    #[test]
    fn sql_is_trusted_where_statements_run() {
        assert!(may_trust_sql("crates/store-postgres/src/session.rs"));
        assert!(may_trust_sql("crates/cli/tests/demo.rs"));
        assert!(!may_trust_sql("crates/store-sql/src/session.rs"));
        assert!(!may_trust_sql("crates/store-sqlite/src/lib.rs"));
    }

    #[test]
    fn a_folder_is_not_the_middle_of_a_path() {
        assert!(mentions_folder(
            concat!("in /ho", "me/me"),
            concat!("/ho", "me/")
        ));
        assert!(!mentions_folder(
            concat!("example.com/ho", "me/"),
            concat!("/ho", "me/")
        ));
    }
}
