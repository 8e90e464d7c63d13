//! How far a training is, and what came of it, read from the store.

use anyhow::Result;
use modiolus_pipeline::job::train::{EpochMetrics, Gate, TrainJob, Training};
use modiolus_pipeline::key::{MODELS_PREFIX, TRAININGS_PREFIX};
use modiolus_pipeline::{Bucket, Job, Manifest, ModelVersion, ObjectKey, Plan, StageName, TrainingId};
use modiolus_runtime::FailedJob;
use modiolus_store::ObjectStore;
use serde::Serialize;

use crate::objects;
use crate::runs::{RunState, State};

/// A training that was started for what people said of slices.
#[derive(Debug, Serialize)]
pub struct TrainingState {
    /// Which.
    pub training: TrainingId,
    /// Where it stands.
    pub state: State,
    /// When it was started, in seconds since 1970.
    pub started: i64,
    /// Why, in a sentence.
    pub why: String,
    /// How many epochs it will have.
    pub planned: u32,
    /// What its epochs brought, as far as its segments have ended.
    pub epochs: Vec<EpochMetrics>,
    /// The candidate, once there is one.
    pub model: Option<ModelVersion>,
    /// How it was judged.
    pub gate: Option<Gate>,
    /// The segment that was given up, if one was.
    pub failed: Option<FailedJob>,
}

/// The trainings that were started for what people said of slices, the newest first.
///
/// # Errors
/// When the store fails, or a note in it is damaged.
pub async fn noted(store: &dyn ObjectStore) -> Result<Vec<Training>> {
    let mut noted = Vec::new();
    for path in store.list(Bucket::Models, TRAININGS_PREFIX).await? {
        let id = path.strip_prefix(TRAININGS_PREFIX).and_then(|name| name.strip_suffix(".json"));
        let Some(id) = id.and_then(|id| id.parse::<TrainingId>().ok()) else { continue };
        noted.push(objects::json::<Training>(store, ObjectKey::Training(id)).await?);
    }
    // Of two that were started at once, the last by its path.
    noted.reverse();
    noted.sort_by_key(|training| std::cmp::Reverse(training.started));
    Ok(noted)
}

impl TrainingState {
    /// A training as the store has it, `None` where there is no such training.
    ///
    /// # Errors
    /// When the store fails, or an object in it is damaged.
    pub async fn read(store: &dyn ObjectStore, training: &TrainingId) -> Result<Option<Self>> {
        let noted: Option<Training> =
            objects::json_if_there(store, ObjectKey::Training(training.clone())).await?;
        let Some(Training { first, started, why, .. }) = noted else { return Ok(None) };
        let run = RunState::read(store, &training.as_run()).await?;
        let plan: Plan = objects::json(store, ObjectKey::Plan(first.plan.clone())).await?;
        let segments = segments(&first, plan.epochs);
        let model = match segments.last() {
            Some(last) => model_of(store, last).await?,
            None => None,
        };
        let gate = match &model {
            Some(model) => objects::json_if_there(store, ObjectKey::Gate(model.clone())).await?,
            None => None,
        };
        let (state, failed) = run.map_or((State::NotStarted, Vec::new()), |run| (run.state, run.failed));
        Ok(Some(Self {
            training: training.clone(),
            state,
            failed: failed.into_iter().next(),
            started,
            why,
            planned: plan.epochs,
            epochs: epochs_so_far(store, &segments).await?,
            model,
            gate,
        }))
    }
}

/// The segments of a training of so many epochs.
pub fn segments(first: &TrainJob, epochs: u32) -> Vec<TrainJob> {
    let all = std::iter::successors(Some(first.clone()), |job| Some(job.next()));
    all.take(epochs.div_ceil(first.epochs_per_segment.max(1)) as usize).collect()
}

/// The metrics of the epochs of all segments that have ended.
///
/// # Errors
/// When the store fails, or an object in it is damaged.
pub async fn epochs_so_far(store: &dyn ObjectStore, segments: &[TrainJob]) -> Result<Vec<EpochMetrics>> {
    for job in segments.iter().rev() {
        let log = ObjectKey::TrainingLog { training: job.training.clone(), segment: job.segment };
        if let Some(epochs) = objects::json_if_there(store, log).await? {
            return Ok(epochs);
        }
    }
    Ok(Vec::new())
}

/// The model that the last segment of a training has left; `None` while it has not.
///
/// # Errors
/// When the store fails, or an object in it is damaged.
pub async fn model_of(store: &dyn ObjectStore, last: &TrainJob) -> Result<Option<ModelVersion>> {
    let key = ObjectKey::Manifest(StageName::Train, last.id());
    let Some(manifest) = objects::json_if_there::<Manifest>(store, key).await? else { return Ok(None) };
    let of_model = |path: &str| path.strip_prefix(MODELS_PREFIX)?.strip_suffix(".safetensors")?.parse().ok();
    Ok(manifest.outputs.iter().find_map(|output| of_model(&output.path)))
}
