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
        let files = job.files.iter().filter_map(|&file| index.entries.get(file as usize));
        let matching = files.filter(|entry| wanted(entry, job).is_ok());
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
            let verdict = match self.judge(entry, job, objects, &mut effects)? {
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
    /// Keeps a file (and puts its de-identified instance) or says why not. A file that is gone since it was indexed says nothing of
    /// itself: the job can't be done until it is back.
    fn judge(
        &self,
        entry: &IndexEntry,
        job: &FilterJob,
        objects: &Objects,
        effects: &mut Effects,
    ) -> Result<Result<KeptSlice, Refusal>, StageError> {
        let attributes = match wanted(entry, job) {
            Ok(attributes) => attributes,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let key = ObjectKey::Scan(entry.path.clone());
        if let Some(Fetched::Denied(why)) = objects.get(&key) {
            return Ok(Err(Refusal::new(Reason::Unreadable, why)));
        }
        Ok(self.keep(entry, attributes, objects.require(&key)?, effects))
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

/// The attributes of a file that matches, or why it doesn't.
fn wanted<'a>(entry: &'a IndexEntry, job: &FilterJob) -> Result<&'a Attributes, Refusal> {
    let attributes = entry.image().map_err(Clone::clone)?;
    decide::verdict(attributes, job.wanted.plane)?;
    Ok(attributes)
}

/// Whether a file's name says whose it is. Nobody knows in which character set a name is that is not UTF-8 (old systems and
/// archives make such names): it may be anyone's.
fn is_named_for_patient(path: &str, Attributes { patient_name, patient_id, .. }: &Attributes) -> bool {
    let file_name = percent_decode_str(path.rsplit('/').next().unwrap_or_default()).decode_utf8();
    file_name.ok().is_none_or(|name| identity::is_in_file_name(&name, patient_name, patient_id))
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

#[cfg(test)]
mod tests {
    use modiolus_dicom::header::read_header;
    use modiolus_dicom::write::{CtImage, Syntax};
    use modiolus_pipeline::job::Wanted;
    use modiolus_pipeline::{ErrorClass, Object, Plane};

    use super::*;

    /// A job of one coronal file, and what is there of it.
    fn job(fetched: Fetched) -> (FilterJob, Objects) {
        let image = CtImage { orientation: Some([1.0, 0.0, 0.0, 0.0, 0.0, -1.0]), ..CtImage::default() };
        let file = image.to_bytes(Syntax::ExplicitLittle);
        let header = read_header(&file, file.len() as u64);
        let entries = vec![IndexEntry::of("DOE^JANE/I1".into(), file.len() as u64, header).unwrap()];
        let wanted = Wanted { plane: Plane::CORONAL, model: None };
        let job = FilterJob { index: "ingest-0".parse().unwrap(), files: vec![0], wanted };
        let mut objects = Objects::default();
        let index = serde_json::to_vec(&Index { entries }).unwrap();
        objects.insert(ObjectKey::Index(job.index.clone()), Fetched::Found(Object::whole(index)));
        objects.insert(ObjectKey::Scan("DOE^JANE/I1".into()), fetched);
        (job, objects)
    }

    #[test]
    fn a_file_that_is_gone_is_no_bad_file_but_a_job_that_cannot_be_done() {
        let stage = FilterStage::new(&Secret::new([7; 32]));
        let (job, objects) = self::job(Fetched::Missing);
        assert_eq!(stage.needs(&job, &objects), [Read::whole(ObjectKey::Scan("DOE^JANE/I1".into()))]);
        let error = stage.run(&job, &objects, &Progress::default()).unwrap_err();
        assert_eq!((error.class, error.code), (ErrorClass::Permanent, "object-missing"));
        let key = ObjectKey::Scan("DOE^JANE/I1".into()).to_string();
        assert!(error.message.contains(&key) && !error.message.contains("DOE"), "{error}");
    }

    #[test]
    fn a_file_that_may_not_be_read_is_refused() {
        let stage = FilterStage::new(&Secret::new([7; 32]));
        let (job, objects) = self::job(Fetched::Denied("no permission".into()));
        let effects = stage.run(&job, &objects, &Progress::default()).unwrap();
        let verdicts: Verdicts = serde_json::from_slice(&effects.put[0].1).unwrap();
        let Verdict::Refused(refusal) = &verdicts.files[0].verdict else { panic!("it was kept") };
        assert_eq!((refusal.reason, refusal.detail.as_str()), (Reason::Unreadable, "no permission"));
    }
}
