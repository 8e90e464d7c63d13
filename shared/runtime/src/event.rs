//! What is told to everyone who listens. Never needed for correctness: the store alone says what is done.

use modiolus_broker::Broker;
use modiolus_pipeline::{JobId, Outcome, ProgressEvent, RunId, Scope, StageName};
use serde::{Deserialize, Serialize};

use crate::join::{FailedJob, RunOutcome};
use crate::perform::json;

/// One event on the broker's stream, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "notice")]
pub enum Notice {
    /// A job tells how far it is.
    Progress(Event),
    /// A job is terminal.
    JobEnded {
        /// Whom it was done for.
        scope: Scope,
        /// The stage.
        stage: StageName,
        /// The job.
        job: JobId,
        /// How it ended.
        end: Outcome,
    },
    /// A chunk is terminal.
    ChunkDone {
        /// The run and the chunk.
        scope: Scope,
        /// Its jobs that were given up.
        failed: Vec<FailedJob>,
    },
    /// A run is terminal. May be told more than once.
    RunDone {
        /// The run.
        run: RunId,
        /// How it ended.
        outcome: RunOutcome,
    },
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Whom it is done for.
    pub scope: Scope,
    /// The stage.
    pub stage: StageName,
    /// The job.
    pub job: JobId,
    /// What the stage told.
    pub progress: ProgressEvent,
}

impl Notice {
    /// Tells everyone who listens.
    pub(crate) fn tell(&self, broker: &dyn Broker) {
        broker.tell(json(self).into());
    }

    /// The notice in an event, `None` where a newer version told something that this one doesn't know.
    pub fn decode(event: &[u8]) -> Option<Self> {
        serde_json::from_slice(event).ok()
    }
}
