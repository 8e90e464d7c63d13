//! Filter: series index -> the slices of the wanted plane.
//!
//! The index says which files match; only those are read. Each leaves a de-identified instance and a verdict with what
//! tells duplicates and clear arrays: a digest of its pixels, a perceptual hash, a score.

use std::collections::BTreeMap;
use std::sync::Arc;

use modiolus_dicom::Attributes;
use modiolus_dicom::deidentify::Deidentifier;
use modiolus_dicom::index::{Index, IndexEntry};
use modiolus_dicom::{decide, identity, instance};
use modiolus_imaging::{fingerprint, score};
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::filter::FilterJob;
use modiolus_pipeline::job::preprocess::PreprocessJob;
use modiolus_pipeline::verdict::{FileVerdict, KeptSlice, Verdict, Verdicts};
use modiolus_pipeline::{
    Digest, Effects, Fetched, Job, ObjectKey, Objects, Progress, ProgressEvent, Read, Reason, Refusal,
    Secret, Stage, StageError,
};
use percent_encoding::percent_decode_str;

/// Slices per preprocess job: a second or two of work.
const SLICES_PER_JOB: usize = 16;

/// The stage. It knows the secret of the pseudonyms.
pub struct FilterStage {
    secret: Secret,
    deidentifier: Deidentifier,
}

impl FilterStage {
    /// A stage whose pseudonyms are made with this secret.
    pub fn new(secret: &Secret) -> Self {
        Self { secret: secret.clone(), deidentifier: Deidentifier::new(secret) }
    }
}

impl Stage for FilterStage {
    type Job = FilterJob;

    fn needs(&self, job: &FilterJob, have: &Objects) -> Vec<Read> {
        let key = ObjectKey::Index(job.index.clone());
        if have.get(&key).is_none() {
            return vec![Read::whole(key)];
        }
        // An index that doesn't decode needs nothing more: `run` says what is wrong with it.
        let Ok(index) = have.decoded::<Index>(&key) else { return vec![] };
        let matching =
            job.files.iter().filter_map(|&file| index.entries.get(file as usize)).filter(|entry| {
                entry.image().is_ok_and(|attributes| decide::verdict(attributes, job.wanted.plane).is_ok())
            });
        matching.map(|entry| Read::whole(ObjectKey::Scan(entry.path.clone()))).collect()
    }

    fn run(&self, job: &FilterJob, objects: &Objects, progress: &Progress) -> Result<Effects, StageError> {
        let index: Arc<Index> = objects.decoded(&ObjectKey::Index(job.index.clone()))?;
        let mut effects = Effects::default();
        let mut files = Vec::with_capacity(job.files.len());
        for &file in &job.files {
            let entry = index.entries.get(file as usize).ok_or_else(|| {
                StageError::permanent("index-too-short", format!("index {} has no file {file}", job.index))
            })?;
            let verdict = match self.judge(entry, job, objects, &mut effects) {
                Ok(kept) => Verdict::Kept(kept),
                Err(refusal) => Verdict::Refused(refusal),
            };
            files.push(FileVerdict { file, verdict });
        }
        progress.tell(ProgressEvent::Units { done: files.len() as u64 });
        tell_refused(&files, progress);
        publish_kept(&files, job, &mut effects);
        effects.put_json(ObjectKey::Verdicts(job.id()), &Verdicts { files });
        Ok(effects)
    }
}

impl FilterStage {
    /// Keeps a file (and puts its de-identified instance) or says why not.
    fn judge(
        &self,
        entry: &IndexEntry,
        job: &FilterJob,
        objects: &Objects,
        effects: &mut Effects,
    ) -> Result<KeptSlice, Refusal> {
        let attributes = entry.image().map_err(Clone::clone)?;
        decide::verdict(attributes, job.wanted.plane)?;
        let bytes = match objects.get(&ObjectKey::Scan(entry.path.clone())) {
            Some(Fetched::Found(object)) => &object.bytes,
            Some(Fetched::Denied(why)) => return Err(unreadable(why)),
            Some(Fetched::Missing) | None => return Err(unreadable("it vanished after it was indexed")),
        };
        self.keep(entry, attributes, bytes, effects)
    }

    fn keep(
        &self,
        entry: &IndexEntry,
        attributes: &Attributes,
        bytes: &[u8],
        effects: &mut Effects,
    ) -> Result<KeptSlice, Refusal> {
        let delivered = instance::decode(bytes)?;
        let deidentified = self.deidentifier.apply_to(bytes, &delivered)?;
        let patient = self.secret.patient(&attributes.patient_id);
        let slice = self.secret.slice(&patient, &Digest::of(bytes));
        // What is compared and scored is what is kept, and what all later stages see.
        let instance = instance::decode(&deidentified)?;
        let picture = instance.picture()?;
        effects.put(ObjectKey::Instance(patient.clone(), slice.clone()), deidentified);
        Ok(KeptSlice {
            patient,
            slice,
            pixels: instance.pixel_digest(),
            perceptual_hash: fingerprint::perceptual_hash(&picture).0,
            array_score: score::array_score(&picture, instance.attributes.pixel_spacing),
            blank: fingerprint::is_blank(&picture),
            named_for_patient: is_named_for_patient(&entry.path, &delivered.attributes),
        })
    }
}

/// Whether a file's name says whose it is. Nobody knows in which character set a name is that is not UTF-8 (old systems and
/// archives make such names): it may be anyone's.
fn is_named_for_patient(path: &str, Attributes { patient_name, patient_id, .. }: &Attributes) -> bool {
    let file_name = percent_decode_str(path.rsplit('/').next().unwrap_or_default()).decode_utf8();
    file_name.ok().is_none_or(|name| identity::is_in_file_name(&name, patient_name, patient_id))
}

fn unreadable(why: impl Into<String>) -> Refusal {
    Refusal::new(Reason::Unreadable, why)
}

/// Says how many files were refused for which reason.
fn tell_refused(files: &[FileVerdict], progress: &Progress) {
    let mut refused: BTreeMap<Reason, u64> = BTreeMap::new();
    for file in files {
        if let Verdict::Refused(refusal) = &file.verdict {
            *refused.entry(refusal.reason).or_default() += 1;
        }
    }
    for (reason, files) in refused {
        progress.tell(ProgressEvent::Refused { reason, files });
    }
}

/// Kept slices go on in jobs of their own; files with equal content are one slice and go once.
fn publish_kept(files: &[FileVerdict], job: &FilterJob, effects: &mut Effects) {
    let Some(model) = &job.wanted.model else { return };
    let mut slices: Vec<SliceRef> = files
        .iter()
        .filter_map(|file| match &file.verdict {
            Verdict::Kept(kept) => {
                Some(SliceRef { patient: kept.patient.clone(), slice: kept.slice.clone() })
            }
            Verdict::Refused(_) => None,
        })
        .collect();
    slices.sort();
    slices.dedup();
    for slices in slices.chunks(SLICES_PER_JOB) {
        effects.publish(&PreprocessJob::Slices { slices: slices.to_vec(), model: model.clone() });
    }
}
