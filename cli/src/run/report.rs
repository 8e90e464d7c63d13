//! `index.html`: what a run found, for people. It opens from disk and needs no network and no script.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;

use anyhow::{Context, Result};
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use serde::Serialize;

use super::close_up::CloseUp;
use super::names::folder;
use super::rows::Row;
use super::summary::{Annotation, Counts, SharedPictures, Summary};

/// Refused files that the page names, per patient and reason. A delivery has a thousand files of other planes per patient:
/// nobody reads them on a page, and the table names them all.
const SHOWN: usize = 50;

/// What the page says before the patients.
#[derive(Serialize)]
struct Head<'a> {
    modiolus: &'a str,
    run: &'a str,
    plane: &'a str,
    model: Option<&'a str>,
    counts: &'a Counts,
    patients: usize,
    shared_pictures: &'a [SharedPictures],
    annotations: &'a [Annotation],
}

/// A patient's part of the page.
#[derive(Serialize)]
struct Section<'a> {
    patient: &'a str,
    folders: Vec<&'a str>,
    /// Kept slices, the clearest arrays first.
    slices: Vec<Slice<'a>>,
    refused: Vec<Refused<'a>>,
}

/// A kept slice and its array from close by.
#[derive(Serialize)]
struct Slice<'a> {
    #[serde(flatten)]
    row: &'a Row,
    close: Option<CloseUp>,
    warnings: Vec<&'static str>,
}

/// Files that were refused for one reason.
#[derive(Serialize)]
struct Refused<'a> {
    reason: &'a str,
    count: usize,
    /// The first [`SHOWN`] of them.
    files: Vec<Named<'a>>,
}

/// A file with what the page says of it: the template's values take far more memory than rows do.
#[derive(Serialize)]
struct Named<'a> {
    path: &'a str,
    detail: &'a str,
}

/// Writes the page.
pub(crate) fn page(summary: &Summary, file: impl Write) -> Result<()> {
    let mut environment = Environment::new();
    environment
        .add_template("report.html", include_str!("report.html"))
        .context("the report's template is broken")?;
    let (sections, strays) = sections(&summary.files);
    let template = environment.get_template("report.html")?;
    let [summary, sections, strays] =
        [Serde(Head::of(summary)).into(), Serde(sections).into(), Serde(strays).into()] as [Value; 3];
    let context = context! { summary, sections, strays };
    template.render_captured_to(context, file).context("the report could not be made")?;
    Ok(())
}

impl<'a> Head<'a> {
    fn of(summary: &'a Summary) -> Self {
        Self {
            modiolus: summary.modiolus,
            run: &summary.run,
            plane: &summary.plane,
            model: summary.model.as_deref(),
            counts: &summary.counts,
            patients: summary.patients.len(),
            shared_pictures: &summary.shared_pictures,
            annotations: &summary.annotations,
        }
    }
}

/// The patients, and the refused files that belong to none.
fn sections(files: &[Row]) -> (Vec<Section<'_>>, Vec<Refused<'_>>) {
    let owners = owners(files);
    let mut of_patient: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in files {
        let owner = if row.patient.is_empty() {
            owners.get(folder(&row.path)).copied().unwrap_or("")
        } else {
            &row.patient
        };
        of_patient.entry(owner).or_default().push(row);
    }
    let strays = of_patient.remove("").unwrap_or_default();
    let mut sections: Vec<Section> =
        of_patient.into_iter().map(|(patient, rows)| section(patient, &rows)).collect();
    sections.sort_by(|a, b| best(b).total_cmp(&best(a)).then_with(|| a.patient.cmp(b.patient)));
    (sections, by_reason(strays.into_iter()))
}

/// The patient of each folder in which all files that name a patient name the same one: its junk belongs there too.
fn owners(files: &[Row]) -> HashMap<&str, &str> {
    let mut owners: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for row in files.iter().filter(|row| !row.patient.is_empty()) {
        owners.entry(folder(&row.path)).or_default().insert(&row.patient);
    }
    owners
        .into_iter()
        .filter_map(|(folder, patients)| Some((folder, *patients.first()?)).filter(|_| patients.len() == 1))
        .collect()
}

fn section<'a>(patient: &'a str, rows: &[&'a Row]) -> Section<'a> {
    let (mut slices, refused): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.verdict == "kept");
    slices.sort_by(|a, b| score(b).total_cmp(&score(a)).then_with(|| a.path.cmp(&b.path)));
    let folders = rows.iter().filter(|row| !row.patient.is_empty()).map(|row| folder(&row.path));
    let folders: BTreeSet<&str> = folders.collect();
    Section {
        patient,
        folders: folders.into_iter().collect(),
        slices: slices.into_iter().map(Slice::of).collect(),
        refused: by_reason(refused.into_iter()),
    }
}

impl<'a> Slice<'a> {
    fn of(row: &'a Row) -> Self {
        let warnings = row.array.iter().flat_map(|array| &array.warnings).map(|warning| warning.text());
        Self { row, close: row.array.as_deref().and_then(CloseUp::of), warnings: warnings.collect() }
    }
}

fn by_reason<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<Refused<'a>> {
    let mut reasons: BTreeMap<&str, Refused> = BTreeMap::new();
    for row in rows {
        let nothing = Refused { reason: &row.reason, count: 0, files: Vec::new() };
        let refused = reasons.entry(&row.reason).or_insert(nothing);
        refused.count += 1;
        if refused.files.len() < SHOWN {
            refused.files.push(Named { path: &row.path, detail: &row.detail });
        }
    }
    reasons.into_values().collect()
}

fn score(row: &Row) -> f32 {
    row.array_score.unwrap_or(0.0)
}

fn best(section: &Section) -> f32 {
    section.slices.first().map_or(-1.0, |slice| score(slice.row))
}
