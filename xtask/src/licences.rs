//! Licences, banned crates and duplicates, by the lists of `deny.toml`.
//!
//! `cargo deny` is the fuller check and runs where it is installed; this one needs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::Deserialize;

use crate::cmd::{self, Outcome};

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Named>,
    skip: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "crate")]
    name: String,
}

/// A crate we build or ship with.
struct Package {
    name: String,
    version: String,
    licence: String,
}

pub(crate) fn check() -> Outcome {
    let deny: Deny = toml::from_str(&fs::read_to_string(cmd::root()?.join("deny.toml"))?)?;
    let packages = packages()?;
    let mut problems = unlicensed(&packages, &deny.licenses.allow);
    problems.extend(banned(&packages, &deny.bans.deny));
    problems.extend(duplicates(&packages, &deny.bans.skip));
    if !problems.is_empty() {
        return Err(format!(
            "{} problems by deny.toml\n  {}",
            problems.len(),
            problems.join("\n  ")
        )
        .into());
    }
    println!(
        "{} crates have accepted licences, none is banned or doubled",
        packages.len()
    );

    if cmd::succeeds(&mut cmd::cargo(["deny", "--version"])?) {
        let check = ["deny", "--offline", "check", "bans", "licenses", "sources"];
        return cmd::run(&mut cmd::cargo(check)?);
    }
    println!("cargo-deny is not installed; its own checks did not run");
    Ok(())
}

fn packages() -> Outcome<Vec<Package>> {
    let tree = cmd::cargo_tree(&[
        "--workspace",
        "--all-features",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--no-dedupe",
        "--format",
        "{p}|{l}",
    ])?;
    let unique: BTreeSet<&str> = tree.lines().collect();
    Ok(unique.into_iter().filter_map(package).collect())
}

/// Reads `serde v1.0.229|MIT OR Apache-2.0`.
fn package(line: &str) -> Option<Package> {
    let (package, licence) = line.split_once('|')?;
    let mut words = package.split_whitespace();
    let (name, version) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Package {
        name,
        version,
        licence: licence.to_owned(),
    })
}

fn unlicensed(packages: &[Package], allow: &BTreeSet<String>) -> Vec<String> {
    let refused = packages
        .iter()
        .filter(|package| !is_accepted(&package.licence, allow));
    refused
        .map(|package| {
            format!(
                "{} {} has the licence `{}`",
                package.name, package.version, package.licence
            )
        })
        .collect()
}

fn banned(packages: &[Package], deny: &[Named]) -> Vec<String> {
    let is_banned = |package: &&Package| deny.iter().any(|named| named.name == package.name);
    packages
        .iter()
        .filter(is_banned)
        .map(|package| format!("{} is banned", package.name))
        .collect()
}

fn duplicates(packages: &[Package], skip: &[Named]) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
    }
    // A skip of one version reads `name@version`.
    let is_skipped = |name: &str, version: &str| {
        let exact = format!("{name}@{}", version.trim_start_matches('v'));
        skip.iter()
            .any(|named| named.name == name || named.name == exact)
    };
    versions
        .into_iter()
        .map(|(name, mut versions)| {
            versions.retain(|version| !is_skipped(name, version));
            (name, versions)
        })
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| {
            let versions = versions.into_iter().collect::<Vec<_>>().join(", ");
            format!("{name} is there in several versions: {versions}")
        })
        .collect()
}

/// Whether an SPDX expression is met by accepted licences. `/` is how crates wrote `OR` before SPDX.
fn is_accepted(expression: &str, allow: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any_of(&mut rest, allow) && rest.is_empty()
}

fn any_of(words: &mut &[&str], allow: &BTreeSet<String>) -> bool {
    let mut accepted = all_of(words, allow);
    while take(words, "OR") {
        accepted |= all_of(words, allow);
    }
    accepted
}

fn all_of(words: &mut &[&str], allow: &BTreeSet<String>) -> bool {
    let mut accepted = one(words, allow);
    while take(words, "AND") {
        accepted &= one(words, allow);
    }
    accepted
}

fn one(words: &mut &[&str], allow: &BTreeSet<String>) -> bool {
    if take(words, "(") {
        let accepted = any_of(words, allow);
        return take(words, ")") && accepted;
    }
    let Some((&licence, rest)) = words.split_first() else {
        return false;
    };
    *words = rest;
    let mut name = licence.to_owned();
    if take(words, "WITH")
        && let Some((exception, rest)) = words.split_first()
    {
        name = format!("{licence} WITH {exception}");
        *words = rest;
    }
    allow.contains(&name)
}

fn take(words: &mut &[&str], word: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if *first == word => {
            *words = rest;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_met_by_accepted_licences() {
        let allow = BTreeSet::from(["MIT".to_owned(), "Apache-2.0".to_owned(), "ISC".to_owned()]);
        for good in [
            "MIT",
            "MIT/GPL-3.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-3.0) AND ISC",
            "Apache-2.0 WITH LLVM-exception OR MIT",
        ] {
            assert!(is_accepted(good, &allow), "{good}");
        }
        for bad in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "Apache-2.0 WITH LLVM-exception",
            "(MIT",
            "MIT ISC",
        ] {
            assert!(!is_accepted(bad, &allow), "{bad}");
        }
    }

    #[test]
    fn duplicates_are_named_unless_skipped() {
        let lines = ["syn v2.0.1|MIT", "syn v3.0.0|MIT", "serde v1.0.0|MIT"];
        let packages: Vec<_> = lines.iter().filter_map(|line| package(line)).collect();
        assert_eq!(
            duplicates(&packages, &[]),
            ["syn is there in several versions: v2.0.1, v3.0.0"]
        );
        let skip = |name: &str| {
            [Named {
                name: name.to_owned(),
            }]
        };
        assert!(duplicates(&packages, &skip("syn")).is_empty());
        assert!(duplicates(&packages, &skip("syn@2.0.1")).is_empty());
        assert_eq!(banned(&packages, &skip("serde")), ["serde is banned"]);
    }
}
