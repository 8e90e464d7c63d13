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
    const REVISION: u32 = 2;
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
    /// The digest of its first bytes, where it isn't known when it was last changed: it tells a changed file from an
    /// unchanged one then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Digest>,
    /// Why the walk already knows that it can't be read (a folder without rights, a broken link).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// How a run's files lie below `scans/` in `incoming`, and so what of their paths is people's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Delivery {
    /// The scans' own folder serves as `incoming`.
    InPlace,
    /// They were uploaded, each below a digest of its content: no two deliveries ever meet, and no object ever changes.
    Uploaded,
    /// Somebody put them there, all below this prefix.
    Below {
        /// Without a slash at its end.
        prefix: String,
    },
}

impl Delivery {
    /// The path as it is below the scans' folder: what people see, and what does not depend on where the files were put.
    pub fn shown<'a>(&self, path: &'a str) -> &'a str {
        let rest = match self {
            Self::InPlace => None,
            Self::Uploaded => path.split_once('/').map(|(_, rest)| rest),
            Self::Below { prefix } => {
                path.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_prefix('/'))
            }
        };
        rest.unwrap_or(path)
    }
}

/// What was submitted to a cluster as a run. It names folders, so it lies in `incoming`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// How the files lie.
    pub delivery: Delivery,
    /// How many files there are.
    pub files: u64,
    /// When it was submitted first, in seconds since 1970.
    pub submitted: i64,
    /// The top folder in which each chunk begins: in most deliveries, one for each patient.
    pub folders: Vec<String>,
    /// When somebody removed the uploaded files from `incoming`, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_the_path_below_the_scans_folder() {
        let below = Delivery::Below { prefix: "july/one".into() };
        assert_eq!(Delivery::InPlace.shown("207/I1"), "207/I1");
        assert_eq!(Delivery::Uploaded.shown("0123abcd/207/I1"), "207/I1");
        assert_eq!(below.shown("july/one/207/I1"), "207/I1");
        assert_eq!(below.shown("july/once/207/I1"), "july/once/207/I1");
    }
}
