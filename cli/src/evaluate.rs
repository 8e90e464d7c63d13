//! `modiolus evaluate`: how well masks agree with true masks.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use modiolus_imaging::metrics::{Overlap, centreline_distance, hausdorff95, surface_dice};
use modiolus_imaging::{Mask, PIXELS, Spacing, png};
use rayon::prelude::*;
use serde::Serialize;

use crate::arguments::Evaluate;
use crate::failure::Usage;
use crate::output::{self, Table, number};
use crate::{pairs, terminal};

/// The tolerance of the normalised surface Dice, in pixels whatever the spacing.
const TOLERANCE_PX: f64 = 2.0;

/// The scores of one mask, or their means.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Scores {
    iou: f64,
    dice: f64,
    precision: f64,
    recall: f64,
    /// In the report's unit; absent where only one of the masks is empty.
    hausdorff95: Option<f64>,
    /// As `hausdorff95`.
    centreline_distance: Option<f64>,
    nsd_2px: f64,
}

#[derive(Serialize)]
struct Judged {
    name: String,
    #[serde(flatten)]
    scores: Scores,
}

#[derive(Serialize)]
struct Report {
    /// The unit of distances: `px` or `mm`.
    unit: &'static str,
    pictures: Vec<Judged>,
    /// The means over the pictures; distances over those that have one.
    mean: Option<Scores>,
    /// What could not be judged, and why.
    failed: Vec<Failed>,
}

#[derive(Serialize)]
struct Failed {
    name: String,
    why: String,
}

/// Judges the masks of a folder by the true ones of another.
pub(crate) fn evaluate(options: &Evaluate) -> Result<()> {
    let spacing = match options.spacing_mm {
        None => PIXELS,
        Some(mm) if mm.is_finite() && mm > 0.0 => [mm, mm],
        Some(mm) => return Err(Usage(format!("--spacing-mm {mm}: it has to be above 0")).into()),
    };
    let truths = pairs::by_name(&options.truth)?;
    if truths.is_empty() {
        bail!("{} has no masks: PNG or labelme JSON files are needed", options.truth.display());
    }
    let mut masks = pairs::by_name(&options.masks)?;
    let found = pairs::take(&mut masks, &truths.keys().map(String::as_str).collect::<Vec<_>>());
    let work: Vec<_> = found.into_iter().zip(truths).collect();
    for name in masks.keys() {
        terminal::say(&format!("{name}: no true mask, left out"));
    }
    let judged: Vec<Result<Judged, Failed>> = work
        .into_par_iter()
        .map(|(mask, (name, truth))| match judge(&name, &truth, &mask, spacing) {
            Ok(scores) => Ok(Judged { name, scores }),
            Err(error) => Err(Failed { name, why: format!("{error:#}") }),
        })
        .collect();
    let (mut pictures, mut failed) = (Vec::new(), Vec::new());
    for one in judged {
        match one {
            Ok(one) => pictures.push(one),
            Err(one) => failed.push(one),
        }
    }
    let unit = if options.spacing_mm.is_some() { "mm" } else { "px" };
    let report = Report { unit, mean: mean(&pictures), pictures, failed };
    if options.json {
        output::json(&report)?
    } else {
        print(&report)?
    }
    for failed in &report.failed {
        terminal::say(&format!("{}: {}", failed.name, failed.why));
    }
    match report.failed.len() {
        0 => Ok(()),
        n => bail!("{} could not be judged and {} not in the mean", output::count(n, "picture"), verb(n)),
    }
}

fn verb(n: usize) -> &'static str {
    if n == 1 { "is" } else { "are" }
}

fn judge(name: &str, truth: &[PathBuf], mask: &[PathBuf], spacing: Spacing) -> Result<Scores> {
    let (truth, mask) = (only(name, truth)?, only(name, mask)?);
    if pairs::is_labelme(mask) {
        bail!("{}: the masks to judge have to be PNG files", mask.display());
    }
    let mask = png::decode_mask(&output::read_file(mask)?).with_context(|| mask.display().to_string())?;
    let truth = pairs::read_mask(truth, mask.size())?;
    scores(&truth, &mask, spacing)
}

fn only<'a>(name: &str, paths: &'a [PathBuf]) -> Result<&'a Path> {
    match paths {
        [] => bail!("its mask is missing"),
        [one] => Ok(one),
        several => bail!("{}", pairs::several_masks(name, several)),
    }
}

fn scores(truth: &Mask, mask: &Mask, spacing: Spacing) -> Result<Scores> {
    let Overlap { iou, dice, precision, recall } = Overlap::of(truth, mask)?;
    Ok(Scores {
        iou,
        dice,
        precision,
        recall,
        hausdorff95: hausdorff95(truth, mask, spacing)?,
        centreline_distance: centreline_distance(truth, mask, spacing)?,
        nsd_2px: surface_dice(truth, mask, PIXELS, TOLERANCE_PX)?,
    })
}

/// The means; none of no pictures.
fn mean(pictures: &[Judged]) -> Option<Scores> {
    let over = |of: &dyn Fn(&Scores) -> Option<f64>| {
        let values: Vec<f64> = pictures.iter().filter_map(|picture| of(&picture.scores)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    Some(Scores {
        iou: over(&|s| Some(s.iou))?,
        dice: over(&|s| Some(s.dice))?,
        precision: over(&|s| Some(s.precision))?,
        recall: over(&|s| Some(s.recall))?,
        hausdorff95: over(&|s| s.hausdorff95),
        centreline_distance: over(&|s| s.centreline_distance),
        nsd_2px: over(&|s| Some(s.nsd_2px))?,
    })
}

fn print(report: &Report) -> Result<()> {
    let unit = report.unit;
    let (hausdorff, centreline) = (format!("HD95 {unit}"), format!("centreline {unit}"));
    let mut table =
        Table::new(&["picture", "IoU", "Dice", "precision", "recall", &hausdorff, &centreline, "NSD@2px"]);
    let mut row = |name: &str, s: &Scores| {
        let ratios = [s.iou, s.dice, s.precision, s.recall].map(Some);
        let numbers =
            ratios.into_iter().chain([s.hausdorff95, s.centreline_distance, Some(s.nsd_2px)]).map(number);
        table.row(std::iter::once(name.to_owned()).chain(numbers));
    };
    for picture in &report.pictures {
        row(&picture.name, &picture.scores);
    }
    if let Some(mean) = &report.mean {
        row(&format!("mean of {}", report.pictures.len()), mean);
    }
    table.print()
}

#[cfg(test)]
mod tests {
    use modiolus_imaging::Grid;

    use super::*;

    fn square(row: usize, column: usize, side: usize) -> Mask {
        let inside = |x: usize, start: usize| (start..start + side).contains(&x);
        Grid::from_fn(32, 32, |r, c| inside(r, row) && inside(c, column)).unwrap()
    }

    fn judged(truth: &Mask, mask: &Mask) -> Judged {
        Judged { name: "x".into(), scores: scores(truth, mask, PIXELS).unwrap() }
    }

    #[test]
    fn a_distance_that_is_undefined_is_left_out_of_the_mean_and_overlaps_are_not() {
        let (truth, moved, empty) = (square(4, 4, 10), square(4, 7, 10), square(0, 0, 0));
        let pictures = [judged(&truth, &moved), judged(&truth, &empty), judged(&empty, &empty)];
        assert_eq!(pictures[1].scores.hausdorff95, None);
        let mean = mean(&pictures).unwrap();
        assert_eq!(mean.hausdorff95, Some((3.0 + 0.0) / 2.0));
        assert!((mean.iou - (70.0 / 130.0 + 0.0 + 1.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_missing_mask_fails_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (truth, masks) = (folder.path().join("truth"), folder.path().join("masks"));
        let mask = png::encode_mask(&square(4, 4, 10));
        output::write_file(&truth.join("a_mask.png"), &mask).unwrap();
        output::write_file(&truth.join("b.png"), &mask).unwrap();
        output::write_file(&masks.join("a.png"), &mask).unwrap();
        let options = Evaluate { truth, masks: masks.clone(), spacing_mm: None, json: true };
        assert!(evaluate(&options).unwrap_err().to_string().contains("1 picture could not be judged"));
        output::write_file(&masks.join("b_mask.png"), &mask).unwrap();
        evaluate(&options).unwrap();
        let options = Evaluate { spacing_mm: Some(-1.0), ..options };
        assert!(evaluate(&options).unwrap_err().is::<Usage>());
    }
}
