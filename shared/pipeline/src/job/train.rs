//! Train: dataset, plan and checkpoint -> next checkpoint, at the end a candidate model and its gate.

use serde::{Deserialize, Serialize};

use crate::{Digest, Job, ModelVersion, ObjectKey, PlanId, StageName, TrainingId};

/// One segment of a training: some epochs, short enough that no delivery outlives the broker's patience.
///
/// - reads [`ObjectKey::Dataset`](crate::ObjectKey::Dataset) and the samples that it lists,
///   [`ObjectKey::Plan`](crate::ObjectKey::Plan), the last [`ObjectKey::Checkpoint`](crate::ObjectKey::Checkpoint) or the
///   base [`ObjectKey::Model`](crate::ObjectKey::Model)
/// - writes the next [`ObjectKey::Checkpoint`](crate::ObjectKey::Checkpoint) and
///   [`ObjectKey::TrainingLog`](crate::ObjectKey::TrainingLog); the last segment writes a
///   [`ObjectKey::Model`](crate::ObjectKey::Model) and its [`ObjectKey::Gate`](crate::ObjectKey::Gate)
/// - publishes the next segment
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainJob {
    /// The training that this is a segment of.
    pub training: TrainingId,
    /// The dataset.
    pub dataset: Digest,
    /// The plan.
    pub plan: PlanId,
    /// The model to start from; `None` starts from the plan's seed.
    pub base: Option<ModelVersion>,
    /// The model that the candidate has to beat on the same held-out patients.
    pub rival: Option<ModelVersion>,
    /// Which segment this is, counted from 0.
    pub segment: u32,
    /// How many epochs one segment has.
    pub epochs_per_segment: u32,
}

impl TrainJob {
    /// The same training's next segment.
    pub fn next(&self) -> Self {
        Self { segment: self.segment + 1, ..self.clone() }
    }

    /// Where this segment's checkpoint goes.
    pub fn checkpoint(&self) -> ObjectKey {
        ObjectKey::Checkpoint { training: self.training.clone(), segment: self.segment }
    }

    /// Where the segment before left its checkpoint.
    pub fn previous_checkpoint(&self) -> Option<ObjectKey> {
        let segment = self.segment.checked_sub(1)?;
        Some(ObjectKey::Checkpoint { training: self.training.clone(), segment })
    }
}

impl Job for TrainJob {
    const STAGE: StageName = StageName::Train;
    const SCHEMA: u32 = 1;
    const REVISION: u32 = 2;
}

/// A training that was started for what people said of slices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Training {
    /// Its first segment.
    pub first: TrainJob,
    /// When it was started, in seconds since 1970.
    pub started: i64,
    /// Why, in a sentence.
    pub why: String,
    /// Slices whose masks can't be learned from, by name, each with the digest of its mask's object.
    pub left_out: Vec<(String, Digest)>,
}

/// What a training learns from: samples by patient, and how they are split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dataset {
    /// The samples, ordered by name.
    pub samples: Vec<Sample>,
}

/// One picture with its true mask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The picture's name; within one store it says whose and which slice it is.
    pub name: String,
    /// The patient (a pseudonym): samples of one patient are never split.
    pub patient: String,
    /// The digest of the picture's pixels: equal pictures are never split either.
    pub pixels: Digest,
    /// The digest of the object with the 8-bit picture (PNG), which also names it.
    pub image: Digest,
    /// The digest of the object with the mask (indexed PNG).
    pub mask: Digest,
    /// Whether the sample is held out: never trained on, used to judge.
    pub held_out: bool,
}

/// What an epoch brought. Losses are means over the epoch's pictures; overlaps are means over the held-out pictures, or
/// over the training pictures where none are held out (`held_out` says which).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Counted from 1.
    pub epoch: u32,
    /// The plan's number of epochs.
    pub epochs: u32,
    /// The training loss.
    pub loss: f64,
    /// The loss on the judging pictures.
    pub judged_loss: f64,
    /// Mean IoU on the judging pictures.
    pub iou: f64,
    /// Mean Dice on the judging pictures.
    pub dice: f64,
    /// Whether the judging pictures were held out.
    pub held_out: bool,
}

/// Whether a candidate may become the current model: both judged on the same held-out pictures and on the same phantoms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// The candidate.
    pub candidate: ModelVersion,
    /// The model it had to beat.
    pub rival: Option<ModelVersion>,
    /// The candidate's mean IoU by held-out patient.
    pub candidate_iou: Vec<PatientScore>,
    /// The rival's.
    pub rival_iou: Vec<PatientScore>,
    /// The candidate's mean IoU on phantoms that no training has seen, by the vendor of their array (in the patient's place):
    /// what it must not have forgotten. Empty without a rival.
    #[serde(default)]
    pub candidate_phantoms: Vec<PatientScore>,
    /// The rival's.
    #[serde(default)]
    pub rival_phantoms: Vec<PatientScore>,
    /// The verdict.
    pub promoted: bool,
    /// The verdict in a sentence.
    pub why: String,
}

/// The mean IoU over one patient's pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PatientScore {
    /// Whose.
    pub patient: String,
    /// How many pictures.
    pub pictures: u32,
    /// Their mean IoU.
    pub iou: f64,
}
