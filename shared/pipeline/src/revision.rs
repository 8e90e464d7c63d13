//! What people said of a slice: revisions of its mask, and whether the array is clearly visible.
//!
//! Both only ever grow: whoever says something new writes one more object. Two people who go on from the same revision leave
//! two with the same parent, which everyone can see; neither overwrites the other.

use serde::{Deserialize, Serialize};

use crate::id::RevisionId;
use crate::{Digest, ModelVersion};

/// One revision of a slice's mask: the body of [`ObjectKey::Revision`](crate::ObjectKey::Revision).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The revision that it was made from.
    pub parent: Option<RevisionId>,
    /// Who made it.
    pub by: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// The model whose mask it began with.
    pub proposal: Option<ModelVersion>,
    /// How long it took, in seconds.
    pub seconds: u32,
    /// What it counts as.
    pub state: RevisionState,
    /// Names its mask (PNG), which is an [`ObjectKey::Annotation`](crate::ObjectKey::Annotation).
    pub mask: Digest,
    /// Whether it came in as a file that was drawn elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
}

/// What a revision counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevisionState {
    /// Somebody is at it.
    Draft,
    /// The mask is right.
    Accepted,
    /// There is no array on this slice: the mask is empty.
    Rejected,
}

impl RevisionState {
    /// Whether the mask is one to learn from.
    pub fn is_final(self) -> bool {
        self != Self::Draft
    }
}

/// One answer: the body of [`ObjectKey::Triage`](crate::ObjectKey::Triage).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triage {
    /// Who said so.
    pub by: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// What they said; `None` takes it back.
    pub answer: Option<Clarity>,
}

/// Is a clear array visible?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clarity {
    /// Yes.
    Clear,
    /// No.
    No,
    /// Somebody else should look.
    Unsure,
}
