//! The table, its totals and the report: written into the output, and said to whoever waits.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::report;
use super::summary::{Annotation, Summary};
use super::tree::Tree;
use crate::output;
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
        "{} files of {} patients: {} slices kept ({} duplicates), {refused} files refused, {} failed.",
        counts.files,
        summary.patients.len(),
        counts.kept,
        counts.duplicates,
        counts.failed
    ));
    terminal::say(&format!("The report: {}", folder.join("index.html").display()));
    let bad: Vec<&Annotation> = summary.annotations.iter().filter(|a| a.verdict == "refused").collect();
    for annotation in &bad {
        terminal::say(&format!("The annotation {} was not used: {}.", annotation.file, annotation.why));
    }
    if counts.failed > 0 {
        bail!("{} files failed: summary.csv names them and why", counts.failed);
    }
    if !bad.is_empty() {
        bail!("{} annotations were not used", bad.len());
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
