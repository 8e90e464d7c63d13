//! Infer: prepared images and a model -> masks and measurements.

use serde::{Deserialize, Serialize};

use super::SliceRef;
use crate::{Job, ModelVersion, PlanId, StageName};

/// Draws the masks of some prepared slices.
///
/// - reads [`ObjectKey::Model`](crate::ObjectKey::Model) and per slice [`ObjectKey::Image`](crate::ObjectKey::Image),
///   [`ObjectKey::Prepared`](crate::ObjectKey::Prepared), [`ObjectKey::Frame`](crate::ObjectKey::Frame) and the header of
///   [`ObjectKey::Instance`](crate::ObjectKey::Instance)
/// - writes per slice [`ObjectKey::Mask`](crate::ObjectKey::Mask) on the original grid,
///   [`ObjectKey::Probability`](crate::ObjectKey::Probability), [`ObjectKey::Overlay`](crate::ObjectKey::Overlay),
///   [`ObjectKey::Segmentation`](crate::ObjectKey::Segmentation) where the slice says where it lies, and
///   [`ObjectKey::Measurements`](crate::ObjectKey::Measurements)
/// - publishes nothing
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferJob {
    /// The slices.
    pub slices: Vec<SliceRef>,
    /// The model.
    pub model: ModelVersion,
    /// The model's plan: it names the prepared images.
    pub plan: PlanId,
}

impl Job for InferJob {
    const STAGE: StageName = StageName::Infer;
    const SCHEMA: u32 = 1;
    const REVISION: u32 = 5;
}
