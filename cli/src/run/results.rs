//! The table, its totals and the report: written into the output, and said to whoever waits.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::report;
use super::summary::{Annotation, Summary};
use super::tree::Tree;
use crate::output::{self, count};
use crate::terminal;

/// Writes the table and the report, the last files of an output.
pub(crate) fn write(summary: &Summary, mut tree: Tree<'_>) -> Result<()> {
    tree.stream("summary.csv", |file| summary.csv(file))?;
    tree.stream("summary.json", |file| Ok(serde_json::to_writer_pretty(file, summary)?))?;
    tree.stream("index.html", |file| report::page(summary, file))?;
    tree.finish(summary.is_good())
}

/// Says what was found; a failed file or a refused annotation is a failure of the command, after everything else was
/// done.
pub(crate) fn print(summary: &Summary, folder: &Path, json: bool) -> Result<()> {
    if json {
        output::json(summary)?;
    }
    let counts = &summary.counts;
    let refused: usize = counts.refused.values().sum();
    terminal::say(&format!(
        "{} of {}: {} kept ({}), {} refused, {} failed.",
        count(counts.files, "file"),
        count(summary.patients.len(), "patient"),
        count(counts.kept, "slice"),
        count(counts.duplicates, "duplicate"),
        count(refused, "file"),
        counts.failed
    ));
    terminal::say(&format!("The report: {}", folder.join("index.html").display()));
    let bad: Vec<&Annotation> = summary.annotations.iter().filter(|a| a.verdict == "refused").collect();
    for annotation in &bad {
        terminal::say(&format!("The annotation {} was not used: {}.", annotation.file, annotation.why));
    }
    if counts.failed > 0 {
        bail!("{} failed: summary.csv names each and why", count(counts.failed, "file"));
    }
    if !bad.is_empty() {
        bail!("{} could not be used", count(bad.len(), "annotation"));
    }
    Ok(())
}

/// What a complete output already says.
pub(crate) fn print_earlier(folder: &Path, json: bool) -> Result<()> {
    if json {
        let path = folder.join("summary.json");
        let json = fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
        output::line(&json)?;
    }
    Ok(())
}
