//! The jobs of the five stages: one job, one file.

pub mod filter;
pub mod infer;
pub mod ingest;
pub mod preprocess;
pub mod train;

use serde::{Deserialize, Serialize};

use crate::{ModelVersion, PatientKey, Plane, SliceId};

/// What a run wants; it travels with every job of the run, so that no job has to look it up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The plane of the slices to keep.
    pub plane: Plane,
    /// The model that draws the masks; `None` stops after filter.
    pub model: Option<ModelVersion>,
}

/// One kept slice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SliceRef {
    /// Whose.
    pub patient: PatientKey,
    /// Which.
    pub slice: SliceId,
}
