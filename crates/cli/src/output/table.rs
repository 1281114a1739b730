//! Tables: aligned, and cut to the width of the terminal.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{escape, style::Style};

/// Between two columns.
const GAP: usize = 2;

/// The narrowest a column is cut to.
const NARROWEST: usize = 6;

/// A column's title and side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
    /// Never cut: half of it would say nothing.
    whole: bool,
}

impl Column {
    /// A column of texts.
    pub(crate) const fn left(title: &'static str) -> Self {
        Self {
            title,
            right: false,
            whole: false,
        }
    }

    /// A column of times, which are never cut.
    pub(crate) const fn whole(title: &'static str) -> Self {
        Self {
            title,
            right: false,
            whole: true,
        }
    }

    /// A column of numbers, which are never cut.
    pub(crate) const fn right(title: &'static str) -> Self {
        Self {
            title,
            right: true,
            whole: true,
        }
    }
}

/// The table as text, a line end behind each row. Without `width` nothing is cut.
pub(crate) fn render(
    columns: &[Column],
    rows: &[Vec<String>],
    width: Option<usize>,
    style: Style,
    with_titles: bool,
) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|cell| escape::line(cell).into_owned())
                .collect()
        })
        .collect();
    let widths = fitted(columns, &rows, width);
    let mut text = String::new();
    if with_titles {
        let titles: Vec<&str> = columns.iter().map(|column| column.title).collect();
        let _ = writeln!(text, "{}", style.bold(&laid_out(columns, &widths, &titles)));
    }
    for row in &rows {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        text.push_str(&laid_out(columns, &widths, &cells));
        text.push('\n');
    }
    text
}

/// Names and values, one pair a line. Values of several lines are shown on one.
pub(crate) fn render_record(fields: &[(&'static str, String)], style: Style) -> String {
    let widest = fields
        .iter()
        .map(|(name, _)| name.width())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (name, value) in fields {
        let pad = " ".repeat(widest - name.width() + GAP);
        let _ = writeln!(text, "{}{pad}{}", style.bold(name), escape::line(value));
    }
    text
}

/// The width of each column: what it needs, less what the widest give up so that all fit.
fn fitted(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> Vec<usize> {
    let mut widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            let cells = rows
                .iter()
                .filter_map(|row| row.get(i))
                .map(|cell| cell.width());
            cells.max().unwrap_or(0).max(column.title.width())
        })
        .collect();
    let Some(width) = width else {
        return widths;
    };
    let room = width.saturating_sub(GAP * columns.len().saturating_sub(1));
    while widths.iter().sum::<usize>() > room {
        let cuttable = widths
            .iter_mut()
            .zip(columns)
            .filter(|(_, column)| !column.whole);
        match cuttable.map(|(width, _)| width).max() {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            _ => break,
        }
    }
    widths
}

fn laid_out(columns: &[Column], widths: &[usize], cells: &[&str]) -> String {
    let mut line = String::new();
    for ((column, &width), cell) in columns.iter().zip(widths).zip(cells) {
        let cell = cut(cell, width);
        let pad = " ".repeat(width - cell.width());
        if column.right {
            line.push_str(&pad);
            line.push_str(&cell);
        } else {
            line.push_str(&cell);
            line.push_str(&pad);
        }
        line.push_str("  ");
    }
    line.truncate(line.trim_end().len());
    line
}

/// The text in at most `width` columns, with an ellipsis where something is left out.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        cut.push(c);
    }
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 2] = [Column::right("ID"), Column::left("NAME")];

    fn rows(names: &[&str]) -> Vec<Vec<String>> {
        names
            .iter()
            .zip(9..)
            .map(|(name, id)| vec![id.to_string(), (*name).to_owned()])
            .collect()
    }

    #[test]
    fn columns_line_up() {
        let text = render(&COLUMNS, &rows(&["größe", "b"]), None, Style::PLAIN, true);
        assert_eq!(text, "ID  NAME\n 9  größe\n10  b\n");
    }

    #[test]
    fn wide_columns_are_cut_to_the_terminal() {
        let long = "x".repeat(60);
        let text = render(&COLUMNS, &rows(&[&long]), Some(20), Style::PLAIN, false);
        assert_eq!(text, format!(" 9  {}…\n", "x".repeat(15)));
        let wide = "漢".repeat(30);
        let text = render(&COLUMNS, &rows(&[&wide]), Some(20), Style::PLAIN, false);
        assert!(
            text.trim_end().width() <= 20 && text.ends_with("…\n"),
            "{text}"
        );
    }

    #[test]
    fn cells_are_escaped() {
        let text = render(&COLUMNS, &rows(&["\u{1b}[2J\n"]), None, Style::PLAIN, false);
        assert_eq!(text, " 9  \\u001b[2J\\n\n");
        let record = render_record(&[("name", "\u{202e}x".to_owned())], Style::PLAIN);
        assert_eq!(record, "name  \\u202ex\n");
    }
}
