//! One chunk of a run: what its jobs have left so far.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use modiolus_dicom::attributes::Attributes;
use modiolus_dicom::index::Index;
use modiolus_imaging::measure::Measurements;
use modiolus_operations::{names, objects};
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::filter::FilterJob;
use modiolus_pipeline::job::preprocess::PreprocessJob;
use modiolus_pipeline::verdict::{KeptSlice, Verdict, Verdicts};
use modiolus_pipeline::{
    Fetched, JobId, Manifest, Marker, Message, ModelVersion, ObjectKey, Outcome, PatientKey, Read, Reason,
    RunId, SliceId, StageName,
};
use modiolus_store::ObjectStore;

/// A chunk as far as it is.
#[derive(Debug, Default)]
pub struct Chunk {
    /// How many files have their verdict.
    pub files_done: usize,
    /// How many files were refused, by reason.
    pub refused: BTreeMap<Reason, usize>,
    /// Jobs that have ended, by stage.
    pub ended: BTreeMap<StageName, usize>,
    /// Jobs that are known and have not, by stage.
    pub open: BTreeMap<StageName, usize>,
    /// Jobs that were given up.
    pub failed: Vec<GivenUp>,
    /// The kept slices.
    pub slices: Vec<Found>,
}

/// A job that was given up.
#[derive(Debug, Clone)]
pub struct GivenUp {
    /// The job.
    pub job: JobId,
    /// The error's code.
    pub code: String,
    /// The error in words.
    pub message: String,
}

/// A kept slice.
#[derive(Debug, Clone)]
pub struct Found {
    /// Whose.
    pub patient: PatientKey,
    /// Which.
    pub slice: SliceId,
    /// How clearly an array is visible, 0 to 1.
    pub array_score: f32,
    /// Its height in pixels.
    pub rows: u32,
    /// Its width in pixels.
    pub columns: u32,
    /// PixelSpacing: between rows, then between columns, in mm.
    pub spacing_mm: Option<[f64; 2]>,
    /// Where it lies along the normal of its plane, in mm.
    pub along_mm: Option<f64>,
    /// How far it is.
    pub reached: Reached,
    /// What its mask measures.
    pub measured: Option<Measured>,
    /// Where its file lay. **Identity**: it is never shown.
    pub(super) path: String,
    /// What it is called, but for others of this name: the stem of its file, unless that is named for the patient.
    pub(super) stem: String,
}

/// How far a slice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// It is kept.
    Kept,
    /// It has its picture.
    Prepared,
    /// It has its mask.
    Drawn,
    /// A job of it was given up.
    Failed,
}

/// The numbers of a mask that a list shows.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// The number of electrode pixels.
    pub electrode_px: usize,
    /// How unsure the model was of it, 0 to 1.
    pub uncertainty: Option<f64>,
}

impl Found {
    /// Whether it is this one.
    pub fn is(&self, patient: &PatientKey, slice: &SliceId) -> bool {
        self.patient == *patient && self.slice == *slice
    }

    fn new(kept: KeptSlice, path: String, attributes: &Attributes) -> Self {
        Self {
            patient: kept.patient,
            slice: kept.slice,
            array_score: kept.array_score,
            rows: attributes.rows,
            columns: attributes.columns,
            spacing_mm: attributes.pixel_spacing,
            along_mm: along(attributes),
            reached: Reached::Kept,
            measured: None,
            stem: match kept.named_for_patient {
                true => names::neutral_stem(attributes.series_number, attributes.instance_number),
                false => names::stem(&path),
            },
            path,
        }
    }
}

/// The position along the normal of the slice, which is the cross product of its row and column cosines.
fn along(attributes: &Attributes) -> Option<f64> {
    let ([a, b, c, d, e, f], position) = (attributes.orientation?, attributes.position?);
    let normal = [b * f - c * e, c * d - a * f, a * e - b * d];
    Some(normal.iter().zip(position).map(|(n, p)| n * p).sum())
}

impl Chunk {
    /// Reads what there is.
    pub(super) async fn read(
        store: &dyn ObjectStore,
        run: &RunId,
        chunk: u32,
        first: &JobId,
        model: Option<&ModelVersion>,
    ) -> Result<Self> {
        let mut reading = Reading { store, run, chunk, so_far: Self::default() };
        if reading.is_done(StageName::Ingest, first).await? {
            reading.files(first).await?;
            if let Some(model) = model {
                reading.measure(model).await?;
            }
        }
        Ok(reading.so_far)
    }
}

struct Reading<'a> {
    store: &'a dyn ObjectStore,
    run: &'a RunId,
    chunk: u32,
    so_far: Chunk,
}

impl Reading<'_> {
    /// Counts a job; whether its outputs are there.
    async fn is_done(&mut self, stage: StageName, job: &JobId) -> Result<bool> {
        let key = ObjectKey::Marker(self.run.clone(), self.chunk, job.clone());
        let marker: Option<Marker> = objects::json_if_there(self.store, key).await?;
        let counts = if marker.is_some() { &mut self.so_far.ended } else { &mut self.so_far.open };
        *counts.entry(stage).or_default() += 1;
        match marker.map(|marker| marker.outcome) {
            Some(Outcome::Failed { code, message }) => {
                self.so_far.failed.push(GivenUp { job: job.clone(), code, message });
                Ok(false)
            }
            outcome => Ok(outcome.is_some()),
        }
    }

    fn failed(&self, job: &JobId) -> bool {
        self.so_far.failed.iter().any(|failed| failed.job == *job)
    }

    async fn followers(&self, stage: StageName, job: &JobId) -> Result<Vec<Message>> {
        let manifest: Manifest = objects::json(self.store, ObjectKey::Manifest(stage, job.clone())).await?;
        Ok(manifest.followers)
    }

    async fn files(&mut self, ingest: &JobId) -> Result<()> {
        let index: Index = objects::json(self.store, ObjectKey::Index(ingest.clone())).await?;
        for refusal in index.entries.iter().filter_map(|entry| entry.refusal.as_ref()) {
            self.refuse(refusal.reason);
        }
        for message in self.followers(StageName::Ingest, ingest).await? {
            let job: FilterJob = message.job()?;
            if self.is_done(StageName::Filter, &message.id).await? {
                self.verdicts(&message.id, &index).await?;
                self.pictures(&message.id).await?;
            } else if self.failed(&message.id) {
                self.so_far.files_done += job.files.len();
            }
        }
        Ok(())
    }

    fn refuse(&mut self, reason: Reason) {
        *self.so_far.refused.entry(reason).or_default() += 1;
        self.so_far.files_done += 1;
    }

    async fn verdicts(&mut self, filter: &JobId, index: &Index) -> Result<()> {
        let said: Verdicts = objects::json(self.store, ObjectKey::Verdicts(filter.clone())).await?;
        for file in said.files {
            match file.verdict {
                Verdict::Refused(refusal) => self.refuse(refusal.reason),
                Verdict::Kept(kept) => {
                    let entry = index
                        .entries
                        .get(file.file as usize)
                        .context("a verdict of a file that isn't there")?;
                    let attributes = entry.attributes.as_deref().context("a kept file without attributes")?;
                    self.so_far.slices.push(Found::new(kept, entry.path.clone(), attributes));
                    self.so_far.files_done += 1;
                }
            }
        }
        Ok(())
    }

    async fn pictures(&mut self, filter: &JobId) -> Result<()> {
        for message in self.followers(StageName::Filter, filter).await? {
            let PreprocessJob::Slices { slices, .. } = message.job()? else { continue };
            if self.is_done(StageName::Preprocess, &message.id).await? {
                self.reach(&slices, Reached::Prepared);
                for infer in self.followers(StageName::Preprocess, &message.id).await? {
                    if self.is_done(StageName::Infer, &infer.id).await? {
                        self.reach(&slices, Reached::Drawn);
                    } else if self.failed(&infer.id) {
                        self.reach(&slices, Reached::Failed);
                    }
                }
            } else if self.failed(&message.id) {
                self.reach(&slices, Reached::Failed);
            }
        }
        Ok(())
    }

    fn reach(&mut self, slices: &[SliceRef], reached: Reached) {
        for found in &mut self.so_far.slices {
            if slices.iter().any(|one| found.is(&one.patient, &one.slice)) {
                found.reached = reached;
            }
        }
    }

    async fn measure(&mut self, model: &ModelVersion) -> Result<()> {
        let drawn: Vec<usize> = (0..self.so_far.slices.len())
            .filter(|&at| self.so_far.slices[at].reached == Reached::Drawn)
            .collect();
        let key = |at: &usize| {
            let found = &self.so_far.slices[*at];
            ObjectKey::Measurements(model.clone(), found.patient.clone(), found.slice.clone())
        };
        let reads: Vec<Read> = drawn.iter().map(|at| Read::whole(key(at))).collect();
        for (at, fetched) in drawn.into_iter().zip(self.store.get_many(&reads).await) {
            if let Fetched::Found(object) = fetched?
                && let Ok(measured) = serde_json::from_slice::<Measurements>(&object.bytes)
            {
                let Measurements { electrode_px, uncertainty, .. } = measured;
                self.so_far.slices[at].measured = Some(Measured { electrode_px, uncertainty });
            }
        }
        Ok(())
    }
}
