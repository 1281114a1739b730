//! What CI runs, step by step, with the time each took.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::Args;
use serde_json::Value;

use crate::cmd::{self, Outcome};
use crate::{fences, licences, migrations, test, tidy};

#[derive(Args)]
pub(crate) struct Options {
    /// Everything but the tests
    #[arg(long)]
    skip_tests: bool,
}

type Step = (&'static str, fn() -> Outcome);

const STEPS: &[Step] = &[
    ("fmt", fmt),
    ("tidy", tidy::check),
    ("migrations", migrations::check),
    ("fences", fences::check),
    ("licences", licences::check),
    ("clippy", clippy),
    ("features", features),
    ("doc", doc),
    ("examples", examples),
];

/// Stops at the first step that fails. The tests come last, so that their summary closes the output.
pub(crate) fn run(options: &Options) -> Outcome<ExitCode> {
    for (name, step) in STEPS {
        println!("\n==> {name}");
        timed(name, *step)?;
    }
    if options.skip_tests {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\n==> test");
    test::run(&test::Options::default())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a build step's duration is not a domain's time"
)]
fn timed(name: &str, step: fn() -> Outcome) -> Outcome {
    let start = Instant::now();
    step()?;
    println!("==> {name} took {:.1} s", start.elapsed().as_secs_f32());
    Ok(())
}

pub(crate) fn fmt() -> Outcome {
    cmd::run(&mut cmd::cargo(["fmt", "--all", "--check"])?)
}

pub(crate) fn clippy() -> Outcome {
    let arguments = ["clippy", "--workspace", "--all-targets", "--all-features"];
    cmd::run(cmd::cargo(arguments)?.args(["--", "--deny", "warnings"]))
}

/// The combinations users pick: `core` alone, and the facade with nothing or one of its features.
pub(crate) fn features() -> Outcome {
    let check = |package: &str, features: &str| {
        let mut command = cmd::cargo(["check", "--no-default-features", "--package", package])?;
        cmd::run(command.args(["--features", features]))
    };
    check("integrations-core", "")?;
    check("integrations-webhooks", "")?;
    for provider in ["", "github", "stripe", "zendesk", "postmark", "webhook"] {
        check("integrations-providers", provider)?;
    }
    for features in [
        "", "postgres", "sqlite", "http", "github", "webhooks", "axum", "mock",
    ] {
        check("integrations", features)?;
    }
    Ok(())
}

pub(crate) fn doc() -> Outcome {
    let arguments = ["doc", "--workspace", "--no-deps", "--all-features"];
    cmd::run(cmd::cargo(arguments)?.env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Runs every example that is a program and the command's demo, in a folder of their own: they may
/// leave a database behind.
pub(crate) fn examples() -> Outcome {
    // The same build as that of the tests, which then find it done.
    let build = ["build", "--workspace", "--all-targets", "--all-features"];
    let mut build = cmd::cargo(build)?;
    build.args(["--quiet", "--message-format", "json-render-diagnostics"]);
    let folder = tempfile::tempdir()?;
    for message in cmd::output(&mut build)?.lines() {
        let Some((path, arguments)) = program(&serde_json::from_str(message)?) else {
            continue;
        };
        println!("running {}", path.display());
        cmd::run(
            Command::new(path)
                .args(arguments)
                .current_dir(folder.path()),
        )?;
    }
    Ok(())
}

/// The program a message of cargo says it built, if it is one to try, and what to call it with.
fn program(message: &Value) -> Option<(PathBuf, &'static [&'static str])> {
    let path = PathBuf::from(message["executable"].as_str()?);
    let manifest = Path::new(message["manifest_path"].as_str()?);
    let is_program = message["target"]["kind"][0] == "bin" && message["profile"]["test"] == false;
    let is_example = manifest.iter().any(|folder| folder == "examples");
    let arguments: &[&str] = match message["target"]["name"].as_str()? {
        "integrations" => &["demo"],
        _ if is_example => &[],
        _ => return None,
    };
    is_program.then_some((path, arguments))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn examples_and_the_demo_are_run() {
        let built = |name: &str, folder: &str, test: bool| {
            program(&json!({
                "executable": "a.out",
                "manifest_path": format!("{folder}/Cargo.toml"),
                "target": { "name": name, "kind": ["bin"] },
                "profile": { "test": test },
            }))
        };
        assert_eq!(
            built("quickstart", "examples/quickstart", false),
            Some(("a.out".into(), &[][..]))
        );
        assert_eq!(
            built("integrations", "crates/cli", false),
            Some(("a.out".into(), &["demo"][..]))
        );
        assert_eq!(built("integrations", "crates/cli", true), None);
        assert_eq!(built("xtask", "xtask", false), None);
        assert_eq!(program(&json!({ "executable": null })), None);
    }
}
