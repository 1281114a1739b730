//! The files git knows of, and what of a Rust file is code outside tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cmd::{self, Outcome};

/// A text file of the repository, its path relative to the root and written with `/`.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|found| found == extension)
    }
}

/// Tracked and new files, without ignored and binary ones.
pub(crate) fn all() -> Outcome<Vec<Source>> {
    let root = cmd::root()?;
    let list = [
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ];
    let listed = cmd::output(Command::new("git").args(list).current_dir(&root))?;
    let mut paths: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    Ok(paths
        .into_iter()
        .filter_map(|path| read(&root, path))
        .collect())
}

/// `None` for what is not a text file: a binary, a symbolic link, a file deleted but still tracked.
fn read(root: &Path, path: &str) -> Option<Source> {
    let file: PathBuf = root.join(path);
    if file.is_symlink() {
        return None;
    }
    let text = String::from_utf8(fs::read(file).ok()?).ok()?;
    Some(Source {
        path: path.to_owned(),
        text,
    })
}

/// Numbered lines of code: without line comments, and without `#[cfg(test)]` items, as rustfmt lays
/// them out.
pub(crate) fn shipped_lines(text: &str) -> Vec<(usize, &str)> {
    let mut shipped = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let code = line.trim_start();
        if code.starts_with("#[cfg(test)]") {
            let indent = &line[..line.len() - code.len()];
            skip_item(indent, &mut lines);
        } else if !code.starts_with("//") {
            shipped.push((index + 1, line));
        }
    }
    shipped
}

/// Moves past the item that follows an attribute: to its `;`, or to the brace that closes it.
fn skip_item<'a>(indent: &str, lines: &mut impl Iterator<Item = (usize, &'a str)>) {
    for (_, line) in lines {
        let Some(code) = line.strip_prefix(indent) else {
            continue;
        };
        let ends = code.starts_with('}')
            || (!code.starts_with([' ', '#']) && code.ends_with([';', '}', ',']));
        if ends {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_outside_tests_is_what_ships() {
        let text = "use a;\n// a comment\n#[cfg(test)]\nmod tests;\nfn f() {}\n#[cfg(test)]\n\
                    mod inline {\n    fn g() {}\n}\nfn h() {}\n";
        let lines: Vec<_> = shipped_lines(text)
            .into_iter()
            .map(|(_, line)| line)
            .collect();
        assert_eq!(lines, ["use a;", "fn f() {}", "fn h() {}"]);
    }
}
