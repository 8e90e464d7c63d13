//! Where the jobs of what people start are done: in this process, or by the workers of a cluster.

mod cluster;
mod delivery;
mod heard;
mod machine;
mod training;

use std::fmt;
use std::path::Path;

use anyhow::Result;
use async_trait::async_trait;
use modiolus_operations::retraining::{Base, Wish};
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::preprocess::PreprocessJob;
use modiolus_pipeline::job::train::EpochMetrics;
use modiolus_pipeline::{Digest, Message, ModelVersion, Plane, RunId, TrainingId};
use modiolus_runtime::RunOutcome;
use serde::Deserialize;
use utoipa::ToSchema;

pub use cluster::{Cluster, Looking};
pub(crate) use delivery::SCANS;
pub use machine::Machine;

/// How many slices one job draws.
const SLICES_PER_JOB: usize = 16;

/// Those who do the work. Whatever is asked for that can't be done as things are, is answered with [`Refused`] as the error, in
/// words for people; every other error is a failure.
///
/// A training is a run like others here: that of [`TrainingId::as_run`].
#[async_trait]
pub trait Works: Send + Sync + 'static {
    /// Where deliveries are unpacked, each in a folder of its own: a folder that only this program's user may look into.
    fn deliveries(&self) -> &Path;

    /// Starts a run of the files below `scans` in a folder of [`Self::deliveries`], or goes on with it: one that was cancelled is
    /// opened again, and jobs of it that were given up are done again. The folder goes when the run is done; while there are jobs
    /// that can be replayed it may stay.
    ///
    /// # Errors
    /// When there are no files, no model, or the store fails.
    async fn start(&self, folder: &Path, plane: Plane) -> Result<RunId>;

    /// Ends a run or a training before its end: jobs in hand may end, none is begun any more. What is done stays done. Started
    /// again with the same inputs, it goes on.
    ///
    /// # Errors
    /// [`Refused`] when it is done already; when the store fails.
    async fn cancel(&self, run: &RunId) -> Result<()>;

    /// Has the jobs of a run that were given up done again, and all that follows from them; a run that stands still, since an error
    /// did not pass, goes on. How many jobs were given up.
    ///
    /// # Errors
    /// [`Refused`] when it is under way, nothing was given up, or the files that the jobs need are gone; when the store fails.
    async fn replay(&self, run: &RunId) -> Result<usize>;

    /// Leaves the jobs of a run that were given up as they are, for good, and forgets what was kept to replay them: their dead
    /// letters, and on one machine the files of the delivery. How many there were.
    ///
    /// # Errors
    /// [`Refused`] when there is nothing of it to forget; when the store fails.
    async fn drop_given_up(&self, run: &RunId) -> Result<usize>;

    /// Removes the files that were uploaded for a run from the store; how many. What was kept of them stays.
    ///
    /// # Errors
    /// [`Refused`] when it is under way, jobs of it may yet be replayed, or nothing was uploaded for it; when the store fails.
    async fn remove_uploaded(&self, run: &RunId) -> Result<usize>;

    /// What is known of the work on a run that isn't in the store. Of a run that nobody has heard of: the default.
    async fn standing(&self, run: &RunId) -> Standing;

    /// Makes training samples of annotations that lie in the store, each of a slice, and waits for them.
    ///
    /// # Errors
    /// When the store fails.
    async fn learn_from(&self, drawn: Vec<(SliceRef, Digest)>) -> Result<()>;

    /// Has a model draw the masks of these slices, beside whatever else there is to do, and does not wait for them. Masks that are
    /// there already cost nothing.
    ///
    /// # Errors
    /// When the store fails.
    async fn draw(&self, slices: Vec<SliceRef>, model: ModelVersion) -> Result<()>;

    /// Starts a training on what people have drawn, from the current model and against it.
    ///
    /// # Errors
    /// [`Refused`] when a training is under way, there is nothing to learn from, nothing has changed since the same training was
    /// done, or the number of epochs can't be; when the store fails.
    async fn retrain(&self, course: Course, why: String) -> Result<TrainingId>;

    /// After how many new masks a training starts by itself; `None` where it never does, or where that is not known here.
    fn retrains_after(&self) -> Option<usize>;

    /// The epochs of a training that was heard of, of which the store may not know yet. May be empty, may lack the first ones.
    async fn heard(&self, training: &TrainingId) -> Vec<EpochMetrics>;
}

/// What is known of the work on a run that isn't in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// It waits until another one is done.
    pub waits: bool,
    /// Why it stands still, in a sentence: an error that may pass did not pass. Replayed, it goes on.
    pub stands_still: Option<String>,
    /// How many times jobs were tried again, as far as that was heard.
    pub tried_again: usize,
    /// Whether jobs of it that were given up can be replayed or dropped.
    pub can_replay: bool,
}

/// How long a training is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Course {
    /// Which plan; by default fine-tuning.
    #[serde(default)]
    pub plan: CoursePlan,
    /// Another number of epochs than the plan's.
    #[serde(default)]
    pub epochs: Option<u32>,
}

/// The plan of a training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CoursePlan {
    /// A short course at a low rate, for a few new masks.
    #[default]
    FineTuning,
    /// The long course that the current model came from itself.
    Whole,
}

impl Course {
    /// What it wishes for of a training that goes on from this model.
    pub fn wish(self, base: &Base, why: String) -> Wish {
        let plan = match self.plan {
            CoursePlan::FineTuning => base.plan.fine_tuning(),
            CoursePlan::Whole => base.plan.clone(),
        };
        Wish { plan: Some(plan), epochs: self.epochs, why }
    }
}

/// What was asked for can't be done as things are; says why and what to do, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// As the error of a method of [`Works`].
    pub fn error(why: impl Into<String>) -> anyhow::Error {
        Self(why.into()).into()
    }
}

/// What came of cancelling.
fn cancelled(outcome: Option<RunOutcome>) -> Result<()> {
    match outcome {
        Some(outcome) if outcome.is_cancelled() => Ok(()),
        Some(_) => Err(Refused::error("it is done already: nothing is left to cancel")),
        None => Err(Refused::error("it has not begun yet: try again in a moment")),
    }
}

/// The jobs that make samples of what was drawn.
fn learning(drawn: Vec<(SliceRef, Digest)>) -> Vec<Message> {
    let job = |(slice, annotation)| Message::new(&PreprocessJob::Annotation { slice, annotation });
    drawn.into_iter().map(job).collect()
}

/// The jobs after which a model's masks of these slices are there.
fn drawing(slices: &[SliceRef], model: &ModelVersion) -> Vec<Message> {
    let job = |slices: &[SliceRef]| PreprocessJob::Slices { slices: slices.to_vec(), model: model.clone() };
    slices.chunks(SLICES_PER_JOB).map(|slices| Message::new(&job(slices))).collect()
}
