//! Object keys: every object of Modiolus, in one enum.
//!
//! A key is a bucket and a path. Buckets are cut by who may see them; only `incoming` holds identity. Apart from
//! [`ObjectKey::Scan`], whose path is the delivery's own, no key holds anything of a patient but a pseudonym.

use std::fmt;

use crate::{
    AccountName, BatchId, Day, Digest, JobId, ModelVersion, PatientKey, PlanId, RevisionId, RunId, SliceId,
    StageName, TrainingId,
};

/// Who may see an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bucket {
    /// As delivered: identity inside. Ingest, filter and the operator.
    Incoming,
    /// De-identified slices and pictures.
    Scans,
    /// Annotations and training samples.
    Datasets,
    /// Plans, checkpoints, models.
    Models,
    /// Masks, overlays, measurements.
    Results,
    /// Manifests, markers, verdicts.
    Runs,
    /// Who gets into the review page, and what they did there. The console and the operator.
    Console,
}

impl Bucket {
    /// All buckets.
    pub const ALL: [Self; 7] =
        [Self::Incoming, Self::Scans, Self::Datasets, Self::Models, Self::Results, Self::Runs, Self::Console];

    /// The bucket's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Scans => "scans",
            Self::Datasets => "datasets",
            Self::Models => "models",
            Self::Results => "results",
            Self::Runs => "runs",
            Self::Console => "console",
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Every object there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKey {
    /// A file as delivered, by its escaped path. Read-only.
    Scan(String),
    /// The files of one chunk, named by the digest of the listing.
    Listing(Digest),
    /// What was submitted as a run (JSON).
    Submission(RunId),
    /// What ingest read from the files of one chunk.
    Index(JobId),
    /// A de-identified slice of the wanted plane (DICOM).
    Instance(PatientKey, SliceId),
    /// The slice as people look at it (PNG, 8 bit, native size).
    Image(PatientKey, SliceId),
    /// The slice on the grid of a plan's network (PNG, 8 bit).
    Prepared(PlanId, PatientKey, SliceId),
    /// How the prepared picture maps back to the slice (JSON).
    Frame(PlanId, PatientKey, SliceId),
    /// What a person drew on a slice (labelme JSON or mask PNG), named by its digest.
    Annotation(Digest),
    /// What came of an annotation of a slice (JSON).
    AnnotationVerdict(PatientKey, SliceId, Digest),
    /// One revision of a slice's mask (JSON).
    Revision(PatientKey, SliceId, RevisionId),
    /// One answer to whether a clear array is visible (JSON).
    Triage(PatientKey, SliceId, RevisionId),
    /// A picture or mask to learn from (PNG), named by its digest.
    Sample(Digest),
    /// A dataset (JSON), named by its digest.
    Dataset(Digest),
    /// A plan (JSON).
    Plan(PlanId),
    /// What a training is, and why it was started (JSON).
    Training(TrainingId),
    /// A training's weights and moments after a segment (safetensors).
    Checkpoint {
        /// The training.
        training: TrainingId,
        /// The segment, counted from 0.
        segment: u32,
    },
    /// The metrics of all epochs up to a segment (JSON).
    TrainingLog {
        /// The training.
        training: TrainingId,
        /// The segment, counted from 0.
        segment: u32,
    },
    /// A model (safetensors).
    Model(ModelVersion),
    /// The plan inside a model (JSON), for those who prepare pictures without reading weights.
    ModelPlan(ModelVersion),
    /// The result of a candidate's gate (JSON).
    Gate(ModelVersion),
    /// Which model is current, and which were before (JSON).
    CurrentModel,
    /// A slice's mask (indexed PNG, the slice's own grid).
    Mask(ModelVersion, PatientKey, SliceId),
    /// A slice's probabilities (PNG, 8 bit, 255 = 1.0, the slice's own grid).
    Probability(ModelVersion, PatientKey, SliceId),
    /// The slice with its mask drawn over it (PNG, RGB).
    Overlay(ModelVersion, PatientKey, SliceId),
    /// The mask as a segmentation of its slice (DICOM); none where the slice doesn't say where it lies.
    Segmentation(ModelVersion, PatientKey, SliceId),
    /// What was measured on the mask (JSON).
    Measurements(ModelVersion, PatientKey, SliceId),
    /// What filter said of the files of one job (JSON).
    Verdicts(JobId),
    /// What a job wrote and what follows from it: the commit of the job.
    Manifest(StageName, JobId),
    /// What a run is and which chunks it has (JSON); written before its first job.
    Run(RunId),
    /// A job of a run is terminal.
    Marker(RunId, u32, JobId),
    /// A chunk of a run is terminal.
    ChunkDone(RunId, u32),
    /// A run is terminal.
    RunDone(RunId),
    /// A run that some worker has begun and none has ended: where those look who complete what was left half done.
    RunUnfinished(RunId),
    /// A run that somebody has cancelled. While it is there, none of the run's jobs is begun.
    RunCancelled(RunId),
    /// Somebody who may log in to the review page (JSON).
    Account(AccountName),
    /// Somebody who has logged in (JSON), named by the digest of what their browser keeps.
    Session(Digest),
    /// What people saw and changed on the review page within some seconds of a day (JSON).
    Audit(Day, BatchId),
}

impl ObjectKey {
    /// The bucket that the object lies in.
    pub fn bucket(&self) -> Bucket {
        match self {
            Self::Scan(_) | Self::Listing(_) | Self::Submission(_) | Self::Index(_) => Bucket::Incoming,
            Self::Instance(..) | Self::Image(..) | Self::Prepared(..) | Self::Frame(..) => Bucket::Scans,
            Self::Annotation(_)
            | Self::AnnotationVerdict(..)
            | Self::Revision(..)
            | Self::Triage(..)
            | Self::Sample(_)
            | Self::Dataset(_) => Bucket::Datasets,
            Self::Plan(_)
            | Self::Training(_)
            | Self::Checkpoint { .. }
            | Self::TrainingLog { .. }
            | Self::Model(_)
            | Self::ModelPlan(_)
            | Self::Gate(_)
            | Self::CurrentModel => Bucket::Models,
            Self::Mask(..)
            | Self::Probability(..)
            | Self::Overlay(..)
            | Self::Segmentation(..)
            | Self::Measurements(..) => Bucket::Results,
            Self::Verdicts(_)
            | Self::Manifest(..)
            | Self::Run(_)
            | Self::Marker(..)
            | Self::ChunkDone(..)
            | Self::RunDone(_)
            | Self::RunUnfinished(_)
            | Self::RunCancelled(_) => Bucket::Runs,
            Self::Account(_) | Self::Session(_) | Self::Audit(..) => Bucket::Console,
        }
    }

    /// Whether these bytes, all of them, can be the object's: one that is named by their digest holds no others.
    pub fn can_hold(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Listing(digest)
            | Self::Annotation(digest)
            | Self::Sample(digest)
            | Self::Dataset(digest) => *digest == Digest::of(bytes),
            Self::Plan(plan) => *plan == PlanId::derived(&Digest::of(bytes)),
            Self::Model(version) => *version == ModelVersion::of_file(bytes),
            _ => true,
        }
    }

    /// The path within the bucket; parts are joined by '/'.
    pub fn path(&self) -> String {
        match self {
            Self::Scan(path) => format!("{SCANS_PREFIX}{path}"),
            Self::Listing(digest) => format!("listings/{digest}.json"),
            Self::Submission(run) => format!("{SUBMISSIONS_PREFIX}{run}.json"),
            Self::Index(job) => format!("index/{job}.json"),
            Self::Instance(patient, slice) => format!("{patient}/{slice}.dcm"),
            Self::Image(patient, slice) => format!("{patient}/{slice}.png"),
            Self::Prepared(plan, patient, slice) => format!("{patient}/{plan}/{slice}.png"),
            Self::Frame(plan, patient, slice) => format!("{patient}/{plan}/{slice}.json"),
            Self::Annotation(digest) => format!("annotations/{digest}"),
            Self::AnnotationVerdict(patient, slice, annotation) => {
                format!("annotations/{patient}/{slice}/{annotation}.json")
            }
            Self::Revision(patient, slice, id) => format!("{REVISIONS_PREFIX}{patient}/{slice}/{id}.json"),
            Self::Triage(patient, slice, id) => format!("{TRIAGE_PREFIX}{patient}/{slice}/{id}.json"),
            Self::Sample(digest) => format!("samples/{digest}.png"),
            Self::Dataset(digest) => format!("{digest}.json"),
            Self::Plan(plan) => format!("plans/{plan}.json"),
            Self::Training(training) => format!("{TRAININGS_PREFIX}{training}.json"),
            Self::Checkpoint { training, segment } => format!("training/{training}/{segment:05}.safetensors"),
            Self::TrainingLog { training, segment } => format!("training/{training}/{segment:05}.json"),
            Self::Model(version) => format!("versions/{version}.safetensors"),
            Self::ModelPlan(version) => format!("versions/{version}.plan.json"),
            Self::Gate(version) => format!("versions/{version}.gate.json"),
            Self::CurrentModel => "current.json".into(),
            Self::Mask(model, patient, slice) => format!("{model}/{patient}/{slice}.mask.png"),
            Self::Probability(model, patient, slice) => format!("{model}/{patient}/{slice}.probability.png"),
            Self::Overlay(model, patient, slice) => format!("{model}/{patient}/{slice}.overlay.png"),
            Self::Segmentation(model, patient, slice) => format!("{model}/{patient}/{slice}.dcm"),
            Self::Measurements(model, patient, slice) => format!("{model}/{patient}/{slice}.json"),
            Self::Verdicts(job) => format!("verdicts/{job}.json"),
            Self::Manifest(stage, job) => format!("manifests/{stage}/{job}.json"),
            Self::Run(run) => format!("{run}/run.json"),
            Self::Marker(run, chunk, job) => format!("{}{job}.json", markers_prefix(run, *chunk)),
            Self::ChunkDone(run, chunk) => format!("{}{chunk:06}", chunks_done_prefix(run)),
            Self::RunDone(run) => format!("{run}/done.json"),
            Self::RunUnfinished(run) => format!("{UNFINISHED_PREFIX}{run}"),
            Self::RunCancelled(run) => format!("{run}/cancelled"),
            Self::Account(name) => format!("{ACCOUNTS_PREFIX}{name}.json"),
            Self::Session(digest) => format!("{SESSIONS_PREFIX}{digest}.json"),
            Self::Audit(day, batch) => format!("{}{batch}.json", audit_prefix(*day)),
        }
    }
}

/// Where delivered files lie in `incoming`.
pub const SCANS_PREFIX: &str = "scans/";

/// Where the submissions lie in `incoming`.
pub const SUBMISSIONS_PREFIX: &str = "submissions/";

/// Where the revisions of masks lie in `datasets`, each below its patient and slice.
pub const REVISIONS_PREFIX: &str = "revisions/";

/// Where the answers to whether an array is visible lie in `datasets`, each below its patient and slice.
pub const TRIAGE_PREFIX: &str = "triage/";

/// Where the notes of trainings lie in `models`.
pub const TRAININGS_PREFIX: &str = "trainings/";

/// Where the versions of models lie in `models`.
pub const MODELS_PREFIX: &str = "versions/";

/// Where the names of unfinished runs lie in `runs`; no object of a run starts so, whatever the run is called.
pub const UNFINISHED_PREFIX: &str = "unfinished/runs/";

/// Where the accounts lie in `console`.
pub const ACCOUNTS_PREFIX: &str = "accounts/";

/// Where the sessions lie in `console`.
pub const SESSIONS_PREFIX: &str = "sessions/";

/// Where a day's part of the audit log lies in `console`.
pub fn audit_prefix(day: Day) -> String {
    format!("audit/{day}/")
}

/// Where the markers of a run lie in `runs`.
pub fn run_markers_prefix(run: &RunId) -> String {
    format!("{run}/jobs/")
}

/// Where the markers of a chunk lie in `runs`.
pub fn markers_prefix(run: &RunId, chunk: u32) -> String {
    format!("{}{chunk:06}/", run_markers_prefix(run))
}

/// Where the finished chunks of a run lie in `runs`.
pub fn chunks_done_prefix(run: &RunId) -> String {
    format!("{run}/chunks/")
}

/// Bucket and path. A delivered file shows as its digest: paths of patients stay out of logs and errors.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scan(path) => write!(f, "{}/{SCANS_PREFIX}#{}", self.bucket(), Digest::of(path).short(12)),
            _ => write!(f, "{}/{}", self.bucket(), self.path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivered_path_is_not_shown() {
        let key = ObjectKey::Scan("DOE^JANE/I1".into());
        assert_eq!(key.path(), "scans/DOE^JANE/I1");
        assert!(!key.to_string().contains("DOE"));
    }

    #[test]
    fn what_is_named_by_a_digest_holds_nothing_else() {
        let digest = Digest::of("whole");
        for key in [
            ObjectKey::Listing(digest),
            ObjectKey::Annotation(digest),
            ObjectKey::Sample(digest),
            ObjectKey::Dataset(digest),
            ObjectKey::Plan(PlanId::derived(&digest)),
            ObjectKey::Model(ModelVersion::of_file(b"whole")),
        ] {
            assert!(key.can_hold(b"whole") && !key.can_hold(b"torn"), "{key}");
        }
        assert!(ObjectKey::CurrentModel.can_hold(b"anything"));
    }

    #[test]
    fn markers_and_chunks_lie_under_their_prefixes() {
        let run: RunId = "r-1".parse().unwrap();
        let job: JobId = "ingest-0".parse().unwrap();
        assert!(ObjectKey::Marker(run.clone(), 7, job).path().starts_with(&markers_prefix(&run, 7)));
        assert!(ObjectKey::ChunkDone(run.clone(), 7).path().starts_with(&chunks_done_prefix(&run)));
    }
}
