//! Results, on standard output: tables for people, JSON for programs.

use std::io::{self, Write};

use anyhow::Result;
pub(crate) use modiolus_operations::file::{read_file, write_file};
use serde::Serialize;

/// Prints a line.
pub(crate) fn line(text: &str) -> Result<()> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Prints a value as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints a value as JSON on one line, at once.
pub(crate) fn json_line(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string(value)?)?;
    Ok(io::stdout().flush()?)
}

/// Rows of cells under a heading, in columns as wide as their widest cell. Numbers stand to the right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column headings.
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|cell| printable(cell)).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    /// Prints it.
    pub(crate) fn print(&self) -> Result<()> {
        self.lines().iter().try_for_each(|text| line(text))
    }

    fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> =
            (0..columns).map(|column| cells(column).map(|c| c.chars().count()).max().unwrap_or(0)).collect();
        let numeric: Vec<bool> =
            (0..columns).map(|column| cells(column).skip(1).all(|c| is_number(c))).collect();
        let layout = |row: &Vec<String>| {
            let padded =
                row.iter().zip(&widths).zip(&numeric).map(|((cell, &width), &numeric)| match numeric {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:<width$}"),
                });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(layout).collect()
    }
}

fn is_number(cell: &str) -> bool {
    cell.is_empty() || cell == "-" || cell.parse::<f64>().is_ok()
}

/// Text from a file, fit for a terminal: control characters could change its state or forge lines.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

/// A number for people, or `-` where there is none.
pub(crate) fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.3}"))
}

/// `1 picture`, `2 pictures`.
pub(crate) fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_to_the_right() {
        let mut table = Table::new(&["name", "IoU"]);
        table.row(["a_long_name".into(), "0.5".into()]);
        table.row(["b".into(), "-".into()]);
        assert_eq!(table.lines(), ["name         IoU", "a_long_name  0.5", "b              -"]);
    }

    #[test]
    fn escape_sequences_of_a_file_do_not_reach_the_terminal() {
        assert_eq!(printable("207\u{1b}[2J\n"), "207\u{FFFD}[2J\u{FFFD}");
    }
}
