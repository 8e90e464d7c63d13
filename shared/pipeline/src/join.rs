//! Joins: when is a chunk, when is a run complete? Without a database, a counter or a lock.
//!
//! Each job leaves a terminal [`Marker`] that names the jobs which follow from it. A chunk is complete when its first job
//! and everything that follows from it have markers; a run when all its chunks are. Whoever finds a set complete says so;
//! two may, and say the same.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::job::Wanted;
use crate::{Digest, JobId, Message};

/// The commit of a job: what it wrote and what follows. Written after its outputs and before its marker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The outputs.
    pub outputs: Vec<Output>,
    /// The messages that follow, published again by whoever finds the manifest.
    pub followers: Vec<Message>,
}

/// One written object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The bucket's name.
    pub bucket: String,
    /// The path within the bucket.
    pub path: String,
    /// The digest of its bytes.
    pub sha256: Digest,
    /// How many bytes it has.
    pub length: u64,
}

/// A job is terminal: done, or failed for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// How it ended.
    pub outcome: Outcome,
    /// The jobs that follow from it.
    pub followers: Vec<JobId>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// Its outputs are there.
    Done,
    /// It was given up; nothing follows from it.
    Failed {
        /// The error's code.
        code: String,
        /// The error in words.
        message: String,
    },
}

/// What a run is; written before its first job, so that a join knows what to expect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunManifest {
    /// What the run wants; `None` for a training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Wanted>,
    /// The first job of each chunk.
    pub chunks: Vec<JobId>,
}

/// Whether everything that follows from `first` has a marker.
pub fn is_complete(first: &JobId, markers: &HashMap<JobId, Marker>) -> bool {
    let mut open = vec![first];
    let mut seen = std::collections::HashSet::new();
    while let Some(job) = open.pop() {
        let Some(marker) = markers.get(job) else { return false };
        if seen.insert(job) {
            open.extend(&marker.followers);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> JobId {
        text.parse().unwrap()
    }

    fn marker(followers: &[&str]) -> Marker {
        Marker { outcome: Outcome::Done, followers: followers.iter().map(|f| id(f)).collect() }
    }

    #[test]
    fn a_chunk_is_complete_when_all_that_follows_is_terminal() {
        let mut markers = HashMap::from([(id("a"), marker(&["b", "c"])), (id("b"), marker(&[]))]);
        assert!(!is_complete(&id("a"), &markers));
        let failed = Outcome::Failed { code: "x".into(), message: "y".into() };
        markers.insert(id("c"), Marker { outcome: failed, followers: vec![] });
        assert!(is_complete(&id("a"), &markers));
        assert!(!is_complete(&id("z"), &markers));
    }

    #[test]
    fn followers_that_point_back_do_not_hang_the_join() {
        let markers = HashMap::from([(id("a"), marker(&["b"])), (id("b"), marker(&["a"]))]);
        assert!(is_complete(&id("a"), &markers));
    }
}
