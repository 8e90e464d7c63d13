//! When is a chunk, when is a run complete?
//!
//! Whoever ends a job from which nothing follows looks. It reads only what it doesn't know yet, first one marker, then two,
//! four and so on, and stops at the first that is missing. So a process reads each marker at most once and misses one per
//! look: a run of n jobs costs in the order of n reads, without a list, a counter or a lock.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use modiolus_broker::Broker;
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::key::UNFINISHED_PREFIX;
use modiolus_pipeline::{Bucket, Fetched, JobId, Marker, ObjectKey, Outcome, Read, RunId, Scope};
use modiolus_store::{ObjectStore, StoreError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::event::Notice;

/// How many runs are remembered at a time.
const RUNS_KEPT: usize = 64;

/// How many markers are read at once.
const MOST_READS: usize = 256;

/// A job that was given up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FailedJob {
    /// The chunk that it belongs to.
    pub chunk: u32,
    /// The job.
    pub job: JobId,
    /// The error's code.
    pub code: String,
    /// The error in words.
    pub message: String,
}

/// How a run ended: the body of [`ObjectKey::RunDone`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunOutcome {
    /// The jobs that were given up, by chunk; all others are done.
    pub failed: Vec<FailedJob>,
}

/// Finds out what is complete, and remembers what it has read. One per process serves all its workers.
pub struct Joins {
    store: Arc<dyn ObjectStore>,
    broker: Arc<dyn Broker>,
    runs: Mutex<HashMap<RunId, Arc<Known>>>,
}

/// What this process knows of a run.
struct Known {
    chunks: Vec<JobId>,
    ends: Mutex<Ends>,
}

#[derive(Default)]
struct Ends {
    markers: HashMap<u32, HashMap<JobId, Marker>>,
    chunks: BTreeMap<u32, Vec<FailedJob>>,
    run_is_done: bool,
}

impl Joins {
    /// Joins over a store; what is complete is told on the broker's stream.
    pub fn new(store: Arc<dyn ObjectStore>, broker: Arc<dyn Broker>) -> Self {
        Self { store, broker, runs: Mutex::default() }
    }

    /// Takes note of a job's marker, which lies in the store already. If nothing follows from the job, looks whether its
    /// chunk and its run are complete now, and says so in the store and on the stream.
    ///
    /// # Errors
    /// When the store fails; asking again is harmless.
    pub async fn ended(&self, scope: &Scope, job: &JobId, marker: Marker) -> Result<(), StoreError> {
        let Some(run) = self.known(&scope.run).await? else {
            tracing::warn!(run = %scope.run, %job, "a job belongs to a run that is not in the store; nothing waits for it");
            return Ok(());
        };
        let is_leaf = marker.followers.is_empty();
        run.note(scope.chunk, [(job.clone(), marker)]);
        if is_leaf && self.chunk_is_done(scope, &run).await? {
            self.run_is_done(&scope.run, &run).await?;
        }
        Ok(())
    }

    /// Looks at a run again, chunk by chunk up to the first that is not complete: completes what a worker found complete but
    /// died before saying so. `None` when the run is not complete, or not in the store. Costs few reads while a run goes on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sweep(&self, run: &RunId) -> Result<Option<RunOutcome>, StoreError> {
        let Some(known) = self.known(run).await? else { return Ok(None) };
        if let Some(outcome) = self.run_is_done(run, &known).await? {
            return Ok(Some(outcome));
        }
        for chunk in (0u32..).take(known.chunks.len()) {
            if !self.chunk_is_done(&Scope { run: run.clone(), chunk }, &known).await? {
                return Ok(None);
            }
        }
        self.run_is_done(run, &known).await
    }

    /// [`Self::sweep`] for each run that some worker has begun and none has ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sweep_unfinished(&self) -> Result<(), StoreError> {
        for path in self.store.list(Bucket::Runs, UNFINISHED_PREFIX).await? {
            let Ok(run) = path[UNFINISHED_PREFIX.len()..].parse::<RunId>() else { continue };
            if self.sweep(&run).await?.is_some() {
                self.store.delete(&ObjectKey::RunUnfinished(run)).await?;
            }
        }
        Ok(())
    }

    /// How a run ended, `None` while it has not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn outcome(&self, run: &RunId) -> Result<Option<RunOutcome>, StoreError> {
        self.read(ObjectKey::RunDone(run.clone())).await
    }

    async fn known(&self, run: &RunId) -> Result<Option<Arc<Known>>, StoreError> {
        if let Some(known) = lock(&self.runs).get(run) {
            return Ok(Some(known.clone()));
        }
        let Some(manifest) = self.read::<RunManifest>(ObjectKey::Run(run.clone())).await? else {
            return Ok(None);
        };
        self.store.put(ObjectKey::RunUnfinished(run.clone()), Bytes::new()).await?;
        let mut runs = lock(&self.runs);
        if runs.len() >= RUNS_KEPT {
            // What is forgotten is only read again.
            runs.clear();
        }
        let known = || Arc::new(Known { chunks: manifest.chunks, ends: Mutex::default() });
        Ok(Some(runs.entry(run.clone()).or_insert_with(known).clone()))
    }

    async fn chunk_is_done(&self, scope: &Scope, run: &Known) -> Result<bool, StoreError> {
        let chunk = scope.chunk;
        let Some(first) = run.chunks.get(chunk as usize) else { return Ok(false) };
        let mut limit = 1;
        let failed = loop {
            let missing = match run.look(chunk, first, limit) {
                Look::Told => return Ok(true),
                Look::Complete(failed) => break failed,
                Look::Missing(jobs) => jobs,
            };
            let key = |job: &JobId| ObjectKey::Marker(scope.run.clone(), chunk, job.clone());
            let markers = self.read_all::<Marker>(missing.iter().map(key)).await?;
            let all = markers.len() == missing.len();
            run.note(
                chunk,
                markers.into_iter().map(|(position, marker)| (missing[position].clone(), marker)),
            );
            if !all {
                return Ok(false);
            }
            limit = MOST_READS.min(limit * 2);
        };
        self.write(ObjectKey::ChunkDone(scope.run.clone(), chunk), &failed).await?;
        run.chunk_is_done(chunk, failed.clone());
        Notice::ChunkDone { scope: scope.clone(), failed }.tell(&*self.broker);
        Ok(true)
    }

    async fn run_is_done(&self, id: &RunId, run: &Known) -> Result<Option<RunOutcome>, StoreError> {
        let mut limit = 1;
        loop {
            let missing = run.missing_chunks(limit);
            if missing.is_empty() {
                break;
            }
            let key = |chunk: &u32| ObjectKey::ChunkDone(id.clone(), *chunk);
            let done = self.read_all::<Vec<FailedJob>>(missing.iter().map(key)).await?;
            let all = done.len() == missing.len();
            for (position, failed) in done {
                run.chunk_is_done(missing[position], failed);
            }
            if !all {
                return Ok(None);
            }
            limit = MOST_READS.min(limit * 2);
        }
        let (outcome, is_told) = {
            let ends = lock(&run.ends);
            (RunOutcome { failed: ends.chunks.values().flatten().cloned().collect() }, ends.run_is_done)
        };
        if !is_told {
            self.write(ObjectKey::RunDone(id.clone()), &outcome).await?;
            self.store.delete(&ObjectKey::RunUnfinished(id.clone())).await?;
            lock(&run.ends).run_is_done = true;
            tracing::info!(run = %id, failed = outcome.failed.len(), "a run is done");
            Notice::RunDone { run: id.clone(), outcome: outcome.clone() }.tell(&*self.broker);
        }
        Ok(Some(outcome))
    }

    async fn write(&self, key: ObjectKey, value: &impl Serialize) -> Result<(), StoreError> {
        let json = serde_json::to_vec(value).map_err(|error| StoreError::refused(&key, error))?;
        self.store.put(key, json.into()).await
    }

    async fn read<T: DeserializeOwned>(&self, key: ObjectKey) -> Result<Option<T>, StoreError> {
        Ok(self.read_all([key].into_iter()).await?.pop().map(|(_, value)| value))
    }

    /// Those that are there, each with its position. One that was torn by a loss of power is as good as missing: whoever
    /// does its job again writes it again.
    async fn read_all<T: DeserializeOwned>(
        &self,
        keys: impl Iterator<Item = ObjectKey>,
    ) -> Result<Vec<(usize, T)>, StoreError> {
        let reads: Vec<Read> = keys.map(Read::whole).collect();
        let mut values = Vec::new();
        for (position, fetched) in self.store.get_many(&reads).await.into_iter().enumerate() {
            if let Fetched::Found(object) = fetched?
                && let Ok(value) = serde_json::from_slice(&object.bytes)
            {
                values.push((position, value));
            }
        }
        Ok(values)
    }
}

impl Known {
    fn note(&self, chunk: u32, markers: impl IntoIterator<Item = (JobId, Marker)>) {
        let mut ends = lock(&self.ends);
        // A chunk beyond the run's last is nobody's: it is not remembered.
        if (chunk as usize) < self.chunks.len() && !ends.chunks.contains_key(&chunk) {
            ends.markers.entry(chunk).or_default().extend(markers);
        }
    }

    fn chunk_is_done(&self, chunk: u32, failed: Vec<FailedJob>) {
        let mut ends = lock(&self.ends);
        ends.markers.remove(&chunk);
        ends.chunks.insert(chunk, failed);
    }

    fn missing_chunks(&self, limit: usize) -> Vec<u32> {
        let ends = lock(&self.ends);
        (0u32..)
            .take(self.chunks.len())
            .filter(|chunk| !ends.chunks.contains_key(chunk))
            .take(limit)
            .collect()
    }

    /// What is known of a chunk; at most `limit` of the jobs that are not known to have ended.
    fn look(&self, chunk: u32, first: &JobId, limit: usize) -> Look {
        let ends = lock(&self.ends);
        if ends.chunks.contains_key(&chunk) {
            return Look::Told;
        }
        let none = HashMap::new();
        let markers = ends.markers.get(&chunk).unwrap_or(&none);
        let without = |job: &&JobId| !markers.contains_key(*job);
        let missing: Vec<_> = reachable(first, markers).filter(without).take(limit).cloned().collect();
        if !missing.is_empty() {
            return Look::Missing(missing);
        }
        let failure = |job: &JobId| match &markers.get(job)?.outcome {
            Outcome::Done => None,
            Outcome::Failed { code, message } => {
                Some(FailedJob { chunk, job: job.clone(), code: code.clone(), message: message.clone() })
            }
        };
        let mut failed: Vec<_> = reachable(first, markers).filter_map(failure).collect();
        failed.sort_unstable();
        Look::Complete(failed)
    }
}

/// What a look at a chunk finds.
enum Look {
    /// It is done, and the store says so.
    Told,
    /// All its jobs have ended, these without success.
    Complete(Vec<FailedJob>),
    /// These jobs are not known to have ended.
    Missing(Vec<JobId>),
}

/// The first job and everything that is known to follow from it, each once.
fn reachable<'a>(first: &'a JobId, markers: &'a HashMap<JobId, Marker>) -> impl Iterator<Item = &'a JobId> {
    let mut open = vec![first];
    let mut seen = HashSet::from([first]);
    std::iter::from_fn(move || {
        let job = open.pop()?;
        if let Some(marker) = markers.get(job) {
            open.extend(marker.followers.iter().filter(|follower| seen.insert(*follower)));
        }
        Some(job)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
