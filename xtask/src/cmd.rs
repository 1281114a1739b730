//! Running other programs and saying which one failed.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What a task ends with; the error is one or more lines for the terminal.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// The workspace's root folder.
pub(crate) fn root() -> Outcome<PathBuf> {
    let xtask = env::var_os("CARGO_MANIFEST_DIR").ok_or("run this as `cargo xtask`")?;
    let root = Path::new(&xtask)
        .parent()
        .ok_or("the xtask crate has no parent folder")?;
    Ok(root.to_owned())
}

/// The cargo that started us, in the workspace's root.
pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome<Command> {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()?).args(arguments);
    Ok(command)
}

/// `cargo tree`, by each crate's own features even where a developer unifies those of the workspace.
pub(crate) fn cargo_tree(arguments: &[&str]) -> Outcome<String> {
    let mut command = cargo(["tree", "--quiet", "--locked"])?;
    command
        .args(arguments)
        .env("CARGO_RESOLVER_FEATURE_UNIFICATION", "selected");
    output(&mut command)
}

/// The workspace's own packages, as `cargo metadata` describes them.
pub(crate) fn packages() -> Outcome<Vec<Value>> {
    let text = output(&mut cargo([
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ])?)?;
    match serde_json::from_str::<Value>(&text)?["packages"].take() {
        Value::Array(packages) => Ok(packages),
        _ => Err("cargo metadata lists no packages".into()),
    }
}

/// Runs a command on this terminal.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let status = command
        .status()
        .map_err(|error| cannot_start(command, &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{}` failed: {status}", shown(command)).into())
    }
}

/// Runs a command and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let output = command
        .output()
        .map_err(|error| cannot_start(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    let printed = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "`{}` failed: {}\n{}",
        shown(command),
        output.status,
        printed.trim()
    )
    .into())
}

/// Whether a command can be started and succeeds; what it prints is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Whether a program of this name is on the `PATH`.
pub(crate) fn installed(program: &str) -> bool {
    path_folders().any(|folder| folder.join(program).is_file())
}

/// The folders of the `PATH`.
pub(crate) fn path_folders() -> impl Iterator<Item = PathBuf> {
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .collect::<Vec<_>>()
        .into_iter()
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("`{}` cannot be started: {error}", shown(command))
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
