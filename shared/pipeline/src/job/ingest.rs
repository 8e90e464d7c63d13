//! Ingest: scan files -> series index.

use serde::{Deserialize, Serialize};

use super::Wanted;
use crate::{Digest, Job, StageName};

/// Reads the headers of one chunk of a run's files.
///
/// - reads [`ObjectKey::Listing`](crate::ObjectKey::Listing), then the start of each file that it lists
/// - writes one [`ObjectKey::Index`](crate::ObjectKey::Index): per file its typed attributes or why it was refused
/// - publishes a [`FilterJob`](super::filter::FilterJob) for each part of the chunk that fits in memory
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestJob {
    /// The digest that names the listing of the chunk's files.
    pub listing: Digest,
    /// What the run wants.
    pub wanted: Wanted,
}

impl Job for IngestJob {
    const STAGE: StageName = StageName::Ingest;
    const SCHEMA: u32 = 1;
    const REVISION: u32 = 1;
}

/// The files of one chunk, in the order in which their rows stand in the index. It has paths, so it lies in `incoming`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The files.
    pub files: Vec<ListedFile>,
}

/// One delivered file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// Its path below the scans' folder, '/' between parts; bytes that are not UTF-8, control characters and '%' are
    /// written as %XX.
    pub path: String,
    /// Its length in bytes when it was listed; with `modified` it tells a changed file from an unchanged one.
    pub length: u64,
    /// When it was last changed, in nanoseconds since 1970.
    pub modified: i64,
    /// Why the walk already knows that it can't be read (a folder without rights, a broken link).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}
