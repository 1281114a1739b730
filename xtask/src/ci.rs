//! What CI runs, step by step, with the time each took.

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

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
        timed(name, step)?;
    }
    if options.skip_tests {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\n==> test");
    test::run(&test::Options::default())
}

#[expect(clippy::disallowed_methods, reason = "a build step's duration is not a domain's time")]
fn timed(name: &str, step: &fn() -> Outcome) -> Outcome {
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
    check("integrations-providers", "")?;
    for features in ["", "postgres", "sqlite", "http", "github", "mock"] {
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
    let folder = tempfile::tempdir()?;
    for package in cmd::packages()? {
        let path = package["manifest_path"].as_str().unwrap_or_default().replace('\\', "/");
        let name = package["name"].as_str().unwrap_or_default();
        let targets = package["targets"].as_array().map_or(&[][..], Vec::as_slice);
        let is_program = targets.iter().any(|target| target["kind"][0] == "bin");
        let arguments: &[&str] = match name {
            "integrations-cli" => &["--", "demo"],
            _ if path.contains("/examples/") && is_program => &[],
            _ => continue,
        };
        println!("running {name}");
        let run = ["run", "--quiet", "--all-features", "--manifest-path", &path];
        cmd::run(cmd::cargo(run)?.args(arguments).current_dir(folder.path()))?;
    }
    Ok(())
}
