//! Preprocess: slices -> prepared images.

use serde::{Deserialize, Serialize};

use super::SliceRef;
use crate::{Job, ModelVersion, StageName};

/// Turns some slices into pictures: one for people, one for the network.
///
/// - reads the [`ObjectKey::ModelPlan`](crate::ObjectKey::ModelPlan) of the model and the
///   [`ObjectKey::Instance`](crate::ObjectKey::Instance) of each slice
/// - writes per slice an [`ObjectKey::Image`](crate::ObjectKey::Image) (8 bit, native size), an
///   [`ObjectKey::Prepared`](crate::ObjectKey::Prepared) on the network's grid and the
///   [`ObjectKey::Frame`](crate::ObjectKey::Frame) that maps it back
/// - publishes one [`InferJob`](super::infer::InferJob)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreprocessJob {
    /// The slices.
    pub slices: Vec<SliceRef>,
    /// The model whose plan says what the network's grid is.
    pub model: ModelVersion,
}

impl Job for PreprocessJob {
    const STAGE: StageName = StageName::Preprocess;
    const SCHEMA: u32 = 1;
    const REVISION: u32 = 1;
}
