//! Verdicts: what filter said of each file.

use serde::{Deserialize, Serialize};

use crate::{Digest, PatientKey, Refusal, SliceId};

/// The verdicts of one filter job. Files are named by their position in the index: no path, no id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdicts {
    /// One per file that the job was given, in its order.
    pub files: Vec<FileVerdict>,
}

/// The verdict of one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileVerdict {
    /// The file's position in the index.
    pub file: u32,
    /// Kept, or why not.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Kept or refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// A slice of the wanted plane.
    Kept(KeptSlice),
    /// Not kept, and why.
    Refused(Refusal),
}

/// What is known of a kept slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptSlice {
    /// Whose.
    pub patient: PatientKey,
    /// Which.
    pub slice: SliceId,
    /// The digest of its size and the values that its pixels mean, however they are stored: equal digests are exact duplicates.
    pub pixels: Digest,
    /// The perceptual hash of its picture: near duplicates differ in few bits.
    pub perceptual_hash: u64,
    /// How clearly an electrode array is visible, 0 to 1.
    pub array_score: f32,
    /// Its picture has a single grey: it equals other blank ones, which says nothing about whose they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blank: bool,
    /// The name of its file has a part of PatientName or PatientID, or isn't UTF-8 so that nobody can tell: nothing may be
    /// named after it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub named_for_patient: bool,
}
