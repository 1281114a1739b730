//! Every check and chore a developer runs: `cargo xtask --help`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's tool reports on the terminal"
)]

mod ci;
mod cmd;
mod fences;
mod licences;
mod migration_names;
mod migrations;
mod postgres;
mod source;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cmd::Outcome;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Every check and chore a developer runs")]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything CI runs; the tests come last
    Ci(ci::Options),
    /// Every test, on SQLite and PostgreSQL
    Test(test::Options),
    /// Which crate may depend on what
    Fences,
    /// House rules no linter knows
    Tidy,
    /// The SQL files of both dialects
    Migrations {
        #[command(subcommand)]
        task: migrations::Task,
    },
    /// Formatting, without changing a file
    Fmt,
    /// Lints of every target, warnings refused
    Clippy,
    /// Documentation, warnings refused
    Doc,
    /// Runs the examples that are programs, and the demo
    Examples,
    /// Licences, banned and duplicate crates
    Deny,
    /// Feature combinations users pick
    Features,
}

fn main() -> ExitCode {
    match run(Xtask::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Outcome<ExitCode> {
    match task {
        Task::Ci(options) => return ci::run(&options),
        Task::Test(options) => return test::run(&options),
        Task::Fences => fences::check()?,
        Task::Tidy => tidy::check()?,
        Task::Migrations { task } => migrations::run(&task)?,
        Task::Fmt => ci::fmt()?,
        Task::Clippy => ci::clippy()?,
        Task::Doc => ci::doc()?,
        Task::Examples => ci::examples()?,
        Task::Deny => licences::check()?,
        Task::Features => ci::features()?,
    }
    Ok(ExitCode::SUCCESS)
}
