//! What can go wrong with networks.

use modiolus_imaging::grid::GridError;
use modiolus_pipeline::StageError;
use modiolus_pipeline::plan::BadPlan;

/// An error of training or prediction; the text says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan can't be carried out.
    #[error(transparent)]
    Plan(#[from] BadPlan),
    /// A model file or checkpoint can't be used.
    #[error("{what} can't be used: {why}")]
    File {
        /// "the model file" or "the checkpoint".
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The pictures don't suit.
    #[error("{0}")]
    Data(String),
    /// A picture's size doesn't suit.
    #[error(transparent)]
    Size(#[from] GridError),
    /// The loss is no number any more.
    #[error(
        "the training diverged in epoch {epoch}: numbers overflow (loss {loss}). Lower the plan's optimizer rate; the last checkpoint is good"
    )]
    Diverged {
        /// Counted from 1.
        epoch: u32,
        /// NaN or infinite.
        loss: f64,
    },
    /// The plan needs more memory than this process may take.
    #[error(
        "a step of this plan needs about {needed_mb} MB, there are {limit_mb} MB: lower batch, input size or patch, or features"
    )]
    Memory {
        /// The estimate.
        needed_mb: u64,
        /// What the machine and the limits on the process allow.
        limit_mb: u64,
    },
    /// The plan needs more memory than is free at the moment.
    #[error("a step of this plan needs about {needed_mb} MB, only {free_mb} MB are free at the moment")]
    MemoryInUse {
        /// The estimate.
        needed_mb: u64,
        /// What nobody uses.
        free_mb: u64,
    },
    /// The process is stopping; nothing is lost but the epoch.
    #[error("stopped")]
    Stopped,
    /// An error of libtorch.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

/// What a stage says of it: only missing memory may be there at another attempt.
impl From<Error> for StageError {
    fn from(error: Error) -> Self {
        match &error {
            Error::Stopped => Self::interrupted(),
            Error::Torch(torch) if torch.to_string().contains("out of memory") => Self::retryable(
                "out-of-memory",
                "libtorch found no memory: give the worker more, or use a smaller plan",
            ),
            Error::MemoryInUse { .. } => Self::retryable("out-of-memory", error),
            Error::Plan(_) => Self::permanent("bad-plan", error),
            Error::File { .. } => Self::permanent("model-unusable", error),
            Error::Data(_) | Error::Size(_) => Self::permanent("data-unusable", error),
            Error::Diverged { .. } => Self::permanent("diverged", error),
            Error::Memory { .. } => Self::permanent("plan-too-large", error),
            Error::Torch(_) => Self::permanent("libtorch", error),
        }
    }
}
