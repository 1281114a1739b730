//! Output: data to standard output in the format asked for, everything else to standard error.

pub(crate) mod escape;
pub(crate) mod json;
pub(crate) mod style;
pub(crate) mod table;

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value as Json;

use self::{style::Style, table::Column};
use crate::{
    args::{Color, Format, Global},
    exit::{Failure, Outcome},
};

/// Where output goes, and what it looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    /// Whether the format was asked for.
    chosen: bool,
    quiet: bool,
    stdout: Style,
    stderr: Style,
    /// Columns of the terminal, where standard output is one.
    width: Option<usize>,
    is_terminal: bool,
}

/// A row as a person and as a program reads it.
pub(crate) struct Row {
    pub(crate) cells: Vec<String>,
    pub(crate) json: Json,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let style = |terminal: bool| {
            Style::new(match global.color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => terminal && !plain,
            })
        };
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Self {
            format: global.format.unwrap_or(if is_terminal {
                Format::Table
            } else {
                Format::Json
            }),
            chosen: global.format.is_some(),
            quiet: global.quiet,
            stdout: style(is_terminal),
            stderr: style(io::stderr().is_terminal()),
            width: width.filter(|width| is_terminal && *width > 0),
            is_terminal,
        }
    }

    /// The same with tables unless another format was asked for.
    pub(crate) const fn for_people(mut self) -> Self {
        if !self.chosen {
            self.format = Format::Table;
        }
        self
    }

    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    /// How standard output is coloured.
    pub(crate) const fn style(&self) -> Style {
        self.stdout
    }

    /// Whether a person reads standard output.
    pub(crate) const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// A list; `nothing` is said where it is empty.
    pub(crate) fn list(&self, columns: &[Column], rows: Vec<Row>, nothing: &str) -> Outcome<()> {
        match self.format {
            Format::Table if rows.is_empty() => {
                self.note(nothing);
                Ok(())
            }
            Format::Table => self.rows(columns, &rows, true),
            Format::Json => {
                let rows = rows.into_iter().map(|row| row.json).collect();
                self.text(&json::pretty(&Json::Array(rows)))
            }
            Format::Ndjson => self.rows(columns, &rows, false),
        }
    }

    /// A tree: indented rows for people, one nested document for programs.
    pub(crate) fn tree(
        &self,
        columns: &[Column],
        rows: &[Vec<String>],
        json: &Json,
    ) -> Outcome<()> {
        match self.format {
            Format::Table => {
                self.text(&table::render(columns, rows, self.width, self.stdout, true))
            }
            Format::Json => self.text(&json::pretty(json)),
            Format::Ndjson => self.text(&json::compact(json)),
        }
    }

    /// Rows of a list that goes on: lines of a table, else one JSON document a line.
    pub(crate) fn rows(&self, columns: &[Column], rows: &[Row], titles: bool) -> Outcome<()> {
        if self.format == Format::Table {
            let cells: Vec<_> = rows.iter().map(|row| row.cells.clone()).collect();
            return self.text(&table::render(
                columns,
                &cells,
                self.width,
                self.stdout,
                titles,
            ));
        }
        rows.iter()
            .try_for_each(|row| self.text(&json::compact(&row.json)))
    }

    /// One thing, as names and values.
    pub(crate) fn record(&self, fields: &[(&'static str, String)], json: &Json) -> Outcome<()> {
        match self.format {
            Format::Table => self.text(&table::render_record(fields, self.stdout)),
            Format::Json => self.text(&json::pretty(json)),
            Format::Ndjson => self.text(&json::compact(json)),
        }
    }

    /// Text of our own, or made safe already.
    pub(crate) fn text(&self, text: &str) -> Outcome<()> {
        self.bytes(text.as_bytes())
    }

    /// Bytes as they are.
    #[expect(
        clippy::unused_self,
        reason = "everything that is put out goes through here"
    )]
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Outcome<()> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .map_err(|error| Failure::writing(&error))
    }

    /// Says something that is no data.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            say(&escape::line(text));
        }
    }

    /// Says what somebody should look at.
    pub(crate) fn warn(&self, text: &str) {
        say(&format!(
            "{} {}",
            self.stderr.yellow("warning:"),
            escape::line(text)
        ));
    }

    /// Says what went wrong.
    pub(crate) fn error(&self, text: &str) {
        if !text.is_empty() {
            say(&format!(
                "{} {}",
                self.stderr.red("error:"),
                escape::line(text)
            ));
        }
    }
}

/// Where standard error cannot be written, nobody listens.
fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
