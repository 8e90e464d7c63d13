//! What became of every input file: one row each, gathered from the objects of a finished run.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail};
use futures::stream::{StreamExt, TryStreamExt, iter};
use modiolus_dicom::attributes::Attributes;
use modiolus_dicom::decide;
use modiolus_dicom::deidentify::Deidentifier;
use modiolus_dicom::index::{Index, IndexEntry};
use modiolus_imaging::contacts::ElectrodeArray;
use modiolus_imaging::fingerprint::PerceptualHash;
use modiolus_imaging::measure::Measurements;
use modiolus_operations::annotations::SliceNames;
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::filter::FilterJob;
use modiolus_pipeline::job::ingest::Delivery;
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::verdict::{KeptSlice, Verdict, Verdicts};
use modiolus_pipeline::{
    Digest, JobId, Manifest, Marker, ModelVersion, ObjectKey, Outcome, RunId, Secret, StageName,
};
use modiolus_store::ObjectStore;
use serde::Serialize;

use super::names::{self, Stems};
use super::objects;

/// How many chunks are read at once: a store on another machine takes its time to answer.
const AT_A_TIME: usize = 8;

/// One input file, as it stands in `summary.csv` and `summary.json`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// The patient's name in the output; empty for files that are of no patient.
    pub(crate) patient: String,
    /// The file's path below the scans' folder.
    pub(crate) path: String,
    /// `kept`, `refused` or `failed`.
    pub(crate) verdict: &'static str,
    /// The reason code of a refusal, or the error code of a failure.
    pub(crate) reason: Cow<'static, str>,
    /// The reason in words.
    pub(crate) detail: String,
    /// SeriesInstanceUID (mapped, or the original with --keep-patient-ids).
    pub(crate) series: String,
    /// SOPInstanceUID (likewise).
    pub(crate) sop_instance: String,
    /// The plane's name: coronal, axial, sagittal, oblique.
    pub(crate) plane: &'static str,
    pub(crate) rows: Option<u32>,
    pub(crate) columns: Option<u32>,
    /// The path of the first file that shows the same slice.
    pub(crate) duplicate_of: String,
    /// `exact` where the pixels are equal, `near` where the pictures are as good as equal (exported twice).
    pub(crate) duplicate: &'static str,
    /// How clearly an array is visible, 0 to 1.
    pub(crate) array_score: Option<f32>,
    pub(crate) electrode_px: Option<u64>,
    pub(crate) area_mm2: Option<f64>,
    pub(crate) extent_mm: Option<f64>,
    /// The electrode array in the mask, with its contacts.
    pub(crate) array: Option<Box<ElectrodeArray>>,
    /// How unsure the model was of the mask, 0 to 1.
    pub(crate) uncertainty: Option<f64>,
    /// The stem of the output's files.
    pub(crate) stem: String,
    #[serde(skip)]
    pub(crate) kept: Option<Box<KeptSlice>>,
}

/// Where and how to look.
pub(crate) struct Gathering<'a> {
    pub(crate) store: &'a dyn ObjectStore,
    pub(crate) run: &'a RunId,
    pub(crate) model: Option<&'a ModelVersion>,
    pub(crate) secret: &'a Secret,
    pub(crate) keep_patient_ids: bool,
    pub(crate) delivery: &'a Delivery,
}

impl Gathering<'_> {
    /// The rows of all files, ordered by path.
    pub(crate) async fn rows(&self, manifest: &RunManifest) -> Result<Vec<Row>> {
        let deidentifier = Deidentifier::new(self.secret);
        let chunks: Vec<_> = (0..)
            .zip(&manifest.chunks)
            .map(|(chunk, first)| self.chunk(chunk, first, &deidentifier))
            .collect();
        let mut rows = iter(chunks).buffered(AT_A_TIME).try_concat().await?;
        rows.sort_by(|a, b| a.path.cmp(&b.path));
        name_stems(&mut rows);
        mark_duplicates(&mut rows);
        Ok(rows)
    }

    async fn chunk(&self, chunk: u32, first: &JobId, ids: &Deidentifier) -> Result<Vec<Row>> {
        if let Outcome::Failed { code, message } = self.outcome(chunk, first).await? {
            bail!("the files of chunk {chunk} could not be indexed ({code}): {message}");
        }
        let index: Index = objects::json(self.store, ObjectKey::Index(first.clone())).await?;
        let mut verdicts: HashMap<u32, Judged> = HashMap::new();
        let ingest: Manifest =
            objects::json(self.store, ObjectKey::Manifest(StageName::Ingest, first.clone())).await?;
        for message in ingest.followers {
            let job: FilterJob = message.job()?;
            self.judged(chunk, &message.id, &job, &mut verdicts).await?;
        }
        let entries = (0u32..).zip(index.entries);
        entries.map(|(position, entry)| self.row(entry, verdicts.remove(&position), ids)).collect()
    }

    /// What filter, preprocess and infer said of the files of one filter job.
    async fn judged(
        &self,
        chunk: u32,
        id: &JobId,
        job: &FilterJob,
        verdicts: &mut HashMap<u32, Judged>,
    ) -> Result<()> {
        if let Outcome::Failed { code, message } = self.outcome(chunk, id).await? {
            let failed = || Judged::Failed { code: code.clone(), message: message.clone() };
            verdicts.extend(job.files.iter().map(|file| (*file, failed())));
            return Ok(());
        }
        let failures = self.later_failures(chunk, id).await?;
        let said: Verdicts = objects::json(self.store, ObjectKey::Verdicts(id.clone())).await?;
        let measured = iter(&said.files).map(|file| self.measured(&file.verdict));
        let measured: Vec<_> = measured.buffered(AT_A_TIME).try_collect().await?;
        for (file, measured) in said.files.into_iter().zip(measured) {
            let judged = match file.verdict {
                Verdict::Refused(refusal) => Judged::Refused(refusal.reason.code().into(), refusal.detail),
                Verdict::Kept(kept) => Judged::Kept(Box::new(kept), measured),
            };
            let judged = match (judged, failures.first()) {
                (Judged::Kept(_, None), Some((code, message))) if self.model.is_some() => {
                    Judged::Failed { code: code.clone(), message: message.clone() }
                }
                (judged, _) => judged,
            };
            verdicts.insert(file.file, judged);
        }
        Ok(())
    }

    async fn measured(&self, verdict: &Verdict) -> Result<Option<Measurements>> {
        let (Verdict::Kept(kept), Some(model)) = (verdict, self.model) else { return Ok(None) };
        objects::json_if_there(
            self.store,
            ObjectKey::Measurements(model.clone(), kept.patient.clone(), kept.slice.clone()),
        )
        .await
    }

    /// The failures among the jobs that follow from a filter job, at any depth.
    async fn later_failures(&self, chunk: u32, filter: &JobId) -> Result<Vec<(String, String)>> {
        let mut failures = Vec::new();
        let mut open = vec![filter.clone()];
        let mut seen = HashSet::new();
        while let Some(job) = open.pop() {
            if !seen.insert(job.clone()) {
                continue;
            }
            let marker: Marker =
                objects::json(self.store, ObjectKey::Marker(self.run.clone(), chunk, job)).await?;
            if let Outcome::Failed { code, message } = marker.outcome {
                failures.push((code, message));
            }
            open.extend(marker.followers);
        }
        Ok(failures)
    }

    async fn outcome(&self, chunk: u32, job: &JobId) -> Result<Outcome> {
        Ok(objects::json::<Marker>(self.store, ObjectKey::Marker(self.run.clone(), chunk, job.clone()))
            .await?
            .outcome)
    }

    fn row(&self, entry: IndexEntry, judged: Option<Judged>, ids: &Deidentifier) -> Result<Row> {
        let mut row = Row::refused(self.delivery.shown(&entry.path).to_owned());
        if let Some(attributes) = &entry.attributes {
            self.describe(&mut row, attributes, ids);
        }
        let judged = match (entry.refusal, judged) {
            (Some(refusal), _) => Judged::Refused(refusal.reason.code().into(), refusal.detail),
            (None, Some(judged)) => judged,
            (None, None) => {
                Judged::Failed { code: "no-verdict".into(), message: "no job looked at this file".into() }
            }
        };
        match judged {
            Judged::Refused(reason, detail) => (row.reason, row.detail) = (reason, detail),
            Judged::Failed { code, message } => {
                (row.verdict, row.reason, row.detail) = ("failed", code.into(), message)
            }
            Judged::Kept(kept, measured) => {
                let attributes = entry.attributes.unwrap_or_default();
                let (id, numbers) =
                    (attributes.patient_id, (attributes.series_number, attributes.instance_number));
                if self.secret.patient(&id) != kept.patient {
                    bail!("the key of the pseudonyms is another than the one that filter had: use that one");
                }
                row.stem = match kept.named_for_patient && !self.keep_patient_ids {
                    true => names::neutral_stem(numbers.0, numbers.1),
                    false => names::stem(&row.path),
                };
                row.keep(kept, measured);
            }
        }
        Ok(row)
    }

    fn describe(&self, row: &mut Row, attributes: &Attributes, ids: &Deidentifier) {
        let named = |uid: &str| match uid {
            "" => String::new(),
            uid if self.keep_patient_ids => uid.to_owned(),
            uid => ids.map_uid(uid),
        };
        row.patient = match (self.keep_patient_ids, attributes.patient_id.trim()) {
            (true, "") => "no-patient-id".to_owned(),
            (true, id) => names::safe(id),
            (false, id) => self.secret.patient(id).to_string(),
        };
        row.series = named(&attributes.series_instance_uid);
        row.sop_instance = named(&attributes.sop_instance_uid);
        row.plane = decide::plane_of(attributes).map(|plane| plane.name()).unwrap_or_default();
        row.rows = Some(attributes.rows).filter(|rows| *rows > 0);
        row.columns = Some(attributes.columns).filter(|columns| *columns > 0);
    }
}

enum Judged {
    Kept(Box<KeptSlice>, Option<Measurements>),
    Refused(Cow<'static, str>, String),
    Failed { code: String, message: String },
}

impl Row {
    fn refused(path: String) -> Self {
        Self {
            patient: String::new(),
            path,
            verdict: "refused",
            reason: Cow::Borrowed(""),
            detail: String::new(),
            series: String::new(),
            sop_instance: String::new(),
            plane: "",
            rows: None,
            columns: None,
            duplicate_of: String::new(),
            duplicate: "",
            array_score: None,
            electrode_px: None,
            area_mm2: None,
            extent_mm: None,
            array: None,
            uncertainty: None,
            stem: String::new(),
            kept: None,
        }
    }

    fn keep(&mut self, kept: Box<KeptSlice>, measured: Option<Measurements>) {
        self.verdict = "kept";
        self.array_score = Some(kept.array_score);
        if let Some(measured) = measured {
            self.electrode_px = Some(measured.electrode_px as u64);
            self.area_mm2 = measured.area_mm2;
            self.extent_mm = measured.extent_mm;
            self.array = measured.array.map(Box::new);
            self.uncertainty = measured.uncertainty;
        }
        self.kept = Some(kept);
    }
}

/// The names of the kept slices in the output.
pub(crate) fn names(rows: &[Row]) -> SliceNames {
    let kept = rows.iter().filter_map(|row| {
        let slice = row
            .kept
            .as_ref()
            .map(|kept| SliceRef { patient: kept.patient.clone(), slice: kept.slice.clone() })?;
        let size = (row.rows? as usize, row.columns? as usize);
        Some((row.patient.clone(), row.stem.clone(), slice, size))
    });
    SliceNames::new(kept)
}

fn name_stems(rows: &mut [Row]) {
    let mut stems = Stems::default();
    for row in rows.iter_mut().filter(|row| row.kept.is_some()) {
        row.stem = stems.next(&row.patient, std::mem::take(&mut row.stem));
    }
}

/// A duplicate points at the first file, in the order of paths, that shows the same slice: with equal pixels, or so nearly
/// that it was only exported twice. Blank pictures show nothing that could be the same.
fn mark_duplicates(rows: &mut [Row]) {
    let mut first: HashMap<Digest, String> = HashMap::new();
    let mut originals: Vec<(PerceptualHash, String)> = Vec::new();
    for row in rows {
        let Some(kept) = row.kept.as_ref().filter(|kept| !kept.blank) else { continue };
        let hash = PerceptualHash(kept.perceptual_hash);
        if let Some(path) = first.get(&kept.pixels) {
            (row.duplicate, row.duplicate_of) = ("exact", path.clone());
            continue;
        }
        if let Some((_, path)) = originals.iter().find(|(other, _)| hash.is_near(other)) {
            (row.duplicate, row.duplicate_of) = ("near", path.clone());
        } else {
            originals.push((hash, row.path.clone()));
        }
        first.insert(
            kept.pixels,
            if row.duplicate_of.is_empty() { row.path.clone() } else { row.duplicate_of.clone() },
        );
    }
}
