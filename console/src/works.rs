//! Where the jobs of what people start are done: in this process, or by the workers of a cluster.

mod cluster;
mod delivery;
mod machine;

use std::path::Path;

use anyhow::Result;
use async_trait::async_trait;
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::preprocess::PreprocessJob;
use modiolus_pipeline::{Digest, Message, ModelVersion, Plane, RunId};

pub use cluster::Cluster;
pub(crate) use delivery::SCANS;
pub use machine::Machine;

/// How many slices one job draws.
const SLICES_PER_JOB: usize = 16;

/// Those who do the work.
#[async_trait]
pub trait Works: Send + Sync + 'static {
    /// Where deliveries are unpacked, each in a folder of its own: a folder that only this program's user may look into.
    fn deliveries(&self) -> &Path;

    /// Starts a run of the files below `scans` in a folder of [`Self::deliveries`], or goes on with it. The folder goes when
    /// the run is done.
    ///
    /// # Errors
    /// When there are no files, no model, or the store fails.
    async fn start(&self, folder: &Path, plane: Plane) -> Result<RunId>;

    /// Makes a training sample of an annotation that lies in the store.
    ///
    /// # Errors
    /// When the store fails.
    async fn learn_from(&self, slice: SliceRef, annotation: Digest) -> Result<()>;

    /// Has a model draw the masks of these slices, beside whatever else there is to do.
    ///
    /// # Errors
    /// When the store fails.
    async fn draw(&self, slices: Vec<SliceRef>, model: ModelVersion) -> Result<()>;
}

/// The jobs after which a model's masks of these slices are there.
fn drawing(slices: &[SliceRef], model: &ModelVersion) -> Vec<Message> {
    let job = |slices: &[SliceRef]| PreprocessJob::Slices { slices: slices.to_vec(), model: model.clone() };
    slices.chunks(SLICES_PER_JOB).map(|slices| Message::new(&job(slices))).collect()
}
