//! The table and its totals: `summary.csv`, `summary.json`, and what the report shows.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use anyhow::Result;
use modiolus_imaging::contacts::ElectrodeArray;
use modiolus_pipeline::RunId;
use modiolus_pipeline::job::Wanted;
use serde::Serialize;

use super::names::folder;
use super::rows::Row;

/// The columns of `summary.csv`.
const COLUMNS: [&str; 21] = [
    "patient",
    "path",
    "verdict",
    "reason",
    "series",
    "sop_instance",
    "plane",
    "rows",
    "columns",
    "duplicate_of",
    "array_score",
    "electrode_px",
    "area_mm2",
    "detail",
    "contacts",
    "array_length_mm",
    "insertion_deg",
    "contact_spacing_mm",
    "contact_spacing_cv",
    "warnings",
    "uncertainty",
];

/// Everything that a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// The version of Modiolus.
    pub(crate) modiolus: &'static str,
    /// The run's id.
    pub(crate) run: String,
    /// The wanted plane.
    pub(crate) plane: String,
    /// The model that drew the masks.
    pub(crate) model: Option<String>,
    pub(crate) counts: Counts,
    pub(crate) patients: Vec<Patient>,
    /// Patients that share pictures: probably one person under several numbers.
    pub(crate) shared_pictures: Vec<SharedPictures>,
    pub(crate) annotations: Vec<Annotation>,
    pub(crate) files: Vec<Row>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) files: usize,
    pub(crate) kept: usize,
    /// Kept slices that show the same as an earlier one.
    pub(crate) duplicates: usize,
    pub(crate) failed: usize,
    pub(crate) refused: BTreeMap<String, usize>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Patient {
    pub(crate) patient: String,
    pub(crate) files: usize,
    pub(crate) kept: usize,
    /// The folders that the patient's files lie in. More than one top folder: equal PatientIDs were taken for one person.
    pub(crate) folders: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct SharedPictures {
    pub(crate) patients: [String; 2],
    pub(crate) pictures: usize,
}

/// What became of an annotation file.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Annotation {
    /// The annotation's file name below the annotations' folder.
    pub(crate) file: String,
    /// `accepted` or `refused`.
    pub(crate) verdict: &'static str,
    /// Why it was refused.
    pub(crate) why: String,
    /// PATIENT/STEM of the slice.
    pub(crate) slice: String,
    /// IoU of the model's mask and the annotation.
    pub(crate) iou: Option<f64>,
}

impl Summary {
    /// The summary of these rows (ordered by path).
    pub(crate) fn of(run: &RunId, wanted: &Wanted, files: Vec<Row>, annotations: Vec<Annotation>) -> Self {
        Self {
            modiolus: env!("CARGO_PKG_VERSION"),
            run: run.to_string(),
            plane: wanted.plane.name().to_owned(),
            model: wanted.model.as_ref().map(ToString::to_string),
            counts: counts(&files),
            patients: patients(&files),
            shared_pictures: shared_pictures(&files),
            annotations,
            files,
        }
    }

    /// Whether no file failed and no annotation was refused.
    pub(crate) fn is_good(&self) -> bool {
        self.counts.failed == 0 && self.annotations.iter().all(|annotation| annotation.verdict != "refused")
    }

    /// `summary.csv`: one row per input file.
    pub(crate) fn csv(&self, file: impl Write) -> Result<()> {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(COLUMNS)?;
        for row in &self.files {
            writer.write_record(cells(row))?;
        }
        Ok(writer.flush()?)
    }
}

fn cells(row: &Row) -> Vec<String> {
    fn text<T: ToString>(value: Option<T>) -> String {
        value.map(|v| v.to_string()).unwrap_or_default()
    }
    let mut cells = vec![
        row.patient.clone(),
        row.path.clone(),
        row.verdict.to_owned(),
        row.reason.to_string(),
        row.series.clone(),
        row.sop_instance.clone(),
        row.plane.to_owned(),
        text(row.rows),
        text(row.columns),
        row.duplicate_of.clone(),
        row.array_score.map(|score| format!("{score:.4}")).unwrap_or_default(),
        text(row.electrode_px),
        number(row.area_mm2, 3),
        row.detail.clone(),
    ];
    cells.extend(array_cells(row.array.as_deref()));
    cells.push(number(row.uncertainty, 4));
    cells
}

/// Contacts that can't be told apart have no number: the cell is empty, and the warnings say why.
fn array_cells(array: Option<&ElectrodeArray>) -> [String; 6] {
    let of = |value: fn(&ElectrodeArray) -> Option<f64>| array.and_then(value);
    let contacts = array.map(|array| array.contacts.len()).filter(|contacts| *contacts > 0);
    let warnings = array.iter().flat_map(|array| &array.warnings).map(|warning| warning.name());
    [
        contacts.map(|contacts| contacts.to_string()).unwrap_or_default(),
        number(of(|array| Some(array.length_mm)), 2),
        number(of(|array| array.insertion_deg), 0),
        number(of(|array| array.spacing_mm), 3),
        number(of(|array| array.spacing_cv), 3),
        warnings.collect::<Vec<_>>().join(" "),
    ]
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map(|value| format!("{value:.digits$}")).unwrap_or_default()
}

fn counts(files: &[Row]) -> Counts {
    let mut counts = Counts { files: files.len(), ..Counts::default() };
    for row in files {
        match row.verdict {
            "kept" => counts.kept += 1,
            "failed" => counts.failed += 1,
            _ => *counts.refused.entry(row.reason.to_string()).or_default() += 1,
        }
        counts.duplicates += usize::from(!row.duplicate_of.is_empty());
    }
    counts
}

fn patients(files: &[Row]) -> Vec<Patient> {
    let mut patients: BTreeMap<&str, (usize, usize, BTreeSet<&str>)> = BTreeMap::new();
    for row in files.iter().filter(|row| !row.patient.is_empty()) {
        let (files, kept, folders) = patients.entry(&row.patient).or_default();
        *files += 1;
        *kept += usize::from(row.verdict == "kept");
        folders.insert(folder(&row.path));
    }
    let named = |(patient, (files, kept, folders)): (&str, (usize, usize, BTreeSet<&str>))| Patient {
        patient: patient.to_owned(),
        files,
        kept,
        folders: folders.into_iter().map(str::to_owned).collect(),
    };
    patients.into_iter().map(named).collect()
}

fn shared_pictures(files: &[Row]) -> Vec<SharedPictures> {
    let patient_of: BTreeMap<&str, &str> =
        files.iter().map(|row| (row.path.as_str(), row.patient.as_str())).collect();
    let mut shared: BTreeMap<[&str; 2], usize> = BTreeMap::new();
    for row in files.iter().filter(|row| !row.duplicate_of.is_empty()) {
        let Some(&other) = patient_of.get(row.duplicate_of.as_str()) else { continue };
        if other != row.patient {
            let mut pair = [other, row.patient.as_str()];
            pair.sort_unstable();
            *shared.entry(pair).or_default() += 1;
        }
    }
    shared
        .into_iter()
        .map(|(pair, pictures)| SharedPictures { patients: pair.map(str::to_owned), pictures })
        .collect()
}
