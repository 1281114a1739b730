//! Which crate may depend on what: dependencies point inwards.
//!
//! A rule reads `cargo tree`, so it also sees what a dependency brings along. `core` is also read as
//! text, because the standard library needs no dependency to reach a clock or a file.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cmd::{self, Outcome};
use crate::source::{self, Source};

/// Crates a crate must not build with. A name ending in `*` stands for all that begin so.
struct Rule {
    package: &'static str,
    forbidden: &'static [&'static str],
    /// Crates that `forbidden` would match but that are right here.
    allowed: &'static [&'static str],
    features: Features,
}

#[derive(Clone, Copy, PartialEq)]
enum Features {
    Default,
    All,
}

impl Features {
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Default => &[],
            Self::All => &["--all-features"],
        }
    }
}

const RULES: &[Rule] = &[
    Rule {
        package: "integrations-core",
        forbidden: &[
            "integrations*",
            "sqlx*",
            "sea-query*",
            "libsqlite3-sys",
            "reqwest*",
            "ring",
            "rustls*",
            "axum*",
            "hyper*",
            "mio",
            "rand",
            "getrandom",
        ],
        allowed: &["integrations-core"],
        features: Features::All,
    },
    Rule {
        package: "integrations-core",
        forbidden: &["mockall*"],
        allowed: &[],
        features: Features::Default,
    },
    Rule {
        package: "integrations-store-sql",
        forbidden: &[
            "integrations*",
            "sqlx-postgres",
            "sqlx-sqlite",
            "libsqlite3-sys",
            "reqwest*",
            "axum*",
        ],
        allowed: &["integrations-core", "integrations-store-sql"],
        features: Features::All,
    },
    Rule {
        package: "integrations-store-postgres",
        forbidden: &[
            "integrations*",
            "sqlx-sqlite",
            "libsqlite3-sys",
            "reqwest*",
            "axum*",
        ],
        allowed: &[
            "integrations-core",
            "integrations-store-sql",
            "integrations-store-postgres",
        ],
        features: Features::All,
    },
    Rule {
        package: "integrations-store-sqlite",
        forbidden: &["integrations*", "sqlx-postgres", "reqwest*", "axum*"],
        allowed: &[
            "integrations-core",
            "integrations-store-sql",
            "integrations-store-sqlite",
        ],
        features: Features::All,
    },
    Rule {
        package: "integrations-http",
        forbidden: &["integrations*", "sqlx*", "sea-query*", "axum*"],
        allowed: &["integrations-core", "integrations-http"],
        features: Features::All,
    },
    Rule {
        package: "integrations-providers",
        forbidden: &[
            "integrations*",
            "sqlx*",
            "sea-query*",
            "reqwest*",
            "ring",
            "rustls*",
            "axum*",
        ],
        allowed: &["integrations-core", "integrations-providers"],
        features: Features::All,
    },
    Rule {
        package: "integrations-webhooks",
        forbidden: &[
            "integrations*",
            "sqlx*",
            "sea-query*",
            "reqwest*",
            "rustls*",
        ],
        allowed: &["integrations-core", "integrations-webhooks"],
        features: Features::All,
    },
    Rule {
        package: "integrations-webhooks",
        forbidden: &["axum*", "hyper*"],
        allowed: &[],
        features: Features::Default,
    },
    Rule {
        package: "integrations-server",
        forbidden: &[
            "integrations*",
            "sqlx*",
            "sea-query*",
            "reqwest*",
            "ring",
            "rustls*",
        ],
        allowed: &["integrations-core", "integrations-server"],
        features: Features::All,
    },
    Rule {
        package: "integrations-encryptor",
        forbidden: &[
            "integrations*",
            "sqlx*",
            "sea-query*",
            "reqwest*",
            "rustls*",
            "axum*",
        ],
        allowed: &["integrations-core", "integrations-encryptor"],
        features: Features::All,
    },
    Rule {
        package: "integrations-testkit",
        forbidden: &["integrations*", "sqlx*", "sea-query*", "reqwest*"],
        allowed: &["integrations-core", "integrations-testkit"],
        features: Features::All,
    },
];

/// Nowhere, tests included: TLS and cryptography are ring's.
const NOWHERE: &[&str] = &[
    "aws-lc-rs",
    "aws-lc-sys",
    "native-tls",
    "openssl",
    "openssl-sys",
];

/// What `core` may use of tokio; `rt` is for `tokio::spawn` alone.
const TOKIO_IN_CORE: &[&str] = &["sync", "time", "macros", "rt", "default", "tokio-macros"];

/// Who may depend on the test kit outside dev-dependencies: the command's demo runs its twin.
const MAY_USE_TESTKIT: &[&str] = &["integrations-cli"];

/// What `core` must not reach: clocks, chance, files, sockets, processes and the environment come in
/// through ports.
const NOT_IN_CORE: &[&str] = &[
    "Utc::now",
    "Local::now",
    "SystemTime",
    "Instant::now",
    "rand::",
    "getrandom::",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "tokio::net",
    "tokio::fs",
    "tokio::process",
];

pub(crate) fn check() -> Outcome {
    let mut breaches = Vec::new();
    for rule in RULES {
        let tree = cmd::cargo_tree(&tree_arguments(rule))?;
        for dependency in forbidden_in(&tree, rule.forbidden, rule.allowed) {
            breaches.push(breach(rule, &dependency));
        }
    }
    let everything = [
        "--workspace",
        "--all-features",
        "--edges",
        "normal,build,dev",
    ];
    let tree = cmd::cargo_tree(&[&everything[..], &["--prefix", "none"]].concat())?;
    for dependency in forbidden_in(&tree, NOWHERE, &[]) {
        let path = inverted_tree(&[&everything[..], &["--invert"]].concat(), &dependency);
        breaches.push(format!("no crate may depend on `{dependency}`\n{path}"));
    }
    let tokio = [
        "-p",
        "integrations-core",
        "--all-features",
        "-e",
        "normal,features",
        "--prefix",
        "none",
    ];
    for feature in tokio_features_in(&cmd::cargo_tree(&tokio)?) {
        breaches.push(format!(
            "`integrations-core` must not use the feature `{feature}` of tokio"
        ));
    }
    breaches.extend(cmd::packages()?.iter().filter_map(uses_testkit));
    breaches.extend(source::all()?.iter().flat_map(reaches_out));

    if breaches.is_empty() {
        println!("{} dependency rules hold", RULES.len() + 4);
        return Ok(());
    }
    Err(format!(
        "{} broken dependency rules\n\n{}",
        breaches.len(),
        breaches.join("\n\n")
    )
    .into())
}

fn tree_arguments(rule: &Rule) -> Vec<&'static str> {
    let mut arguments = vec![
        "--package",
        rule.package,
        "--edges",
        "normal,build",
        "--prefix",
        "none",
    ];
    arguments.extend(rule.features.flags());
    arguments
}

fn breach(rule: &Rule, dependency: &str) -> String {
    let mut arguments = vec!["--package", rule.package, "--edges", "normal,build"];
    arguments.extend(rule.features.flags());
    arguments.push("--invert");
    let path = inverted_tree(&arguments, dependency);
    format!(
        "`{}` must not depend on `{dependency}`; it comes by\n{path}",
        rule.package
    )
}

/// Who brings a dependency along.
fn inverted_tree(arguments: &[&str], dependency: &str) -> String {
    let arguments = [arguments, &[dependency]].concat();
    cmd::cargo_tree(&arguments)
        .unwrap_or_else(|error| error.to_string())
        .trim_end()
        .to_owned()
}

/// The crates in a flat `cargo tree` that a rule forbids, as `name@version`.
fn forbidden_in(tree: &str, forbidden: &[&str], allowed: &[&str]) -> BTreeSet<String> {
    let packages = tree.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?.trim_start_matches('v')))
    });
    packages
        .filter(|(name, _)| forbidden.iter().any(|pattern| matches(pattern, name)))
        .filter(|(name, _)| !allowed.contains(name))
        .map(|(name, version)| format!("{name}@{version}"))
        .collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

/// The features of tokio in a `cargo tree` with feature edges that `core` may not use.
fn tokio_features_in(tree: &str) -> BTreeSet<String> {
    tree.lines()
        .filter_map(|line| line.strip_prefix("tokio feature \""))
        .filter_map(|rest| rest.split('"').next())
        .filter(|feature| !TOKIO_IN_CORE.contains(feature))
        .map(str::to_owned)
        .collect()
}

fn uses_testkit(package: &Value) -> Option<String> {
    let name = package["name"].as_str()?;
    let depends = package["dependencies"]
        .as_array()?
        .iter()
        .any(|dependency| {
            dependency["name"] == "integrations-testkit" && dependency["kind"] != "dev"
        });
    (depends && !MAY_USE_TESTKIT.contains(&name)).then(|| {
        format!("`{name}` may depend on `integrations-testkit` only under dev-dependencies")
    })
}

fn reaches_out(source: &Source) -> Vec<String> {
    let in_core = source.path.starts_with("crates/core/src/") && source.is_rust();
    if !in_core || source.path.ends_with("tests.rs") || source.path.contains("/tests/") {
        return Vec::new();
    }
    source::shipped_lines(&source.text)
        .into_iter()
        .filter_map(|(number, line)| {
            let needle = NOT_IN_CORE
                .iter()
                .find(|needle| contains_path(line, needle))?;
            Some(format!(
                "{}:{number}: `{needle}` has no place in core; use a port",
                source.path
            ))
        })
        .collect()
}

/// Whether a path occurs in a line by itself, not as the end of a longer name.
fn contains_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|char| char.is_alphanumeric() || char == '_')
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TREE: &str = "integrations-core v0.1.0 (crates/core)\nserde v1.0.0\nsqlx-core v0.9.0\n\
                        tokio v1.54.1 (*)\n\nring v0.17.14\n";

    #[test]
    fn forbidden_crates_are_found_by_name_and_by_start() {
        let found = forbidden_in(
            TREE,
            &["sqlx*", "ring", "rin", "integrations*"],
            &["integrations-core"],
        );
        assert_eq!(
            found,
            BTreeSet::from(["ring@0.17.14".to_owned(), "sqlx-core@0.9.0".to_owned()])
        );
        assert!(forbidden_in(TREE, &["reqwest*"], &[]).is_empty());
    }

    #[test]
    fn tokio_is_fenced_by_feature() {
        let tree =
            "tokio feature \"net\"\ntokio feature \"rt\" (*)\ntokio v1.54.1\nmio feature \"net\"\n";
        assert_eq!(tokio_features_in(tree), BTreeSet::from(["net".to_owned()]));
    }

    #[test]
    fn the_testkit_is_for_tests_and_the_demo() {
        let package = |name: &str, kind: Value| json!({ "name": name, "dependencies": [{ "name": "integrations-testkit", "kind": kind }] });
        assert!(uses_testkit(&package("integrations-http", Value::Null)).is_some());
        assert!(uses_testkit(&package("integrations-http", json!("build"))).is_some());
        assert!(uses_testkit(&package("integrations-http", json!("dev"))).is_none());
        assert!(uses_testkit(&package("integrations-cli", Value::Null)).is_none());
    }

    #[test]
    fn core_reaches_the_world_through_ports_only() {
        let found = |path: &str, text: &str| {
            reaches_out(&Source {
                path: path.to_owned(),
                text: text.to_owned(),
            })
        };
        let core = "crates/core/src/a.rs";
        assert_eq!(found(core, "//! A.\nlet now = Utc::now();\n").len(), 1);
        assert!(found(core, "// never `std::fs`\nlet a = operand::b();\n").is_empty());
        assert!(found(core, "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n").is_empty());
        assert!(found("crates/http/src/a.rs", "let now = Utc::now();\n").is_empty());
    }
}
