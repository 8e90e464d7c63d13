//! Filter: series index -> the slices of the wanted plane.

use serde::{Deserialize, Serialize};

use super::Wanted;
use crate::{Job, JobId, StageName};

/// Keeps the slices of the wanted plane among some files: as many as fit in memory at once.
///
/// - reads the [`ObjectKey::Index`](crate::ObjectKey::Index) of its chunk, then the whole of each matching file
/// - writes a de-identified [`ObjectKey::Instance`](crate::ObjectKey::Instance) per kept slice and one
///   [`ObjectKey::Verdicts`](crate::ObjectKey::Verdicts) with the verdict of every file it was given
/// - publishes a [`PreprocessJob`](super::preprocess::PreprocessJob) for the kept slices when the run has a model
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterJob {
    /// The ingest job that wrote the index.
    pub index: JobId,
    /// Positions in the index of the files to look at.
    pub files: Vec<u32>,
    /// What the run wants.
    pub wanted: Wanted,
}

impl Job for FilterJob {
    const STAGE: StageName = StageName::Filter;
    const SCHEMA: u32 = 1;
    const REVISION: u32 = 3;
}
