//! Preprocess: slices -> prepared images; annotations -> training samples.

use serde::{Deserialize, Serialize};

use super::SliceRef;
use crate::{Digest, Job, ModelVersion, StageName};

/// Makes pictures from slices, or a training sample from what a person drew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum PreprocessJob {
    /// Turns some slices into pictures: one for people, one for the network.
    ///
    /// - reads the [`ObjectKey::ModelPlan`](crate::ObjectKey::ModelPlan) of the model and the
    ///   [`ObjectKey::Instance`](crate::ObjectKey::Instance) of each slice
    /// - writes per slice an [`ObjectKey::Image`](crate::ObjectKey::Image) (8 bit, native size), an
    ///   [`ObjectKey::Prepared`](crate::ObjectKey::Prepared) on the network's grid and the
    ///   [`ObjectKey::Frame`](crate::ObjectKey::Frame) that maps it back
    /// - publishes one [`InferJob`](super::infer::InferJob)
    Slices {
        /// The slices.
        slices: Vec<SliceRef>,
        /// The model whose plan says what the network's grid is.
        model: ModelVersion,
    },
    /// Turns one revision of a slice's annotation into a training sample.
    ///
    /// - reads [`ObjectKey::Annotation`](crate::ObjectKey::Annotation) and the slice's
    ///   [`ObjectKey::Image`](crate::ObjectKey::Image)
    /// - writes [`ObjectKey::AnnotationVerdict`](crate::ObjectKey::AnnotationVerdict); if it is accepted, the picture and
    ///   the mask as [`ObjectKey::Sample`](crate::ObjectKey::Sample)s
    /// - publishes nothing
    Annotation {
        /// The slice.
        slice: SliceRef,
        /// The digest that names the annotation.
        annotation: Digest,
    },
}

impl Job for PreprocessJob {
    const STAGE: StageName = StageName::Preprocess;
    const SCHEMA: u32 = 1;
    const REVISION: u32 = 2;
}

/// What came of an annotation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum AnnotationVerdict {
    /// It became a sample.
    Accepted {
        /// The digest of the picture's object.
        image: Digest,
        /// The digest of the mask's object.
        mask: Digest,
    },
    /// It can't be used, and why (wrong size, unknown label, not readable).
    Refused {
        /// A sentence for people.
        why: String,
    },
}
