//! How far a run is, for people.

use modiolus_pipeline::{ProgressEvent, StageName};
use modiolus_runtime::Event;

use crate::terminal::Bar;

/// A bar of the files that are looked at, then of the slices that get their masks.
pub(crate) struct Progress {
    files: Bar,
    slices: Option<Bar>,
}

impl Progress {
    /// The progress of a run of so many files.
    pub(crate) fn new(files: u64, draws_masks: bool) -> Self {
        Self {
            files: Bar::new("Reading", files, "files"),
            slices: draws_masks.then(|| Bar::new("Drawing", 0, "masks")),
        }
    }

    /// Follows what the stages tell.
    pub(crate) fn follow(&self, event: &Event) {
        let ProgressEvent::Units { done } = event.progress else { return };
        match (event.stage, &self.slices) {
            (StageName::Ingest, _) => self.files.advance(done),
            (StageName::Preprocess, Some(slices)) => slices.expect(done),
            (StageName::Infer, Some(slices)) => slices.advance(done),
            _ => {}
        }
    }

    /// Takes the bars away.
    pub(crate) fn finish(self, is_done: bool) {
        match is_done {
            true => self.files.complete(),
            false => self.files.finish(),
        }
        if let Some(slices) = self.slices {
            slices.finish();
        }
    }
}
