//! How far a run is, read from the store.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use bytes::Bytes;
use modiolus_pipeline::job::ingest::Submission;
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::key::{chunks_done_prefix, run_markers_prefix};
use modiolus_pipeline::{Bucket, Fetched, JobId, ModelVersion, ObjectKey, Read, RunId, StageName};
use modiolus_runtime::{FailedJob, RunOutcome};
use modiolus_store::ObjectStore;
use serde::Serialize;

use crate::objects;
use crate::uploaded::Uploaded;

/// A run.
#[derive(Debug, Serialize)]
pub struct RunState {
    /// Which.
    pub run: RunId,
    /// Where it stands.
    pub state: State,
    /// When it was submitted, in seconds since 1970; a training was not.
    pub submitted: Option<i64>,
    /// How many files it was given.
    pub files: Option<u64>,
    /// What was uploaded for it.
    pub uploaded: Option<Uploaded>,
    /// The wanted plane; a training wants none.
    pub plane: Option<String>,
    /// The model that draws the masks; `None` stops after filter.
    pub model: Option<ModelVersion>,
    /// How many chunks it has.
    pub chunks: usize,
    /// How many of them are done.
    pub chunks_done: usize,
    /// The jobs that were given up, of the chunks that are done.
    pub failed: Vec<FailedJob>,
    /// The jobs that were not begun since the run was cancelled, as far as they were known.
    pub cancelled: usize,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It was submitted, but its submitter was stopped before it could start it.
    NotStarted,
    /// It has begun.
    Running,
    /// All its jobs are done or given up.
    Done,
    /// Somebody cancelled it. Submitted again, it goes on.
    Cancelled,
}

impl RunState {
    /// A run as the store has it, `None` where there is no such run.
    pub async fn read(store: &dyn ObjectStore, run: &RunId) -> Result<Option<Self>> {
        let submission: Option<Submission> =
            objects::json_if_there(store, ObjectKey::Submission(run.clone())).await?;
        let manifest: Option<RunManifest> =
            objects::json_if_there(store, ObjectKey::Run(run.clone())).await?;
        if submission.is_none() && manifest.is_none() {
            return Ok(None);
        }
        let state = State::NotStarted;
        let (chunks, wanted) = match manifest {
            Some(manifest) => (Some(manifest.chunks.len()), manifest.wanted),
            None => (None, None),
        };
        let mut of = Self {
            run: run.clone(),
            state,
            submitted: submission.as_ref().map(|submission| submission.submitted),
            files: submission.as_ref().map(|submission| submission.files),
            uploaded: submission.as_ref().and_then(Uploaded::of),
            plane: wanted.as_ref().map(|wanted| wanted.plane.name().to_owned()),
            model: wanted.and_then(|wanted| wanted.model),
            chunks: chunks.unwrap_or_default(),
            chunks_done: 0,
            failed: Vec::new(),
            cancelled: 0,
        };
        if chunks.is_some() {
            of.look(store).await?;
        }
        Ok(Some(of))
    }

    async fn look(&mut self, store: &dyn ObjectStore) -> Result<()> {
        let (is_cancelled, outcome) = end(store, &self.run).await?;
        match outcome {
            Some(outcome) => {
                self.state = if outcome.is_cancelled() { State::Cancelled } else { State::Done };
                let cancelled = outcome.failed.iter().filter(|job| job.is_cancelled());
                let open: BTreeSet<u32> = cancelled.map(|job| job.chunk).collect();
                self.chunks_done = self.chunks - open.len();
                self.count(outcome.failed);
                Ok(())
            }
            None => {
                self.state = if is_cancelled { State::Cancelled } else { State::Running };
                self.look_at_chunks(store).await
            }
        }
    }

    async fn look_at_chunks(&mut self, store: &dyn ObjectStore) -> Result<()> {
        let done = store.list(Bucket::Runs, &chunks_done_prefix(&self.run)).await?;
        let chunks = done.iter().filter_map(|path| path.rsplit('/').next()?.parse().ok());
        let reads: Vec<Read> =
            chunks.map(|chunk| Read::whole(ObjectKey::ChunkDone(self.run.clone(), chunk))).collect();
        for fetched in store.get_many(&reads).await {
            // One that was torn is written again by the next who looks.
            if let Fetched::Found(object) = fetched?
                && let Ok(failed) = serde_json::from_slice::<Vec<FailedJob>>(&object.bytes)
                && !failed.iter().any(FailedJob::is_cancelled)
            {
                self.chunks_done += 1;
                self.count(failed);
            }
        }
        Ok(())
    }

    fn count(&mut self, failed: Vec<FailedJob>) {
        let (cancelled, failed): (Vec<_>, Vec<_>) = failed.into_iter().partition(FailedJob::is_cancelled);
        self.cancelled += cancelled.len();
        self.failed.extend(failed);
    }
}

/// Whether a run was cancelled, and how it ended, if it has. That it ended by being cancelled counts no longer where it was submitted
/// again.
pub(crate) async fn end(store: &dyn ObjectStore, run: &RunId) -> Result<(bool, Option<RunOutcome>)> {
    let is_cancelled = store.length(&ObjectKey::RunCancelled(run.clone())).await?.is_some();
    let outcome: Option<RunOutcome> = objects::json_if_there(store, ObjectKey::RunDone(run.clone())).await?;
    Ok((is_cancelled, outcome.filter(|outcome| is_cancelled || !outcome.is_cancelled())))
}

/// Takes back that jobs of a finished run were given up, so that they and what follows from them can be done again: whoever
/// starts the run does so. How many there were; 0 where the run is not done, was cancelled, or all of it is done.
///
/// # Errors
/// When the store fails; doing it again goes on.
pub async fn forget_given_up(store: &dyn ObjectStore, run: &RunId) -> Result<usize> {
    let done = ObjectKey::RunDone(run.clone());
    let outcome: Option<RunOutcome> = objects::json_if_there(store, done.clone()).await?;
    let failed = match outcome {
        Some(outcome) if !outcome.is_cancelled() => outcome.failed,
        _ => return Ok(0),
    };
    if failed.is_empty() {
        return Ok(0);
    }
    // Where workers look for what is left half done. Markers go first: a job that has one counts as given up.
    store.put(ObjectKey::RunUnfinished(run.clone()), Bytes::new()).await?;
    for FailedJob { chunk, job, .. } in &failed {
        store.delete(&ObjectKey::Marker(run.clone(), *chunk, job.clone())).await?;
        store.delete(&ObjectKey::ChunkDone(run.clone(), *chunk)).await?;
    }
    store.delete(&done).await?;
    Ok(failed.len())
}

/// Takes back all that a run's jobs said of their end, so that whoever starts the run looks at each of them again: what is
/// there and whole stays, all else is done again, and so is what was given up. A run that was never begun stays as it is.
///
/// # Errors
/// When the store fails; doing it again goes on.
pub async fn look_again(store: &dyn ObjectStore, run: &RunId) -> Result<()> {
    let chunks = store.list(Bucket::Runs, &chunks_done_prefix(run)).await?;
    let chunks = chunks.iter().filter_map(|path| path.rsplit('/').next()?.parse().ok());
    let chunks = chunks.map(|chunk| ObjectKey::ChunkDone(run.clone(), chunk));
    let jobs = ended_jobs(store, run).await?.into_iter();
    let jobs = jobs.map(|(chunk, _, job)| ObjectKey::Marker(run.clone(), chunk, job));
    // The run's own end goes first: while it is there, nothing of the run is begun.
    for key in [ObjectKey::RunDone(run.clone())].into_iter().chain(chunks).chain(jobs) {
        store.delete(&key).await?;
    }
    Ok(())
}

/// The jobs of a run that have ended, done or given up: each with its chunk and its stage.
pub async fn ended_jobs(store: &dyn ObjectStore, run: &RunId) -> Result<Vec<(u32, StageName, JobId)>> {
    let prefix = run_markers_prefix(run);
    let paths = store.list(Bucket::Runs, &prefix).await?;
    Ok(paths.iter().filter_map(|path| job_of(path.strip_prefix(&prefix)?)).collect())
}

/// How many jobs of a run have ended, by stage.
pub async fn ended_by_stage(store: &dyn ObjectStore, run: &RunId) -> Result<BTreeMap<StageName, usize>> {
    let mut stages = BTreeMap::new();
    for (_, stage, _) in ended_jobs(store, run).await? {
        *stages.entry(stage).or_default() += 1;
    }
    Ok(stages)
}

/// `000007/filter-0123.json`.
fn job_of(path: &str) -> Option<(u32, StageName, JobId)> {
    let (chunk, job) = path.strip_suffix(".json")?.split_once('/')?;
    let stage = job.split('-').next()?.parse().ok()?;
    Some((chunk.parse().ok()?, stage, job.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_says_whose_it_is() {
        let run: RunId = "r-1".parse().unwrap();
        let job: JobId = "filter-0123".parse().unwrap();
        let path = ObjectKey::Marker(run.clone(), 7, job.clone()).path();
        let found = job_of(path.strip_prefix(&run_markers_prefix(&run)).unwrap());
        assert_eq!(found, Some((7, StageName::Filter, job)));
        assert_eq!(job_of("7/nonsense"), None);
    }
}
