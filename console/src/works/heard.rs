//! What jobs tell while they work, which the store doesn't know yet.

use modiolus_pipeline::ProgressEvent;
use modiolus_pipeline::job::train::EpochMetrics;

/// What was heard of a run or training.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    /// How many times jobs were tried again.
    pub(super) tried_again: usize,
    /// A training's epochs.
    pub(super) epochs: Vec<EpochMetrics>,
}

impl Heard {
    /// Takes note of what a job tells.
    pub(super) fn hear(&mut self, progress: ProgressEvent) {
        match progress {
            ProgressEvent::TriedAgain { .. } => self.tried_again += 1,
            ProgressEvent::Epoch(epoch) => {
                // A segment that is done again tells its epochs again.
                self.epochs.retain(|before| before.epoch < epoch.epoch);
                self.epochs.push(epoch);
            }
            ProgressEvent::Units { .. } | ProgressEvent::Refused { .. } => {}
        }
    }
}
