//! What a process remembers of a run: what is done, which never changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Mutex;

use modiolus_pipeline::{JobId, Marker, Outcome};

use super::{FailedJob, RunOutcome, lock};

/// What this process knows of a run.
pub(super) struct Known {
    /// The first job of each chunk.
    pub(super) chunks: Vec<JobId>,
    ends: Mutex<Ends>,
}

#[derive(Default)]
struct Ends {
    /// The jobs that are done, each with what follows from it, of the chunks that are not.
    jobs: HashMap<u32, HashMap<JobId, Vec<JobId>>>,
    /// The chunks of which every job is done.
    chunks: BTreeSet<u32>,
    /// Chunks that had failed jobs when they were seen last.
    failed: BTreeSet<u32>,
    /// Whether the store says that the run is done, every job of it.
    is_told: bool,
}

/// What a look at a chunk finds.
pub(super) enum Look {
    /// Every job of it is done, and the store says so.
    Told,
    /// All its jobs have ended.
    Complete,
    /// These jobs are not known to have ended.
    Missing(Vec<JobId>),
}

impl Known {
    pub(super) fn new(chunks: Vec<JobId>) -> Self {
        Self { chunks, ends: Mutex::default() }
    }

    /// Remembers a job that is done.
    pub(super) fn note(&self, chunk: u32, job: &JobId, marker: Marker) {
        let mut ends = lock(&self.ends);
        // A chunk beyond the run's last is nobody's: it is not remembered.
        let is_open = (chunk as usize) < self.chunks.len() && !ends.chunks.contains(&chunk);
        if is_open && marker.outcome == Outcome::Done {
            ends.jobs.entry(chunk).or_default().insert(job.clone(), marker.followers);
        }
    }

    pub(super) fn chunk_is_done(&self, chunk: u32, failed: &[FailedJob]) {
        let mut ends = lock(&self.ends);
        if failed.is_empty() {
            ends.jobs.remove(&chunk);
            ends.failed.remove(&chunk);
            ends.chunks.insert(chunk);
        } else {
            ends.failed.insert(chunk);
        }
    }

    /// Whether every job of a chunk is known to be done.
    pub(super) fn is_done(&self, chunk: u32) -> bool {
        lock(&self.ends).chunks.contains(&chunk)
    }

    /// Whether this process has said already that the run is done. One with failed jobs may have been opened again since.
    pub(super) fn is_told(&self, outcome: &RunOutcome) -> bool {
        outcome.failed.is_empty() && lock(&self.ends).is_told
    }

    pub(super) fn tell(&self, outcome: &RunOutcome) {
        lock(&self.ends).is_told |= outcome.failed.is_empty();
    }

    /// At most `limit` of the chunks that are neither known to be done nor among `seen`. Those that had failed jobs come last:
    /// they are likely to be done, and a look stops at the first that isn't.
    pub(super) fn missing_chunks(&self, seen: &BTreeMap<u32, Vec<FailedJob>>, limit: usize) -> Vec<u32> {
        let ends = lock(&self.ends);
        let new = (0u32..)
            .take(self.chunks.len())
            .filter(|chunk| !ends.chunks.contains(chunk) && !ends.failed.contains(chunk));
        new.chain(ends.failed.iter().copied()).filter(|chunk| !seen.contains_key(chunk)).take(limit).collect()
    }

    /// What is known of a chunk of which `failed` are read to have failed; at most `limit` of the jobs that are not known to
    /// have ended.
    pub(super) fn look(
        &self,
        chunk: u32,
        first: &JobId,
        failed: &BTreeMap<JobId, FailedJob>,
        limit: usize,
    ) -> Look {
        let ends = lock(&self.ends);
        if ends.chunks.contains(&chunk) {
            return Look::Told;
        }
        let none = HashMap::new();
        let done = ends.jobs.get(&chunk).unwrap_or(&none);
        let is_open = |job: &&JobId| !done.contains_key(*job) && !failed.contains_key(*job);
        let missing: Vec<_> = reachable(first, done).filter(is_open).take(limit).cloned().collect();
        if missing.is_empty() { Look::Complete } else { Look::Missing(missing) }
    }
}

/// The first job and everything that is known to follow from it, each once.
pub(super) fn reachable<'a>(
    first: &'a JobId,
    done: &'a HashMap<JobId, Vec<JobId>>,
) -> impl Iterator<Item = &'a JobId> {
    let mut open = vec![first];
    let mut seen = HashSet::from([first]);
    std::iter::from_fn(move || {
        let job = open.pop()?;
        if let Some(followers) = done.get(job) {
            open.extend(followers.iter().filter(|follower| seen.insert(*follower)));
        }
        Some(job)
    })
}
