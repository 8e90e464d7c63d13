//! Stages without their types, so that one loop serves all.

use std::sync::Arc;

use modiolus_pipeline::Job as _;
use modiolus_pipeline::{Effects, Message, Objects, Progress, Read, Stage, StageError, StageName};

/// A stage whose job type is not known.
pub trait AnyStage: Send + Sync + 'static {
    /// Which stage it is.
    fn name(&self) -> StageName;

    /// The job in a message.
    ///
    /// # Errors
    /// Poison, as [`Message::job`].
    fn open(self: Arc<Self>, message: &Message) -> Result<Box<dyn AnyJob>, StageError>;
}

/// A job together with its stage.
pub trait AnyJob: Send + Sync + 'static {
    /// As [`Stage::needs`].
    fn needs(&self, have: &Objects) -> Vec<Read>;

    /// As [`Stage::run`].
    ///
    /// # Errors
    /// As [`Stage::run`].
    fn run(&self, objects: &Objects, progress: &Progress) -> Result<Effects, StageError>;
}

struct Opened<S: Stage> {
    stage: Arc<S>,
    job: S::Job,
}

impl<S: Stage> AnyStage for S {
    fn name(&self) -> StageName {
        S::Job::STAGE
    }

    fn open(self: Arc<Self>, message: &Message) -> Result<Box<dyn AnyJob>, StageError> {
        Ok(Box::new(Opened { job: message.job()?, stage: self }))
    }
}

impl<S: Stage> AnyJob for Opened<S> {
    fn needs(&self, have: &Objects) -> Vec<Read> {
        self.stage.needs(&self.job, have)
    }

    fn run(&self, objects: &Objects, progress: &Progress) -> Result<Effects, StageError> {
        self.stage.run(&self.job, objects, progress)
    }
}
