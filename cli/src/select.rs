//! `modiolus select`: the slices of a plane, found by their headers and copied as they are.
//!
//! The same walk, headers and verdicts as `modiolus run`, and nothing else: no store, no pixels, no masks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use modiolus_dicom::decide;
use modiolus_operations::walk;
use modiolus_pipeline::job::ingest::ListedFile;
use modiolus_pipeline::{Plane, Reason, Refusal};
use modiolus_store::unescape_path;
use rayon::prelude::*;
use serde::Serialize;

use crate::arguments::Select;
use crate::run::tree;
use crate::{header, output, terminal};

/// What was said of a file.
#[derive(Debug, Serialize)]
struct Row {
    path: String,
    #[serde(flatten)]
    verdict: Verdict,
}

#[derive(Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
enum Verdict {
    Selected,
    Refused {
        #[serde(flatten)]
        refusal: Refusal,
    },
    /// It is of the plane, but couldn't be copied.
    Failed {
        detail: String,
    },
}

/// Finds, copies or prints, and says how many files were refused for which reason.
pub(crate) fn select(options: &Select) -> Result<()> {
    if let Some(output) = &options.output {
        tree::check_apart(&options.scans, output)?;
    }
    // Without an output there is nothing to skip but the scans' folder itself, which the walk never meets below itself.
    let files = walk::walk_scans(&options.scans, options.output.as_deref().unwrap_or(&options.scans))?;
    let rows: Vec<Row> = files.into_par_iter().map(|file| row(file, options)).collect();
    if options.json {
        output::json(&rows)?;
    } else if options.output.is_none() {
        selected(&rows)
            .try_for_each(|row| output::line(&options.scans.join(path_of(row)?).display().to_string()))?;
    }
    terminal::say(&said(&rows));
    let failed: Vec<_> = rows.iter().filter(|row| matches!(row.verdict, Verdict::Failed { .. })).collect();
    for Row { path, verdict } in &failed {
        if let Verdict::Failed { detail } = verdict {
            terminal::say(&format!("{}: {detail}", output::printable(path)));
        }
    }
    if !failed.is_empty() {
        bail!("{} couldn't be copied", output::count(failed.len(), "file"));
    }
    Ok(())
}

fn selected(rows: &[Row]) -> impl Iterator<Item = &Row> {
    rows.iter().filter(|row| matches!(row.verdict, Verdict::Selected))
}

fn path_of(row: &Row) -> Result<PathBuf> {
    Ok(unescape_path(&row.path)?)
}

fn row(file: ListedFile, options: &Select) -> Row {
    let verdict = match judge(&file, &options.scans, options.plane) {
        Err(refusal) => Verdict::Refused { refusal },
        Ok(found) => match options.output.as_deref().map(|output| copy(&found, &file.path, output)) {
            None | Some(Ok(())) => Verdict::Selected,
            Some(Err(error)) => Verdict::Failed { detail: format!("{error:#}") },
        },
    };
    Row { path: file.path, verdict }
}

/// The file's place, if it is a slice of the plane.
fn judge(file: &ListedFile, scans: &Path, plane: Plane) -> Result<PathBuf, Refusal> {
    let unreadable = |why: String| Refusal::new(Reason::Unreadable, why);
    if let Some(why) = &file.unreadable {
        return Err(unreadable(why.clone()));
    }
    let below = unescape_path(&file.path).map_err(|bad| unreadable(bad.to_string()))?;
    let path = scans.join(below);
    let entry = header::read(&path, file.length).map_err(|error| unreadable(format!("{error:#}")))?;
    decide::verdict(entry.image().map_err(Clone::clone)?, plane)?;
    Ok(path)
}

/// Copies a file below the output, whole or not at all.
fn copy(from: &Path, below: &str, output: &Path) -> Result<()> {
    let to = output.join(unescape_path(below)?);
    let said = || format!("{} can't be written", to.display());
    let folder = to.parent().with_context(said)?;
    fs::create_dir_all(folder).with_context(said)?;
    let half = tempfile::Builder::new().prefix(".half-").make_in(folder, |half| fs::copy(from, half));
    half.with_context(said)?.persist(&to).with_context(said)?;
    Ok(())
}

fn said(rows: &[Row]) -> String {
    let mut refused: BTreeMap<Reason, usize> = BTreeMap::new();
    for row in rows {
        if let Verdict::Refused { refusal } = &row.verdict {
            *refused.entry(refusal.reason).or_default() += 1;
        }
    }
    let mut text = format!("{} selected of {}", selected(rows).count(), output::count(rows.len(), "file"));
    for (reason, files) in refused {
        text.push_str(&format!(", {files} {reason}"));
    }
    text + "."
}

#[cfg(test)]
mod tests {
    use modiolus_dicom::write::{CtImage, Syntax};

    use super::*;

    fn slice(path: &Path, orientation: [f64; 6]) -> Vec<u8> {
        let image = CtImage {
            rows: 4,
            columns: 6,
            pixels: vec![7; 24],
            orientation: Some(orientation),
            ..CtImage::default()
        };
        let bytes = image.to_bytes(Syntax::ExplicitLittle);
        output::write_file(path, &bytes).unwrap();
        bytes
    }

    fn options(scans: &Path, output: Option<PathBuf>) -> Select {
        Select { scans: scans.to_owned(), output, plane: Plane::CORONAL, json: false }
    }

    #[test]
    fn only_slices_of_the_plane_are_copied_each_below_its_own_path_and_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let scans = folder.path().join("scans");
        let coronal = slice(&scans.join("a/100 %"), [1.0, 0.0, 0.0, 0.0, 0.04, -1.0]);
        slice(&scans.join("b/100 %"), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        fs::write(scans.join("notes.txt"), "Dear colleague, this is long enough to be no DICOM file.")
            .unwrap();
        let output = scans.join("coronal");
        for _ in 0..2 {
            select(&options(&scans, Some(output.clone()))).unwrap();
            let copied = walk::walk(&output, Path::new("/nowhere")).unwrap();
            assert_eq!(copied.iter().map(|file| &file.path).collect::<Vec<_>>(), ["a/100 %25"]);
        }
        assert_eq!(fs::read(output.join("a/100 %")).unwrap(), coronal);
    }

    #[test]
    fn a_copy_that_has_no_place_is_named_and_the_others_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let (scans, output) = (folder.path().join("scans"), folder.path().join("out"));
        for name in ["a/I1", "b/I1"] {
            slice(&scans.join(name), [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]);
        }
        fs::create_dir_all(&output).unwrap();
        fs::write(output.join("a"), "in the way").unwrap();
        let error = select(&options(&scans, Some(output.clone()))).unwrap_err();
        assert_eq!(error.to_string(), "1 file couldn't be copied");
        assert!(output.join("b/I1").is_file());
    }
}
